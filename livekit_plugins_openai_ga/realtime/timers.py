"""What happens when something did not come in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timers:
    """Timers by key, one for each at a time."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[str, asyncio.TimerHandle] = {}

    def start(self, key: str, delay: float, over: Callable[[str], object]) -> None:
        """Call `over(key)` in `delay` seconds, unless it is stopped, or started anew."""
        self.stop(key)

        def ring() -> None:
            del self._running[key]
            over(key)

        self._running[key] = asyncio.get_running_loop().call_later(delay, ring)

    def stop(self, key: str) -> None:
        """Whatever it was for has come, or is not wanted any more."""
        if (timer := self._running.pop(key, None)) is not None:
            timer.cancel()

    def clear(self) -> None:
        """Stop all."""
        for key in list(self._running):
            self.stop(key)
