"""Filling dataclasses from JSON objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from livekit_plugins_openai_ga.wire.reader import Unreadable, reader


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 0


@dataclass(frozen=True)
class Outer:
    id: str
    inner: Inner
    maybe: Inner | None = None
    seconds: float | None = None
    parts: tuple[Mapping[str, Any], ...] = ()
    words: tuple[Any, ...] | None = None
    code: str = field(default="", metadata={"any": True})
    other: str | None = field(default=None, metadata={"wire": "wire_name"})
    nullable: str | None = field(default="", metadata={"null": True})
    inners: tuple[Inner, ...] = ()


@dataclass(frozen=True)
class Lists:
    inners: tuple[Inner, ...]


@dataclass(frozen=True)
class Texts:
    id: str
    delta: str


@dataclass(frozen=True)
class Timed(Texts):
    at: float | None = None


read = reader(Outer)
LEAST: dict[str, Any] = {"id": "a", "inner": {"name": "n"}}


def test_what_is_there_is_read_and_what_is_not_has_its_default() -> None:
    assert read(LEAST) == Outer("a", Inner("n"))
    assert read({**LEAST, "inner": {"name": "n", "size": 3}, "more": 1}) == Outer("a", Inner("n", 3))


def test_nested_objects_lists_and_optional_values() -> None:
    full = {**LEAST, "maybe": {"name": "m"}, "parts": [{"a": 1}], "words": ["x", 1], "seconds": 2}
    assert read(full) == Outer("a", Inner("n"), Inner("m"), 2, ({"a": 1},), ("x", 1))


def test_a_list_of_objects_is_read_one_by_one() -> None:
    assert read({**LEAST, "inners": [{"name": "a"}, {"name": "b", "size": 2}]}).inners == (Inner("a"), Inner("b", 2))
    assert read({**LEAST, "inners": [{"name": "a"}, {"size": 2}]}).inners == ()


def test_an_object_in_a_list_that_is_needed_is_named_by_its_field() -> None:
    with pytest.raises(Unreadable, match=re.escape("'inners[].name' is missing")):
        reader(Lists)({"inners": [{"size": 2}]})


def test_a_field_can_have_another_name_on_the_wire() -> None:
    assert read({**LEAST, "wire_name": "x", "other": "y"}).other == "x"


def test_a_value_of_any_type_can_be_taken_as_text() -> None:
    assert read({**LEAST, "code": 42}).code == "42"


def test_what_cannot_be_printed_is_not_taken_as_text() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert read({**LEAST, "code": nested}).code == ""


@pytest.mark.parametrize("number", [10**400, -(10**400), 2**53 + 1, float("inf"), float("nan")])
def test_a_number_that_cannot_be_counted_with_is_none(number: float) -> None:
    inner = {"name": "n", "size": number}
    assert read({"id": "a", "inner": inner, "seconds": number}) == Outer("a", Inner("n"))


def test_null_is_the_default_unless_it_matters() -> None:
    assert read({**LEAST, "parts": None, "nullable": None}) == Outer("a", Inner("n"), nullable=None)
    assert read(LEAST).nullable == ""


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ({"inner": {"name": "n"}}, "'id' is missing"),
        ({"id": None, "inner": {"name": "n"}}, "'id' is missing"),
        ({"id": 1, "inner": {"name": "n"}}, "'id' has the wrong type"),
        ({"id": "a", "inner": {}}, "'inner.name' is missing"),
        ({"id": "a", "inner": "n"}, "'inner' is not an object"),
        ({"id": "a", "inner": {"name": 7}}, "'inner.name' has the wrong type"),
    ],
)
def test_a_field_without_a_default_must_be_right(payload: dict[str, Any], problem: str) -> None:
    with pytest.raises(Unreadable, match=f"^{problem}$"):
        read(payload)


@pytest.mark.parametrize(
    "odd",
    [
        {"parts": {}},
        {"parts": ["text"]},
        {"maybe": {}},
        {"maybe": 3},
        {"seconds": "2"},
        {"inner": {"name": "n", "size": ""}},
    ],
)
def test_a_field_with_a_default_never_loses_the_object(odd: dict[str, Any]) -> None:
    assert read({**LEAST, **odd}) == Outer("a", Inner("n"))


def test_what_is_made_of_texts_is_read_by_the_same_rules() -> None:
    read_texts = reader(Texts, "part.")
    assert read_texts({"delta": "d", "more": 1, "id": "a"}) == Texts("a", "d")
    for odd, problem in (
        ({"id": "a"}, "'part.delta' is missing"),
        ({"id": None, "delta": "d"}, "'part.id' is missing"),
        ({"id": "a", "delta": 5}, "'part.delta' has the wrong type"),
        ([], "'part' is not an object"),
        ("id", "'part' is not an object"),
    ):
        with pytest.raises(Unreadable, match=f"^{problem}$"):
            read_texts(odd)


def test_texts_with_a_rare_field_are_read_with_and_without_it() -> None:
    read_timed = reader(Timed)
    assert read_timed({"id": "a", "delta": "d"}) == Timed("a", "d")
    assert read_timed({"id": "a", "delta": "d", "at": 1.5}) == Timed("a", "d", 1.5)
    for odd in (None, "soon"):
        assert read_timed({"id": "a", "delta": "d", "at": odd}) == Timed("a", "d")
