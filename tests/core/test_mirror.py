"""The mirror: any order can be turned into any other, and the server's placements are followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core.mirror import Change, Mirror

ids = st.lists(st.sampled_from("abcdefgh"), unique=True)
versions = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 1))
Value = tuple[str, int]


def identify(value: Value) -> str:
    return value[0]


def same(old: Value, new: Value) -> bool:
    return old == new


def mirror_of(values: Sequence[Value]) -> Mirror[Value]:
    mirror: Mirror[Value] = Mirror(identify)
    for value in values:
        mirror.added(value, mirror.last_id)
    return mirror


def apply(server: list[Value], changes: Sequence[Change[Value]]) -> None:
    """Do to a list what a server does with the changes; fails where a server would refuse one."""
    for change in changes:
        names = [identify(value) for value in server]
        if change.value is None:
            del server[names.index(change.item_id)]
            continue
        assert change.item_id not in names
        server.insert(0 if change.previous_id is None else names.index(change.previous_id) + 1, change.value)


@given(ids, ids, versions)
def test_the_changes_of_a_sync_turn_the_servers_items_into_the_target(
    before: list[str], after: list[str], version: dict[str, int]
) -> None:
    server = [(item_id, 0) for item_id in before]
    target = [(item_id, version.get(item_id, 0)) for item_id in after]
    mirror = mirror_of(server)
    apply(server, mirror.sync(target, same))
    assert server == target == list(mirror)


def test_an_item_whose_deletion_was_answered_before_its_creation_is_there_and_can_be_deleted() -> None:
    mirror = mirror_of([("a", 0)])
    (creation,) = mirror.sync([("a", 0), ("b", 0)], same)
    (deletion,) = mirror.sync([("a", 0)], same)
    mirror.removed("b", deletion)
    mirror.added(("b", 0), None, creation)
    assert list(mirror) == [("b", 0), ("a", 0)]
    assert [(change.item_id, change.value) for change in mirror.sync([("a", 0)], same)] == [("b", None)]


@given(ids, ids)
def test_as_many_items_as_possible_stay(before: list[str], after: list[str]) -> None:
    changes = mirror_of([(i, 0) for i in before]).sync([(i, 0) for i in after], same)
    untouched = [i for i in before if i in after and not any(change.item_id == i for change in changes)]
    moved = [i for i in after if i in before and i not in untouched]
    assert [i for i in after if i in untouched] == untouched
    for item_id in moved:  # none of those that were moved could have stayed with the others
        both = {*untouched, item_id}
        assert [i for i in before if i in both] != [i for i in after if i in both]


@given(ids, ids, st.sets(st.sampled_from("abcdefgh")))
def test_what_cannot_be_created_again_is_never_touched_by_a_move(
    before: list[str], after: list[str], unique: set[str]
) -> None:
    server = [(item_id, 0) for item_id in before]
    mirror = mirror_of(server)
    changes = mirror.sync([(item_id, 0) for item_id in after], same, lambda value: value[0] in unique)
    apply(server, changes)
    assert server == list(mirror)
    assert {identify(value) for value in server} == set(after)
    assert not {change.item_id for change in changes} & unique & set(before) & set(after)


@given(ids, ids)
def test_a_second_sync_has_nothing_to_do(before: list[str], after: list[str]) -> None:
    mirror = mirror_of([(i, 0) for i in before])
    target = [(i, 0) for i in after]
    mirror.sync(target, same)
    assert mirror.sync(target, same) == []


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.sampled_from("abcdexyz"))))
def test_the_servers_placements_are_followed(placements: list[tuple[str, str | None]]) -> None:
    mirror: Mirror[Value] = Mirror(identify)
    for item_id, previous in placements:
        can_follow = previous is None or (previous in mirror and previous != item_id)
        mirror.added((item_id, 0), previous)
        behind = mirror.before(item_id)
        if can_follow:
            assert behind == previous
        else:
            assert mirror.last_id == item_id
    assert len(mirror) == len(list(mirror)) == len({item_id for item_id, _ in placements})


def test_what_comes_last_is_put_behind_the_same_values() -> None:
    mirror = mirror_of([("a", 0), ("b", 0)])
    values = mirror.values
    (asked,) = mirror.sync([*values, ("c", 0)], same)
    mirror.added(("c", 0), "b", asked)
    mirror.added(("d", 0), "c")
    assert mirror.values is values
    assert values == [("a", 0), ("b", 0), ("c", 0), ("d", 0)]
    mirror.added(("e", 0), "a")
    assert mirror.values is not values
    assert [name for name, _ in mirror.values] == ["a", "e", "b", "c", "d"]
    mirror.change(Change("d", ("d", 1), "c"))
    assert mirror.values == [("a", 0), ("e", 0), ("b", 0), ("c", 0), ("d", 1)]


def test_an_item_is_replaced_where_it_stands() -> None:
    mirror = mirror_of([("a", 0), ("b", 0)])
    mirror.update(("a", 1))
    mirror.update(("c", 1))
    assert list(mirror) == [("a", 1), ("b", 0)]
    assert mirror.get("a") == ("a", 1)
    assert "c" not in mirror


def test_what_the_server_takes_out_is_gone() -> None:
    mirror = mirror_of([("a", 0), ("b", 0)])
    mirror.removed("a")
    mirror.removed("a")
    assert (list(mirror), mirror.last_id, mirror.before("b")) == ([("b", 0)], "b", None)
    assert mirror.get("a") is None


def test_changes_show_at_once_and_a_refused_one_is_taken_back() -> None:
    mirror = mirror_of([("a", 0)])
    change = Change("b", ("b", 0), None)
    mirror.change(change)
    assert (list(mirror), mirror.is_pending("b")) == ([("b", 0), ("a", 0)], True)
    mirror.refused(change)
    assert (list(mirror), mirror.is_pending("b")) == ([("a", 0)], False)


def test_a_refused_deletion_shows_the_item_again_in_its_place() -> None:
    mirror = mirror_of([("a", 0), ("b", 0), ("c", 0)])
    change: Change[Value] = Change("b", None)
    mirror.change(change)
    assert (list(mirror), mirror.hidden("b")) == ([("a", 0), ("c", 0)], ("b", 0))
    mirror.refused(change)
    assert (list(mirror), mirror.hidden("b")) == ([("a", 0), ("b", 0), ("c", 0)], None)


def test_what_the_server_still_has_goes_on_changing_unseen() -> None:
    mirror = mirror_of([("a", 0)])
    change: Change[Value] = Change("a", None)
    mirror.change(change)
    mirror.revise("a", lambda value: ("a", value[1] + 1))
    assert list(mirror) == []
    mirror.refused(change)
    mirror.revise("a", lambda value: ("a", value[1] + 1))
    mirror.revise("b", lambda value: ("b", 9))
    assert list(mirror) == [("a", 2)]


def test_a_change_on_its_way_keeps_its_place_when_the_server_adds_something() -> None:
    mirror = mirror_of([("a", 0)])
    change = Change("b", ("b", 0), "a")
    mirror.change(change)
    mirror.added(("c", 0), "a")
    assert [item_id for item_id, _ in mirror] == ["a", "b", "c"]
    mirror.added(("b", 0), "a", change)
    assert [item_id for item_id, _ in mirror] == ["a", "b", "c"]


def test_a_new_conversation_gets_what_survives_in_order() -> None:
    mirror = mirror_of([("a", 0), ("b", 1), ("c", 0)])
    mirror.change(Change("d", ("d", 0), "c"))
    changes = mirror.restart([value for value in mirror.values if value[1] == 0])
    assert [(change.item_id, change.previous_id) for change in changes] == [("a", None), ("c", "a"), ("d", "c")]
    assert [item_id for item_id, _ in mirror] == ["a", "c", "d"]


class Refusing:
    """A server that takes some changes and refuses others, one at a time; a refused deletion makes a duplicate."""

    def __init__(self, items: list[Value]) -> None:
        self.items = items

    def take(self, change: Change[Value], mirror: Mirror[Value], *, willing: bool) -> None:
        names = [identify(value) for value in self.items]
        anchored = change.previous_id is None or change.previous_id in names
        if change.value is None and willing and change.item_id in names:
            del self.items[names.index(change.item_id)]
            mirror.removed(change.item_id, change)
        elif change.value is not None and willing and anchored and change.item_id not in names:
            self.items.insert(0 if change.previous_id is None else names.index(change.previous_id) + 1, change.value)
            mirror.added(change.value, change.previous_id, change)
        else:
            mirror.refused(change)


@given(ids, st.lists(st.tuples(ids, versions), min_size=1, max_size=3), st.lists(st.booleans(), max_size=40))
def test_whatever_is_refused_the_end_is_what_the_server_has(
    before: list[str], targets: list[tuple[list[str], dict[str, int]]], willing: list[bool]
) -> None:
    server = Refusing([(item_id, 0) for item_id in before])
    mirror = mirror_of(server.items)
    pending: list[Change[Value]] = []
    answers = iter(willing)
    for target, version in targets:
        pending += mirror.sync([(item_id, version.get(item_id, 0)) for item_id in target], same)
        for _ in range(min(2, len(pending))):  # the answers come late
            server.take(pending.pop(0), mirror, willing=next(answers, True))
    while pending:
        server.take(pending.pop(0), mirror, willing=next(answers, True))
    assert list(mirror) == server.items
    assert not any(mirror.hidden(item_id) or mirror.is_pending(item_id) for item_id in "abcdefgh")


class Plain(Refusing):
    """What a mirror should show, worked out from the beginning each time: the server's items, then the open changes."""

    def __init__(self) -> None:
        super().__init__([])
        self.mirror: Mirror[Value] = Mirror(identify)
        self.steps: list[Change[Value]] = []
        self.open: list[Change[Value]] = []
        self.made = 0

    def sync(self, target: Sequence[Value]) -> None:
        own = [value for value in self.mirror if value[0].startswith("own")]
        changes = self.mirror.sync([*target, *own], same)
        self.steps += changes
        self.open += changes

    def answer(self, *, willing: bool) -> None:
        if not self.open:
            return
        change = self.open.pop(0)
        before = list(self.items)
        self.take(change, self.mirror, willing=willing)
        if change.value is None or self.items != before or change.item_id in dict(before):
            self.steps.remove(change)  # else others may be anchored to it
        if not self.open:
            self.steps.clear()

    def make(self, place: int) -> None:
        self.made += 1
        at = place % (len(self.items) + 1)
        value = (f"own{self.made}", 0)
        self.mirror.added(value, self.items[at - 1][0] if at else None)
        self.items.insert(at, value)

    def lose(self, place: int) -> None:
        if self.items:
            item_id, _ = self.items.pop(place % len(self.items))
            self.mirror.removed(item_id)

    def shown(self) -> list[Value]:
        order, values = [item_id for item_id, _ in self.items], dict(self.items)
        for change in self.steps:
            item_id = change.item_id
            if change not in self.open and item_id in dict(self.items):
                continue
            if item_id in order:
                order.remove(item_id)
            if change.value is not None:
                at = order.index(change.previous_id) + 1 if change.previous_id in order else len(order)
                order.insert(0 if change.previous_id is None else at, item_id)
            if change in self.open:
                values.pop(item_id, None)
                if change.value is not None:
                    values[item_id] = change.value[1]
        return [(item_id, values[item_id]) for item_id in order if item_id in values]


events = st.one_of(
    st.tuples(st.just("sync"), ids, versions),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("answer"), st.just(True)),
    st.tuples(st.just("make"), st.integers(0, 9)),
    st.tuples(st.just("lose"), st.integers(0, 9)),
    st.tuples(st.just("look")),
)


@given(st.lists(events, max_size=30))
def test_what_is_shown_is_what_a_plain_calculation_shows(happened: list[tuple[Any, ...]]) -> None:
    plain = Plain()
    for name, *given_ in happened:
        if name == "sync":
            target, version = given_
            plain.sync([(item_id, version.get(item_id, 0)) for item_id in target])
        elif name == "answer":
            plain.answer(willing=given_[0])
        elif name == "look":
            assert list(plain.mirror) == plain.shown()
        else:
            getattr(plain, name)(given_[0])
    shown = plain.shown()
    assert len(plain.mirror) == len(shown)
    assert list(plain.mirror) == shown
    names = [None, *(item_id for item_id, _ in shown)]
    assert [plain.mirror.before(item_id) for item_id, _ in shown] == names[:-1]
    assert plain.mirror.last_id == names[-1]


@given(ids, ids, st.integers(0, 8))
def test_a_beginning_that_stays_is_left_out_of_the_comparison(before: list[str], after: list[str], most: int) -> None:
    server = [(item_id, 0) for item_id in before]
    mirror, whole = mirror_of(server), mirror_of(server)
    target = [value for value in mirror if value[0] in after[:most]]
    target += [(item_id, 0) for item_id in after if item_id not in dict(target)]
    start = mirror.beginning(target)
    assert target[:start] == server[:start]
    apply(server, mirror.sync(target[start:], same, start=start))
    whole.sync(target, same)
    assert server == target == list(mirror) == list(whole)


def test_only_the_very_same_items_are_a_beginning() -> None:
    mirror = mirror_of([("a", 0), ("b", 0), ("c", 0)])
    a, b, c = mirror
    assert mirror.beginning([a, b, c, ("d", 0)]) == 3
    assert mirror.beginning([a, ("b", 1), c]) == 1
    assert mirror.beginning([]) == 0
