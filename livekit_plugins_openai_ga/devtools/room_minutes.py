"""Writes down a call in a LiveKit room as the caller sees it: what the agent reports into the room, what is heard."""

from __future__ import annotations

from dataclasses import dataclass

from livekit.agents.voice import RemoteSession
from livekit.protocol.agent_pb import agent_session as pb

from ..core.usage import ReplyUsage
from .minutes import Minutes
from .room_caller import Ear

_ON_ITS_WAY_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class _Said:
    """A message of the agent, and when it was told that it had ended."""

    at: float
    text: str
    interrupted: bool


class RoomReader:
    """Tells the minutes what an agent reports over `lk.agent.session`; the audio tells when it was heard."""

    def __init__(self, minutes: Minutes) -> None:
        self._minutes = minutes
        self._turn = 0
        self._said: list[_Said] = []
        self._usage: list[tuple[str, ReplyUsage]] = []

    def attend(self, session: RemoteSession) -> None:
        """Listen to the agent's session."""
        session.on("user_state_changed", self._user_state)
        session.on("user_input_transcribed", self._transcribed)
        session.on("conversation_item_added", self._item)
        session.on("tool_execution_updated", self._tool)
        session.on("session_usage_updated", self._billed)
        session.on("error", lambda event: self._minutes.note(f"error: {event.error.message}"))

    def close(self, ear: Ear | None, zero: float) -> None:
        """The call is over. `ear`: what was heard of the agent; `zero`: the event loop's time of the minutes' 0 s."""
        left = [(start - zero, end - zero) for start, end in ear.stretches()] if ear else []
        for said in self._said:
            # A message is reported when it has been played, and the last of it is still on its way to the caller.
            heard, left = _parted(left, said.at + _ON_ITS_WAY_SECONDS)
            if heard:
                start, end = heard[0][0], heard[-1][1]
                self._minutes.timeline.speech("agent", start, end, said.text, interrupted=said.interrupted)
        for model, usage in self._usage:
            self._minutes.billed(model, usage)
        self._minutes.close()

    def _user_state(self, event: pb.AgentSessionEvent) -> None:
        if event.user_state_changed.new_state == pb.US_SPEAKING:
            self._turn += 1
            self._minutes.caller_began(str(self._turn))
        elif event.user_state_changed.old_state == pb.US_SPEAKING:
            self._minutes.caller_ended(str(self._turn))

    def _transcribed(self, event: pb.AgentSessionEvent) -> None:
        said = event.user_input_transcribed
        if said.is_final and said.transcript:
            self._minutes.caller_said(str(self._turn), said.transcript)

    def _item(self, event: pb.AgentSessionEvent) -> None:
        item = event.conversation_item_added.item
        if not item.HasField("message") or item.message.role != pb.ASSISTANT:
            return
        text = " ".join(part.text for part in item.message.content).strip()
        self._minutes.follow(f"agent: {text}{' (interrupted)' if item.message.interrupted else ''}")
        self._said.append(_Said(self._minutes.clock(), text, item.message.interrupted))

    def _tool(self, event: pb.AgentSessionEvent) -> None:
        update = event.tool_execution_updated
        if update.HasField("started"):
            call = update.started.function_call
            self._minutes.tool_began(call.call_id, call.name, call.arguments)
        elif update.HasField("ended"):
            self._minutes.tool_ended(update.ended.call_id, update.ended.message or "(no result)")

    def _billed(self, event: pb.AgentSessionEvent) -> None:
        """Sums of the whole session, anew with each reply."""
        used = [model.llm for model in event.session_usage_updated.usage.model_usage if model.HasField("llm")]
        self._usage = [(usage.model, _usage(usage)) for usage in used]


def _parted(
    stretches: list[tuple[float, float]], at: float
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """What began before `at`, and the rest; a stretch that goes on for long after it is parted."""
    before = [
        (start, min(end, at) if end - at > _ON_ITS_WAY_SECONDS else end) for start, end in stretches if start < at
    ]
    after = [(max(start, at), end) for start, end in stretches if end - max(start, at) > _ON_ITS_WAY_SECONDS]
    return before, after


def _usage(usage: pb.LLMModelUsage) -> ReplyUsage:
    return ReplyUsage(
        input_text=usage.input_text_tokens,
        input_audio=usage.input_audio_tokens,
        input_image=usage.input_image_tokens,
        cached_text=usage.input_cached_text_tokens,
        cached_audio=usage.input_cached_audio_tokens,
        cached_image=usage.input_cached_image_tokens,
        output_text=usage.output_text_tokens,
        output_audio=usage.output_audio_tokens,
    )
