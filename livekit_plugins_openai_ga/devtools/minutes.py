"""Writes a call down while it is held: what the session, the server and the loudspeaker report becomes a `Timeline`.

Everything is dated on the clock of the call's recording, so the timeline and the WAV file can be laid side by side. A
caller's turn is what the server took as one; its edges are where the caller was audible. What the agent said is what
was heard of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit.agents import AgentSession, CloseEvent, ErrorEvent, UserInputTranscribedEvent
from livekit.agents.metrics import RealtimeModelMetrics, STTMetrics
from livekit.agents.voice import io
from livekit.agents.voice.events import ToolCallEnded, ToolCallStarted, ToolExecutionUpdatedEvent

from .. import models
from ..core.usage import ReplyUsage
from ..realtime import RealtimeSession
from .call import CallerAudio, Loudspeaker
from .timeline import Timeline

NOT_TRANSCRIBED = "(not transcribed)"


@dataclass(slots=True)
class _CallerTurn:
    started: float
    stopped: float | None = None
    text: str = NOT_TRANSCRIBED


@dataclass(slots=True)
class _ToolCall:
    started: float
    name: str
    arguments: str
    ended: float | None = None
    result: str | None = None


class Minutes:
    """Takes the minutes of one call; `timeline` is complete after `close`. Somebody tells it what happens now."""

    def __init__(
        self, caller: CallerAudio, *, clock: Callable[[], float], follow: Callable[[str], None] = lambda line: None
    ) -> None:
        """`clock`: seconds since the call's recording began. `follow` gets a line whenever something was said."""
        self.timeline = Timeline()
        self.failure = ""
        """Why the session ended, when it did by itself; "" otherwise."""
        self.clock = clock
        self.follow = follow
        self._caller = caller
        self._turns: dict[str, _CallerTurn] = {}
        self._tools: dict[str, _ToolCall] = {}

    def note(self, text: str) -> None:
        """Write down something that happens now."""
        self.timeline.note(self.clock(), text)

    def caller_began(self, turn: str) -> None:
        """A detector heard the caller begin the turn of this name."""
        self._turns[turn] = _CallerTurn(self.clock())

    def caller_ended(self, turn: str) -> None:
        """A detector heard the caller end it."""
        if turn in self._turns:
            self._turns[turn].stopped = self.clock()

    def caller_said(self, turn: str, text: str) -> None:
        """What was said in it."""
        if turn in self._turns:
            self._turns[turn].text = text
            self.follow(f"caller: {text}")

    def tool_began(self, call_id: str, name: str, arguments: str) -> None:
        """A tool runs; `arguments` is the JSON text that the model wrote."""
        self._tools[call_id] = _ToolCall(self.clock(), name, arguments)
        self.follow(f"tool: {name}({arguments})")

    def tool_ended(self, call_id: str, result: str) -> None:
        """It has ended."""
        if call_id in self._tools:
            self._tools[call_id].ended, self._tools[call_id].result = self.clock(), result

    def failed(self, sentence: str) -> None:
        """The session has ended by itself. The first reason counts."""
        if not self.failure:
            self.failure = sentence
            self.note(f"ended by an error: {sentence}")

    def billed(self, model: str, usage: ReplyUsage) -> None:
        """What the server charges for."""
        tokens = {
            "audio in": usage.input_audio,
            "text in": usage.input_text,
            "of these cached": usage.cached_audio + usage.cached_text + usage.cached_image,
            "audio out": usage.output_audio,
            "text out": usage.output_text,
        }
        self.timeline.usage({} if usage.seconds else tokens, models.cost(usage, model).total)

    def close(self) -> None:
        """The call is over: write down what could only be known now."""
        previous_end = 0.0
        for turn in self._turns.values():
            stopped = self.clock() if turn.stopped is None else turn.stopped
            start, end = self._caller.turn(turn.started, stopped, after=previous_end)
            previous_end = end
            self.timeline.speech("caller", start, end, turn.text)
        for call in self._tools.values():
            self.timeline.tool_call(call.started, call.ended, call.name, call.arguments, call.result)
        self._turns.clear()
        self._tools.clear()
        self.note("closed")


class SessionReader:
    """Tells the minutes what an agent session of this process, its loudspeaker and the server report."""

    def __init__(self, minutes: Minutes, loudspeaker: Loudspeaker) -> None:
        self._minutes = minutes
        self._loudspeaker = loudspeaker

    def attend_session(self, session: AgentSession[Any], played: io.AudioOutput) -> None:
        """Listen to an agent session. `played` is its audio output: the one that knows what text was heard."""
        session.on("user_input_transcribed", self._transcribed)
        session.on("tool_execution_updated", self._tool_updated)
        session.on("error", self._error)
        session.on("close", self._closed)
        played.on("playback_finished", self._played)

    def attend_model(self, session: RealtimeSession) -> None:
        """Listen to the model's side: the server's own view of the turns, the connection and the bill."""
        session.on("openai_server_event_received", self._server_event)
        session.on("metrics_collected", self._billed)
        session.on("session_reconnected", lambda _: self._minutes.note("reconnected"))

    def _server_event(self, event: dict[str, Any]) -> None:
        if event.get("type") == "input_audio_buffer.speech_started":
            self._minutes.caller_began(str(event.get("item_id")))
        elif event.get("type") == "input_audio_buffer.speech_stopped":
            self._minutes.caller_ended(str(event.get("item_id")))

    def _transcribed(self, event: UserInputTranscribedEvent) -> None:
        if event.is_final and event.transcript and event.item_id:
            self._minutes.caller_said(event.item_id, event.transcript)

    def _played(self, event: io.PlaybackFinishedEvent) -> None:
        if event.playback_position > 0:
            heard = self._loudspeaker.heard[-1]
            text = (event.synchronized_transcript or "").strip() or NOT_TRANSCRIBED
            self._minutes.follow(f"agent: {text}{' (interrupted)' if heard.interrupted else ''}")
            self._minutes.timeline.speech("agent", heard.start, heard.end, text, interrupted=heard.interrupted)

    def _tool_updated(self, event: ToolExecutionUpdatedEvent) -> None:
        update = event.update
        if isinstance(update, ToolCallStarted):
            call = update.function_call
            self._minutes.tool_began(call.call_id, call.name, call.arguments)
        elif isinstance(update, ToolCallEnded):
            self._minutes.tool_ended(call_id(update.id), update.message or f"({update.status})")

    def _error(self, event: ErrorEvent) -> None:
        sentence = _sentence(event.error)
        if getattr(event.error, "recoverable", False):
            self._minutes.note(f"error: {sentence}")
        else:
            self._minutes.failed(sentence)

    def _closed(self, event: CloseEvent) -> None:
        if event.error is not None:
            self._minutes.failed(_sentence(event.error))

    def _billed(self, metrics: RealtimeModelMetrics | STTMetrics) -> None:
        model = (metrics.metadata.model_name if metrics.metadata else None) or ""
        if isinstance(metrics, STTMetrics):
            self._minutes.timeline.usage({}, models.cost(_transcribed(metrics), model).total)
        elif metrics.request_id:  # LiveKit reports each new connection as metrics without a response
            self._minutes.billed(model, _usage(metrics))


def call_id(update_id: str) -> str:
    """The call that LiveKit's update about the end of a tool belongs to."""
    return update_id.removesuffix("_final")


def _usage(metrics: RealtimeModelMetrics) -> ReplyUsage:
    given, made = metrics.input_token_details, metrics.output_token_details
    cached = given.cached_tokens_details or RealtimeModelMetrics.CachedTokenDetails()
    return ReplyUsage(
        input_text=given.text_tokens,
        input_audio=given.audio_tokens,
        input_image=given.image_tokens,
        cached_text=cached.text_tokens,
        cached_audio=cached.audio_tokens,
        cached_image=cached.image_tokens,
        output_text=made.text_tokens,
        output_audio=made.audio_tokens,
    )


def _transcribed(metrics: STTMetrics) -> ReplyUsage:
    """What was billed by its length has no tokens."""
    return ReplyUsage(
        input=metrics.input_tokens,
        output=metrics.output_tokens,
        input_audio=getattr(metrics, "input_audio_tokens", 0),  # LiveKit 1.8.9 has it, older ones do not
        output_text=metrics.output_tokens,
        seconds=metrics.audio_duration,
    )


def _sentence(error: Any) -> str:
    return str(getattr(getattr(error, "error", error), "message", error))
