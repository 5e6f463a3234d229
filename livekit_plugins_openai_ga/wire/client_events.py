"""One constructor per GA client event, each returning the plain dict that goes on the wire.

`event_id` is always ours: the server echoes it in `error.event_id`, which is the only way to know what was refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .codec import b64encode, dumps

Event = dict[str, Any]


APPEND_TAIL = b'"}'
"""What comes behind the audio in `Append`'s events."""


class Append:
    """Makes the events of one type that carry user audio: mono, in the session's `audio.input.format`; by default int16
    little-endian PCM at 24 kHz. Never acknowledged.

    Attributes:
        head: What comes before the audio in `text(event(audio))`: that is `head`, base64 and `APPEND_TAIL`, which takes
            a third of the time, as nothing in it has to be escaped.
    """

    __slots__ = ("_type", "head")

    def __init__(self, type: str) -> None:
        self._type = type
        self.head = b'{"type":"%b","audio":"' % type.encode()

    def event(self, audio: bytes) -> Event:
        """As any other event."""
        return {"type": self._type, "audio": b64encode(audio).decode()}


AUDIO_APPEND = Append("input_audio_buffer.append")


def text(event: Event) -> bytes:
    """The event as JSON, UTF-8."""
    return dumps(event)


def session_update(session: Mapping[str, Any], *, event_id: str) -> Event:
    """Change the session. GA merges deeply and drops the whole update when one field is bad."""
    return {"type": "session.update", "event_id": event_id, "session": dict(session)}


def audio_commit(*, event_id: str) -> Event:
    """Turn what was appended into a user item. Refused below 100 ms of audio."""
    return {"type": "input_audio_buffer.commit", "event_id": event_id}


def audio_clear(*, event_id: str) -> Event:
    """Forget what was appended since the last commit."""
    return {"type": "input_audio_buffer.clear", "event_id": event_id}


def playback_clear(*, event_id: str) -> Event:
    """Stop what the server plays to a caller. WebRTC and SIP calls only; comes behind the cancel of the reply."""
    return {"type": "output_audio_buffer.clear", "event_id": event_id}


def item_create(item: Mapping[str, Any], *, event_id: str, previous_item_id: str | None = None) -> Event:
    """Add an item. `previous_item_id`: None appends, `"root"` puts it first, an id puts it behind that item."""
    event: Event = {"type": "conversation.item.create", "event_id": event_id, "item": dict(item)}
    if previous_item_id is not None:
        event["previous_item_id"] = previous_item_id
    return event


def item_delete(item_id: str, *, event_id: str) -> Event:
    """Remove an item."""
    return {"type": "conversation.item.delete", "event_id": event_id, "item_id": item_id}


def item_truncate(item_id: str, audio_end_ms: int, *, event_id: str) -> Event:
    """Cut an assistant's spoken item to what was heard. The server also deletes the item's transcript.

    `audio_end_ms` is counted in that item's audio; 0, or more than was produced, is refused.
    """
    return {
        "type": "conversation.item.truncate",
        "event_id": event_id,
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    }


def response_create(response: Mapping[str, Any], *, event_id: str) -> Event:
    """Ask for a reply. `response` overrides the session for this reply only."""
    return {"type": "response.create", "event_id": event_id, "response": dict(response)}


def response_cancel(response_id: str, *, event_id: str) -> Event:
    """Stop a reply that is being generated."""
    return {"type": "response.cancel", "event_id": event_id, "response_id": response_id}
