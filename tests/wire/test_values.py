"""Values: compared by what they hold, and they hold nothing else."""

from __future__ import annotations

import copy
import pickle
from dataclasses import field, replace
from unittest import mock

import pytest

from livekit_plugins_openai_ga.wire.values import value


@value
class Pair:
    one: str
    two: int = 2


def test_values_are_equal_when_they_hold_the_same() -> None:
    assert Pair("a") == Pair("a", 2)
    assert Pair("a") != Pair("b")
    assert {Pair("a"), Pair("a"), Pair("b")} == {Pair("a"), Pair("b")}


@value
class Named(Pair):
    def __repr__(self) -> str:
        return f"<{self.one}>"


def test_a_value_of_another_kind_is_another_one() -> None:
    assert Named("a") != Pair("a")
    assert Pair("a") != ("a", 2)
    assert Pair("a") == mock.ANY


def test_a_value_shows_what_it_holds_or_what_its_kind_says() -> None:
    assert [repr(Pair("a")), repr(Named("a"))] == ["Pair(one='a', two=2)", "<a>"]


@value
class Secret:
    name: str
    key: str = field(default="", repr=False, compare=False)


def test_what_a_value_is_not_to_show_or_to_compare_it_does_not() -> None:
    assert repr(Secret("a", "sk-1")) == "Secret(name='a')"
    assert Secret("a", "sk-1") == Secret("a", "sk-2")
    assert hash(Secret("a", "sk-1")) == hash(Secret("a", "sk-2"))


def test_a_value_is_a_dataclass() -> None:
    assert replace(Pair("a"), two=3) == Pair("a", 3)


def test_a_value_can_be_copied_and_stored() -> None:
    assert copy.deepcopy(Pair("a")) == pickle.loads(pickle.dumps(Pair("a"))) == Pair("a")


def test_a_value_holds_its_fields_only() -> None:
    with pytest.raises(AttributeError):
        Pair("a").three = 3  # type: ignore[attr-defined]
