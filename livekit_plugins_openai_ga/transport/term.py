"""How long a link serves: until it is old, or to be renewed, and then until a moment in which nobody minds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Term:
    """Calls `over()` when the current link has served its time. Timers do: a waiting task weighs ten times as much."""

    __slots__ = ("_calm", "_due", "_over", "_serving", "_timer")

    def __init__(self, over: Callable[[], object]) -> None:
        self._over = over
        self._calm = True
        self._serving = False
        self._due = False  # over, but for a calm moment
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, age: float | None, patience: float) -> None:
        """A link begins. At `age` (s; None: never) it is old, and `patience` (s) later over without a calm moment."""
        self.end()
        self._serving = True
        if age is not None:
            self._timer = asyncio.get_running_loop().call_later(age, self.expire, patience)

    def expire(self, patience: float) -> None:
        """The link is over at the next calm moment, or `patience` (s) from now. Without a link it means nothing."""
        if not self._serving:
            return
        self._stop_timer()
        self._due = True
        self._timer = asyncio.get_running_loop().call_later(0.0 if self._calm else patience, self._over)

    def set_calm(self, calm: bool) -> None:
        """Tell whether this is a good moment."""
        if calm and not self._calm and self._due:
            self._over()
        self._calm = calm

    def end(self) -> None:
        """The link is gone."""
        self._stop_timer()
        self._serving = self._due = False

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
