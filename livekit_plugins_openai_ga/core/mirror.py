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

from .order import Order, beginning

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Change(Generic[T]):
    """One change the server has to be told: delete `item_id`, or create `value` behind `previous_id` (None: first).

    Two that say the same are two changes.
    """

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
    """Ordered items by id. `identify(value)` gives the id.

    No call costs more in a long conversation, except those that look at all of it: `values`, `sync` (only what is
    behind the unchanged beginning costs more than a glance), and the first look after the server did something of its
    own while changes were on their way, which arranges everything anew.
    """

    __slots__ = ("_hidden", "_identify", "_open", "_order", "_row", "_server", "_stale", "_steps", "_values")

    def __init__(self, identify: Callable[[T], str]) -> None:
        self._identify = identify
        self._values: dict[str, T] = {}
        self._order = Order()  # what is shown; asked for by `_arranged`
        self._stale = False  # whether it has to be arranged anew
        self._row: list[T] | None = []  # the values in this order; None when more has changed than came last
        self._server = Order()  # what the server has said so far
        self._hidden: dict[str, T] = {}  # what the server has of items that changes on their way take out or make anew
        # The changes that stand between the two, in the order in which the server answers: those on their way, and the
        # refused creations that others on their way may be anchored to.
        self._steps: dict[Change[T], None] = {}
        self._open: dict[str, list[Change[T]]] = {}  # those on their way, by item, oldest first

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(self.values)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._values

    @property
    def values(self) -> list[T]:
        """All items in order; not to be changed. The same list, which grows, while new ones only come behind it."""
        if self._row is None:
            self._row = list(map(self._values.__getitem__, self._arranged.ids))
        return self._row

    def get(self, item_id: str) -> T | None:
        """The item with this id, or None."""
        return self._values.get(item_id)

    def hidden(self, item_id: str) -> T | None:
        """What the server still has of an item that a change on its way takes out or makes anew, or None."""
        return self._hidden.get(item_id)

    @property
    def last_id(self) -> str | None:
        """The id of the last item, or None."""
        return self._arranged.last

    def before(self, item_id: str) -> str | None:
        """The id an item stands behind; None when it is the first, or not here."""
        return self._arranged.before(item_id)

    def ends_with(self, item_id: str | None) -> bool:
        """Whether this is the last item that the server has so far; None: it has none."""
        return self._server.last == item_id

    def update(self, value: T) -> None:
        """Replace an item's value where it stands; nothing happens when it is not here."""
        item_id = self._identify(value)
        if item_id in self._values:
            self._values[item_id] = value
            self._row = None

    def revise(self, item_id: str, revised: Callable[[T], T]) -> None:
        """The server's item grew: replaces its value, and the one that is hidden, by `revised(value)`."""
        for values in (self._values, self._hidden):
            if item_id in values:
                values[item_id] = revised(values[item_id])
                self._row = None

    # -- what is asked for ---------------------------------------------------------------------------------------

    def change(self, change: Change[T]) -> None:
        """A change goes to the server. It shows at once."""
        item_id = change.item_id
        self._steps[change] = None
        self._open.setdefault(item_id, []).append(change)
        if (shown := self._values.pop(item_id, None)) is not None and item_id in self._server:
            self._hidden.setdefault(item_id, shown)
        if change.value is not None:
            self._values[item_id] = change.value
        self._step(self._order, change)
        if shown is not None or change.value is None or not self._put_last(change.value):
            self._row = None

    def _put_last(self, value: T) -> bool:
        """Whether a value that was not here before was put last: then the row only grows. To make it anew takes as long
        as LiveKit's copy of a conversation.
        """
        if self._row is None or self._order.last != self._identify(value):
            return False
        self._row.append(value)
        return True

    def beginning(self, target: Sequence[T]) -> int:
        """How many items at the beginning of `target` are the very ones that stand here."""
        return beginning(self.values, target)

    def sync(
        self,
        target: Sequence[T],
        same: Callable[[T, T], bool],
        unique: Callable[[T], bool] = lambda value: False,
        *,
        start: int = 0,
    ) -> list[Change[T]]:
        """Make this mirror equal to `target`; returns the changes that do the same on the server, in order.

        `same(old, new)` tells whether an item that stands in both may stay as it is. One that may not is deleted and
        created again under its id, and so is one that has to move, unless it is `unique(old)`: what could not be
        created again stays where it is, out of order. The first `start` items stay; `target` is what comes behind them.
        """
        order = [self._identify(value) for value in self.values[start:]]
        here = set(order)
        new = {i: value for value in target if (i := self._identify(value)) in here or i not in self._values}
        if len(order) <= len(new) and all(a == b for a, b in zip(order, new, strict=False)):
            kept = here  # the usual case: nothing, or something at the end
        else:
            kept = _kept(order, list(new))
        stuck = {i for i in order if i not in kept and i in new and unique(self._values[i])}
        changes: list[Change[T]] = [Change(i, None) for i in order if i not in kept and i not in stuck]
        previous = self._identify(self.values[start - 1]) if start else None
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

    def restart(self, values: Sequence[T]) -> list[Change[T]]:
        """The server has a new conversation: returns the changes that make it of `values`."""
        self._values, self._hidden, self._steps, self._open = {}, {}, {}, {}
        self._order, self._server, self._stale, self._row = Order(), Order(), False, []
        for value in values:
            self.change(Change(self._identify(value), value, self.last_id))
        return list(self._steps)

    # -- what the server says ------------------------------------------------------------------------------------

    def added(self, value: T, previous_id: str | None, answered: Change[T] | None = None) -> None:
        """The server has put an item behind `previous_id` (None: first; unknown: last), by itself or as the answer to a
        change, whose item is known already.
        """
        item_id = self._identify(value)
        self._take_out(item_id)
        self._server.put(item_id, previous_id)
        if answered is not None:
            self._answered(answered)
            if answered.value is not None and item_id in self._open:
                self._hidden[item_id] = answered.value
        # A deletion may be answered before the creation that it was for: then the item is there after all.
        known = item_id in self._values
        news = answered is None or (not known and item_id not in self._open)
        if news:
            self._values[item_id] = value
        if news or answered is None or answered.previous_id != previous_id:
            self._order.take(item_id)
            self._order.put(item_id, previous_id)
            if known or self._steps or not self._put_last(value):
                self._disturbed()

    def removed(self, item_id: str, answered: Change[T] | None = None) -> None:
        """The server has taken an item out."""
        self._take_out(item_id)
        if answered is not None:
            self._answered(answered)
        else:  # others may be anchored to it
            self._disturbed()
        if not self.is_pending(item_id) and self._values.pop(item_id, None) is not None:
            self._order.take(item_id)
            self._row = None

    def refused(self, change: Change[T]) -> None:
        """The server will not do this: what it has shows again, unless a later change says otherwise."""
        item_id = change.item_id
        # Those behind a creation stay where they are without it: that is where they will be asked for again.
        self._answered(change, anchors=change.value is not None and item_id not in self._server)
        if item_id not in self._open:
            self._values.pop(item_id, None)
            if (kept := self._hidden.pop(item_id, None)) is not None:
                self._values[item_id] = kept
        elif not self.is_pending(item_id):
            self._values.pop(item_id, None)
        if change in self._steps and item_id not in self._open:
            self._order.take(item_id)
        else:
            self._stale = True
        self._row = None

    def _take_out(self, item_id: str) -> None:
        self._hidden.pop(item_id, None)
        self._server.take(item_id)

    def _disturbed(self) -> None:
        """The server did something that was not asked for: the changes on their way may come to stand elsewhere."""
        self._stale = self._stale or bool(self._steps)
        self._row = None

    def _answered(self, change: Change[T], *, anchors: bool = False) -> None:
        self._open[change.item_id].remove(change)
        if not self._open[change.item_id]:
            del self._open[change.item_id]
        if not anchors:
            del self._steps[change]
        if not self._open and self._steps:  # nothing is anchored to them any more
            self._steps.clear()
            self._stale, self._row = True, None

    def is_pending(self, item_id: str) -> bool:
        """Whether the creation of this item is on its way."""
        return any(change.value is not None for change in self._open.get(item_id, ()))

    @property
    def _arranged(self) -> Order:
        """What the server has, and then what it will make of the changes on their way."""
        if self._stale:
            self._order = self._server.copy()
            for change in self._steps:
                # A refused creation only marks a place; not that of an item which the server has after all.
                if change.item_id not in self._server or change in self._open.get(change.item_id, ()):
                    self._step(self._order, change)
            for item_id in [item_id for item_id in self._order.ids if item_id not in self._values]:
                self._order.take(item_id)
            self._stale = False
        return self._order

    @staticmethod
    def _step(order: Order, change: Change[T]) -> None:
        order.take(change.item_id)
        if change.value is not None:
            order.put(change.item_id, change.previous_id)
