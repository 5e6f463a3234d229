"""The news that a session is over, which is held back while an agent is being set up.

LiveKit's fallback adapter sets its next model up in `_update_session`, and hears no error before that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from ..errors import Failure


class LastWord:
    """Tells why a session is over, once, by `tell`."""

    def __init__(self, tell: Callable[[Failure], None]) -> None:
        self._tell = tell
        self._setups = 0  # that wait
        self._untold: Failure | None = None

    def say(self, failure: Failure) -> None:
        """The session is over. Told now, or when nobody sets it up any more."""
        if self._setups:
            self._untold = failure
        else:
            self._tell(failure)

    @contextlib.contextmanager
    def waits(self) -> Iterator[None]:
        """Hold the news back until the block is done, and whoever waits for it has gone on."""
        self._setups += 1
        try:
            yield
        finally:
            self._setups -= 1
            if not self._setups and self._untold is not None:
                failure, self._untold = self._untold, None
                asyncio.get_running_loop().call_soon(self._tell, failure)
