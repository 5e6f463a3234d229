"""The running half of a session: carries out the core's effects, serves the connection, tells LiveKit what happens.

`_do(effects)` runs in the same step as the call that made them, with no `await` between, so nothing here needs a
lock. State lives with its owners: the conversation (`core`), what leaves (`Outbox`), the socket (`Supervisor`), what
LiveKit holds (`streams`). The shell itself only knows what the user asked for. `session.py` is the other half: the
calls that LiveKit makes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from livekit.agents import llm

from .. import recorded
from ..audio import InputAudio
from ..core import effects as fx
from ..core.conversation import Conversation
from ..counters import Counters
from ..errors import Failure, Kind, from_exception
from ..failures import MODEL_REFUSED
from ..framework import PLAYS_ONE_MESSAGE, RemoteItemAddedEvent, make, report_acquired
from ..transport.link import Link
from ..transport.outbox import Outbox
from ..transport.supervisor import Budget, Supervisor
from ..wire import server_events
from ..wire.client_events import Event
from ..wire.server_events import Malformed
from . import events, mapping, server_tools
from .billing import Billing
from .shown import Shown
from .spending import ConversationSpending
from .streams import PIECES, ReplyStreams, Requests, refusal
from .telling import Telling
from .timers import Timers
from .tools import Tools

if TYPE_CHECKING:
    from .model import RealtimeModel

CONFIRMATION = "confirmation"
"""The timer of the first configuration."""

RECYCLE_PATIENCE_S = 30.0
"""How long a planned change of connection waits for a moment in which nobody speaks."""


class Shell(Billing):
    """Owns the session's parts and their connection; implements `transport.supervisor.Peer`."""

    def __init__(self, realtime_model: RealtimeModel, *, turn_detection_disabled: bool = False) -> None:
        super().__init__(realtime_model)
        self._model = realtime_model
        self._options = realtime_model.options
        if turn_detection_disabled:
            self._options = self._options.changed({"turn_detection": None})
        self._instructions: str | None = None
        self._tools = Tools()
        self._spending = ConversationSpending(self._options, self.emit)

        heard, spoken = self._options.input_format, self._options.output_format
        self._conversation = self._begin()
        self._shown = Shown(self._conversation.mirror, heard)
        self._requests = Requests()
        self._streams = ReplyStreams(
            spoken=self._options.audio_output, announce=self._announce, joined=PLAYS_ONE_MESSAGE, form=spoken
        )
        self._timers = Timers()
        self._input = InputAudio(heard, chunk_ms=self._options.input_chunk_ms)
        self._over: Failure | None = None

        connection = self._options.connection
        keep_ms, dead_for = self._options.max_replay_audio * 1000, 2 * connection.heartbeat
        self._outbox = Outbox(keep_ms=keep_ms, dead_for=dead_for, bytes_per_ms=heard.bytes_per_ms)
        self._budget = Budget(connection.conn_options.max_retry, connection.conn_options.retry_interval)
        # Bound methods weigh a third of lambdas, and there is one of each in every session.
        counters = Counters("realtime", self._options.model, self._outbox.audio, self._dropped)
        self._telling = Telling(counters, self._asked_model, self._attempt, label=realtime_model.label, emit=self.emit)
        peer = recorded.session(self, "realtime", self._options, heard, spoken)
        self._supervisor = Supervisor(
            self._dial,
            peer,
            self._outbox,
            self._budget,
            recycle_after=connection.max_session_duration,
            recycle_patience=RECYCLE_PATIENCE_S,
        )
        self._outbox.listen(idle=self._conversation.server_vad)
        self._main = asyncio.create_task(self._run(), name="openai_ga.RealtimeSession")
        recorded.until(self._main, peer)

    def _begin(self) -> Conversation:
        return Conversation(
            self._payload(),
            resume_replies=self._options.resume_replies == "unheard",
            heard_per_ms=self._options.input_format.bytes_per_ms,
            spoken_per_ms=self._options.output_format.bytes_per_ms,
        )

    def _dropped(self) -> Mapping[str, int]:
        return {"event": self._outbox.events_dropped, "turn": self._conversation.spoken.dropped}

    def _asked_model(self) -> str:
        return self._options.model

    def _attempt(self) -> int:
        return self._budget.attempt(time.monotonic())

    def _payload(self) -> dict[str, Any]:
        return self._spending.silenced(self._options.session_payload(self._instructions, self._tools.payloads))

    def _end(self, failure: Failure) -> None:
        self._over = failure
        self._telling.counters.closed()
        self._spending.closed(self._telling.log)
        self._do(self._conversation.abandon(failure, time.time()))
        self._timers.clear()

    # -- the connection (transport.supervisor.Peer) --------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._supervisor.run()
        except Exception as exc:
            self._telling.log.exception("the session ended by an error of this plugin; please report it")
            self.gave_up(replace(from_exception(exc), kind=Kind.FATAL))

    async def _dial(self) -> Link:
        started = time.perf_counter()
        link = await self._model.dial(self._options)
        report_acquired(self, time.perf_counter() - started)
        return link

    def link_opened(self, link: Link) -> None:
        """A session is open: queue its configuration and history."""
        self._telling.opened(link)
        self._do(self._conversation.opened(time.time(), link.told))
        # A gateway that never confirms would leave the agent silent for ever.
        timeout = self._options.connection.conn_options.timeout
        overdue = replace(from_exception(TimeoutError()), message="The server did not confirm the configuration.")
        self._timers.start(CONFIRMATION, timeout, lambda _: self._supervisor.hang_up(overdue))

    def link_received(self, payload: dict[str, Any] | Malformed) -> None:
        """Handle one frame."""
        if self._over is not None:
            return  # what was read in the step in which the session was closed would begin a reply that never ends
        if isinstance(payload, Malformed):
            event: server_events.ServerEvent = payload
        else:
            event = server_events.from_payload(payload)
            if self.watches_events:
                self.emit("openai_server_event_received", payload)
        self._do(self._conversation.receive(event, time.time()))

    def link_sending(self, event: Event) -> bool:
        """An event leaves. The time limit of a reply starts when its request does; a cancelled request stays."""
        if event.get("type") == "response.create":
            key, answers = str(event.get("event_id")), self._conversation.answers
            if self._streams.cancelled(key):
                self._do([*answers.give_up(key, time.time()), *answers.withdrawn(key)])
                return True
            if answers.replies.unwanted(key):
                self._do(answers.withdrawn(key))
                return True
            if answers.left(key):
                self._timers.start(key, self._options.reply_timeout, self._reply_overdue)
        elif event.get("type") == "response.cancel":
            self._timers.start(str(event.get("event_id")), self._options.request_timeout, self._cancel_overdue)
        self.emit("openai_client_event_queued", event)
        return False

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone: what cannot go on ends now."""
        self._timers.stop(CONFIRMATION)
        self._telling.lost(failure)
        self._do(self._conversation.closed(time.time()))
        self._shown.shared.lost()
        self._listen()

    def instead(self, failure: Failure) -> bool:
        """Whether the session goes on with another model, because this one was refused."""
        options = self._options.without_model() if failure.code in MODEL_REFUSED else None
        if options is None:
            return False
        change = self._telling.model_refused(failure, options.model)
        self._model.refused(change.refused)
        self._options = options
        self._do(self._conversation.configure(self._payload()))
        self.emit("model_changed", change)
        return True

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The next attempt comes after `delay` seconds."""
        self._telling.will_retry(failure, delay)

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt: the session is over."""
        failure = self._telling.gave_up(failure)
        self._end(failure)
        self._telling.last_news.over(failure)

    # -- effects -------------------------------------------------------------------------------------------------

    def _do(self, effects: list[fx.Effect]) -> None:
        grow = None
        for effect in effects:
            kind = type(effect)
            if (grow := PIECES.get(kind)) is not None:
                grow(self._streams, effect)
            else:
                HANDLERS[kind](self, effect)
        if grow is not None:  # the last one was a piece
            return
        busy = self._streams.active or self._conversation.server_tools.busy
        self._supervisor.set_calm(not self._conversation.turns.open and not busy)
        self._supervisor.wake()

    def _send(self, effect: fx.Send) -> None:
        self._outbox.put(effect.event, in_turn=effect.in_turn)

    def _ready(self, effect: fx.Ready) -> None:
        self._timers.stop(CONFIRMATION)
        self._telling.counters.ready()
        self._outbox.configured()
        self._supervisor.confirmed()
        if effect.again:
            self.emit("session_reconnected", llm.RealtimeSessionReconnectedEvent())

    def _settled(self, effect: fx.Settled) -> None:
        self._timers.stop(effect.key)
        failure = effect.failure
        if failure is not None and self._over is None and failure is not self._spending.refusing:
            # LiveKit only logs what a refused reply or handoff raises; its error event is what an application hears.
            failure = self._telling.report(failure)
        self._requests.settle(effect.key, failure)
        if failure is not None:
            self._streams.fail(effect.key, refusal(failure))

    def _config_refused(self, effect: fx.ConfigRefused) -> None:
        wanted, refused = self._conversation.config.wanted, self._options
        self._options = refused.restored(wanted)
        self._model.taken_back(refused, self._options)
        self._instructions = wanted.get("instructions")
        self._tools.restore(wanted.get("tools") or [])
        self._listen()

    def _item_placed(self, effect: fx.ItemPlaced) -> None:
        previous = effect.previous_item_id
        for item in mapping.to_chat_items(effect.record):
            self._shown.shared.placed(item, effect.record, transcribes=self._options.transcribes)
            self.emit("remote_item_added", RemoteItemAddedEvent(previous, item))
            previous = item.id

    def _approve(self, request_id: str, approve: bool, reason: str | None) -> bool:
        effects = self._conversation.server_tools.answer(request_id, approve=approve, reason=reason)
        self._do(effects or [])
        return effects is not None

    def _listen(self) -> None:
        self._outbox.listen(idle=self._conversation.server_vad and not self._conversation.turns.open)

    def _speech_started(self, effect: fx.SpeechStarted) -> None:
        self._listen()
        self.emit("input_speech_started", llm.InputSpeechStartedEvent())

    def _speech_stopped(self, effect: fx.SpeechStopped) -> None:
        self._listen()
        event = llm.InputSpeechStoppedEvent(user_transcription_enabled=self._options.transcribes)
        self.emit("input_speech_stopped", event)

    def _audio_taken(self, effect: fx.AudioTaken) -> None:
        self._conversation.took(effect.item_id, self._outbox.taken(effect.until_ms, effect.since_ms))
        self._listen()

    def _input_timeout(self, effect: fx.InputTimeout) -> None:
        start, end = map(self._outbox.session_ms, (effect.start_ms, effect.end_ms))
        self.emit("input_audio_timeout_triggered", events.InputAudioTimeoutTriggered(effect.item_id, start, end))

    def _transcript(self, effect: fx.Transcript) -> None:
        if effect.final:
            self._shown.shared.transcribed(effect.item_id, effect.text)
        self.emit("input_audio_transcription_completed", mapping.transcript(effect))

    def _transcription_failed(self, effect: fx.TranscriptionFailed) -> None:
        self._telling.not_transcribed(effect)
        self._shown.shared.give_up(effect.item_id)

    # -- replies -------------------------------------------------------------------------------------------------

    def _reply_overdue(self, key: str) -> None:
        if self._conversation.answers.waits_again(key):  # it has the whole time when it leaves
            self._timers.start(key, self._options.reply_timeout, self._reply_overdue)
            return
        self._streams.fail(key, make(llm.RealtimeError, "generate_reply timed out.", code="timeout"))
        self._do(self._conversation.answers.give_up(key, time.time(), "failed"))

    def _cancel_overdue(self, key: str) -> None:
        effects = self._conversation.answers.unended(key, time.time())
        if effects is None:
            self._timers.start(key, self._options.request_timeout, self._cancel_overdue)
        else:
            self._do(effects)

    def _reply_again(self, effect: fx.ReplyAgain) -> None:
        self._telling.asked_again(effect)
        if effect.delay:
            self._timers.start(effect.key, effect.delay, self._reply_rested)

    def _reply_rested(self, key: str) -> None:
        self._do(self._conversation.answers.rested(key))

    def _reply_started(self, effect: fx.ReplyStarted) -> None:
        if effect.key is not None:
            self._timers.stop(effect.key)
        self._streams.started(effect)

    def _withdraw(self, effect: fx.Withdraw) -> None:
        self._timers.stop(effect.event_id)
        if self._outbox.withdraw(effect.event_id):
            self._do(self._conversation.answers.withdrawn(effect.event_id))

    def _announce(self, event: llm.GenerationCreatedEvent) -> None:
        self.emit("generation_created", event)

    def _reply_ended(self, effect: fx.ReplyEnded) -> None:
        self._streams.ended(effect)
        if effect.status == "incomplete":
            self._telling.cut_off(effect)
        self._tell_reply(effect)


HANDLERS: Mapping[type[fx.Effect], Callable[[Shell, Any], object]] = {
    fx.Send: Shell._send,
    fx.Ready: Shell._ready,
    fx.Settled: Shell._settled,
    fx.ConfigDiffers: lambda shell, effect: shell._telling.notices.config_differs(effect),
    fx.ConfigRefused: Shell._config_refused,
    fx.Report: lambda shell, effect: shell._telling.report(effect.failure),
    fx.Disconnect: lambda shell, effect: shell._supervisor.hang_up(effect.failure),
    fx.Noticed: lambda shell, effect: shell._telling.notices.noticed(effect),
    fx.ItemPlaced: Shell._item_placed,
    fx.ToolsListed: server_tools.listed,
    fx.ApprovalRequested: lambda shell, effect: server_tools.asked(shell, effect, shell._approve, shell._telling.log),
    fx.SpeechStarted: Shell._speech_started,
    fx.SpeechStopped: Shell._speech_stopped,
    fx.AudioTaken: Shell._audio_taken,
    fx.CommitRefused: lambda shell, effect: shell._outbox.refused(effect.event_id),
    fx.Withdraw: Shell._withdraw,
    fx.InputTimeout: Shell._input_timeout,
    fx.RateLimits: lambda shell, effect: shell.emit("rate_limits_updated", events.RateLimitsUpdated(effect.limits)),
    fx.Transcript: Shell._transcript,
    fx.TranscriptionFailed: Shell._transcription_failed,
    fx.TranscriptionBilled: Shell._transcription_billed,
    fx.ReplyAgain: Shell._reply_again,
    fx.ReplyStarted: Shell._reply_started,
    fx.ReplyResumed: lambda shell, effect: shell._timers.stop(effect.key),
    fx.MessageStarted: lambda shell, effect: shell._streams.message_started(effect),
    fx.Played: lambda shell, effect: shell._streams.played(effect),
    fx.MessageEnded: lambda shell, effect: shell._streams.message_ended(effect),
    fx.FunctionCalled: lambda shell, effect: shell._streams.called(effect),
    fx.ReplyBilled: Shell._reply_billed,
    fx.ReplyEnded: Shell._reply_ended,
}
"""What carries out each effect but `PIECES`. One table for all sessions: one for each would be a tenth of what an idle
one takes."""
