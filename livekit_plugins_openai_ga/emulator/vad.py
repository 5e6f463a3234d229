"""When the user speaks, judged by loudness alone.

`server_vad` and `semantic_vad` are emulated by one detector: 20 ms steps louder than a level count as speech, and the
turn ends after a stretch of quiet. Semantic detection only differs in how long that stretch is, since the emulator
does not understand what was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .voice import BYTES_PER_MS

STEP_MS = 20
STEP_BYTES = STEP_MS * BYTES_PER_MS
# Three loud steps in a row: a click or a chunk boundary is not speech.
_ONSET_STEPS = 3
# The longest wait of each eagerness is a cap on a classifier the emulator does not have; these are
# its own shorter pauses, in the same order.
_EAGERNESS_SILENCE_MS = {"low": 1200, "medium": 600, "auto": 600, "high": 300}
_SEMANTIC_PREFIX_MS = 300


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """`audio_start_ms` counts from the first audio of the session and includes the prefix padding."""

    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """`audio_end_ms` counts from the first audio of the session and includes the silence."""

    audio_end_ms: int


class SpeechDetector:
    """Feed it 24 kHz int16 mono PCM; it says where speech starts and stops. Positions are ms of audio fed."""

    def __init__(self, turn_detection: Mapping[str, Any], *, position_ms: float = 0.0) -> None:
        semantic = turn_detection.get("type") == "semantic_vad"
        silence = (
            _EAGERNESS_SILENCE_MS[turn_detection.get("eagerness", "auto")]
            if semantic
            else turn_detection["silence_duration_ms"]
        )
        self._silence_steps = max(1, -(-silence // STEP_MS))
        self._prefix_ms = _SEMANTIC_PREFIX_MS if semantic else turn_detection["prefix_padding_ms"]
        self._level = level(0.5 if semantic else turn_detection["threshold"])
        self._origin_ms = position_ms
        self._steps = 0
        self._loud = 0
        self._quiet = 0
        self._partial = b""
        self.speaking = False

    def feed(self, pcm: bytes) -> list[SpeechStarted | SpeechStopped]:
        """Take more audio of any length; a step not yet complete is kept for the next call."""
        data = self._partial + pcm
        whole = len(data) // STEP_BYTES * STEP_BYTES
        self._partial = data[whole:]
        loud = loud_steps(data[:whole], self._level)
        return [event for is_loud in loud if (event := self._step(bool(is_loud))) is not None]

    def _step(self, is_loud: bool) -> SpeechStarted | SpeechStopped | None:
        self._steps += 1
        self._loud = self._loud + 1 if is_loud else 0
        self._quiet = 0 if is_loud else self._quiet + 1
        position = int(self._origin_ms) + self._steps * STEP_MS
        if not self.speaking and self._loud >= _ONSET_STEPS:
            self.speaking = True
            return SpeechStarted(max(0, position - _ONSET_STEPS * STEP_MS - self._prefix_ms))
        if self.speaking and self._quiet >= self._silence_steps:
            self.speaking = False
            return SpeechStopped(position)
        return None


def loud_steps(pcm: bytes, above: float) -> npt.NDArray[np.bool_]:
    """For each whole 20 ms of `pcm`, whether its RMS is above the level."""
    whole = len(pcm) // STEP_BYTES * STEP_BYTES
    steps = np.frombuffer(pcm[:whole], "<i2").astype(np.float64).reshape(-1, STEP_BYTES // 2)
    energy = np.einsum("ij,ij->i", steps, steps)  # a third of the time of a mean of squares
    return np.asarray(energy > STEP_BYTES // 2 * (32768 * above) ** 2, dtype=np.bool_)


def speech_ms(pcm: bytes) -> int:
    """How much of `pcm` is loud enough to be speech, in ms, at the default threshold."""
    return int(np.count_nonzero(loud_steps(pcm, level(0.5)))) * STEP_MS


def level(threshold: float) -> float:
    """The RMS, full scale being 1.0, that `threshold` 0 to 1 stands for: -60 to -20 dB, -40 dB at the default."""
    return float(10 ** ((-60 + 40 * threshold) / 20))
