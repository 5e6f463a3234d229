"""Source audio in whole steps, silence where none comes, and never more of either than there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core.pacing import PATIENCE_S, STALL_S, STEP_S, Pacing
from livekit_plugins_openai_ga.wire.translation import ENGINE_FRAME_BYTES as STEP

SPEECH = bytes([1, 2]) * (STEP // 2)
SILENCE = bytes(STEP)


def follow(pacing: Pacing, until: float) -> list[bytes]:
    """What a punctual clock gets up to a time."""
    steps: list[bytes] = []
    while pacing.due is not None and pacing.due <= until + 1e-9:
        steps += pacing.fill(b"", pacing.due)
    return steps


def begun() -> Pacing:
    pacing = Pacing()
    pacing.begin(0.0)
    return pacing


def test_a_step_is_9600_bytes_and_comes_as_soon_as_it_is_complete():
    pacing = begun()
    assert pacing.push(SPEECH[:-2], 0.19) == []
    assert pacing.push(SPEECH[-2:], 0.2) == [SPEECH]
    assert len(SPEECH) == 9_600


def test_a_burst_that_comes_late_is_all_there_at_once():
    assert begun().push(SPEECH * 15, 3.0) == [SPEECH] * 15


def test_a_source_that_sends_nothing_is_silent_in_steps_of_200_ms():
    assert follow(begun(), 60.0) == [SILENCE] * 300


def test_while_it_sends_nothing_is_filled_in():
    pacing = begun()
    for frame in range(3000):
        now = frame * 0.02
        assert pacing.due is not None
        assert pacing.due > now
        pacing.push(SPEECH[:960], now)


def test_frames_that_come_unevenly_are_not_cut_by_silence():
    pacing = begun()
    pacing.push(SPEECH[:960], 0.0)
    assert follow(pacing, PATIENCE_S - 0.01) == []


def test_what_was_begun_when_it_fell_silent_is_filled_up():
    pacing = begun()
    pacing.push(SPEECH[:960], 0.0)
    (step,) = follow(pacing, PATIENCE_S)
    assert step == SPEECH[:960] + bytes(STEP - 960)
    assert follow(pacing, PATIENCE_S + STEP_S) == [SILENCE]


def test_what_waited_to_be_resampled_goes_before_the_silence():
    pacing = begun()
    pacing.push(SPEECH[:960], 0.0)
    assert pacing.fill((SPEECH * 2)[960 : STEP + 4], PATIENCE_S) == [SPEECH, SPEECH[:4] + bytes(STEP - 4)]


def test_a_clock_that_comes_much_too_late_comes_again_and_fills_in_one_step_only():
    pacing = begun()
    assert pacing.fill(b"", 10.0) == []
    assert pacing.due == 10.0 + STALL_S
    assert pacing.fill(b"", 10.0 + STALL_S) == [SILENCE]
    assert pacing.due == 10.0 + STALL_S + STEP_S


def test_frames_that_were_held_up_with_the_clock_are_not_cut_by_silence():
    pacing = begun()
    pacing.push(SPEECH[:960], 0.0)
    assert pacing.fill(SPEECH[960:1920], 3.0) == []
    assert pacing.push(SPEECH[1920:] + SPEECH, 3.01) == [SPEECH, SPEECH]


def test_a_clock_that_is_always_much_too_late_fills_in_all_the_same():
    pacing, steps = begun(), []
    for now in range(1, 11):
        steps += pacing.fill(b"", float(now))
    assert steps == [SILENCE] * 5


def test_a_clock_that_comes_a_little_late_keeps_the_pace():
    pacing, steps, now = begun(), 0, 0.0
    while now < 20.0:
        assert pacing.due is not None
        now = pacing.due + 0.013
        steps += len(pacing.fill(b"", now))
    assert steps == 100


def test_without_a_session_nothing_is_filled_in_and_speech_is_kept():
    pacing = Pacing()
    assert pacing.push(SPEECH + SPEECH[:10], 0.0) == [SPEECH]
    assert pacing.due is None
    pacing.begin(5.0)
    pacing.end()
    assert pacing.due is None
    assert pacing.flush(SPEECH[10:]) == [SPEECH]
    assert pacing.flush(b"") == []


@given(st.lists(st.tuples(st.floats(0.0, 1.5), st.integers(0, 30_000)), max_size=40))
def test_all_speech_comes_out_once_and_in_order_whenever_it_comes(pushes):
    pacing, now, said, steps = begun(), 0.0, bytearray(), []
    for number, (pause, size) in enumerate(pushes):
        now += pause
        steps += follow(pacing, now)
        pcm = bytes([number % 250 + 1]) * (size * 2)
        said += pcm
        steps += pacing.push(pcm, now)
    steps += pacing.flush(b"")
    assert {len(step) for step in steps} <= {STEP}
    assert b"".join(steps).replace(b"\0", b"") == bytes(said)


@given(st.lists(st.floats(0.0, 3.0), max_size=40))
def test_there_is_never_more_silence_than_there_was_time(pauses):
    pacing, now, silent = begun(), 0.0, 0
    for pause in pauses:
        now += pause
        silent += len(follow(pacing, now))
        pacing.push(SPEECH, now)
    assert silent * STEP_S <= now + 1e-6
