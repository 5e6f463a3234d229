"""The conversation's items in the order in which the server has them, and what turns one order into another.

`Mirror[T]` only needs to know that a value has an id; what the values are is the caller's business. It holds one list.
An item that was asked for stands in it at once; an item whose deletion was asked for leaves at once. So two syncs in a
row never repeat each other's work, and no lock is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One change the server has to be told: delete `item_id`, or create `value` behind `previous_id` (None: first)."""

    item_id: str
    value: T | None
    previous_id: str | None = None


def _kept(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """The largest set of ids that stand in both in the same order (ids are unique, so this is an increasing run)."""
    place = {item_id: i for i, item_id in enumerate(old)}
    tails: list[int] = []  # smallest place that ends an increasing run of each length
    ends: list[str] = []
    before: dict[str, str | None] = {}
    for item_id in new:
        if (at := place.get(item_id)) is None:
            continue
        length = bisect_left(tails, at)
        before[item_id] = ends[length - 1] if length else None
        if length == len(tails):
            tails.append(at)
            ends.append(item_id)
        else:
            tails[length], ends[length] = at, item_id
    kept: set[str] = set()
    item = ends[-1] if ends else None
    while item is not None:
        kept.add(item)
        item = before[item]
    return kept


class Mirror(Generic[T]):
    """Ordered items by id. `identify(value)` gives the id."""

    def __init__(self, identify: Callable[[T], str]) -> None:
        self._identify = identify
        self._values: dict[str, T] = {}
        self._order: list[str] = []

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[T]:
        return (self._values[item_id] for item_id in self._order)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._values

    def get(self, item_id: str) -> T | None:
        """The item with this id, or None."""
        return self._values.get(item_id)

    @property
    def last_id(self) -> str | None:
        """The id of the last item, or None."""
        return self._order[-1] if self._order else None

    def before(self, item_id: str) -> str | None:
        """The id an item stands behind; None when it is the first, or not here."""
        at = self._order.index(item_id) if item_id in self._values else 0
        return self._order[at - 1] if at else None

    def place(self, value: T, previous_id: str | None) -> str | None:
        """Put an item behind `previous_id` (None: first), moving it when it is here already.

        Behind an unknown id nothing can be put (the server can anchor an item to one whose deletion is on its way): the
        item stays where it is, or goes to the end when it is new. Returns the id it now stands behind.
        """
        item_id = self._identify(value)
        known = item_id in self._values
        self._values[item_id] = value
        if previous_id is not None and (previous_id == item_id or previous_id not in self._values):
            if known:
                return self.before(item_id)
            previous_id = self.last_id
        if known:
            self._order.remove(item_id)
        if previous_id is None:
            self._order.insert(0, item_id)
        elif previous_id == self.last_id:
            self._order.append(item_id)
        else:
            self._order.insert(self._order.index(previous_id) + 1, item_id)
        return previous_id

    def update(self, value: T) -> None:
        """Replace an item's value where it stands; nothing happens when it is not here."""
        item_id = self._identify(value)
        if item_id in self._values:
            self._values[item_id] = value

    def remove(self, item_id: str) -> T | None:
        """Take an item out; returns it, or None when it is not here."""
        value = self._values.pop(item_id, None)
        if value is not None:
            self._order.remove(item_id)
        return value

    def sync(
        self, target: Sequence[T], same: Callable[[T, T], bool], unique: Callable[[T], bool] = lambda value: False
    ) -> list[Change[T]]:
        """Make this mirror equal to `target`; returns the changes that do the same on the server, in order.

        `same(old, new)` tells whether an item that stands in both may stay as it is. One that may not is deleted and
        created again under its id, and so is one that has to move, unless it is `unique(old)`: what could not be
        created again stays where it is, out of order.
        """
        new = {self._identify(value): value for value in target}
        if len(self._order) <= len(new) and all(a == b for a, b in zip(self._order, new, strict=False)):
            kept = set(self._order)  # the usual case: nothing, or something at the end
        else:
            kept = _kept(self._order, list(new))
        stuck = {i for i in self._order if i not in kept and i in new and unique(self._values[i])}
        changes: list[Change[T]] = [Change(i, None) for i in self._order if i not in kept and i not in stuck]
        previous: str | None = None
        for item_id, value in new.items():
            if item_id in stuck:
                continue
            if item_id in kept and same(self._values[item_id], value):
                previous = item_id
                continue
            if item_id in kept:
                changes.append(Change(item_id, None))
            changes.append(Change(item_id, value, previous))
            previous = item_id
        for change in changes:
            if change.value is None:
                self.remove(change.item_id)
            else:
                self.place(change.value, change.previous_id)
        return changes
