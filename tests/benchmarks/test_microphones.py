"""How old audio was on arrival, when microphones stop and start again."""

from __future__ import annotations

import pytest

from benchmarks.microphones import Microphones

MESSAGE = 4800
"""Bytes of 100 ms."""


async def test_a_message_is_as_old_as_the_frame_its_oldest_sample_came_with():
    microphones = Microphones([lambda frame: None], rate=24000, frame_ms=50)
    microphones.pushed = [[1.0, 5.0, 5.05, 5.1]]  # stopped behind the first one
    stats = [{"appends": [[5.01, MESSAGE], [5.11, MESSAGE]]}]
    assert microphones.ages_ms(stats, 5.02, 6.0) == [pytest.approx(60)]
    assert microphones.ages_ms(stats, 5.0, 5.1) == [pytest.approx(4010)]


async def test_audio_that_did_not_come_is_told_of_the_time_in_which_it_was_due():
    microphones = Microphones([lambda frame: None], rate=24000, frame_ms=50)
    microphones.pushed = [[1.0, 1.05, 5.0, 5.05, 5.1, 5.15, 5.2]]
    stats = [{"appends": [[1.06, MESSAGE], [5.06, MESSAGE]]}]
    with pytest.raises(RuntimeError, match="less than half"):
        microphones.ages_ms(stats, 5.0, 6.0)
    assert microphones.ages_ms(stats, 0.0, 2.0) == [pytest.approx(60)]


async def test_one_session_of_which_nothing_came_is_told_whatever_came_of_the_others():
    microphones = Microphones([lambda frame: None] * 3, rate=24000, frame_ms=50)
    microphones.pushed = [[5.0, 5.05]] * 3
    heard = {"appends": [[5.06, MESSAGE]]}
    assert len(microphones.ages_ms([heard] * 3, 5.0, 6.0)) == 3
    with pytest.raises(RuntimeError, match="nothing came of 1 of 3"):
        microphones.ages_ms([heard, {"appends": []}, heard], 5.0, 6.0)
