"""Values: compared by what they hold, and they hold nothing else."""

from __future__ import annotations

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


def test_a_value_holds_its_fields_only() -> None:
    with pytest.raises(AttributeError):
        Pair("a").three = 3  # type: ignore[attr-defined]
