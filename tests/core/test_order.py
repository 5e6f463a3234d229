"""A row of ids does what a list would do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core.order import Order, beginning

names = st.sampled_from("abcdef")
calls = st.one_of(
    st.tuples(st.just("put"), names, st.none() | names),
    st.tuples(st.just("take"), names, st.none()),
    st.tuples(st.just("look"), names, st.none()),
)


@given(st.lists(calls, max_size=30))
def test_a_row_is_like_a_list(done: list[tuple[str, str, str | None]]) -> None:
    row, plain = Order(), list[str]()
    for name, item_id, previous in done:
        if name == "put" and item_id not in plain:
            row.put(item_id, previous)
            last = len(plain) if previous not in plain else plain.index(previous) + 1
            plain.insert(0 if previous is None else last, item_id)
        elif name == "take":
            row.take(item_id)
            plain = [other for other in plain if other != item_id]
        else:
            assert row.ids == plain
    assert row.ids == plain
    assert [item_id in row for item_id in "abcdef"] == [item_id in plain for item_id in "abcdef"]
    assert [row.before(item_id) for item_id in plain] == [None, *plain][: len(plain)]
    assert row.last == (plain[-1] if plain else None)


def test_a_copy_goes_its_own_way() -> None:
    row = Order()
    row.put("a", None)
    other = row.copy()
    row.put("b", "a")
    other.take("a")
    assert (row.ids, other.ids) == (["a", "b"], [])


def test_a_beginning_is_made_of_the_very_same_things() -> None:
    first, second, third = [1], [2], [3]
    assert beginning([first, second], [first, second, third]) == 2
    assert beginning([first, second, third], [first, [2], third]) == 1
    assert beginning([first], []) == 0
