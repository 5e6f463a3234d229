"""When a place in the audio was heard: audio stops when a caller mutes, and comes in bursts from a file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.stt.clock import MAX_NOTES, TOLERANCE_S, WallClock

NOON = 1_790_000_000.0


def near(time: float, within: float = 1e-6) -> Any:
    """This time, exactly: a share of so large a number would be minutes."""
    return pytest.approx(time, rel=0, abs=within)


def live(clock: WallClock, start_ms: float, end_ms: float, at: float, *, step: float = 100) -> float:
    """Audio from and to these places, in chunks of `step` ms, that begins to arrive at `at`; returns when it ended."""
    place = start_ms
    while place < end_ms:
        place += step
        at += step / 1000
        clock.note(place, at)
    return at


def test_before_any_audio_nothing_was_heard() -> None:
    assert WallClock().at(0.0) is None


def test_live_audio_was_heard_when_it_arrived() -> None:
    clock = WallClock()
    live(clock, 0, 10_000, NOON)
    for place in (0.0, 50.0, 100.0, 4321.0, 10_000.0):
        assert clock.at(place) == near(NOON + place / 1000)


def test_a_place_ahead_of_the_audio_is_when_it_will_be_heard() -> None:
    clock = WallClock()
    live(clock, 0, 1000, NOON)
    assert clock.at(1500.0) == near(NOON + 1.5)


def test_jitter_of_the_network_is_no_pause() -> None:
    clock = WallClock()
    clock.note(100, NOON + 0.1)
    for number, late in enumerate((0.02, 0.04, 0.0, 0.03), 2):
        clock.note(100 * number, NOON + number / 10 + late)
    assert clock.at(450.0) == near(NOON + 0.45)


def test_audio_behind_a_pause_was_heard_behind_it() -> None:
    clock = WallClock()
    paused = live(clock, 0, 1000, NOON)
    live(clock, 1000, 2000, paused + 60)
    assert clock.at(900.0) == near(NOON + 0.9)
    assert clock.at(1500.0) == near(NOON + 61.5)
    assert clock.at(2000.0) == near(NOON + 62)


@pytest.mark.parametrize("place", [1001.0, 1050.0, 1099.0])
def test_the_first_chunk_behind_a_pause_was_heard_behind_it_too(place: float) -> None:
    """Who speaks at once when the track comes back did not begin before the pause."""
    clock = WallClock()
    paused = live(clock, 0, 1000, NOON)
    live(clock, 1000, 2000, paused + 60)
    assert clock.at(place) == near(NOON + 60 + place / 1000)


def test_a_file_that_is_pushed_at_once_was_heard_at_once() -> None:
    clock = WallClock()
    for number in range(1, 101):
        clock.note(100 * number, NOON)
    heard = [clock.at(float(place)) for place in range(0, 10_001, 250)]
    assert all(time is not None and abs(time - NOON) <= 0.2 for time in heard)


@given(
    st.lists(st.tuples(st.integers(10, 200), st.sampled_from([0.0, 0.03, 0.5, 30.0])), min_size=1, max_size=MAX_NOTES)
)
def test_the_end_of_every_chunk_is_known_within_the_tolerance(chunks: list[tuple[int, float]]) -> None:
    """Whatever pauses there were between them."""
    clock = WallClock()
    place, now = 0.0, NOON
    arrived = []
    for length, pause in chunks:
        place += length
        now += length / 1000 + pause
        clock.note(place, now)
        arrived.append((place, now))
    for place, now in arrived:
        assert clock.at(place) == near(now, TOLERANCE_S + 1e-3)


def test_of_more_pauses_than_are_noted_the_newest_are_right() -> None:
    clock = WallClock()
    now = NOON
    for number in range(1, 20 * MAX_NOTES):
        now += 10.0
        clock.note(100 * number, now)
    last = 100.0 * (20 * MAX_NOTES - 1)
    assert clock.at(last) == near(now)
    assert clock.at(last - 100 * (MAX_NOTES // 4)) == near(now - 10 * (MAX_NOTES // 4))
    assert clock.at(0.0) is not None
