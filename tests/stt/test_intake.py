"""Audio on its way in: when it was heard, by the clock on the wall, and whether it comes faster than anybody speaks."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.hearing import Hearing
from livekit_plugins_openai_ga.stt.clock import MAX_NOTES, TOLERANCE_S
from livekit_plugins_openai_ga.stt.intake import AHEAD_MS, RUSH_S, Intake
from livekit_plugins_openai_ga.transport.line import Line
from livekit_plugins_openai_ga.transport.outbox import Outbox

NOON = 1_790_000_000.0
PER_MS = 48


class Ear:
    """An intake without a connection, and its clocks."""

    def __init__(self, *, local_vad: bool = False, max_segment_ms: float | None = None) -> None:
        self.now = 0.0
        self.effects: list[fx.Effect] = []
        self.outbox = Outbox(keep_ms=60_000)
        self.line = Line(
            SimpleNamespace(watches_audio=False),  # type: ignore[arg-type]
            self.outbox,
            recycle_after=None,
            recycle_patience=0.0,
        )
        self.hearing = Hearing(
            {}, server_turns=False, local_vad=local_vad, max_segment_ms=max_segment_ms, place=self.outbox.session_ms
        )
        self.intake = Intake(
            self.line,
            self.outbox,
            self.hearing,
            do=self.effects.extend,
            now=lambda: self.now,
            keep_ms=60_000,
            bytes_per_ms=PER_MS,
        )

    def put(self, ms: float, *, after: float = 0.0) -> bool:
        """So much audio, `after` (s) later than it would have come."""
        self.now += after
        with mock.patch.object(time, "time", return_value=NOON + self.now):
            return self.intake.put(bytes(round(ms * PER_MS)))

    def live(self, ms: float, *, step: float = 100) -> None:
        """So much audio as a microphone gives it."""
        for _ in range(round(ms / step)):
            self.put(step, after=step / 1000)

    def heard(self, place_ms: float) -> float:
        """When this place was heard, in s since the first clock's beginning."""
        at = self.intake.clock.at(place_ms)
        assert at is not None
        return at - NOON


@pytest.fixture
def ear() -> Ear:
    return Ear()


def near(seconds: float, within: float = 1e-6) -> Any:
    return pytest.approx(seconds, rel=0, abs=within)


# -- when it was heard --------------------------------------------------------------------------------------------


def test_live_audio_was_heard_when_it_arrived(ear: Ear) -> None:
    ear.live(10_000)
    for place in (0.0, 50.0, 100.0, 4321.0, 10_000.0):
        assert ear.heard(place) == near(place / 1000)


def test_a_place_ahead_of_the_audio_is_when_it_will_be_heard(ear: Ear) -> None:
    ear.live(1000)
    assert ear.heard(1500.0) == near(1.5)


def test_jitter_of_the_network_is_no_pause(ear: Ear) -> None:
    ear.live(100)
    for late in (0.02, 0.02, -0.04, 0.03):
        ear.put(100, after=0.1 + late)
    assert ear.heard(450.0) == near(0.45)


def test_audio_behind_a_pause_was_heard_behind_it(ear: Ear) -> None:
    ear.live(1000)
    ear.now += 60
    ear.live(1000)
    assert ear.heard(900.0) == near(0.9)
    assert ear.heard(1500.0) == near(61.5)
    assert ear.heard(2000.0) == near(62)


@pytest.mark.parametrize("place", [1001.0, 1050.0, 1099.0])
def test_the_first_chunk_behind_a_pause_was_heard_behind_it_too(ear: Ear, place: float) -> None:
    """Who speaks at once when the track comes back did not begin before the pause."""
    ear.live(1000)
    ear.now += 60
    ear.live(1000)
    assert ear.heard(place) == near(60 + place / 1000)


def test_a_file_that_is_pushed_at_once_was_heard_at_once(ear: Ear) -> None:
    for _ in range(100):
        ear.put(100)
    assert all(abs(ear.heard(float(place))) <= 0.2 for place in range(0, 10_001, 250))


@given(
    st.lists(st.tuples(st.integers(10, 200), st.sampled_from([0.0, 0.03, 0.5, 30.0])), min_size=1, max_size=MAX_NOTES)
)
def test_the_end_of_every_chunk_is_known_within_the_tolerance(chunks: list[tuple[int, float]]) -> None:
    """Whatever pauses there were between them."""
    ear = Ear()
    arrived = []
    for ms, pause in chunks:
        ear.put(ms, after=ms / 1000 + pause)
        arrived.append((ear.intake.put_ms, ear.now))
    for place, now in arrived:
        assert ear.heard(place) == near(now, TOLERANCE_S + 1e-3)


# -- a file -------------------------------------------------------------------------------------------------------


def test_a_microphone_never_rushes(ear: Ear) -> None:
    for _ in range(1000):
        assert not ear.put(50, after=0.05)
    assert not ear.intake.rushing


def test_a_microphone_that_catches_up_does_not_rush(ear: Ear) -> None:
    """A loop that was held up gets all at once what came meanwhile."""
    ear.live(1000)
    ear.now += 5
    assert [ear.put(50) for _ in range(19)] == [False] * 19


def test_audio_a_second_ahead_rushes_until_that_second_has_passed(ear: Ear) -> None:
    assert [ear.put(250) for _ in range(4)] == [False, False, False, True]
    assert ear.intake.rushing
    ear.now += 0.5
    assert not ear.intake.rushing
    assert [ear.put(250), ear.put(250)] == [False, True]


def test_a_pause_saves_nothing_up(ear: Ear) -> None:
    """An hour without audio is no leave to send an hour of it at once."""
    ear.put(100)
    ear.now += 3600
    assert ear.put(RUSH_S * 1000)


def test_all_of_a_file_is_kept_although_nobody_was_heard_to_speak() -> None:
    """The server may be far behind; of a microphone's silence only the newest seconds are kept."""
    kept = {}
    for name, pause in (("microphone", 0.1), ("file", 0.0)):
        ear = Ear(local_vad=True)
        ear.outbox.configured()
        ear.intake.listen()
        for _ in range(200):
            ear.put(100, after=pause)
            while ear.outbox.next():
                pass
        kept[name] = ear.outbox.kept_ms
    assert kept["microphone"] < 5000
    assert kept["file"] == 20_000


async def test_a_file_waits_for_room_and_goes_on_when_there_is_some(ear: Ear) -> None:
    ear.put(AHEAD_MS + 100)
    waiting = asyncio.ensure_future(ear.intake.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    ear.outbox.configured()
    while ear.outbox.next():
        pass
    ear.intake.moved.set()
    await waiting


async def test_a_microphone_waits_for_no_room(ear: Ear) -> None:
    ear.live(AHEAD_MS + 1000)
    await ear.intake.room()


# -- what comes of it ---------------------------------------------------------------------------------------------


def test_what_comes_of_audio_is_done() -> None:
    ear = Ear(max_segment_ms=1000)
    ear.live(900)
    assert not ear.effects
    ear.live(100)
    assert [type(effect) for effect in ear.effects] == [fx.CommitAudio]


def test_who_is_deaf_hears_nothing(ear: Ear) -> None:
    ear.put(100)
    ear.intake.deaf = True
    assert not ear.put(5000)
    assert ear.intake.put_ms == 100
    assert not ear.intake.rushing
