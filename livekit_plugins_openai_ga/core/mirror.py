"""The conversation's items in the order in which the server has them, and what turns one order into another.

`Mirror[T]` only needs to know that a value has an id; what the values are is the caller's business. An item that was
asked for stands in it at once; an item whose deletion was asked for leaves at once. So two syncs in a row never repeat
each other's work, and no lock is needed. Behind that stands what the server has said so far: the order shown is always
that, followed by the changes it has not answered yet, and so it stays right when the server adds items in between, and
when it refuses a change.
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


def _insert(order: list[str], item_id: str, previous_id: str | None) -> None:
    if previous_id is None:
        order.insert(0, item_id)
    elif order[-1:] == [previous_id] or previous_id not in order:
        order.append(item_id)
    else:
        order.insert(order.index(previous_id) + 1, item_id)


class Mirror(Generic[T]):
    """Ordered items by id. `identify(value)` gives the id."""

    def __init__(self, identify: Callable[[T], str]) -> None:
        self._identify = identify
        self._values: dict[str, T] = {}
        self._order: list[str] = []
        self._server: list[str] = []  # what the server has said so far
        self._there: set[str] = set()  # the same, unordered
        self._hidden: dict[str, T] = {}  # what the server has of items that changes on their way take out or make anew
        self._pending: list[Change[T]] = []  # what it has not answered, in the order in which it will
        self._changing: dict[str, int] = {}  # how many of them each item has

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[T]:
        return (self._values[item_id] for item_id in self._order)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._values

    def get(self, item_id: str) -> T | None:
        """The item with this id, or None."""
        return self._values.get(item_id)

    def hidden(self, item_id: str) -> T | None:
        """What the server still has of an item that a change on its way takes out or makes anew, or None."""
        return self._hidden.get(item_id)

    @property
    def last_id(self) -> str | None:
        """The id of the last item, or None."""
        return self._order[-1] if self._order else None

    def before(self, item_id: str) -> str | None:
        """The id an item stands behind; None when it is the first, or not here."""
        at = self._order.index(item_id) if item_id in self._values else 0
        return self._order[at - 1] if at else None

    def update(self, value: T) -> None:
        """Replace an item's value where it stands; nothing happens when it is not here."""
        item_id = self._identify(value)
        if item_id in self._values:
            self._values[item_id] = value

    def revise(self, item_id: str, revised: Callable[[T], T]) -> None:
        """The server's item grew: replaces its value, and the one that is hidden, by `revised(value)`."""
        for values in (self._values, self._hidden):
            if item_id in values:
                values[item_id] = revised(values[item_id])

    # -- what is asked for ---------------------------------------------------------------------------------------

    def change(self, change: Change[T]) -> None:
        """A change goes to the server. It shows at once."""
        self._pending.append(change)
        self._changing[change.item_id] = self._changing.get(change.item_id, 0) + 1
        if (shown := self._values.pop(change.item_id, None)) is not None:
            self._order.remove(change.item_id)
            if change.item_id in self._there:
                self._hidden.setdefault(change.item_id, shown)
        if change.value is not None:
            self._values[change.item_id] = change.value
            _insert(self._order, change.item_id, change.previous_id)

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
            if item_id not in kept or not same(self._values[item_id], value):
                if item_id in kept:
                    changes.append(Change(item_id, None))
                changes.append(Change(item_id, value, previous))
            previous = item_id
        for change in changes:
            self.change(change)
        return changes

    def restart(self, survives: Callable[[T], bool]) -> list[Change[T]]:
        """The server has a new conversation: returns the changes that bring back the items that can be."""
        values = [value for value in self if survives(value)]
        self._values, self._order, self._server, self._pending = {}, [], [], []
        self._there, self._hidden, self._changing = set(), {}, {}
        for value in values:
            self.change(Change(self._identify(value), value, self.last_id))
        return list(self._pending)

    # -- what the server says ------------------------------------------------------------------------------------

    def added(self, value: T, previous_id: str | None, answered: Change[T] | None = None) -> str | None:
        """The server has put an item behind `previous_id` (None: first; unknown: last), by itself or as the answer to a
        change, whose item is known already. Returns the id it stands behind.
        """
        item_id = self._identify(value)
        self._take_out(item_id)
        _insert(self._server, item_id, previous_id)
        self._there.add(item_id)
        if answered is None:
            self._values[item_id] = value
        else:
            self._answered(answered)
            if answered.value is not None and item_id in self._changing:
                self._hidden[item_id] = answered.value
        if answered is None or answered.previous_id != previous_id:
            self._arrange()
        return self.before(item_id)

    def removed(self, item_id: str, answered: Change[T] | None = None) -> None:
        """The server has taken an item out."""
        self._take_out(item_id)
        if answered is not None:
            self._answered(answered)
        if not self.is_pending(item_id) and self._values.pop(item_id, None) is not None:
            self._arrange()

    def refused(self, change: Change[T]) -> None:
        """The server will not do this: what it has shows again, unless a later change says otherwise."""
        item_id = change.item_id
        self._answered(change)
        if item_id not in self._changing:
            kept = self._hidden.pop(item_id, None)
            self._values.pop(item_id, None)
            if kept is not None:
                self._values[item_id] = kept
        elif not self.is_pending(item_id):
            self._values.pop(item_id, None)
        self._arrange()

    def _take_out(self, item_id: str) -> None:
        self._hidden.pop(item_id, None)
        if item_id in self._there:
            self._there.remove(item_id)
            self._server.remove(item_id)

    def _answered(self, change: Change[T]) -> None:
        self._pending.remove(change)
        self._changing[change.item_id] -= 1
        if not self._changing[change.item_id]:
            del self._changing[change.item_id]

    def is_pending(self, item_id: str) -> bool:
        """Whether the creation of this item is on its way."""
        if item_id not in self._changing:
            return False
        return any(change.item_id == item_id and change.value is not None for change in self._pending)

    def _arrange(self) -> None:
        """What the server has, and then what it will make of the changes on their way."""
        order, there = list(self._server), set(self._there)
        for change in self._pending:
            if change.item_id in there:
                order.remove(change.item_id)
                there.remove(change.item_id)
            if change.value is not None:
                _insert(order, change.item_id, change.previous_id)
                there.add(change.item_id)
        self._order = [item_id for item_id in order if item_id in self._values]
        self._values = {item_id: self._values[item_id] for item_id in self._order}
