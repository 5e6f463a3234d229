"""A connection made before anybody speaks, for the first stream that asks for one."""

from __future__ import annotations

import asyncio

from ..transport.link import Link, discard
from .options import Options

WARM_FOR_S = 120.0
"""How long it waits for a stream."""


class Prewarmed:
    """Holds one link at most, open or being opened."""

    def __init__(self) -> None:
        self._opening: asyncio.Task[Link] | None = None
        self._options: Options | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def open(self, options: Options, timeout: float) -> None:
        """Begin to open a link, unless there is a good one. Needs a running event loop."""
        if self._opening is not None and (not self._opening.done() or _good(self._opening)):
            return
        self._let_go()
        loop = asyncio.get_running_loop()
        self._options = options
        self._opening = loop.create_task(options.open(timeout))
        # Nobody may ever ask for it: what went wrong is told by the stream that dials then.
        self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._expiry = loop.call_later(WARM_FOR_S, self._let_go)

    async def take(self, options: Options, timeout: float) -> Link | None:
        """The link, if it serves for these options and is open within `timeout` seconds. Never raises for a bad one."""
        opening, self._opening = self._opening, None
        if opening is None or self._options is None:
            return None
        if not options.needs_new_session(self._options):
            try:
                await asyncio.wait({opening}, timeout=timeout)
            except asyncio.CancelledError:
                self._opening = opening  # the next stream may have it
                raise
            if _good(opening):
                return opening.result()
        await discard(opening)
        return None

    async def aclose(self) -> None:
        """Close the link nobody took."""
        self._let_go()
        if self._leaving:
            await asyncio.wait(self._leaving)

    def _let_go(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        opening, self._opening = self._opening, None
        if opening is not None:
            leaving = asyncio.ensure_future(discard(opening))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


def _good(opening: asyncio.Task[Link]) -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is None and opening.result().alive
