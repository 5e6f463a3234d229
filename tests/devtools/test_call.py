"""Microphone and loudspeaker in virtual time: an event loop whose clock jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
import wave
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.call import CallerAudio, Heard, Loudspeaker, caller_pcm
from livekit_plugins_openai_ga.devtools.wav import CallRecording, read_wav

ZERO = 100.0
RATE = 24000


class JumpingSelector(selectors.DefaultSelector):
    now = ZERO

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing will ever happen"
        self.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_virtual_time(scenario: Callable[[], Awaitable[None]]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time() - ZERO


def tone(seconds: float, value: int = 5000) -> bytes:
    return np.full(round(RATE * seconds), value, dtype="<i2").tobytes()


def frame(seconds: float, value: int = 5000) -> rtc.AudioFrame:
    return rtc.AudioFrame(tone(seconds, value), RATE, 1, round(RATE * seconds))


def channel(recording: CallRecording, side: int, tmp_path: Path) -> np.ndarray:
    recording.write(tmp_path / "call.wav")
    return read_wav(tmp_path / "call.wav")[0][:, side]


def runs(samples: np.ndarray) -> list[tuple[float, float]]:
    """From where to where there is sound, in seconds."""
    loud = np.concatenate([[0], (samples != 0).astype(int), [0]])
    edges = np.flatnonzero(np.diff(loud)) / RATE
    return [(round(float(a), 3), round(float(b), 3)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


class Room:
    """A loudspeaker and what it reports."""

    def __init__(self) -> None:
        self.recording = CallRecording()
        self.loudspeaker = Loudspeaker(self.recording, zero=ZERO)
        self.started: list[float] = []
        self.finished: list[tuple[float, float, bool]] = []
        self.loudspeaker.on("playback_started", lambda _: self.started.append(round(now(), 3)))
        self.loudspeaker.on(
            "playback_finished",
            lambda ev: self.finished.append((round(now(), 3), round(ev.playback_position, 3), ev.interrupted)),
        )


class TestLoudspeaker:
    def test_frames_play_as_long_as_they_last_however_fast_they_come(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            room = Room()
            await asyncio.sleep(0.5)
            for _ in range(10):
                await room.loudspeaker.capture_frame(frame(0.1))
            room.loudspeaker.flush()
            assert room.loudspeaker.playing
            event = await room.loudspeaker.wait_for_playout()
            assert event.playback_position == pytest.approx(1.0)
            assert not room.loudspeaker.playing
            assert room.started == [0.5]
            assert room.finished == [(1.5, 1.0, False)]
            assert room.loudspeaker.heard == [Heard(pytest.approx(0.5), pytest.approx(1.5), False)]
            assert runs(channel(room.recording, 1, tmp_path)) == [(0.5, 1.5)]

        in_virtual_time(scenario)

    def test_clearing_stops_at_once_and_tells_what_was_heard(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            room = Room()
            await room.loudspeaker.capture_frame(frame(3.0))
            room.loudspeaker.flush()
            await asyncio.sleep(0.333)
            room.loudspeaker.clear_buffer()
            await asyncio.sleep(0)
            assert room.finished == [(0.333, 0.333, True)]
            assert room.loudspeaker.heard == [Heard(0.0, pytest.approx(0.333), True)]
            await asyncio.sleep(1.0)
            assert len(room.finished) == 1
            assert runs(channel(room.recording, 1, tmp_path)) == [(0.0, 0.333)]

        in_virtual_time(scenario)

    def test_clearing_is_reported_after_the_caller_has_gone_on(self) -> None:
        async def scenario() -> None:
            room = Room()
            await room.loudspeaker.capture_frame(frame(1.0))
            room.loudspeaker.clear_buffer()
            assert room.finished == []
            await room.loudspeaker.wait_for_playout()
            assert room.finished == [(0.0, 0.0, True)]

        in_virtual_time(scenario)

    def test_it_speaks_again_after_it_was_cleared(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            room = Room()
            await room.loudspeaker.capture_frame(frame(3.0))
            await asyncio.sleep(0.2)
            room.loudspeaker.clear_buffer()
            await asyncio.sleep(0.3)
            await room.loudspeaker.capture_frame(frame(0.1))
            room.loudspeaker.flush()
            await room.loudspeaker.wait_for_playout()
            assert room.finished == [(0.2, 0.2, True), (0.6, 0.1, False)]
            assert runs(channel(room.recording, 1, tmp_path)) == [(0.0, 0.2), (0.5, 0.6)]

        in_virtual_time(scenario)

    def test_frames_that_come_too_late_leave_a_gap(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            room = Room()
            await room.loudspeaker.capture_frame(frame(0.2))
            await asyncio.sleep(0.5)
            await room.loudspeaker.capture_frame(frame(0.2))
            await asyncio.sleep(0.5)
            assert room.finished == []
            room.loudspeaker.flush()
            assert room.started == [0.0]
            assert room.finished == [(1.0, 0.4, False)]
            # It was heard until its sound ended, not until somebody said so.
            assert room.loudspeaker.heard == [Heard(0.0, pytest.approx(0.7), False)]
            assert runs(channel(room.recording, 1, tmp_path)) == [(0.0, 0.2), (0.5, 0.7)]

        in_virtual_time(scenario)

    def test_clearing_while_it_waits_for_frames_is_an_interruption(self) -> None:
        async def scenario() -> None:
            room = Room()
            await room.loudspeaker.capture_frame(frame(0.2))
            await asyncio.sleep(0.5)
            room.loudspeaker.clear_buffer()
            await room.loudspeaker.wait_for_playout()
            assert room.finished == [(0.5, 0.2, True)]
            assert room.loudspeaker.heard == [Heard(0.0, pytest.approx(0.2), True)]

        in_virtual_time(scenario)

    def test_segments_play_one_after_the_other_and_are_cleared_together(self) -> None:
        async def scenario() -> None:
            room = Room()
            for _ in range(3):
                await room.loudspeaker.capture_frame(frame(0.2))
                room.loudspeaker.flush()
            await asyncio.sleep(0.3)
            assert room.started == [0.0, 0.2]
            assert room.finished == [(0.2, 0.2, False)]
            room.loudspeaker.clear_buffer()
            await asyncio.sleep(0)
            assert room.finished[1:] == [(0.3, 0.1, True), (0.3, 0.0, True)]
            assert len(room.loudspeaker.heard) == 2  # nothing of the third was heard

        in_virtual_time(scenario)

    def test_clearing_or_flushing_silence_does_nothing(self) -> None:
        async def scenario() -> None:
            room = Room()
            room.loudspeaker.flush()
            room.loudspeaker.clear_buffer()
            await asyncio.sleep(0)
            assert room.started == room.finished == room.loudspeaker.heard == []

        in_virtual_time(scenario)


class TestCallerAudio:
    def test_the_recording_lies_between_silences(self, tmp_path: Path) -> None:
        async def scenario() -> None:
            recording = CallRecording()
            caller = CallerAudio(tone(0.07), recording, zero=ZERO)
            await asyncio.sleep(0.1)
            frames = [await anext_frame(caller) for _ in range(5)]
            caller.speak()
            assert not caller.finished.is_set()
            frames += [await anext_frame(caller) for _ in range(8)]
            assert caller.finished.is_set()
            assert {(f.sample_rate, f.num_channels, f.samples_per_channel) for f in frames} == {(RATE, 1, 480)}
            sound = np.concatenate([np.frombuffer(f.data, "<i2") for f in frames])
            assert runs(sound) == [(0.1, 0.17)]
            # 0.1 s later, because nobody listened before.
            assert runs(channel(recording, 0, tmp_path)) == [(0.2, 0.27)]

        in_virtual_time(scenario)

    def test_frames_leave_on_time_and_a_slow_listener_causes_no_drift(self) -> None:
        async def scenario() -> None:
            caller = CallerAudio(b"", CallRecording(), zero=ZERO)
            for piece in range(10):
                await anext_frame(caller)
                assert now() == pytest.approx(caller.sent_at(piece)) == pytest.approx(0.02 * (piece + 1))
            await asyncio.sleep(0.5)
            for piece in range(10, 50):
                await anext_frame(caller)
                assert now() == pytest.approx(max(0.7, caller.sent_at(piece)))

        in_virtual_time(scenario)

    def test_a_turn_is_from_the_first_to_the_last_sound(self) -> None:
        async def scenario() -> None:
            # Sound from 0.4 to 1.0 and from 1.2 to 1.4, and after a pause from 2.4 to 3.0.
            pcm = b"".join([tone(0.4, 0), tone(0.6), tone(0.2, 0), tone(0.2), tone(1.0, 0), tone(0.6), tone(1.0, 0)])
            caller = CallerAudio(pcm, CallRecording(), zero=ZERO)
            caller.speak()
            while not caller.finished.is_set():
                await anext_frame(caller)
            assert caller.turn(0.5, 1.9) == (pytest.approx(0.4), pytest.approx(1.4))
            assert caller.turn(2.5, 3.5, after=1.4) == (pytest.approx(2.4), pytest.approx(3.0))
            assert caller.turn(2.5, 2.8) == (pytest.approx(2.4), pytest.approx(2.8))
            assert caller.turn(1.6, 2.0, after=1.5) == (1.6, 2.0)  # a detector that heard ghosts
            assert caller.turn(2.5, 99.0) == (pytest.approx(2.4), pytest.approx(3.0))

        in_virtual_time(scenario)


async def anext_frame(caller: CallerAudio) -> rtc.AudioFrame:
    return await caller.__anext__()


def test_any_wav_becomes_24_khz_mono(tmp_path: Path) -> None:
    times = np.arange(48000) / 48000
    left = np.round(8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2")
    with wave.open(str(tmp_path / "caller.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(np.stack([left, np.zeros_like(left)], axis=1).tobytes())
    samples = np.frombuffer(caller_pcm(tmp_path / "caller.wav"), "<i2").astype(float)
    assert len(samples) == RATE
    late = 0.0001  # the filter looks only back
    expected = 4000 * np.sin(2 * np.pi * 440 * (np.arange(RATE) / RATE - late))
    assert np.abs(samples - expected)[100:].max() < 400
    tone = np.exp(2j * np.pi * 440 * np.arange(RATE) / RATE)
    heard = (samples @ tone.conj()) / RATE * 2
    assert abs(heard) == pytest.approx(4000, rel=0.01)
    assert np.abs(samples - (heard * tone).real)[100:].max() < 20  # nothing but the tone
