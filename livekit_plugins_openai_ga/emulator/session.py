"""One emulated GA session: client frames in, actions for the socket out.

A pure state machine. It owns no socket, no clock and no task: time comes in as `now` (seconds on any clock that only
goes forward), and `next_deadline` says when `tick` has something to do, so the same object runs behind a real
WebSocket and in a test with virtual time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Literal

from . import config, schema
from .actions import Action, Close, Event
from .channel import Channel
from .conversation import Conversation, Item, Refused
from .faults import FaultPlan
from .knobs import Knobs
from .listening import Listening
from .reply import Reply
from .responding import Responding
from .script import Script

SESSION_EXPIRED = "Your session hit the maximum duration of 60 minutes."
SessionType = Literal["realtime", "transcription"]


class EmulatorSession:
    """A `realtime` or `transcription` session.

    `created_at` is the unix time that `expires_at` counts from; `number` goes into every id, so that the sessions of
    one server share none and a run can be repeated to the letter.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "gpt-realtime-2.1",
        session_type: SessionType = "realtime",
        knobs: Knobs | None = None,
        faults: FaultPlan | None = None,
        now: float = 0.0,
        created_at: int = 1_789_000_000,
        number: int = 1,
    ) -> None:
        self.received: list[Event] = []
        self._channel = channel = Channel(script, knobs or Knobs(), faults or FaultPlan(), now, number)
        self.id = channel.new_id("sess")
        expires_at = created_at + int(channel.knobs.lifetime)
        channel.config = (
            config.transcription(self.id, expires_at, channel.knobs)
            if session_type == "transcription"
            else config.realtime(model, self.id, expires_at, channel.knobs)
        )
        self._responding = Responding(channel, on_ending=self._reply_is_ending, on_idle=self._await_user)
        self._listening = Listening(channel, on_speech=self._responding.interrupt, on_turn=self._responding.answer_turn)
        self._handlers: dict[str, Callable[[Event], None]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._listening.append,
            "input_audio_buffer.commit": self._listening.commit,
            "input_audio_buffer.clear": self._listening.clear,
            "conversation.item.create": self._item_create,
            "conversation.item.delete": self._item_delete,
            "conversation.item.retrieve": self._item_retrieve,
            "conversation.item.truncate": self._item_truncate,
            "response.create": self._responding.create,
            "response.cancel": self._responding.cancel,
        }

    # What there is to see.

    @property
    def config(self) -> Event:
        """The session object as the server keeps it."""
        return self._channel.config

    @property
    def sent(self) -> list[Event]:
        """The server events sent so far, in order; the client's are `received`."""
        return self._channel.sent

    @property
    def conversation(self) -> Conversation:
        """The conversation with the audio in it."""
        return self._channel.conversation

    @property
    def items(self) -> list[Event]:
        """The conversation as the server would send it, in order."""
        return [item.payload() for item in self._channel.conversation]

    @property
    def active_reply(self) -> Reply | None:
        """The response under way in the default conversation."""
        return self._responding.active

    @property
    def closed(self) -> Close | None:
        """How the session ended, 1006 when the connection broke; None while it lives."""
        return self._channel.closed

    # In and out.

    def start(self, now: float) -> list[Action]:
        """What a healthy handshake is followed by."""
        channel = self._channel
        channel.advance(now)
        channel.after(channel.faults.lifetime(channel.knobs.lifetime), self._expire)
        channel.emit("session.created", session=channel.config)
        if channel.knobs.conversation_created:
            conversation = {"id": channel.conversation.id, "object": "realtime.conversation"}
            channel.emit("conversation.created", conversation=conversation)
        return channel.flush()

    def receive(self, frame: str | bytes, now: float) -> list[Action]:
        """Take one frame from the client."""
        self._channel.advance(now)
        if self._channel.closed is None:
            self._take(frame)
        return self._channel.flush()

    def tick(self, now: float) -> list[Action]:
        """Do what is due by `now`."""
        self._channel.advance(now)
        return self._channel.flush()

    def next_deadline(self) -> float | None:
        """When `tick` is next needed; None when nothing is pending."""
        return self._channel.next_deadline()

    def connection_lost(self, code: int, reason: str) -> None:
        """The connection is gone, by the client or by an accident; nothing is sent any more."""
        self._channel.do(Close(code, reason))
        self._channel.flush()

    def _expire(self) -> None:
        self._error(Refused("session_expired", SESSION_EXPIRED), None)
        self._channel.do(Close(1001, SESSION_EXPIRED))

    def _take(self, frame: str | bytes) -> None:
        event_id = None
        faults = self._channel.faults
        try:
            event = _parse(frame)
            if isinstance(event, dict):
                self.received.append(event)
                given = event.get("event_id")
                event_id = given if isinstance(given, str) else None
                actions, refusal, lost = faults.on_receive(event)
                for action in actions:
                    self._channel.do(action)
                if refusal:
                    raise refusal
                if lost or self._channel.closed is not None:
                    return
            schema.check(event, self.config["type"])
            self._handlers[event["type"]](event)
        except Refused as refused:
            self._error(refused, event_id)

    def _error(self, refusal: Refused, event_id: str | None) -> None:
        error = {
            "type": refusal.error_type,
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        }
        self._channel.emit("error", error=error)

    # Session and items.

    def _session_update(self, event: Event) -> None:
        channel = self._channel
        channel.config = config.updated(
            channel.config, event["session"], channel.knobs, voice_locked=self._responding.voice_locked
        )
        self._listening.configure()
        channel.emit("session.updated", session=channel.config)

    def _item_create(self, event: Event) -> None:
        channel = self._channel
        item = _item_from(event["item"], channel.new_id)
        channel.conversation.add(item, event.get("previous_item_id"))
        if item.fields.get("role") == "user":
            channel.user_was_heard = True
        previous = channel.conversation.previous_id(item.id)
        for event_type in ("conversation.item.added", "conversation.item.done"):
            channel.emit(event_type, item=item.payload(), previous_item_id=previous)

    def _item_delete(self, event: Event) -> None:
        self._channel.conversation.delete(event["item_id"])
        self._channel.emit("conversation.item.deleted", item_id=event["item_id"])

    def _item_retrieve(self, event: Event) -> None:
        item = self._channel.conversation.retrieve(event["item_id"])
        self._channel.emit("conversation.item.retrieved", item=item)

    def _item_truncate(self, event: Event) -> None:
        place = {key: event[key] for key in ("item_id", "content_index", "audio_end_ms")}
        self._channel.conversation.truncate(**place)
        self._channel.emit("conversation.item.truncated", **place)

    # Between the two sides.

    def _reply_is_ending(self) -> None:
        if self._channel.knobs.transcripts == "before_done":
            self._listening.report_held_transcripts()

    def _await_user(self, playback_left: float) -> None:
        self._listening.report_held_transcripts()
        idle_ms = self._channel.turn_detection.get("idle_timeout_ms")
        if idle_ms is None:
            return
        so_far = self._activity()

        def give_up() -> None:
            if self._activity() == so_far and not self.active_reply:
                self._listening.time_out(idle_ms)

        self._channel.after(playback_left + idle_ms / 1000, give_up)

    def _activity(self) -> tuple[bool, int]:
        """Changes whenever the user speaks or an item comes in."""
        return self._listening.buffer.speaking, len(self._channel.conversation)


def _parse(frame: str | bytes) -> Any:
    if isinstance(frame, bytes):
        raise Refused("invalid_event", "Expected a text WebSocket message; binary frames are not supported.")
    try:
        return json.loads(frame)
    except ValueError as exc:
        raise Refused("invalid_json", f"Invalid event: failed to parse JSON value. {exc}") from None


def _item_from(given: Event, new_id: Callable[[str], str]) -> Item:
    """The client's item as the server keeps it: ids filled in, audio apart from what goes on the wire."""
    fields = {key: value for key, value in given.items() if key not in ("id", "type", "status", "object")}
    audio = bytearray()
    if "content" in fields:
        parts = []
        for number, part in enumerate(fields["content"]):
            if part["type"] == "input_audio":
                audio += _audio_part(part["audio"], f"item.content[{number}].audio")
                part = {"type": "input_audio", "transcript": part.get("transcript")}
            parts.append(part)
        fields["content"] = parts
    if given["type"] == "function_call":
        fields.setdefault("call_id", new_id("call"))
    return Item(given.get("id") or new_id("item"), given["type"], given.get("status", "completed"), fields, audio)


def _audio_part(encoded: str, path: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Refused("invalid_value", f"Invalid '{path}'. Expected base64-encoded audio bytes.", path) from None
