"""The input audio buffer: what the client sent since the last commit, and who is speaking in it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from . import g711
from .conversation import Refused
from .vad import SpeechDetector, SpeechStarted, SpeechStopped
from .voice import BYTES_PER_MS

MINIMUM_COMMIT_MS = 100
# Under VAD nobody asks for old silence; a call that is quiet for an hour must not fill the memory.
_KEPT_SILENCE_MS = 60_000
_BAD_AUDIO = (
    "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an invalid value instead."
)


class InputBuffer:
    """Uncommitted user audio as 24 kHz int16 mono PCM. Positions are ms since the first audio of the session."""

    def __init__(self, turn_detection: Mapping[str, Any] | None) -> None:
        self._audio = bytearray()
        self._begin_ms = 0.0
        self._start_ms: float | None = None
        self._detector: SpeechDetector | None = None
        self._settings: Mapping[str, Any] | None = None
        self.configure(turn_detection)

    @property
    def end_ms(self) -> int:
        """All audio written so far, in ms."""
        return int(self._begin_ms + len(self._audio) / BYTES_PER_MS)

    @property
    def uncommitted_ms(self) -> float:
        """Audio written since the last commit or clear, in ms."""
        return len(self._audio) / BYTES_PER_MS

    @property
    def speaking(self) -> bool:
        """Whether the detector is inside a turn."""
        return self._detector is not None and self._detector.speaking

    def configure(self, turn_detection: Mapping[str, Any] | None) -> None:
        """Take new turn detection settings; None turns it off. Unchanged settings keep the turn under way."""
        if turn_detection == self._settings and (self._detector is None) == (turn_detection is None):
            return
        self._settings = turn_detection
        self._start_ms = None
        self._detector = SpeechDetector(turn_detection, position_ms=self.end_ms) if turn_detection else None

    def append(self, encoded: str, audio_format: Mapping[str, Any]) -> bytes:
        """Decode the audio of one `input_audio_buffer.append` and keep it. Returns it as PCM."""
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("invalid_value", _BAD_AUDIO, "audio") from None
        if not data or (audio_format["type"] == "audio/pcm" and len(data) % 2):
            raise Refused("invalid_value", _BAD_AUDIO, "audio")
        encoding = audio_format["type"]
        pcm = g711.decode(data, encoding) if encoding in g711.FORMATS else data
        self.keep(pcm)
        return pcm

    def keep(self, pcm: bytes) -> None:
        """Keep audio that is 24 kHz int16 mono PCM."""
        self._audio += pcm

    def detect(self, pcm: bytes) -> list[SpeechStarted | SpeechStopped]:
        """Run the detector, if there is one, over audio just appended."""
        if self._detector is None:
            return []
        events = self._detector.feed(pcm)
        found: list[SpeechStarted | SpeechStopped] = []
        for event in events:
            if isinstance(event, SpeechStarted):
                # The padding never reaches into audio that was committed before.
                event = SpeechStarted(max(event.audio_start_ms, int(self._begin_ms)))
                self._start_ms = event.audio_start_ms
            found.append(event)
        if not self._detector.speaking and not found:
            self._forget_silence()
        return found

    def take_turn(self, audio_end_ms: int) -> bytes:
        """Commit what the detector found: the turn's audio; the silence before it is dropped."""
        end = int((audio_end_ms - self._begin_ms) * BYTES_PER_MS)
        start = int(((self._start_ms or self._begin_ms) - self._begin_ms) * BYTES_PER_MS)
        turn = bytes(self._audio[max(0, start) : end])
        del self._audio[:end]
        self._begin_ms = audio_end_ms
        self._start_ms = None
        return turn

    def take_all(self) -> bytes:
        """Commit everything there is, as the client asked; ends the detector's turn without a word."""
        if self.uncommitted_ms < MINIMUM_COMMIT_MS:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {self.uncommitted_ms:.2f}ms of audio.",
            )
        turn = bytes(self._audio)
        self.clear()
        return turn

    def clear(self) -> None:
        """Drop everything there is."""
        end = self.end_ms
        self._audio.clear()
        self._begin_ms = end
        self._start_ms = None
        if self._settings is not None:
            self._detector = SpeechDetector(self._settings, position_ms=end)

    def _forget_silence(self) -> None:
        surplus = int(self.uncommitted_ms - _KEPT_SILENCE_MS)
        if surplus > 1000:
            del self._audio[: surplus * BYTES_PER_MS]
            self._begin_ms += surplus
