"""The running half of a translation: carries out the core's effects, serves the connection, keeps the clock.

It knows nothing of iterators: steps of source audio come in by `hear`, what is translated goes to an `Audience`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from livekit import rtc

from .. import recorded
from ..audio import MAX_CHUNK_MS, InputAudio
from ..core import effects as fx
from ..core.bill import Reached, SessionUsage
from ..core.interpreting import WARM_UP_MS, CloseSession, Interpreting, Renewed, Translated, TranslatedText
from ..core.pacing import Pacing
from ..core.setup import Phase
from ..core.usage import ReplyUsage
from ..counters import Counters
from ..errors import Failure, Kind, from_exception
from ..info import SessionInfo, Trail
from ..notices import Notices
from ..spending import GRACE_S, LIMIT_REACHED, CostEvents, Spending
from ..transport.link import Link
from ..transport.outbox import Outbox
from ..transport.supervisor import Budget, Supervisor
from ..transport.term import Term
from ..wire import translation
from ..wire.client_events import Event
from ..wire.server_events import Malformed
from ..wire.session import BYTES_PER_MS
from .options import Options

RENEW_PATIENCE_S = 30.0
"""How long a planned change of connection waits for a moment in which nobody speaks."""

MAX_TAIL_MS = 60_000.0
"""How far the model's place can be behind the end of the source; what else a server says is not believed."""

ROOM_MS = 5_000.0
"""Of a file, so much may wait to leave; the rest waits outside."""

AHEAD_MS = WARM_UP_MS + 4_000.0
"""How far a file may be ahead of what the next connection need not hear again, at least."""

ROOM_CHECK_S = 0.1
"""How often a file that waits for room looks again."""

BILL_S = 60.0
"""Source audio after which it is told what was used."""


class Audience(Protocol):
    """Whoever a session translates for. Called from the event loop; must not raise."""

    def translated(self, pcm: bytes) -> None:
        """More translated speech: int16 mono PCM at 24 kHz."""

    def text(self, text: str, at_ms: float, source: bool) -> None:
        """More text of the translation, or of the source."""

    def failed(self, failure: Failure, recoverable: bool) -> None:
        """Something went wrong; not recoverable: there will be no more."""

    def reconnected(self, planned: bool, session_id: str, behind_ms: float) -> None:
        """Another connection is configured, and `behind_ms` of source audio wait for it."""

    def used(self, seconds: float, session_id: str) -> None:
        """So much more source audio was sent."""

    def cost(self, event: CostEvents, what: object) -> bool:
        """An event about what it costs; returns whether anybody listens."""

    def finished(self) -> None:
        """Everything was told."""


class TranslationSession:
    """Owns the parts of one translation and their connection; implements `transport.supervisor.Supervised`."""

    watches_audio = False

    def __init__(self, options: Options, audience: Audience, dial: Callable[[Options], Awaitable[Link]]) -> None:
        connection = options.connection
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._audience = audience
        self._dial_link = dial
        self._input = InputAudio(chunk_ms=MAX_CHUNK_MS)
        self._pacing = Pacing()
        self._outbox = Outbox(keep_ms=options.max_replay_audio * 1000, append=translation.AUDIO_APPEND)
        self._core = Interpreting(options.payload(), place=self._place, skip_silence=options.skip_silence)
        self._budget = Budget(connection.conn_options.max_retry, connection.conn_options.retry_interval)
        self._counters = Counters("translation", options.model, self._outbox.audio)
        self._trail = Trail(lambda: options.model, lambda: self._budget.attempt(time.monotonic()), self._counters)
        self.log = self._trail.log
        self._notices = Notices(self._counters, self.log)
        self._spending = Spending(options.prices, options.max_cost, audience.cost)
        self._marks = options.marks_ms
        self._failure: Failure | None = None  # with which it ends when everything was told
        peer = recorded.session(self, "translation", options)
        self._supervisor = Supervisor(
            self._dial, peer, self._outbox, self._budget, recycle_after=None, recycle_patience=0.0
        )
        self._term = Term(lambda: self._do(self._core.renew()))
        self._session_id = ""
        self._serial = 0
        self._planned = False
        self._over = False
        self._billed_ms = 0.0
        self._let_in_ms = 0.0  # source audio that had been put in when a file was last told that there is room
        self._told_loss = False  # since the last connection
        self.translated_ms = 0.0
        """Translated audio that was given out, in ms."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.running = asyncio.create_task(self._run(), name="openai_ga.TranslationStream")
        recorded.until(self.running, peer)

    @property
    def options(self) -> Options:
        """What is asked for; what the server refuses is taken out again."""
        return self._options

    @property
    def sent_ms(self) -> float:
        """Source audio sent, in ms."""
        return self._outbox.sent_ms

    @property
    def usage(self) -> SessionUsage:
        """What was used so far, and what that costs."""
        return self._spending.usage(self._used(self._outbox.sent_ms - self._billed_ms))

    @property
    def info(self) -> SessionInfo:
        """How the session and its connection are right now."""
        return self._trail.info(over=self._over, phase=self._core.phase, outbox=self._outbox, notices=self._notices)

    # -- calls ---------------------------------------------------------------------------------------------------

    def hear(self, frame: rtc.AudioFrame) -> None:
        """More source audio. Nothing of it is heard when that would cost too much."""
        if not self._over and self._failure is None:
            pcm = b"".join(self._input.push(frame))
            self._put(self._pacing.push(pcm, self._loop.time()))

    async def room(self) -> None:
        """Wait until more of a file may come. No silence is filled in meanwhile: it would be in the middle of speech.

        What is sent and not translated is kept for a reconnect, which has its bound. But a model that does not tell how
        far it is must not hold a file up for longer than it takes to speak it.
        """
        spoken = self._loop.time() + (self._outbox.put_ms - self._let_in_ms) / 1000
        while not self._over and (self._crowded() or (self._behind() and self._loop.time() < spoken)):
            self._put(self._pacing.push(b"", self._loop.time()))
            await asyncio.sleep(ROOM_CHECK_S)
        self._let_in_ms = self._outbox.put_ms

    def _crowded(self) -> bool:
        takes = self._core.phase is Phase.READY and not self._core.closing
        return not takes or self._outbox.waiting_ms > ROOM_MS

    def _behind(self) -> bool:
        ahead_ms = max(AHEAD_MS, self._options.max_replay_audio * 1000 / 2)
        return self._outbox.waiting_ms + self._outbox.kept_ms > ahead_ms

    def finish(self) -> None:
        """There will be no more source audio."""
        if self._over or self._core.finishing:
            return
        self._put(self._pacing.flush(self._rest()))
        self._pacing.end()  # also when there is no session that could be closed
        self._do(self._core.finish())

    def use(self, options: Options) -> None:
        """Go on with changed options."""
        self._options = options
        self._serial += 1
        self._do(self._core.configure(options.payload(), f"options_{self._serial}"))

    def close(self) -> None:
        """Nothing will be told any more; `running` ends."""
        self._end()

    def _place(self, ms: float) -> float:
        """Where `ms` of this connection's audio is in all of the source.

        When its end was asked for, the model goes on behind it, through silence of its own. If the connection breaks
        there, the next one hears more of the source in that place, and the model says what it still has to say then.
        """
        behind = ms - self._outbox.position_ms if self._core.closing else 0.0
        return self._outbox.session_ms(ms) + min(max(behind, 0.0), MAX_TAIL_MS)

    def _put(self, steps: list[bytes]) -> None:
        dropped = self._outbox.audio.dropped
        for step in steps:
            self._core.put(step)
        self._supervisor.put_audio(steps)
        if self._outbox.audio.dropped > dropped and not self._told_loss:
            self._told_loss = True
            self.log.warning("source audio is being lost, the oldest first: %s", self._hindrance())
        if steps:
            self._bill(BILL_S * 1000)
            if self._marks and self._outbox.sent_ms > self._marks[0]:
                self._marks = self._marks[1:]
                self._bill(0.0)

    def _hindrance(self) -> str:
        if self._core.phase is not Phase.READY:
            return "there is no connection"
        return "the old session has not ended" if self._core.closing else "it comes faster than it can be sent"

    def _tick(self) -> None:
        now = self._loop.time()
        if self._pacing.due is not None and now >= self._pacing.due:
            self._put(self._pacing.fill(self._rest(), now))
        self._keep_pace()

    def _rest(self) -> bytes:
        return b"".join(self._input.flush())

    def _keep_pace(self) -> None:
        if (due := self._pacing.due) is not None:
            self._start("pace", max(0.0, due - self._loop.time()), self._tick)

    def _bill(self, at_least_ms: float) -> None:
        new = self._outbox.sent_ms - self._billed_ms
        if new > 0 and new >= at_least_ms:
            self._billed_ms = self._outbox.sent_ms
            for model, usage in self._used(new):
                if (reached := self._spending.add(model, usage, self._counters, self.log)) is not None:
                    self._reached(reached)
            self._audience.used(new / 1000, self._session_id)

    def _used(self, ms: float) -> list[tuple[str, ReplyUsage]]:
        return [(model, ReplyUsage(seconds=ms / 1000)) for model in self._options.billed if ms > 0]

    def _reached(self, reached: Reached) -> None:
        heard = self._spending.announce(reached)
        if reached == "limit" and not self._over:
            self._start("cost_limit", GRACE_S if heard else 0.0, self._had_enough)

    def _had_enough(self) -> None:
        """No more is heard. What was said is translated, then the stream ends by an error."""
        if not self._core.finishing:
            self._failure = LIMIT_REACHED
            self.finish()

    # -- timers --------------------------------------------------------------------------------------------------

    def _start(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        self._stop(name)
        self._timers[name] = self._loop.call_later(seconds, call)

    def _stop(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    # -- the connection (transport.supervisor.Supervised) --------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._supervisor.run()
        except Exception as exc:
            self.log.exception("the translation ended by an error of this plugin; please report it")
            self.gave_up(replace(from_exception(exc), kind=Kind.FATAL))
        finally:
            self._end()

    async def _dial(self) -> Link:
        return await self._dial_link(self._options)

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._bill(0.0)
        self._counters.closed()
        self._spending.closed(self.log)
        self._trail.lost()
        self._term.end()
        for name in list(self._timers):
            self._stop(name)
        self.running.cancel()

    def link_opened(self, link: Link) -> None:
        """A session is open: queue its configuration."""
        self._session_id = link.session_id
        self._told_loss = False
        self._counters.connected()
        self._trail.opened(link)
        self._do(self._core.opened(link.told))
        overdue = replace(from_exception(TimeoutError()), message="The server did not confirm the configuration.")
        timeout = self._options.connection.conn_options.timeout
        self._start("confirmation", timeout, lambda: self._supervisor.hang_up(overdue))

    def link_received(self, payload: dict[str, Any] | Malformed) -> None:
        """Handle one frame."""
        if self._over:
            return
        if "drain" in self._timers:
            self._await_end()
        self._do(self._core.receive(payload if isinstance(payload, Malformed) else translation.from_payload(payload)))
        self._term.set_calm(self._core.quiet)

    def link_sending(self, event: Event) -> bool:
        """An event leaves."""
        if event["type"] == "session.close":
            self._await_end()
        return False

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone; what it did not translate waits for the next one."""
        self._planned = failure is None
        self._trail.lost()
        if failure is not None:
            self._counters.lost()
        self._term.end()
        self._pacing.end()
        for name in ("confirmation", "drain", "pace"):
            self._stop(name)
        self._core.closed()

    def instead(self, failure: Failure) -> bool:
        """There is nothing else to ask for."""
        return False

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The next attempt comes after `delay` seconds."""
        failure = self._trail.failed(failure, "reconnect")
        told = "connection to OpenAI lost, next attempt in %.1f s: %s"
        self.log.warning(told, delay, failure, extra=failure.fields())
        self._audience.failed(failure, recoverable=True)

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt: the translation is over."""
        failure = self._trail.failed(failure, "fatal")
        self.log.error("the translation is over: %s", failure, extra=failure.fields())
        self._end()
        self._audience.failed(failure, recoverable=False)

    # -- effects -------------------------------------------------------------------------------------------------

    def _do(self, effects: fx.Effects) -> None:
        for effect in effects:
            HANDLERS[type(effect)](self, effect)
        self._supervisor.wake()

    def _await_end(self) -> None:
        self._start("drain", self._options.drain_timeout, self._undrained)

    def _undrained(self) -> None:
        overdue = replace(from_exception(TimeoutError()), message="The server did not tell the end of the translation.")
        if self._core.ending:
            self.gave_up(overdue)
        else:
            self._supervisor.hang_up(overdue)

    def _ready(self, effect: fx.Ready) -> None:
        self._stop("confirmation")
        self._counters.ready()
        self._outbox.configured()
        self._supervisor.confirmed()
        self._term.begin(self._options.connection.max_session_duration, RENEW_PATIENCE_S)
        self._term.set_calm(False)
        if not self._core.finishing:
            self._pacing.begin(self._loop.time())
            self._keep_pace()
        if effect.again:
            self._audience.reconnected(self._planned, self._session_id, self._outbox.waiting_ms)

    def _report(self, failure: Failure) -> None:
        failure = self._trail.failed(failure, "request_failed")
        self.log.error("OpenAI reported an error: %s", failure, extra=failure.fields())
        self._audience.failed(failure, recoverable=True)

    def _settled(self, effect: fx.Settled) -> None:
        if effect.failure is not None:
            self._report(effect.failure)

    def _refused(self, _: fx.ConfigRefused) -> None:
        self._options = self._options.restored(self._core.setup.config.wanted)

    def _translated(self, effect: Translated) -> None:
        self.translated_ms += len(effect.pcm) / BYTES_PER_MS
        self._audience.translated(effect.pcm)

    def _close_session(self, effect: CloseSession) -> None:
        self._pacing.end()
        self._outbox.put_close(effect.event)

    def _finished(self, _: fx.Finished) -> None:
        if self._failure is not None:
            self.gave_up(self._failure)
            return
        self._end()
        self._audience.finished()


HANDLERS: Mapping[type[fx.Effect], Callable[[TranslationSession, Any], object]] = {
    fx.Send: lambda session, effect: session._outbox.put(effect.event),
    fx.AudioTaken: lambda session, effect: session._outbox.taken(effect.until_ms),
    fx.Ready: TranslationSession._ready,
    fx.Settled: TranslationSession._settled,
    fx.ConfigDiffers: lambda session, effect: session._notices.config_differs(effect),
    fx.ConfigRefused: TranslationSession._refused,
    fx.Disconnect: lambda session, effect: session._supervisor.hang_up(effect.failure),
    fx.Noticed: lambda session, effect: session._notices.noticed(effect),
    fx.Report: lambda session, effect: session._report(effect.failure),
    fx.Finished: TranslationSession._finished,
    Translated: TranslationSession._translated,
    TranslatedText: lambda session, effect: session._audience.text(effect.text, effect.at_ms, effect.source),
    CloseSession: TranslationSession._close_session,
    Renewed: lambda session, effect: session._supervisor.hang_up(None),
}
