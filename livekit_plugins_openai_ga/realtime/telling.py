"""What is told of how a conversation goes: counted, logged, remembered for `info`, and LiveKit's errors."""

from __future__ import annotations

import time
from collections.abc import Callable

from livekit.agents import llm

from ..api_errors import to_api_error
from ..core import effects as fx
from ..counters import Counters
from ..errors import Failure, Kind
from ..info import Trail
from ..notices import Notices
from ..transport.link import Link
from . import events
from .last_news import LastNews


class Telling:
    """Tells of one session. Whoever finds that something went wrong says so here, once.

    `model` (the one that is asked for) and `attempt` (retries in a row) give what holds now. `label` is the model's, as
    LiveKit's errors have it. `emit(name, event)` gives the session's listeners an event.
    """

    __slots__ = ("_emit", "_label", "_model", "counters", "last_news", "log", "notices", "trail")

    def __init__(
        self,
        counters: Counters,
        model: Callable[[], str],
        attempt: Callable[[], int],
        *,
        label: str,
        emit: Callable[..., object],
    ) -> None:
        self._model = model
        self._label = label
        self._emit = emit
        self.counters = counters
        self.trail = Trail(model, attempt, counters)
        self.log = self.trail.log
        self.notices = Notices(counters, self.log)
        self.last_news = LastNews(self._over)

    # -- the connection ------------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        """A session is open on this link."""
        self.counters.connected()
        self.trail.opened(link)
        which = (link.session_id, link.request_id, self._model(), link.expires_at)
        self._emit("session_created", events.SessionCreated(*which, int(self.counters.count("connections"))))

    def lost(self, failure: Failure | None) -> None:
        """The link is gone; None: as planned, or as calls end."""
        self.trail.lost()
        if failure is not None:
            self.counters.lost()

    def model_refused(self, failure: Failure, instead: str) -> events.ModelChanged:
        """The model was refused, and the session goes on with this one. Returns what to tell when it does."""
        failure = self.trail.failed(failure, "reconnect")
        change = events.ModelChanged(failure.model, instead, failure.sentence())
        told = "%s was refused, going on with %s: %s"
        self.log.warning(told, change.refused, change.model, change.reason, extra=failure.fields())
        return change

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The connection failed, and the next attempt comes after `delay` seconds."""
        failure = self.trail.failed(failure, "reconnect")
        told = "connection to OpenAI lost, next attempt in %.1f s: %s"
        self.log.warning(told, delay, failure, extra=failure.fields())
        self._error(failure, recoverable=True)

    def gave_up(self, failure: Failure) -> Failure:
        """There will be no further attempt. Returns the failure with all that is known, for `last_news`."""
        failure = self.trail.failed(failure, "fatal")
        self.log.error("the session with OpenAI is over: %s", failure, extra=failure.fields())
        return failure

    def _over(self, failure: Failure) -> None:
        self._error(failure, recoverable=False)

    # -- what was asked for on it --------------------------------------------------------------------------------

    def report(self, failure: Failure, what: str = "OpenAI reported an error") -> Failure:
        """Something was refused, or a reply failed. Returns it with all that is known."""
        of_a_reply = failure.kind is Kind.REPLY_FAILED
        failure = self.trail.failed(failure, "reply_failed" if of_a_reply else "request_failed")
        self.log.error("%s: %s", what, failure, extra=failure.fields())
        self._error(failure, recoverable=True)
        return failure

    def not_transcribed(self, effect: fx.TranscriptionFailed) -> None:
        """A user turn has no text. The session goes on, and LiveKit knows no event for it."""
        failure = self.trail.failed(effect.failure, "transcription_failed")
        extra = {"item_id": effect.item_id, **failure.fields()}
        self.log.error("a user turn was not transcribed: %s", failure, extra=extra)

    def asked_again(self, effect: fx.ReplyAgain) -> None:
        """A reply is asked for once more."""
        self.counters.asked_again()
        self.log.info("a reply is asked for again, nothing of it was heard: %s", effect.reason)

    def cut_off(self, effect: fx.ReplyEnded) -> None:
        """The server ended a reply that was not complete."""
        self.log.warning("a reply was cut off by the server: %s", effect.reason or "no reason given")
        self._emit("response_incomplete", events.ResponseIncomplete(effect.response_id, effect.reason))

    def _error(self, failure: Failure, *, recoverable: bool) -> None:
        error = to_api_error(failure)
        about = llm.RealtimeModelError(timestamp=time.time(), label=self._label, error=error, recoverable=recoverable)
        self._emit("error", about)
