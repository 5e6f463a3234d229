"""When to dial, when to dial again, how long to wait, when to stop.

The budget is `max_retry` failures in a row. It is given back only when a confirmed session has lived for a while: a
handshake proves nothing, because GA refuses keys, models and quotas after it (livekit/agents#6352).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from ..errors import Failure, Kind
from .line import Line, Peer
from .link import Link, LinkFailed
from .outbox import Outbox

FIRST_RETRY_S = 0.1
MAX_RETRY_DELAY_S = 30.0
MAX_ASKED_WAIT_S = 60.0
"""A server that asks to wait longer (`Retry-After`) is not waited for: nobody stays on a silent call for that."""

PROVEN_AFTER_S = 10.0
"""A confirmed session that lived this long gives the whole budget back."""
STEADY_AFTER_S = 1.0
"""One that lived this long makes the next attempt prompt again: what broke it was the network, not a refusal."""


class Budget:
    """How many failures in a row are still allowed, and how long to wait after each. Pure: time comes in."""

    __slots__ = ("_backing_off", "_confirmed_at", "_failures", "_jitter", "_max_retry", "_retry_interval")

    def __init__(self, max_retry: int, retry_interval: float, jitter: Callable[[], float] = random.random) -> None:
        self._max_retry = max_retry
        self._retry_interval = retry_interval
        self._jitter = jitter
        self._failures = 0
        self._backing_off = 0  # failures since the last session that was steady
        self._confirmed_at: float | None = None

    def attempt(self, now: float) -> int:
        """Retries in a row so far."""
        return 0 if self._lived(PROVEN_AFTER_S, now) else self._failures

    def _lived(self, seconds: float, now: float) -> bool:
        return self._confirmed_at is not None and now - self._confirmed_at >= seconds

    def confirmed(self, now: float) -> None:
        """The server confirmed the configuration."""
        self._confirmed_at = now

    def failed(self, failure: Failure, now: float) -> float | None:
        """A connection failed. Returns the seconds to wait before the next one; None when it is time to stop."""
        if self._lived(PROVEN_AFTER_S, now):
            self._failures = 0
        if self._lived(STEADY_AFTER_S, now):
            self._backing_off = 0
        self._confirmed_at = None
        asked = failure.retry_after or 0.0
        if failure.kind is Kind.FATAL or self._failures >= self._max_retry or asked > MAX_ASKED_WAIT_S:
            return None
        self._failures += 1
        self._backing_off += 1
        delay = FIRST_RETRY_S
        if self._backing_off > 1:
            backoff = self._retry_interval * 2.0 ** (self._backing_off - 2)
            delay = min(MAX_RETRY_DELAY_S, backoff * (0.75 + 0.5 * self._jitter()))
        return max(delay, asked)


def _as_final(failure: Failure) -> Failure:
    """The failure with which a line stops. One that a long enough wait would mend says how long that is."""
    asked = failure.retry_after or 0.0
    if failure.kind is Kind.FATAL or asked <= MAX_ASKED_WAIT_S:
        return failure
    remedy = f"The server asks to wait {asked:.0f} s, and a call waits {MAX_ASKED_WAIT_S:.0f} s at most: call later."
    return replace(failure, remedy=remedy)


class Supervised(Peer, Protocol):
    """Whoever the supervisor works for."""

    def instead(self, failure: Failure) -> bool:
        """A failure that no retry can mend: whether the next attempt will ask for something else."""

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The next attempt comes after `delay` seconds."""

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt."""


class Supervisor(Line):
    """A line that dials again by itself, until it is stopped or must give up."""

    __slots__ = ("_budget", "_dial", "_peer")

    def __init__(
        self,
        dial: Callable[[], Awaitable[Link]],
        peer: Supervised,
        outbox: Outbox,
        budget: Budget,
        *,
        recycle_after: float | None,
        recycle_patience: float,
    ) -> None:
        """`recycle_after` (s): age at which a link is replaced, at a calm moment or `recycle_patience` (s) later."""
        super().__init__(peer, outbox, recycle_after=recycle_after, recycle_patience=recycle_patience)
        self._dial = dial
        self._peer = peer
        self._budget = budget

    def confirmed(self) -> None:
        """The server confirmed the configuration on this link."""
        self._budget.confirmed(time.monotonic())

    async def run(self) -> None:
        """Serve link after link. Returns when it gave up; is cancelled to stop."""
        while True:
            try:
                link = await self._dial()
            except LinkFailed as exc:
                failure: Failure | None = exc.failure
            else:
                failure = await self.serve(link)
            if failure is None:
                continue
            if failure.kind is Kind.FATAL and self._peer.instead(failure):
                continue
            delay = self._budget.failed(failure, time.monotonic())
            if delay is None:
                self._peer.gave_up(_as_final(failure))
                return
            self._peer.will_retry(failure, delay)
            await asyncio.sleep(delay)
