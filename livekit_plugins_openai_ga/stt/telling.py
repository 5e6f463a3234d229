"""What a session of speech-to-text tells: LiveKit's events, what went wrong, what it costs, when that is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit.agents import APIError, stt

from ..api_errors import to_api_error
from ..core import effects as fx
from ..core.bill import SessionUsage
from ..counters import Counters
from ..errors import Failure, Kind
from ..info import Trail
from ..spending import GRACE_S, LIMIT_REACHED, Spending
from . import mapping
from .intake import Intake
from .options import Options


class Telling:
    """The part of a session that speaks to whoever has it. Its parts are made by `TranscriptionSession`."""

    _loop: asyncio.AbstractEventLoop
    _options: Options
    intake: Intake
    _counters: Counters
    _trail: Trail
    _spending: Spending
    _retries: int
    _closed: bool
    _emit: Callable[[stt.SpeechEvent], None]
    _report_error: Callable[[APIError], None]
    _offset: Callable[[], float]
    _broken: APIError | None
    _finishing = False
    _grace: asyncio.TimerHandle | None = None  # until no more is heard, because it costs too much

    @property
    def usage(self) -> SessionUsage:
        """What was used and billed so far."""
        return self._spending.usage()

    def finish(self) -> None:
        """There will be no more audio."""
        raise NotImplementedError

    def _speech(self, effect: fx.Speech) -> None:
        heard = None if effect.at_ms is None else self.intake.clock.at(effect.at_ms)
        self._emit(mapping.speech_event(effect, heard))

    def _seconds(self, place_ms: float | None) -> float:
        return 0.0 if place_ms is None else self._offset() + place_ms / 1000

    def _caption(self, effect: fx.Caption) -> None:
        if effect.failure is not None:
            extra = {"item_id": effect.item_id, **effect.failure.fields()}
            self._trail.log.warning("a transcript is incomplete: %s", effect.failure, extra=extra)
        self._emit(mapping.caption_event(effect, self._options.language, self._seconds))

    def _broke(self, failure: Failure) -> Failure:
        """LiveKit tries again, as often as its budget allows, or not at all."""
        fatal = failure.kind is Kind.FATAL
        self._retries += not fatal
        return self._trail.failed(failure, "fatal" if fatal else "reconnect")

    def _report(self, effect: fx.Report | fx.SegmentFailed) -> None:
        where = {"item_id": effect.item_id} if isinstance(effect, fx.SegmentFailed) else {}
        what = "speech was not transcribed" if where else "OpenAI reported an error"
        failure = self._trail.failed(effect.failure, "transcription_failed" if where else "request_failed")
        self._trail.log.error("%s: %s", what, failure, extra={**where, **failure.fields()})
        self._report_error(to_api_error(failure))

    # -- what it costs -------------------------------------------------------------------------------------------

    def _billed(self, effect: fx.SegmentBilled) -> None:
        log = self._trail.log
        counts = effect.usage.counts if effect.usage is not None else None
        reached = self._spending.add(self._options.model, counts, self._counters, log)
        if effect.usage is not None:
            self._emit(mapping.usage_event(effect.item_id, effect.usage, effect.audio_ms))
        if reached is None:
            return
        heard = self._spending.announce(reached)
        if reached == "limit":
            self._grace = self._loop.call_later(GRACE_S if heard else 0.0, self._had_enough)

    def _had_enough(self) -> None:
        """No more is heard. What was said gets its text, then the stream ends by an error."""
        if self._finishing or self._closed:
            return
        failure = self._trail.failed(LIMIT_REACHED, "fatal")
        self._trail.log.error("the stream ends: %s", failure, extra=failure.fields())
        self._broken = to_api_error(failure)
        self.intake.deaf = True
        self.finish()

    def _settle(self) -> None:
        """The session is over: nothing more is billed."""
        if not self._closed:
            self._spending.closed(self._trail.log)
        if self._grace is not None:
            self._grace.cancel()
