"""When to dial, when to dial again, how long to wait, when to stop. Also the loop that serves one link after another.

The budget is `max_retry` failures in a row. It is given back only when a confirmed session has lived for a while: a
handshake proves nothing, because GA refuses keys, models and quotas after it (livekit/agents#6352).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import Failure, Kind
from ..log import logger
from ..wire.server_events import Malformed
from .link import Link, LinkFailed, Payload
from .outbox import Event, Outbox

FIRST_RETRY_S = 0.1
MAX_RETRY_DELAY_S = 30.0
PROVEN_AFTER_S = 10.0
"""A confirmed session that lived this long gives the whole budget back."""


class Budget:
    """How many failures in a row are still allowed, and how long to wait after each. Pure: time comes in."""

    def __init__(self, max_retry: int, retry_interval: float, jitter: Callable[[], float] = random.random) -> None:
        self._max_retry = max_retry
        self._retry_interval = retry_interval
        self._jitter = jitter
        self._failures = 0
        self._confirmed_at: float | None = None

    @property
    def attempt(self) -> int:
        """Failures in a row so far."""
        return self._failures

    def confirmed(self, now: float) -> None:
        """The server confirmed the configuration."""
        self._confirmed_at = now

    def failed(self, failure: Failure, now: float) -> float | None:
        """A connection failed. Returns the seconds to wait before the next one; None when it is time to stop."""
        if self._confirmed_at is not None and now - self._confirmed_at >= PROVEN_AFTER_S:
            self._failures = 0
        self._confirmed_at = None
        if failure.kind is Kind.FATAL or self._failures >= self._max_retry:
            return None
        self._failures += 1
        delay = FIRST_RETRY_S
        if self._failures > 1:
            backoff = self._retry_interval * 2.0 ** (self._failures - 2)
            delay = min(MAX_RETRY_DELAY_S, backoff * (0.75 + 0.5 * self._jitter()))
        return max(delay, failure.retry_after or 0.0)


class Peer(Protocol):
    """Whoever the supervisor works for. Called from the event loop; must not raise."""

    def link_opened(self, link: Link) -> None:
        """A session is open; queue its configuration."""

    def link_received(self, payload: Payload | Malformed) -> None:
        """A frame came."""

    def link_sending(self, event: Event) -> None:
        """An event leaves now."""

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone; None for a planned change."""

    def will_retry(self, failure: Failure, delay: float) -> None:
        """The next attempt comes after `delay` seconds."""

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt."""


class Supervisor:
    """Keeps one session connected until it is stopped or must give up."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Link]],
        peer: Peer,
        outbox: Outbox,
        budget: Budget,
        *,
        recycle_after: float | None,
        recycle_patience: float,
    ) -> None:
        """`recycle_after` (s): age at which a link is replaced, at a calm moment or `recycle_patience` (s) later."""
        self._dial = dial
        self._peer = peer
        self._outbox = outbox
        self._budget = budget
        self._recycle_after = recycle_after
        self._recycle_patience = recycle_patience
        self._work = asyncio.Event()
        self._calm = asyncio.Event()
        self._calm.set()
        self._hangup: asyncio.Future[None] | None = None
        self._told_dropped = 0.0

    def wake(self) -> None:
        """There is something in the outbox."""
        self._work.set()

    def set_calm(self, calm: bool) -> None:
        """Tell whether this is a good moment to change links: nobody speaks, no reply is being made."""
        if calm:
            self._calm.set()
        else:
            self._calm.clear()

    def confirmed(self) -> None:
        """The server confirmed the configuration on this link."""
        self._budget.confirmed(time.monotonic())

    def hang_up(self, failure: Failure) -> None:
        """Give the current link up with this reason."""
        if self._hangup is not None and not self._hangup.done():
            self._hangup.set_exception(LinkFailed(failure))

    async def run(self) -> None:
        """Serve link after link. Returns when it gave up; is cancelled to stop."""
        while True:
            try:
                link = await self._dial()
            except LinkFailed as exc:
                failure: Failure | None = exc.failure
            else:
                failure = await self._serve(link)
                self._outbox.lost()
                self._peer.link_lost(failure)
            if failure is None:
                continue
            delay = self._budget.failed(failure, time.monotonic())
            if delay is None:
                self._peer.gave_up(failure)
                return
            self._peer.will_retry(failure, delay)
            await asyncio.sleep(delay)

    async def _serve(self, link: Link) -> Failure | None:
        """Read and write until the link fails (returns why) or is due for its planned change (returns None)."""
        self._hangup = asyncio.get_running_loop().create_future()
        self._tell_dropped()
        self._peer.link_opened(link)
        tasks = [asyncio.ensure_future(part) for part in (self._read(link), self._write(link), self._due())]
        try:
            done, _ = await asyncio.wait([*tasks, self._hangup], return_when=asyncio.FIRST_COMPLETED)
            problems = [exc for task in done if (exc := task.exception()) is not None]
            for exc in problems:
                if not isinstance(exc, LinkFailed):
                    raise exc
            known = [exc.failure for exc in problems if isinstance(exc, LinkFailed)]
            # A read that failed knows the server's reason; a write in the same tick only knows that it failed.
            return min(known, key=lambda failure: failure.kind is not Kind.FATAL) if known else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._hangup.done():
                self._hangup.exception()
            self._hangup = None
            await link.close()

    def _tell_dropped(self) -> None:
        dropped, self._told_dropped = self._outbox.audio.dropped - self._told_dropped, self._outbox.audio.dropped
        if dropped > 0:
            logger.warning("%.1f s of user audio were lost: there was no connection for too long", dropped / 1000)

    async def _read(self, link: Link) -> None:
        while True:
            self._peer.link_received(await link.receive())

    async def _write(self, link: Link) -> None:
        while True:
            self._work.clear()
            while (event := self._outbox.next()) is not None:
                self._peer.link_sending(event)
                await link.send(event)
            await self._work.wait()

    async def _due(self) -> None:
        if self._recycle_after is None:
            await asyncio.Event().wait()
        await asyncio.sleep(self._recycle_after or 0.0)
        try:
            await asyncio.wait_for(self._calm.wait(), self._recycle_patience)
        except asyncio.TimeoutError:
            return
