"""A conversation without a socket: what the server says goes in, the effects are written down."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.conversation import Conversation
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.wire.items import Item
from livekit_plugins_openai_ga.wire.server_events import from_payload
from livekit_plugins_openai_ga.wire.session import realtime_payload

E = TypeVar("E", bound=fx.Effect)
WANTED = realtime_payload(
    input_options={"turn_detection": {"type": "server_vad"}},
    output_options={"voice": "marin"},
    options={"instructions": "be nice", "tools": []},
)
PCM_100_MS = b64encode(bytes(4800)).decode()


class Talk:
    """Drives one `Conversation`. Every call returns its effects and remembers them; `now` is set by the test."""

    def __init__(self) -> None:
        self.conversation = Conversation(WANTED)
        self.effects: list[fx.Effect] = []
        self.now = 0.0

    def note(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        self.effects += effects
        return effects

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def forget(self) -> None:
        self.effects.clear()

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [effect.event for effect in self.all(fx.Send)]

    def sent_of(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.sent if event["type"] == name]

    @property
    def told(self) -> list[str]:
        """Names of the effects so far, without what was sent."""
        return [type(effect).__name__ for effect in self.effects if not isinstance(effect, fx.Send)]

    @property
    def texts(self) -> dict[str, str]:
        return {record.id: record.item.text for record in self.conversation.mirror}

    # -- the server ----------------------------------------------------------------------------------------------

    def says(self, name: str, **fields: Any) -> list[fx.Effect]:
        return self.note(self.conversation.receive(from_payload({"type": name, **fields}), self.now))

    def ready(self) -> Talk:
        """Open a connection and confirm its configuration."""
        self.note(self.conversation.opened(self.now))
        self.says("session.updated", session=WANTED)
        return self

    def refuses(self, event: Mapping[str, Any], code: str, message: str = "no", param: str | None = None) -> Any:
        error = {"type": "invalid_request_error", "code": code, "message": message, "param": param}
        return self.says("error", error={**error, "event_id": event.get("event_id")})

    def acknowledges(self) -> None:
        """Answer every item change sent so far, as a server without items of its own would, and forget them."""
        events = [event for event in self.sent if event["type"].startswith("conversation.item.")]
        self.forget()
        for event in events:
            if event["type"] == "conversation.item.delete":
                self.says("conversation.item.deleted", item_id=event["item_id"])
            elif event["type"] == "conversation.item.create":
                previous = event.get("previous_item_id", self.conversation.mirror.before(event["item"]["id"]))
                self.added(event["item"], None if previous == "root" else previous)

    def added(self, item: Mapping[str, Any], previous: str | None = None) -> list[fx.Effect]:
        return self.says("conversation.item.added", item=dict(item), previous_item_id=previous)

    def user_turn(self, item_id: str, previous: str | None = None) -> None:
        self.says("input_audio_buffer.committed", item_id=item_id, previous_item_id=previous)
        part = {"type": "input_audio", "transcript": None}
        self.added({"id": item_id, "type": "message", "role": "user", "content": [part]}, previous)

    def transcript(self, item_id: str, text: str, **more: Any) -> list[fx.Effect]:
        return self.says(
            "conversation.item.input_audio_transcription.completed",
            item_id=item_id,
            content_index=0,
            transcript=text,
            **more,
        )

    def begins(self, response_id: str, key: str | None = None, *, aside: bool = False) -> list[fx.Effect]:
        metadata = {"client_event_id": key} if key is not None else None
        conversation = None if aside else "conv_1"
        response = {"id": response_id, "status": "in_progress", "metadata": metadata, "conversation_id": conversation}
        return self.says("response.created", response=response)

    def message(self, response_id: str, item_id: str, previous: str | None = None, *, aside: bool = False) -> None:
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.says("response.output_item.added", response_id=response_id, item=item)
        if not aside:
            self.added(item, previous)

    def speaks(self, response_id: str, item_id: str, text: str, *, ms: int = 100) -> None:
        ids = {"response_id": response_id, "item_id": item_id}
        self.says("response.content_part.added", **ids, part={"type": "audio", "transcript": ""})
        self.says("response.output_audio_transcript.delta", **ids, delta=text)
        for _ in range(ms // 100):
            self.says("response.output_audio.delta", **ids, delta=PCM_100_MS)

    def writes(self, response_id: str, item_id: str, text: str) -> None:
        self.says("response.output_text.delta", response_id=response_id, item_id=item_id, delta=text)

    def ends(self, response_id: str, status: str = "completed", **more: Any) -> list[fx.Effect]:
        return self.says("response.done", response={"id": response_id, "status": status, **more})

    def reply_told(self, response_id: str, item_id: str, key: str | None = None) -> None:
        """A reply that has begun to be heard."""
        self.begins(response_id, key)
        self.message(response_id, item_id)
        self.speaks(response_id, item_id, "Good")

    def fails(self, response_id: str, code: str, message: str = "boom") -> list[fx.Effect]:
        error = {"type": code, "code": code, "message": message}
        return self.ends(response_id, "failed", status_details={"type": "failed", "error": error})

    def reply(self, response_id: str, item_id: str, text: str, previous: str | None = None, *, ms: int = 100) -> None:
        """A whole spoken reply of the server's own."""
        self.begins(response_id)
        self.message(response_id, item_id, previous)
        self.speaks(response_id, item_id, text, ms=ms)
        self.ends(response_id)

    # -- LiveKit -------------------------------------------------------------------------------------------------

    def asks(self, key: str, *, aside: bool = False, played: bool = False) -> list[fx.Effect]:
        return self.note(self.conversation.answers.ask(key, {}, aside=aside, played=played))

    def rests(self, key: str) -> list[fx.Effect]:
        return self.note(self.conversation.answers.rested(key))

    def gives_up(self, key: str) -> list[fx.Effect]:
        return self.note(self.conversation.answers.give_up(key, self.now))

    def syncs(self, key: str, target: Sequence[Record]) -> list[fx.Effect]:
        return self.note(self.conversation.sync(target, key))

    def truncates(self, item_id: str, ms: int, heard: str | None, *, spoken: bool = True) -> list[fx.Effect]:
        return self.note(self.conversation.truncate(item_id, spoken=spoken, audio_end_ms=ms, heard=heard))

    def configures(self, key: str | None = None, **options: Any) -> list[fx.Effect]:
        return self.note(self.conversation.configure({**self.conversation.config.wanted, **options}, key))

    def loses_connection(self) -> list[fx.Effect]:
        return self.note(self.conversation.closed(self.now))

    def opens(self) -> list[fx.Effect]:
        return self.note(self.conversation.opened(self.now))


def record(item_id: str, text: str = "text", role: str = "user") -> Record:
    kind = "output_text" if role == "assistant" else "input_text"
    return Record(Item(item_id, "message", role=role, content=({"type": kind, "text": text},) if text else ()), 0.0)


@pytest.fixture
def new() -> Talk:
    """A conversation that has never had a connection."""
    return Talk()


@pytest.fixture
def talk() -> Talk:
    """A conversation with a configured session, and nothing said yet."""
    ready = Talk().ready()
    ready.forget()
    return ready


@pytest.fixture
def message() -> Any:
    """Makes records of messages: `message(item_id, text, role)`."""
    return record
