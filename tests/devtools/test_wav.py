from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from livekit_plugins_openai_ga.devtools.wav import CallRecording, read_wav


def write_wav(path: Path, data: bytes, *, channels: int = 1, width: int = 2, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def riff(format_tag: int, bits: int, data: bytes = b"\0" * 8) -> bytes:
    header = struct.pack("<HHIIHH", format_tag, 1, 8000, 8000 * bits // 8, bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def pcm(value: int, seconds: float) -> bytes:
    return np.full(round(24000 * seconds), value, dtype="<i2").tobytes()


class TestReadWav:
    def test_gives_samples_by_channel_and_the_rate(self, tmp_path: Path) -> None:
        samples, rate = read_wav(write_wav(tmp_path / "a.wav", struct.pack("<4h", 1, -2, 3, -4), channels=2))
        assert samples.tolist() == [[1, -2], [3, -4]]
        assert samples.dtype == np.int16
        assert rate == 16000

    def test_a_file_cut_off_in_a_sample_gives_what_is_whole(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "a.wav", struct.pack("<3h", 1, 2, 3))
        path.write_bytes(path.read_bytes()[:-1])
        assert read_wav(path)[0].tolist() == [[1], [2]]

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "is not a WAV file: it is empty or its header is cut off."),
            (riff(1, 16)[:20], "is not a WAV file: it is empty or its header is cut off."),
            (b"ID3\x04" + b"x" * 100, "is not a 16-bit PCM WAV file: it does not start as one does. Convert it"),
            (b"RIFF\x10\0\0\0AVI " + b"x" * 100, "is not a 16-bit PCM WAV file: its container holds something else."),
            (riff(3, 32), "is not a 16-bit PCM WAV file: its samples are floating point. Convert it"),
            (riff(7, 8), "is not a 16-bit PCM WAV file: its samples are mu-law. Convert it"),
            (riff(1, 8), "has 8-bit samples, not 16-bit. Convert it"),
            (riff(1, 24), "has 24-bit samples, not 16-bit. Convert it"),
            (riff(1, 16, b""), "holds no audio."),
        ],
    )
    def test_another_format_is_refused_in_a_sentence(self, tmp_path: Path, content: bytes, sentence: str) -> None:
        path = tmp_path / "caller.wav"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"caller\.wav (is not|has|holds)") as refused:
            read_wav(path)
        assert str(refused.value).startswith(f"{path} {sentence}")

    def test_a_missing_file_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"none\.wav cannot be read: No such file or directory\."):
            read_wav(tmp_path / "none.wav")


class TestCallRecording:
    def written(self, recording: CallRecording, tmp_path: Path) -> np.ndarray:
        recording.write(tmp_path / "call.wav")
        samples, rate = read_wav(tmp_path / "call.wav")
        assert rate == 24000
        assert samples.shape[1] == 2
        return samples

    def test_caller_is_left_and_agent_right_on_one_clock(self, tmp_path: Path) -> None:
        recording = CallRecording()
        recording.add("agent", 0.5, pcm(7, 0.25))
        recording.add("caller", 0.25, pcm(5, 0.5))
        samples = self.written(recording, tmp_path)
        assert len(samples) == 18000
        assert recording.seconds == 0.75
        assert samples[:6000].max() == 0
        assert set(samples[6000:, 0].tolist()) == {5}
        assert set(samples[:12000, 1].tolist()) == {0}
        assert set(samples[12000:, 1].tolist()) == {7}

    def test_jitter_makes_no_gap_and_a_pause_does(self, tmp_path: Path) -> None:
        recording = CallRecording()
        for at in (0.0, 0.103, 0.199):
            recording.add("caller", at, pcm(5, 0.1))
        recording.add("caller", 1.0, pcm(6, 0.1))
        left = self.written(recording, tmp_path)[:, 0]
        assert set(left[:7200].tolist()) == {5}
        assert set(left[7200:24000].tolist()) == {0}
        assert set(left[24000:].tolist()) == {6}

    def test_audio_ahead_of_its_time_is_queued(self, tmp_path: Path) -> None:
        recording = CallRecording()
        recording.add("agent", 0.0, pcm(5, 1.0))
        recording.add("agent", 0.1, pcm(6, 1.0))
        right = self.written(recording, tmp_path)[:, 1]
        assert set(right[:24000].tolist()) == {5}
        assert set(right[24000:].tolist()) == {6}

    def test_an_interrupted_reply_ends_where_it_was_cut(self, tmp_path: Path) -> None:
        recording = CallRecording()
        recording.add("agent", 0.0, pcm(5, 2.0))
        recording.cut("agent", 0.5)
        recording.add("agent", 1.0, pcm(6, 0.5))
        right = self.written(recording, tmp_path)[:, 1]
        assert set(right[:12000].tolist()) == {5}
        assert set(right[12000:24000].tolist()) == {0}
        assert set(right[24000:].tolist()) == {6}

    def test_a_call_without_audio_is_an_empty_file(self, tmp_path: Path) -> None:
        recording = CallRecording()
        recording.write(tmp_path / "call.wav")
        with wave.open(str(tmp_path / "call.wav")) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 24000, 0)
