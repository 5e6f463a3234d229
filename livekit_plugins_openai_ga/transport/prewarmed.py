"""A connection made before anybody needs it, for the first who asks for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from .link import Link, discard

WARM_FOR_S = 120.0
"""How long it waits for somebody."""


class Destination(Protocol):
    """Where links are opened to."""

    @property
    def place(self) -> object:
        """A link serves every destination whose place is equal to that of its own."""

    def open(self, timeout: float) -> Coroutine[Any, Any, Link]:
        """Open a link within `timeout` seconds. Raises `LinkFailed`."""


@dataclass(frozen=True, slots=True)
class _Warm:
    """A link, open or being opened, and the event loop that it lives on."""

    place: object
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


class Prewarmed:
    """Holds one link at most. It only saves time: whatever is wrong with it, another is dialled."""

    def __init__(self) -> None:
        self._warm: _Warm | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self, destination: Destination, timeout: float) -> None:
        """Begin to open a link, unless there is a good one. Does nothing outside an event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        warm, place = self._warm, destination.place
        if warm is not None and warm.place == place and warm.loop is loop and (warm.usable or not warm.opening.done()):
            return
        self._let_go()
        opening = loop.create_task(destination.open(timeout), name="openai_ga.Prewarmed")
        # Nobody may ever ask for it: what went wrong is told by the one who dials then.
        opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._warm = _Warm(place, opening, loop.call_later(WARM_FOR_S, self._let_go))

    async def dial(self, destination: Destination, timeout: float) -> tuple[Link, bool]:
        """A link within `timeout` seconds, and whether it is the one made before. Raises `LinkFailed`."""
        started = time.monotonic()
        if (link := await self._take(destination.place, timeout)) is not None:
            return link, True
        return await destination.open(max(0.1, timeout - (time.monotonic() - started))), False

    async def _take(self, place: object, timeout: float) -> Link | None:
        warm, self._warm = self._warm, None  # nobody else gets it
        if warm is None:
            return None
        warm.expiry.cancel()
        if warm.place == place and warm.loop is asyncio.get_running_loop():
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
