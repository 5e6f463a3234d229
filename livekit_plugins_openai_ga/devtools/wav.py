"""Recordings as WAV files: `read_wav` for a caller to play in, `CallRecording` for what was heard in a call.

Only 16-bit PCM is read, because that is what the service takes. A recording is stereo at 24 kHz, caller left
and agent right on one clock, so that any audio editor shows who spoke over whom.
"""

from __future__ import annotations

import os
import wave
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..wire.session import SAMPLE_RATE as SAMPLE_RATE

# Audio this close to the end of what a side has already said is joined to it: timestamps jitter by a few
# milliseconds, and a gap or an overlap of that length is a click.
JOIN_SECONDS = 0.04

Side = Literal["caller", "agent"]


def read_wav(path: str | os.PathLike[str]) -> tuple[NDArray[np.int16], int]:
    """The samples of a 16-bit PCM WAV file, int16 [n, channels], and its rate in Hz.

    Raises:
        ValueError: The file is missing, empty, cut off or in another format. The message is for a user.
    """
    name = os.fspath(path)
    try:
        with wave.open(name, "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror or error}.") from error
    except EOFError as error:
        raise ValueError(f"{name} is not a WAV file: it is empty or its header is cut off.") from error
    except wave.Error as error:
        problem = _WAVE_PROBLEMS.get(str(error), str(error))
        raise ValueError(f"{name} is not a 16-bit PCM WAV file: {problem}. {_CONVERT}") from error
    if width != 2:
        raise ValueError(f"{name} has {8 * width}-bit samples, not 16-bit. {_CONVERT}")
    if rate == 0:
        raise ValueError(f"{name} is not a WAV file: its header gives a sample rate of 0 Hz.")
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], dtype="<i2")
    if not len(samples):
        raise ValueError(f"{name} holds no audio.")
    return samples.astype(np.int16).reshape(-1, channels), rate


_CONVERT = "Convert it to 16-bit PCM, for example with: ffmpeg -i in.wav -c:a pcm_s16le out.wav"
# The standard library's words for what users meet most.
_WAVE_PROBLEMS = {
    "file does not start with RIFF id": "it does not start as one does",
    "not a WAVE file": "its container holds something else",
    "unknown format: 3": "its samples are floating point",
    "unknown format: 6": "its samples are A-law",
    "unknown format: 7": "its samples are mu-law",
    "unknown format: 65534": "its samples are in an extended format",
    "unknown extended format": "its samples are in an extended format",
}


class CallRecording:
    """Both sides of one call on one clock, int16 mono 24 kHz each, held in memory (5.8 MB a minute)."""

    def __init__(self) -> None:
        self._sides: dict[Side, bytearray] = {"caller": bytearray(), "agent": bytearray()}

    @property
    def seconds(self) -> float:
        """Length of the longer side, in seconds."""
        return max(map(len, self._sides.values())) / (2 * SAMPLE_RATE)

    def add(self, side: Side, at: float, pcm: bytes) -> None:
        """Place `pcm` (int16 little-endian mono 24 kHz) at `at` seconds on the call's clock.

        Audio that comes before the side's earlier audio has ended is queued behind it, as a player does. Audio
        that comes later leaves silence in between.
        """
        lane = self._sides[side]
        gap = round(at * SAMPLE_RATE) - len(lane) // 2
        if gap > JOIN_SECONDS * SAMPLE_RATE or (gap > 0 and not lane):
            lane += bytes(2 * gap)
        lane += pcm[: len(pcm) // 2 * 2]

    def cut(self, side: Side, at: float) -> None:
        """Drop what `side` had queued beyond `at` seconds: an interrupted reply is not heard to its end."""
        del self._sides[side][2 * max(0, round(at * SAMPLE_RATE)) :]

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write one stereo 24 kHz WAV file, caller left and agent right.

        Raises:
            OSError: The file cannot be written.
        """
        samples = max(map(len, self._sides.values())) // 2
        stereo = np.zeros((samples, 2), dtype="<i2")
        for channel, side in enumerate(self._sides.values()):
            stereo[: len(side) // 2, channel] = np.frombuffer(bytes(side), dtype="<i2")
        with wave.open(os.fspath(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(stereo.tobytes())
