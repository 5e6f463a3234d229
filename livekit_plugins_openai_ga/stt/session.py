"""The running half of speech-to-text: carries out the core's effects, serves the connection, makes LiveKit's events.

It knows nothing of LiveKit's streams: audio comes in by `intake`, `speech`, `flush` and `finish` cut it, events go out
by `emit`. One `run` is one connection, or several when a change of connection is planned; whoever calls it decides
whether to call it again after a failure. Audio that has no text yet waits here for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from livekit.agents import APIError, stt

from .. import recorded
from ..api_errors import to_api_error
from ..core import effects as fx
from ..core.hearing import Hearing
from ..core.setup import Phase
from ..counters import Counters
from ..errors import Failure, from_exception
from ..info import SessionInfo, Trail
from ..notices import Notices
from ..spending import Spending, Tell
from ..transport.line import Line
from ..transport.link import Link, LinkFailed, discard
from ..transport.outbox import Outbox
from ..wire import server_events
from ..wire.client_events import Event
from ..wire.server_events import Malformed
from .intake import Intake
from .options import Options
from .telling import Telling

RECYCLE_PATIENCE_S = 30.0
"""How long a planned change of connection waits for a moment in which nothing is said."""

RENEW_PATIENCE_S = 5.0
"""The same for changed options, which somebody waits for."""

KEEP_MS = 60_000.0
"""Audio kept for a reconnect, at least; more when segments may be longer."""

Change = Mapping[str, Any]
"""Changed options by their names."""


class TranscriptionSession(Telling):
    """Owns the parts of one stream's session; implements `transport.line.Peer`.

    `dial` opens a link within the given seconds, or raises `LinkFailed`. `report` takes what went wrong without ending
    the stream; `taken_back` is called when changed options were refused. `offset` is where the stream's audio begins on
    the caller's clock, in seconds.
    """

    watches_audio = False

    def __init__(
        self,
        options: Options,
        *,
        detects: Callable[[Options], bool],
        timeout: float,
        dial: Callable[[Options, float], Awaitable[Link]],
        emit: Callable[[stt.SpeechEvent], None],
        report: Callable[[APIError], None],
        taken_back: Callable[[list[Change]], None] = lambda changes: None,
        offset: Callable[[], float] = lambda: 0.0,
        keep_ms: float | None = None,
        tell: Tell = lambda event, what: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = self._accepted = self._dialled = options
        self._asked: dict[str, list[Change]] = {}  # changes of the options that the server has not answered
        self._next: list[Change] = []  # changes that wait for a new connection
        self._detects = detects
        self._serial = 0
        self._timeout = timeout
        self._peer = recorded.peer(self, "stt", options, options.input_format)
        self._dial = recorded.dialling(self._peer, dial)
        self._emit = emit
        self._report_error = report
        self._taken_back = taken_back
        self._offset = offset
        longest = None if options.max_segment_length is None else options.max_segment_length * 1000
        keep_ms = max(KEEP_MS, 2 * (longest or 0.0)) if keep_ms is None else keep_ms
        per_ms = options.input_format.bytes_per_ms
        self._outbox = Outbox(keep_ms=keep_ms, dead_for=2 * options.connection.heartbeat, bytes_per_ms=per_ms)
        self._hearing = Hearing(
            options.payload(),
            server_turns=options.server_turns,
            local_vad=detects(options),
            max_segment_ms=longest,
            place=self._outbox.session_ms,
        )
        recycle_after = options.connection.max_session_duration
        self._line = Line(self._peer, self._outbox, recycle_after=recycle_after, recycle_patience=RECYCLE_PATIENCE_S)
        self.intake = Intake(
            self._line,
            self._outbox,
            self._hearing,
            do=self._do,
            now=self._loop.time,
            keep_ms=keep_ms,
            bytes_per_ms=per_ms,
        )
        self._retries = 0  # in a row; LiveKit counts them, and does not tell
        self._counters = Counters(
            "stt", options.model, self._outbox.audio, lambda: {"event": self._outbox.events_dropped}
        )
        self._trail = Trail(lambda: self._options.model, lambda: self._retries, self._counters)
        self._log = self._trail.log
        self._notices = Notices(self._counters, self._log)
        self._spending = Spending(options.prices, options.max_cost, tell)
        self._enough = asyncio.Event()
        self._broken: APIError | None = None
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._confirmation: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    @property
    def wanted(self) -> Options:
        """The options as they will be; what the server refuses is not among them."""
        return self._options.with_all(self._next)

    @property
    def wants_detector(self) -> bool:
        """Whether `speech` is of use, now or as soon as changed options hold."""
        return self._detects(self._options) or (bool(self._next) and self._detects(self.wanted))

    @property
    def info(self) -> SessionInfo:
        """How the session and its connection are right now."""
        return self._trail.info(
            over=self._closed or self._enough.is_set(),
            phase=self._hearing.phase,
            outbox=self._outbox,
            notices=self._notices,
        )

    # -- what is said of the audio -------------------------------------------------------------------------------

    def speech(self, speaking: bool, at_ms: float) -> None:
        """A detector heard somebody begin, or stop, at this place."""
        if self._broken is None:
            self._do(self._hearing.speech(speaking, at_ms, self._now()))

    def flush(self) -> None:
        """End the segment here."""
        self._do(self._hearing.flush(self._now()))

    def finish(self) -> None:
        """There will be no more audio. `run` returns when every text has come."""
        self._finishing = True
        self._do(self._hearing.finish(self._now()))

    def use(self, change: Change) -> None:
        """Change the options: in place when GA can, else with a new connection, when what is being said has its text.

        What the server refuses is taken back, and reported. Raises ValueError for what the model does not take.
        """
        options = self.wanted.changed(change)
        live = self._hearing.phase is not Phase.CLOSED
        if self._next or (live and options.needs_new_session(self._options)):
            self._next.append(change)
            self._line.renew(RENEW_PATIENCE_S)
        else:
            self._adopt([change])

    def _adopt(self, changes: list[Change]) -> None:
        self._options = self._options.with_all(changes)
        self._next = []
        self._serial += 1
        key = f"options_{self._serial}"
        self._asked[key] = changes
        self._detect()
        self._do(self._hearing.configure(self._options.payload(), key))

    def _detect(self) -> None:
        options = self._options
        self._do(self._hearing.detect(server_turns=options.server_turns, local_vad=self._detects(options)))

    def break_off(self, error: APIError) -> None:
        """End `run` with this error."""
        self._broken = error
        self.intake.deaf = True
        self._enough.set()
        self._line.hang_up(None)

    # -- the connection (transport.line.Peer) --------------------------------------------------------------------

    async def run(self) -> None:
        """Serve connections until all is told. Raises `APIError` when one fails."""
        while not self._enough.is_set():
            # LiveKit gives its retries back after an attempt that took longer than the timeout: a server that never
            # answers would be tried for ever.
            self._deadline = self._now() + 0.95 * self._timeout
            try:
                link = await self._dial_unless_enough()
                failure = None if link is None else await self._line.serve(link)
            except LinkFailed as exc:
                raise to_api_error(
                    self._broke(exc.failure)
                ) from None  # LiveKit logs causes, and theirs quote the server
            finally:
                self._stop(self._confirmation)
            if failure is not None and not self._enough.is_set():
                raise to_api_error(self._broke(failure))
        if self._broken is not None:
            raise self._broken

    async def _dial_unless_enough(self) -> Link | None:
        """A link; None when it is not needed any more, which may be before it is there."""
        self._dialled = self._options
        dialling = asyncio.ensure_future(self._dial(self._dialled, 0.95 * self._timeout))
        enough = asyncio.ensure_future(self._enough.wait())
        try:
            await asyncio.wait({dialling, enough}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await discard(dialling)
            raise
        finally:
            enough.cancel()
        if self._enough.is_set():
            await discard(dialling)
            return None
        return dialling.result()

    def close(self) -> None:
        """Nothing will be told any more."""
        self._settle()
        self._closed = True
        self._counters.closed()
        recorded.over(self._peer)
        self._stop(self._timer)
        self._stop(self._confirmation)

    def link_opened(self, link: Link) -> None:
        """A session is open: queue its configuration."""
        self._counters.connected()
        self._trail.opened(link)
        if self._options.needs_new_session(self._dialled):  # changed while it was being opened
            self._line.hang_up(None)
        self._do(self._hearing.opened(self._now(), link.told))
        overdue = replace(from_exception(TimeoutError()), message="The server did not confirm the configuration.")
        left = max(0.1, self._deadline - self._now())
        self._confirmation = self._loop.call_later(left, self._line.hang_up, overdue)

    def link_received(self, payload: dict[str, Any] | Malformed) -> None:
        """Handle one frame."""
        event = payload if isinstance(payload, Malformed) else server_events.from_payload(payload)
        self._do(self._hearing.receive(event, self._now()))

    def link_sending(self, event: Event) -> bool:
        """An event leaves."""
        self.intake.moved.set()
        if "event_id" in event:
            self._hearing.sent(event["event_id"], self._now())
            self._wait()
        return False

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone; its audio waits for the next one."""
        self._trail.lost()
        if failure is not None:
            self._counters.lost()
        self._do(self._hearing.closed(self._now()))
        if self._next:
            self._adopt(self._next)

    # -- effects -------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._loop.time()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    def _do(self, effects: fx.Effects) -> None:
        if self._closed:
            return
        for effect in effects:
            HANDLERS[type(effect)](self, effect)
        self._line.set_calm(self._hearing.quiet)
        self.intake.moved.set()
        self._wait()
        self.intake.listen()
        self._line.wake()

    def _wait(self) -> None:
        self._stop(self._timer)
        if self._closed:
            return
        due = self._hearing.due()
        self._timer = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._do(self._hearing.tick(self._now()))

    def _audio_taken(self, effect: fx.AudioTaken) -> None:
        self._outbox.taken(effect.until_ms)

    def _ready(self, effect: fx.Ready) -> None:
        self._stop(self._confirmation)
        self._counters.ready()
        self._retries = 0
        self._outbox.configured()

    def _settled(self, effect: fx.Settled) -> None:
        changes = self._asked.pop(effect.key, None)
        if changes is None:
            return  # asked anew since
        if effect.failure is None:
            self._accepted = self._accepted.with_all(changes)
            return
        self._taken_back(changes)
        self._report(fx.Report(effect.failure))
        # Updates behind it are made on top of it, so they will be refused, too.
        rest = [change for others in self._asked.values() for change in others]
        self._asked.clear()
        self._options = self._accepted
        if rest:
            self._adopt(rest)
        else:
            self._detect()

    def _finish(self, effect: fx.Finished) -> None:
        self._enough.set()
        self._line.hang_up(None)


HANDLERS: Mapping[type[fx.Effect], Callable[[TranscriptionSession, Any], None]] = {
    fx.Send: lambda session, effect: session._outbox.put(effect.event),
    fx.CommitAudio: lambda session, effect: session._outbox.put_commit(effect.event),
    fx.CommitRefused: lambda session, effect: session._outbox.refused(effect.event_id),
    fx.ClearAudio: lambda session, effect: session._outbox.put_clear(effect.event, keep_ms=effect.keep_ms),
    fx.AudioTaken: TranscriptionSession._audio_taken,
    fx.Ready: TranscriptionSession._ready,
    fx.ConfigDiffers: lambda session, effect: session._notices.config_differs(effect),
    fx.ConfigRefused: lambda session, effect: None,  # `Settled` says which change it was
    fx.Settled: TranscriptionSession._settled,
    fx.Disconnect: lambda session, effect: session._line.hang_up(effect.failure),
    fx.Noticed: lambda session, effect: session._notices.noticed(effect),
    fx.Report: TranscriptionSession._report,
    fx.Speech: TranscriptionSession._speech,
    fx.Caption: TranscriptionSession._caption,
    fx.SegmentFailed: TranscriptionSession._report,
    fx.SegmentBilled: TranscriptionSession._billed,
    fx.Finished: TranscriptionSession._finish,
}
