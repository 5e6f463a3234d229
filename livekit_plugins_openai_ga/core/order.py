"""Ids in a row that may be long.

Putting one in, taking one out and asking for a neighbour cost the same in a row of ten and of ten thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_


def beginning(old: Sequence[object], new: Sequence[object]) -> int:
    """How many things at the beginning of `new` are the very ones at the beginning of `old`."""
    same = list(map(is_, old, new))
    return len(same) if all(same) else same.index(False)


class Order:
    """Each id knows its neighbours; None is what stands in front of the first and behind the last."""

    __slots__ = ("_before", "_ids", "_next")

    def __init__(self) -> None:
        self._next: dict[str | None, str | None] = {}
        self._before: dict[str | None, str | None] = {}
        self._ids: list[str] | None = None  # made when asked for, and anew when something has changed but the end

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._next

    @property
    def ids(self) -> list[str]:
        """All ids in order; not to be changed."""
        if self._ids is None:
            self._ids = []
            item_id = self._next.get(None)
            while item_id is not None:
                self._ids.append(item_id)
                item_id = self._next[item_id]
        return self._ids

    def copy(self) -> Order:
        """Another row of the same ids."""
        other = Order()
        other._next, other._before, other._ids = self._next.copy(), self._before.copy(), None
        return other

    @property
    def last(self) -> str | None:
        """The last id; None when there is none."""
        return self._before.get(None)

    def before(self, item_id: str) -> str | None:
        """The id in front of this one; None when it is the first, or not here."""
        return self._before.get(item_id)

    def put(self, item_id: str, previous_id: str | None) -> None:
        """Put an id that is not here behind `previous_id` (None: first; not here: last)."""
        if previous_id is not None and previous_id not in self._next:
            previous_id = self.last
        following = self._next.get(previous_id)
        self._next[previous_id] = self._before[following] = item_id
        self._next[item_id], self._before[item_id] = following, previous_id
        if following is None and self._ids is not None:
            self._ids.append(item_id)
        else:
            self._ids = None

    def take(self, item_id: str) -> None:
        """Take an id out; nothing happens when it is not here."""
        if item_id in self._next:
            before, following = self._before.pop(item_id), self._next.pop(item_id)
            self._next[before], self._before[following] = following, before
            self._ids = None
