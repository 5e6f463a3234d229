"""The wire of translation sessions: a continuous stream without items, responses or turns.

`from_payload` knows the four events that only such a session sends, and leaves the others to `server_events`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from . import client_events, server_events
from .reader import Unreadable, reader
from .server_events import Malformed, ServerEvent
from .session import BYTES_PER_MS, Payload
from .values import value

ENGINE_FRAME_MS = 200
"""The model takes audio in steps of this length; the best size of an append."""

ENGINE_FRAME_BYTES = ENGINE_FRAME_MS * BYTES_PER_MS


@value
class OutputAudioDelta(ServerEvent):
    """More translated speech: base64 of int16 little-endian mono PCM at 24 kHz, of any length.

    `elapsed_ms` is how far the model is in the audio of this connection. It moves by 200 although 400 ms of audio came
    with each (seen live), so it says nothing about the length of what is said.
    """

    type: ClassVar[str] = "session.output_audio.delta"
    delta: str
    elapsed_ms: float | None = None


@value
class OutputTranscriptDelta(ServerEvent):
    """More text of the translation, to be put behind the last one as it is. Several may have the same `elapsed_ms`."""

    type: ClassVar[str] = "session.output_transcript.delta"
    delta: str
    elapsed_ms: float | None = None


@value
class InputTranscriptDelta(ServerEvent):
    """More text of what the speaker said, in the speaker's language; only when the session was asked for it."""

    type: ClassVar[str] = "session.input_transcript.delta"
    delta: str
    elapsed_ms: float | None = None


@value
class SessionClosed(ServerEvent):
    """Everything that was sent before `session.close` has been translated and told."""

    type: ClassVar[str] = "session.closed"


_READERS: Mapping[str, Callable[[Any], ServerEvent]] = {
    cls.type: reader(cls) for cls in (OutputAudioDelta, OutputTranscriptDelta, InputTranscriptDelta, SessionClosed)
}


def from_payload(payload: Mapping[str, Any]) -> ServerEvent:
    """Turn a parsed frame of a translation session into an event; never raises."""
    name = payload.get("type")
    read = _READERS.get(name) if isinstance(name, str) else None
    if read is None:
        return server_events.from_payload(payload)
    try:
        return read(payload)
    except Unreadable as problem:
        return Malformed(str(name), str(problem))


AUDIO_APPEND = client_events.Append("session.input_audio_buffer.append")
"""Source audio."""


def session_close(*, event_id: str) -> client_events.Event:
    """Ask for the end: the rest is translated and told, then comes `session.closed`. Nothing may be sent behind it."""
    return {"type": "session.close", "event_id": event_id}


def session_payload(
    *, target_language: str, source_model: str | None, noise_reduction: Mapping[str, Any] | None
) -> Payload:
    """A `session` as it is updated: neither `type` nor `model`, which are fixed by the URL and refused here."""
    return {
        "audio": {
            "input": {
                "transcription": None if source_model is None else {"model": source_model},
                "noise_reduction": None if noise_reduction is None else dict(noise_reduction),
            },
            "output": {"language": target_language},
        }
    }
