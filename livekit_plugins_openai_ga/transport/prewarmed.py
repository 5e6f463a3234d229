"""A connection made and configured before anybody needs it, for the first who asks for one.

It is told the configuration as soon as it is open. Nobody waits for the answer: it stays in line, so whoever takes the
link reads it first, and a refusal is told by whoever is there to hear it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

from ..wire.values import value
from .link import Link, discard

WARM_FOR_S = 120.0
"""How long it waits for somebody."""


class Destination(Protocol):
    """Where links are opened to."""

    def served_by(self, other: Any) -> bool:
        """Whether a link that was opened, and configured, for this `other` one of the same kind serves this, too."""

    def open(self, timeout: float) -> Coroutine[Any, Any, Link]:
        """Open a link within `timeout` seconds. Raises `LinkFailed`."""


@value
class _Warm:
    """A link, open or being opened, what it is for, and the event loop that it lives on."""

    made_for: Destination
    opening: asyncio.Task[Link]
    expiry: asyncio.TimerHandle

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.opening.get_loop()

    @property
    def usable(self) -> bool:
        """Whether it is open, and nothing is known against it."""
        task = self.opening
        return task.done() and not task.cancelled() and task.exception() is None and task.result().alive


async def _configured(destination: Destination, timeout: float, session: Mapping[str, Any] | None) -> Link:
    link = await destination.open(timeout)
    if session is not None:
        link.tell(dict(session))
    return link


class Prewarmed:
    """Holds one link at most. It only saves time: whatever is wrong with it, another is dialled."""

    def __init__(self) -> None:
        self._warm: _Warm | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self, destination: Destination, timeout: float, *, tell: Mapping[str, Any] | None) -> None:
        """Begin to open a link, and `tell` it this configuration (None: nothing), unless there is a good one.

        Does nothing outside an event loop.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        warm = self._warm
        good = warm is not None and warm.loop is loop and (warm.usable or not warm.opening.done())
        if warm is not None and good and destination.served_by(warm.made_for):
            return
        self._let_go()
        opening = loop.create_task(_configured(destination, timeout, tell), name="openai_ga.Prewarmed")
        # Nobody may ever ask for it: what went wrong is told by the one who dials then.
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._warm = _Warm(destination, opening, loop.call_later(WARM_FOR_S, self._let_go))

    async def dial(self, destination: Destination, timeout: float) -> tuple[Link, bool]:
        """A link within `timeout` seconds, and whether it is the one made before. Raises `LinkFailed`."""
        started = time.monotonic()
        if (link := await self._take(destination, timeout)) is not None:
            return link, True
        return await destination.open(max(0.1, timeout - (time.monotonic() - started))), False

    async def _take(self, destination: Destination, timeout: float) -> Link | None:
        warm, self._warm = self._warm, None  # nobody else gets it
        if warm is None:
            return None
        warm.expiry.cancel()
        if warm.loop is asyncio.get_running_loop() and destination.served_by(warm.made_for):
            try:
                # Yields also when it is open: the calls that come right behind `session()` go into the first update.
                await asyncio.wait({warm.opening}, timeout=timeout)
            except asyncio.CancelledError:
                self._discard(warm)
                raise
            if warm.usable:
                return warm.opening.result()
        self._discard(warm)
        return None

    async def aclose(self) -> None:
        """Close the link nobody took."""
        self._let_go()
        loop = asyncio.get_running_loop()
        if leaving := [task for task in self._leaving if task.get_loop() is loop]:
            await asyncio.wait(leaving)

    def _let_go(self) -> None:
        warm, self._warm = self._warm, None
        if warm is not None:
            warm.expiry.cancel()
            self._discard(warm)

    def _discard(self, warm: _Warm) -> None:
        if warm.loop.is_closed():
            return  # and its sockets with it
        try:
            here = asyncio.get_running_loop() is warm.loop
        except RuntimeError:
            here = False
        if here:
            self._leave(warm.opening)
        else:
            warm.loop.call_soon_threadsafe(self._leave, warm.opening)

    def _leave(self, opening: asyncio.Task[Link]) -> None:
        leaving = asyncio.ensure_future(discard(opening))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
