"""The news that a session is over, and when it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from ..errors import Failure


class LastNews:
    """Tells why a session is over, by `tell`: at once, or when whoever sets it up is done."""

    __slots__ = ("_setups", "_tell", "_untold")

    def __init__(self, tell: Callable[[Failure], object]) -> None:
        self._tell = tell
        self._setups = 0
        self._untold: Failure | None = None

    def over(self, failure: Failure) -> None:
        """The session is over."""
        if self._setups:
            self._untold = failure
        else:
            self._tell(failure)

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """Hold it back until the block is done.

        LiveKit's fallback adapter sets its next model up in it, and does not hear an error before that has ended.
        """
        self._setups += 1
        try:
            yield
        finally:
            self._setups -= 1
            if not self._setups and self._untold is not None:
                failure, self._untold = self._untold, None
                asyncio.get_running_loop().call_soon(self._tell, failure)
