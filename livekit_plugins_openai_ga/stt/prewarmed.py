"""A connection made before anybody speaks, for the first stream that asks for one."""

from __future__ import annotations

import asyncio

from ..transport.link import Link
from .options import Options

WARM_FOR_S = 120.0
"""How long it waits for a stream."""


class Prewarmed:
    """Holds one link at most, open or being opened."""

    def __init__(self) -> None:
        self._opening: asyncio.Task[Link] | None = None
        self._options: Options | None = None
        self._until = 0.0

    def open(self, options: Options, timeout: float) -> None:
        """Begin to open a link, unless there is one. Needs a running event loop."""
        if self._opening is None:
            loop = asyncio.get_running_loop()
            self._options = options
            self._until = loop.time() + WARM_FOR_S
            self._opening = loop.create_task(options.open(timeout))

    async def take(self, options: Options, timeout: float) -> Link | None:
        """The link, if it serves for these options and is open within `timeout` seconds. Never raises for a bad one."""
        opening, self._opening = self._opening, None
        if opening is None or self._options is None:
            return None
        if self._until > asyncio.get_running_loop().time() and not options.needs_new_session(self._options):
            try:
                await asyncio.wait({opening}, timeout=timeout)
            except asyncio.CancelledError:
                self._opening = opening  # the next stream may have it
                raise
            if _came(opening) and opening.result().alive:
                return opening.result()
        await _discard(opening)
        return None

    async def aclose(self) -> None:
        """Close the link nobody took."""
        opening, self._opening = self._opening, None
        if opening is not None:
            await _discard(opening)


def _came(opening: asyncio.Task[Link]) -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is None


async def _discard(opening: asyncio.Task[Link]) -> None:
    opening.cancel()
    await asyncio.wait({opening})
    if _came(opening):
        await opening.result().close()
