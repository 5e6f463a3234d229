"""One emulated `realtime` or `transcription` session: what each client event does to it.

The user's side is in `listening`, the model's in `responding`; here they meet, over the conversation between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from . import config
from .actions import Event
from .channel import Channel
from .conversation import Conversation, item_from
from .faults import FaultPlan
from .framing import FramedSession
from .knobs import Knobs
from .listening import Listening
from .mcp import shown
from .reply import Reply
from .responding import Responding
from .script import Script

SessionType = Literal["realtime", "transcription"]
# What is a session's own, however it was asked for.
_OWN = ("id", "expires_at", "model")


class EmulatorSession(FramedSession):
    """A `realtime` or `transcription` session.

    `created_at` is the unix time that `expires_at` counts from; `number` goes into every id, so that the sessions of
    one server share none and a run can be repeated to the letter. `deployments`: models go by the names of their
    deployments, as on Azure; this says which is behind which. `minted` is the configuration it begins with, as `asked`
    makes it; the model is the argument's.
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
        deployments: Mapping[str, str] | None = None,
        minted: Event | None = None,
    ) -> None:
        channel = Channel(script, knobs or Knobs(), faults or FaultPlan(), now, number)
        channel.deployments = deployments
        session_id = channel.new_id("sess")
        expires_at = created_at + int(channel.knobs.lifetime)
        channel.config = (
            config.transcription(session_id, expires_at, channel.knobs)
            if session_type == "transcription"
            else config.realtime(model, session_id, expires_at, channel.knobs)
        )
        if minted is not None:
            fresh = channel.config
            channel.config = {**minted, **{key: fresh[key] for key in _OWN if key in fresh}}
        self._responding = Responding(channel, on_ending=self._reply_is_ending, on_idle=self._await_user)
        self._listening = Listening(channel, on_speech=self._user_speaks, on_turn=self._responding.answer_turn)
        handlers: dict[str, Callable[[Event], None]] = {
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
        super().__init__(channel, handlers)

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

    def _started(self) -> None:
        if self._channel.knobs.conversation_created:
            conversation = {"id": self.conversation.id, "object": "realtime.conversation"}
            self._channel.emit("conversation.created", conversation=conversation)

    # Session and items.

    def _session_update(self, event: Event) -> None:
        channel, mcp = self._channel, self._responding.mcp
        mcp.check(event["session"].get("tools") or (), "session")
        channel.config = config.updated(
            channel.config,
            event["session"],
            channel.knobs,
            voice_locked=self._responding.voice_locked,
            deployments=channel.deployments,
        )
        self._listening.configure()
        channel.emit("session.updated", session=shown(channel.config))
        mcp.use(channel.config.get("tools") or ())

    def _item_create(self, event: Event) -> None:
        channel = self._channel
        item = item_from(event["item"], channel.new_id, channel.config["audio"]["input"]["format"]["type"])
        answers = item.type == "mcp_approval_response"
        then = self._responding.mcp.answered(item.fields) if answers else None
        channel.conversation.add(item, event.get("previous_item_id"))
        if item.fields.get("role") == "user":
            channel.user_was_heard = True
        previous = channel.conversation.previous_id(item.id)
        for event_type in ("conversation.item.added", "conversation.item.done"):
            channel.emit(event_type, item=item.payload(), previous_item_id=previous)
        if then is not None:
            then()

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

    def _user_speaks(self) -> None:
        self._responding.interrupt()

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
