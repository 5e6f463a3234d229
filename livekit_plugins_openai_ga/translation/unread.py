"""What a stream gave out and nobody has read yet. It has its bound: what nobody reads must not fill the memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Unread(AsyncIterator[T], Generic[T]):
    """An iterator for one reader. Beyond `limit` (in whatever unit `put` counts) the oldest goes.

    `overflowed` is called when that happens for the first time.
    """

    def __init__(self, limit: float, overflowed: Callable[[], object]) -> None:
        self._limit = limit
        self._overflowed: Callable[[], object] | None = overflowed
        self._items: list[tuple[T, float]] = []  # an empty deque takes 0.6 KiB, and there are three in each stream
        self._size = 0.0
        self._changed = asyncio.Event()
        self._over = False
        self._error: BaseException | None = None

    def put(self, item: T, size: float) -> None:
        """Add to the end."""
        if self._over:
            return
        self._items.append((item, size))
        self._size += size
        while self._size > self._limit and len(self._items) > 1:
            _, gone = self._items.pop(0)
            self._size -= gone
            if self._overflowed is not None:
                self._overflowed()
                self._overflowed = None
        self._changed.set()

    def end(self, error: BaseException | None = None) -> None:
        """There will be no more. The reader gets what is there, then the error, or the end."""
        if not self._over:
            self._over, self._error = True, error
            self._changed.set()

    def clear(self) -> None:
        """Forget what is there."""
        self._items.clear()
        self._size = 0.0

    async def __anext__(self) -> T:
        while not self._items:
            if self._over:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        item, size = self._items.pop(0)
        self._size -= size
        return item
