"""Audio for `listen`: files of every kind to the last sample, and a microphone, which is played by a stand-in here."""

from __future__ import annotations

import asyncio
import os
import sys
import types
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.sound_in import AudioFile, Microphone, SoundIn

RATE = 24_000


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return str(path)


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return (np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate) * 8000).astype(np.int16)


def encode(path: Path, codec: str, seconds: float = 3.0, *, rate: int = 48_000, layout: str = "stereo") -> str:
    """A file as other programs write it."""
    samples = np.repeat(tone(seconds, rate), 2 if layout == "stereo" else 1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
    frame.sample_rate = rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        fifo = av.AudioFifo()
        for converted in av.AudioResampler(format=stream.format.name, layout=layout, rate=rate).resample(frame):
            fifo.write(converted)
        while (piece := fifo.read(stream.frame_size or 1024, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return str(path)


def joined(folder: Path, suffix: str, codec: str) -> str:
    """Two seconds in stereo, and behind them two in mono."""
    stereo = Path(encode(folder / f"a.{suffix}", codec, 2.0))
    mono = Path(encode(folder / f"b.{suffix}", codec, 2.0, rate=24_000, layout="mono"))
    stereo.write_bytes(stereo.read_bytes() + mono.read_bytes())
    return str(stereo)


async def heard(source: SoundIn) -> np.ndarray:
    """All samples of a source, checked to be mono at 24 kHz."""
    pieces = [np.zeros(0, np.int16)]
    async with source:
        async for frame in source.frames():
            assert (frame.sample_rate, frame.num_channels) == (RATE, 1)
            pieces.append(np.frombuffer(frame.data, np.int16))
    return np.concatenate(pieces)


async def complaint(source: SoundIn) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as refused:
        await heard(source)
    return str(refused.value)


class TestFiles:
    async def test_a_wav_file_is_heard_from_its_first_sample_to_its_last(self, tmp_path: Path) -> None:
        samples = np.arange(-20_000, 20_000, dtype=np.int16)
        assert np.array_equal(await heard(AudioFile(write_wav(tmp_path / "a.wav", samples))), samples)

    async def test_two_channels_of_another_rate_are_mixed_and_resampled(self, tmp_path: Path) -> None:
        stereo = np.stack([tone(2, 8000), np.zeros(16_000, np.int16)], axis=1)
        samples = await heard(AudioFile(write_wav(tmp_path / "a.wav", stereo, rate=8000, channels=2)))
        assert abs(len(samples) - 2 * RATE) <= 2
        assert 3000 < np.abs(samples).max() < 6000

    @pytest.mark.parametrize(
        ("name", "codec"),
        [
            ("a.mp3", "libmp3lame"),
            ("a.m4a", "aac"),
            ("a.flac", "flac"),
            ("a.ogg", "libopus"),
            ("a.webm", "libopus"),
            ("float.wav", "pcm_f32le"),
            ("a24.wav", "pcm_s24le"),
        ],
    )
    async def test_other_formats_are_heard_whole(self, name: str, codec: str, tmp_path: Path) -> None:
        samples = await heard(AudioFile(encode(tmp_path / name, codec)))
        assert abs(len(samples) / RATE - 3.0) < 0.06
        assert np.abs(samples).max() > 6000

    async def test_joined_recordings_of_different_kinds_are_heard_to_the_end(self, tmp_path: Path) -> None:
        samples = await heard(AudioFile(joined(tmp_path, "aac", "aac")))
        assert abs(len(samples) / RATE - 4.0) < 0.15
        assert np.abs(samples[-RATE // 2 : -RATE // 4]).max() > 6000

    async def test_joined_recordings_that_the_decoder_leaves_halfway_are_told(self, tmp_path: Path) -> None:
        source = AudioFile(joined(tmp_path, "ogg", "libopus"))
        samples = await heard(source)
        assert abs(len(samples) / RATE - 2.0) < 0.15
        assert "is damaged" in source.defect

    async def test_a_damaged_part_is_left_out_and_told(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "cut.flac", "flac")
        os.truncate(path, os.stat(path).st_size // 2)
        source = AudioFile(path)
        samples = await heard(source)
        assert 0.5 * RATE < len(samples) < 2.5 * RATE
        assert source.defect == "cut.flac is damaged: a part of it could not be decoded and was left out."

    async def test_a_good_file_has_no_defect(self, tmp_path: Path) -> None:
        source = AudioFile(encode(tmp_path / "a.flac", "flac"))
        await heard(source)
        assert source.defect == ""

    async def test_it_can_be_stopped(self, tmp_path: Path) -> None:
        source = AudioFile(write_wav(tmp_path / "a.wav", tone(10)))
        async with source:
            count = 0
            async for _ in source.frames():
                count += 1
                source.stop()
        assert count == 1

    async def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        assert "none.wav is not there" in await complaint(AudioFile(str(tmp_path / "none.wav")))

    async def test_a_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in await complaint(AudioFile(str(tmp_path)))

    async def test_a_file_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_wav(tmp_path / "a.wav", tone(1))
        monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may read everything
        assert "a.wav cannot be read: give yourself" in await complaint(AudioFile(path))

    @pytest.mark.parametrize("content", [b"", b"no audio at all, only words. " * 99, bytes(range(256)) * 64])
    async def test_a_file_that_is_no_audio(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "a.mp3").write_bytes(content)
        assert "a.mp3 cannot be read as audio" in await complaint(AudioFile(str(tmp_path / "a.mp3")))

    async def test_a_wav_file_without_samples(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "a.wav", np.zeros(0, np.int16))
        assert "a.wav " in await complaint(AudioFile(path))


class PortAudioError(Exception):
    pass


class FakeSoundCard(types.ModuleType):
    """Stands in for sounddevice: a test has no microphone."""

    PortAudioError = PortAudioError

    def __init__(self, device: dict[str, Any] | None = None) -> None:
        super().__init__("sounddevice")
        self.device = device
        self.opened: list[FakeInput] = []

    def query_devices(self, kind: str) -> dict[str, Any]:
        assert kind == "input"
        if self.device is None:
            raise PortAudioError("Error querying device -1")
        return self.device

    def RawInputStream(self, **settings: Any) -> FakeInput:
        self.opened.append(FakeInput(**settings))
        return self.opened[-1]


class FakeInput:
    def __init__(self, *, callback: Callable[..., None], **settings: Any) -> None:
        self.callback = callback
        self.settings = settings
        self.state = "open"

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"

    def record(self, samples: np.ndarray, *, overflow: bool = False) -> None:
        self.callback(samples.tobytes(), len(samples), None, types.SimpleNamespace(input_overflow=overflow))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeSoundCard:
    card = FakeSoundCard({"name": "Built-in", "default_samplerate": 44_100.0})
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    return card


class TestMicrophone:
    async def test_what_is_recorded_is_heard_at_the_devices_rate(self, card: FakeSoundCard) -> None:
        async with Microphone() as microphone:
            (device,) = card.opened
            assert (microphone.name, device.state) == ("Built-in", "started")
            assert device.settings == {"samplerate": 44_100, "channels": 1, "dtype": "int16", "blocksize": 882}
            samples = np.arange(882, dtype=np.int16)
            await asyncio.to_thread(device.record, samples)
            frame = await asyncio.wait_for(anext(aiter(microphone.frames())), 5)
            assert isinstance(frame, rtc.AudioFrame)
            assert (frame.sample_rate, frame.num_channels, frame.samples_per_channel) == (44_100, 1, 882)
            assert np.array_equal(np.frombuffer(frame.data, np.int16), samples)
        assert device.state == "closed"
        assert microphone.defect == ""

    async def test_what_was_recorded_before_the_stop_is_still_heard(self, card: FakeSoundCard) -> None:
        async with Microphone() as microphone:
            for _ in range(3):
                card.opened[0].record(np.zeros(882, np.int16))
            microphone.stop()
            assert card.opened[0].state == "closed"
            assert len([frame async for frame in microphone.frames()]) == 3

    async def test_lost_audio_is_told(self, card: FakeSoundCard) -> None:
        async with Microphone() as microphone:
            card.opened[0].record(np.zeros(882, np.int16), overflow=True)
            assert "Built-in was read too slowly" in microphone.defect

    async def test_no_microphone(self, card: FakeSoundCard) -> None:
        card.device = None
        assert "No microphone can be opened (Error querying device -1)" in await complaint(Microphone())

    async def test_no_portaudio(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "sounddevice.py").write_text('raise OSError("PortAudio library not found")')
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
        assert "needs PortAudio" in await complaint(Microphone())

    async def test_no_sounddevice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        assert "needs the package sounddevice" in await complaint(Microphone())
