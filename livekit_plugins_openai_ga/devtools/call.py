"""The two ends of a call without a room: a caller who plays a recording, and a loudspeaker for the agent.

Both run on the event loop's clock and count in seconds since one `zero`, so that what they put into a `CallRecording`
lies where it was said and heard. Neither touches a sound card.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from livekit import rtc
from livekit.agents.voice import io
from numpy.typing import NDArray

from ..audio import BYTES_PER_SAMPLE, SAMPLE_RATE, InputAudio
from .wav import CallRecording, read_wav

PIECE_SECONDS = 0.02
_PIECE_SAMPLES = round(PIECE_SECONDS * SAMPLE_RATE)
_PIECE_BYTES = _PIECE_SAMPLES * BYTES_PER_SAMPLE
_BYTES_PER_SECOND = SAMPLE_RATE * BYTES_PER_SAMPLE
# -40 dB of full scale: above the noise of a quiet room, below the soft end of a word.
_AUDIBLE_RMS = 327.0
# A silence this long parts what was said before it from a turn that began after it.
_PAUSE_SECONDS = 0.5


def caller_pcm(path: str | os.PathLike[str]) -> bytes:
    """A WAV file as 24 kHz int16 mono PCM, whatever its rate and number of channels.

    Raises:
        ValueError: It is not a 16-bit PCM WAV file. The message is for a user.
    """
    samples, rate = read_wav(path)
    audio = InputAudio()
    chunks = audio.push(rtc.AudioFrame(samples.tobytes(), rate, samples.shape[1], len(samples)))
    return b"".join([*chunks, *audio.flush()])


class CallerAudio(io.AudioInput):
    """A microphone: 20 ms frames of 24 kHz int16 mono, each when its last sample would have been captured.

    It gives silence until `speak`, then the recording, then silence again. Frames fall due at multiples of 20 ms after
    the first one was asked for; a late one is followed by the next at once, so there is no drift.
    """

    def __init__(self, pcm: bytes, recording: CallRecording, *, zero: float) -> None:
        """`pcm`: 24 kHz int16 mono. `zero`: the event loop's time at which `recording` starts."""
        super().__init__(label="recorded caller")
        self._pcm = pcm
        self._recording = recording
        self._zero = zero
        self._begins: float | None = None
        self._pieces: list[bool] = []
        self._position: int | None = None
        self.finished = asyncio.Event()
        """Set when the recording has been played to its end."""

    def speak(self) -> None:
        """Start the recording with the next frame."""
        if self._position is None:
            self._position = 0

    async def __anext__(self) -> rtc.AudioFrame:
        """The next 20 ms, when they have passed. Never ends."""
        loop = asyncio.get_running_loop()
        if self._begins is None:
            self._begins = loop.time() - self._zero
        starts = self._begins + len(self._pieces) * PIECE_SECONDS
        await asyncio.sleep(max(0.0, self._zero + starts + PIECE_SECONDS - loop.time()))
        piece = self._next_piece()
        self._pieces.append(_rms(piece) > _AUDIBLE_RMS)
        self._recording.add("caller", starts, piece)
        return rtc.AudioFrame(piece, SAMPLE_RATE, 1, _PIECE_SAMPLES)

    def _next_piece(self) -> bytes:
        if self._position is None:
            return bytes(_PIECE_BYTES)
        piece = self._pcm[self._position : self._position + _PIECE_BYTES]
        self._position += len(piece)
        if self._position >= len(self._pcm):
            self.finished.set()
        return piece.ljust(_PIECE_BYTES, b"\0")

    def sent_at(self, piece: int) -> float:
        """When the given frame (from 0) was due to leave, in seconds."""
        return (self._begins or 0.0) + (piece + 1) * PIECE_SECONDS

    def turn(self, started: float, stopped: float, *, after: float = 0.0) -> tuple[float, float]:
        """From where to where the caller was audible in a turn that a detector reported.

        A detector speaks up after the first sound and after the last one. `started` and `stopped` are the moments at
        which it did, in seconds; nothing before `after` is looked at. Gives them back when nothing was audible.
        """
        first, begin, end = (self._piece_at(at) for at in (after, started, stopped))
        last_heard = None
        for piece in range(begin, first - 1, -1):
            if self._pieces[piece : piece + 1] == [True]:
                last_heard = piece
            elif last_heard is not None and (last_heard - piece) * PIECE_SECONDS >= _PAUSE_SECONDS:
                break
        if last_heard is not None:
            begin = last_heard
        heard = [piece for piece in range(begin, min(end, len(self._pieces))) if self._pieces[piece]]
        if not heard:
            return started, stopped
        begins = self._begins or 0.0
        return begins + heard[0] * PIECE_SECONDS, begins + (heard[-1] + 1) * PIECE_SECONDS

    def _piece_at(self, at: float) -> int:
        return max(0, int((at - (self._begins or 0.0)) / PIECE_SECONDS))


def _rms(pcm: bytes) -> float:
    samples: NDArray[np.float64] = np.frombuffer(pcm, "<i2").astype(np.float64)
    return float(np.sqrt(np.mean(samples**2)))


@dataclass(frozen=True, slots=True)
class Heard:
    """One stretch of the agent's speech as it came out of the loudspeaker, in seconds."""

    start: float
    end: float
    interrupted: bool


@dataclass(slots=True)
class _Segment:
    """What was captured between two flushes."""

    pcm: bytearray = field(default_factory=bytearray)
    complete: bool = False
    played: int = 0
    started: float | None = None


class Loudspeaker(io.AudioOutput):
    """Plays the agent's frames (24 kHz int16 mono) as fast as a sound card would, into a `CallRecording`.

    Frames may come much faster than they play; they are queued. `clear_buffer` stops at once and reports how much was
    heard. Cannot pause.
    """

    def __init__(self, recording: CallRecording, *, zero: float) -> None:
        """`zero`: the event loop's time at which `recording` starts."""
        super().__init__(
            label="recorded loudspeaker",
            capabilities=io.AudioOutputCapabilities(pause=False),
            sample_rate=SAMPLE_RATE,
        )
        self._recording = recording
        self._zero = zero
        self._segments: deque[_Segment] = deque()
        self._timer: asyncio.TimerHandle | None = None
        # When the loudspeaker has played all it was given so far.
        self._free_at = 0.0
        self.heard: list[Heard] = []
        """What has been played, the newest last. An entry is there before `playback_finished` is emitted."""

    @property
    def playing(self) -> bool:
        """Whether there is anything left to play."""
        return bool(self._segments)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Queue a frame."""
        await super().capture_frame(frame)
        if not self._segments or self._segments[-1].complete:
            self._segments.append(_Segment())
        self._segments[-1].pcm += frame.data.cast("B")
        self._wake()

    def flush(self) -> None:
        """The frames so far are a whole; what comes next is another segment."""
        super().flush()
        if self._segments:
            self._segments[-1].complete = True
            self._wake()

    def clear_buffer(self) -> None:
        """Stop now and forget what is queued."""
        super().flush()
        now = self._now()
        unheard = max(0.0, self._free_at - now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._recording.cut("agent", now)
        segments, self._segments = self._segments, deque()
        for segment in segments:
            position = max(0.0, segment.played / _BYTES_PER_SECOND - unheard)
            self._note(segment, min(now, self._free_at), interrupted=True)
            # LiveKit clears before it has flushed the text of the audio, and warns when the answer is there at once.
            asyncio.get_running_loop().call_soon(self._report, position, True)
            unheard = 0.0

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._zero

    def _wake(self) -> None:
        if self._timer is None:
            self._play(resumes_at=self._now())

    def _play(self, resumes_at: float | None = None) -> None:
        """Give out the next piece, end segments that are over, or fall silent.

        Called at `_free_at`, or after a silence at `resumes_at`.
        """
        self._timer = None
        while self._segments:
            segment = self._segments[0]
            if segment.played < len(segment.pcm):
                self._play_piece(segment, self._free_at if resumes_at is None else resumes_at)
                return
            if not segment.complete:
                return
            self._segments.popleft()
            self._note(segment, self._free_at, interrupted=False)
            self._report(segment.played / _BYTES_PER_SECOND, False)

    def _play_piece(self, segment: _Segment, starts: float) -> None:
        piece = bytes(segment.pcm[segment.played : segment.played + _PIECE_BYTES])
        segment.played += len(piece)
        self._free_at = starts + len(piece) / _BYTES_PER_SECOND
        self._timer = asyncio.get_running_loop().call_at(self._zero + self._free_at, self._play)
        self._recording.add("agent", starts, piece)
        if segment.started is None:
            segment.started = starts
            self.on_playback_started(created_at=time.time())

    def _note(self, segment: _Segment, end: float, *, interrupted: bool) -> None:
        if segment.started is not None:
            self.heard.append(Heard(segment.started, end, interrupted))

    def _report(self, position: float, interrupted: bool) -> None:
        self.on_playback_finished(playback_position=position, interrupted=interrupted)
