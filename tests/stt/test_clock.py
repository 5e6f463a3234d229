"""When a place in the audio was heard, from what was noted of it. Who notes what: `test_intake`."""

from __future__ import annotations

import math
from typing import Any

import pytest

from livekit_plugins_openai_ga.stt.clock import MAX_NOTES, WallClock

NOON = 1_790_000_000.0


def near(time: float) -> Any:
    """This time, exactly: a share of so large a number would be minutes."""
    return pytest.approx(time, rel=0, abs=1e-6)


def test_before_any_audio_nothing_was_heard() -> None:
    assert WallClock().at(0.0) is None
    assert WallClock().began == -math.inf


def test_a_place_was_heard_as_long_behind_the_beginning_as_the_audio_before_it_takes() -> None:
    clock = WallClock()
    clock.note(0, NOON)
    for place in (0.0, 50.0, 100.0, 4321.0, 10_000.0):
        assert clock.at(place) == near(NOON + place / 1000)


def test_a_note_holds_from_its_place_on() -> None:
    clock = WallClock()
    clock.note(0, NOON)
    clock.note(1000, NOON + 60)
    assert clock.began == NOON + 60
    assert clock.at(1000.0) == near(NOON + 1)
    assert clock.at(1000.5) == near(NOON + 61.0005)


def test_what_is_older_than_all_notes_is_told_by_the_oldest() -> None:
    clock = WallClock()
    clock.note(1000, NOON)
    assert clock.at(500.0) == near(NOON + 0.5)


def test_of_more_pauses_than_are_noted_the_newest_are_right() -> None:
    clock = WallClock()
    for number in range(20 * MAX_NOTES):
        clock.note(100 * number, NOON + 10 * number)
    last = 20 * MAX_NOTES - 1
    for number in (last, last - MAX_NOTES // 4):
        assert clock.at(100 * number + 50) == near(NOON + 10 * number + (100 * number + 50) / 1000)
    assert clock.at(0.0) is not None
