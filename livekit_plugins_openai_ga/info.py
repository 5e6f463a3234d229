"""What can be said of a session when something went wrong: to whoever asks (`SessionInfo`), in errors and in logs."""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from .core.setup import Phase
from .counters import CONNECTION_LOST, Counters, Outcome
from .errors import Failure
from .log import LogAdapter, logger
from .notices import Notices
from .transport.link import Link
from .transport.outbox import Outbox

State = Literal["connecting", "configuring", "ready", "over"]
"""`connecting`: no connection now, one is on its way. `configuring`: OpenAI has not confirmed the configuration yet."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """How a session and its connection are at one moment. Nothing that anybody said, and no key.

    Attributes:
        state: `connecting`, `configuring`, `ready`, or `over`.
        session_id: OpenAI's id (`sess_...`) of the current connection, or of the last one; "" before the first.
        request_id: The `x-request-id` of its handshake; "" when the server sent none, as OpenAI's own does.
        model: The model that is asked for.
        attempt: Retries in a row so far; 0 again when a connection has worked for 10 s.
        age: How long the current connection has been open, in s; 0.0 without one.
        expires_at: When the server ends the session, in s since 1970; None when it did not say.
        connections: Connections opened so far, planned changes among them.
        reconnects: All of them but the first.
        close_code: The code with which the last connection that broke was closed; None when there was none.
        close_reason: The reason that came with it.
        last_failure: Why the last connection broke, or could not be opened; None: that has not happened.
        last_error: The last refusal the server sent, whatever it was for; None: it sent none.
        audio_sent: User audio sent so far, in s, `audio_replayed` included.
        audio_replayed: User audio that was sent again after a reconnect, in s.
        audio_dropped: User audio that no reconnect could bring back, in s.
        audio_waiting: User audio that waits to be sent, in s.
        audio_kept: User audio that was sent and is kept, should the connection break, in s.
        events_dropped: Events of the application, and commits, that waited for a connection and were let go: there were
            too many.
        turns_dropped: Turns of the user without a transcript whose audio was let go, because there was too much: no
            reconnect brings them back.
        items_pending: Items of the history that were sent and that the server has not answered.
        requests_refused: What the server refused: changes of configuration or history, commits, replies, raw events.
        replies_again: Replies that were asked for again, because nothing of them had been heard.
        unknown_events: Events of a name that this version does not know.
        malformed_events: Frames that were no event.
    """

    state: State
    session_id: str
    request_id: str
    model: str
    attempt: int
    age: float
    expires_at: float | None
    connections: int
    reconnects: int
    close_code: int | None
    close_reason: str
    last_failure: Failure | None
    last_error: Failure | None
    audio_sent: float
    audio_replayed: float
    audio_dropped: float
    audio_waiting: float
    audio_kept: float
    events_dropped: int
    turns_dropped: int
    items_pending: int
    requests_refused: int
    replies_again: int
    unknown_events: int
    malformed_events: int


class Trail:
    """Where a session has been: its current or last connection, and the last failures.

    Everything else a `SessionInfo` tells is somebody else's, and is asked for when one is made. `model` and `attempt`
    (retries in a row) give what holds now. `log` is the package's logger; its records say which session they are of.
    """

    __slots__ = ("_attempt", "_counters", "_error", "_failure", "_link", "_model", "_opened_at", "log")

    def __init__(self, model: Callable[[], str], attempt: Callable[[], int], counters: Counters) -> None:
        self._model = model
        self._attempt = attempt
        self._counters = counters
        self._link: Link | None = None
        self._opened_at: float | None = None  # None: there is no connection
        self._failure: Failure | None = None
        self._error: Failure | None = None
        self.log = _SessionLog(self)

    def opened(self, link: Link) -> None:
        """A session began on this link."""
        self._link = link
        self._opened_at = time.monotonic()
        self.log.debug("connected to OpenAI, connection %d", self._counters.count("connections"))

    def lost(self) -> None:
        """The link is gone."""
        self._opened_at = None

    def failed(self, failure: Failure, outcome: Outcome) -> Failure:
        """Count a failure and remember it. Returns it with all that is known about where it happened."""
        of_connection = outcome in CONNECTION_LOST
        if self._link is not None and self._opened_at is not None and not of_connection:
            failure = self._link.named(failure)
        before = "" if self._error is None else self._error.label
        failure = replace(failure, model=self._model(), attempt=self._attempt(), last_error=before)
        if of_connection:
            self._failure = failure
        if failure.error_type:  # the server's own words, also when a close came with them
            self._error = failure
        self._counters.failed(failure, outcome)
        return failure

    def fields(self) -> dict[str, Any]:
        """What every record in the log says of its session."""
        known: dict[str, Any] = {"model": self._model(), "attempt": self._attempt()}
        if self._link is not None and self._opened_at is not None:
            known |= {"session_id": self._link.session_id, "request_id": self._link.request_id}
        return {name: value for name, value in known.items() if value != ""}

    def info(
        self,
        *,
        over: bool,
        phase: Phase,
        outbox: Outbox,
        notices: Notices,
        turns_dropped: int = 0,
        items_pending: int = 0,
    ) -> SessionInfo:
        """How everything is now."""
        states: dict[Phase, State] = {Phase.CONFIGURING: "configuring", Phase.READY: "ready"}
        connections = int(self._counters.count("connections"))
        link, failure = self._link, self._failure
        return SessionInfo(
            state="over" if over else states.get(phase, "connecting"),
            session_id="" if link is None else link.session_id,
            request_id="" if link is None else link.request_id,
            model=self._model(),
            attempt=self._attempt(),
            age=0.0 if self._opened_at is None else time.monotonic() - self._opened_at,
            expires_at=None if link is None else link.expires_at,
            connections=connections,
            reconnects=max(0, connections - 1),
            close_code=None if failure is None else failure.close_code,
            close_reason="" if failure is None else failure.close_reason,
            last_failure=failure,
            last_error=self._error,
            audio_sent=outbox.sent_ms / 1000,
            audio_replayed=outbox.audio.replayed / 1000,
            audio_dropped=outbox.audio.dropped / 1000,
            audio_waiting=outbox.waiting_ms / 1000,
            audio_kept=outbox.kept_ms / 1000,
            events_dropped=outbox.events_dropped,
            turns_dropped=turns_dropped,
            items_pending=items_pending,
            requests_refused=int(self._counters.count("failures", outcome="request_failed")),
            replies_again=int(self._counters.count("replies_again")),
            unknown_events=notices.counts["unknown event"],
            malformed_events=notices.counts["malformed event"],
        )


class _SessionLog(LogAdapter):
    """The package's logger, with the session's fields in every record."""

    def __init__(self, trail: Trail) -> None:
        super().__init__(logger, None)
        self._trail = trail

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the session's fields; those of the call go before them."""
        kwargs["extra"] = {**self._trail.fields(), **(kwargs.get("extra") or {})}
        return msg, kwargs
