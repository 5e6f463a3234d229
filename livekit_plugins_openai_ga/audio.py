"""Audio on its way in and out of a session: the server speaks and hears 24 kHz mono int16 little-endian PCM.

`InputAudio` turns whatever a room delivers (any rate, any channel count, any frame length) into chunks
ready to be sent. A 24 kHz mono frame passes through byte for byte. Everything else is averaged to mono and
resampled by one polyphase filter for all ratios, with a delay of about 1.2 ms at 48 kHz.
`rtc.AudioResampler` withholds up to 39 ms at its default quality, which a caller hears as a slower answer;
its quality QUICK withholds nothing and filters nothing: a 13 kHz hiss comes back as an 11 kHz one.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from .wire.session import BYTES_PER_MS as BYTES_PER_MS
from .wire.session import SAMPLE_RATE as SAMPLE_RATE

NUM_CHANNELS = 1
BYTES_PER_SAMPLE = 2

_MAX_CHUNK_BYTES = 100 * BYTES_PER_MS
# Filter design (Kaiser's formulas): aliases and images at least 75 dB down. The transition band is a twelfth
# of the narrower rate and ends at its Nyquist frequency: 48 kHz is flat to 10 kHz and silent from 12 kHz on.
_STOP_BAND_DB = 75.0
_TRANSITION = 1 / 12
_KAISER_BETA = 0.1102 * (_STOP_BAND_DB - 8.7)
# Blocks below this many outputs leave the matrix product too small to be worth its call.
_MIN_BLOCK_OUT = 32
# Every common rate needs at most 147 here. An odd one (say 44,099 Hz) gets the nearest ratio, or its table
# would take gigabytes.
_MAX_RATIO_DENOMINATOR = 640


@dataclass(frozen=True, slots=True)
class _Filter:
    """One block of the filter: a window of input samples times `matrix` gives `block_out` output samples."""

    block_in: int
    block_out: int
    lead: int  # input samples an output may need on each side of its instant
    matrix: NDArray[np.float32]  # [window, block_out]

    @property
    def window(self) -> int:
        return self.block_in + 2 * self.lead


@functools.lru_cache(maxsize=16)
def _design(rate: int) -> _Filter:
    """The windowed-sinc filter from `rate` Hz to 24 kHz."""
    ratio = Fraction(SAMPLE_RATE, rate).limit_denominator(_MAX_RATIO_DENOMINATOR)
    repeat = math.ceil(_MIN_BLOCK_OUT / ratio.numerator)
    block_in, block_out = ratio.denominator * repeat, ratio.numerator * repeat
    narrower = min(rate, SAMPLE_RATE)
    transition = narrower * _TRANSITION / rate  # in cycles per input sample, as is the cutoff
    cutoff = narrower / 2 / rate - transition / 2
    half_width = (_STOP_BAND_DB - 7.95) / (2 * 2.285 * 2 * math.pi * transition)
    lead = math.ceil(half_width)
    at_input = np.arange(block_in + 2 * lead)[:, None] - lead
    at_output = np.arange(block_out)[None, :] * (block_in / block_out)
    distance = at_input - at_output
    taper = np.sqrt(np.clip(1 - (distance / half_width) ** 2, 0, None))
    kaiser = np.where(np.abs(distance) <= half_width, np.i0(_KAISER_BETA * taper), 0.0)
    taps = np.sinc(2 * cutoff * distance) * kaiser
    return _Filter(block_in, block_out, lead, (taps / taps.sum(axis=0)).astype(np.float32))


class Resampler:
    """Streaming mono resampler to 24 kHz. Its output does not depend on how the input was cut into frames.

    Nothing is shifted in time: output n is the instant n / 24000 s of the input. What the filter cannot know
    yet (`held_ms`) comes out with a later `push` or with `flush`.
    """

    def __init__(self, rate: int) -> None:
        """`rate`: the input's rate in Hz, above 0."""
        self.rate = rate
        self._filter = _design(rate)
        self.reset()

    def reset(self) -> None:
        """Forget everything pushed so far."""
        self._held = np.zeros(self._filter.lead, dtype=np.float32)
        self._emitted_of_block = 0
        self._samples_in = 0
        self._samples_out = 0

    @property
    def held_ms(self) -> float:
        """Input whose output is still to come, in ms."""
        due = self._samples_in * self._filter.block_out / self._filter.block_in
        return max(0.0, due - self._samples_out) * 1000 / SAMPLE_RATE

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every 24 kHz sample that is certain after `samples` (mono, int16 scale, any length)."""
        self._samples_in += len(samples)
        out = self._filtered(samples)
        self._samples_out += len(out)
        return out

    def flush(self) -> NDArray[np.float32]:
        """The rest, as if silence followed. The resampler is as new afterwards."""
        f = self._filter
        missing = -(-self._samples_in * f.block_out // f.block_in) - self._samples_out
        tail = self._filtered(np.zeros(f.lead, dtype=np.float32))[:missing]
        self.reset()
        return tail

    def _filtered(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        f = self._filter
        held = len(self._held)
        length = held + len(samples)
        certain = max(0, -(-(length - 2 * f.lead) * f.block_out // f.block_in))
        blocks = -(-certain // f.block_out)
        # Padding completes the last block; only outputs that no padding reaches are handed out.
        buffer = np.zeros(max(length, blocks * f.block_in + 2 * f.lead), dtype=np.float32)
        buffer[:held] = self._held
        buffer[held:length] = samples
        windows: NDArray[np.float32] = np.ndarray(
            (blocks, f.window), np.float32, buffer, strides=(f.block_in * buffer.itemsize, buffer.itemsize)
        )
        out = (windows.copy() @ f.matrix).reshape(-1)[self._emitted_of_block : certain]
        done = certain // f.block_out
        self._held = buffer[done * f.block_in : length].copy()
        self._emitted_of_block = certain - done * f.block_out
        return out


class InputAudio:
    """Any `rtc.AudioFrame` to mono, to 24 kHz int16, to chunks ready to be sent.

    A chunk holds at least `chunk_ms` and at most 100 ms. As soon as `chunk_ms` of audio are there, all of it
    goes out: a 50 ms frame is not held back to make equal chunks, and a 10 ms frame is no message of its own.
    """

    def __init__(self, *, chunk_ms: int = 20) -> None:
        """Start empty.

        Args:
            chunk_ms: The least audio a message carries, in ms, 1 to 50. No sample waits inside for longer
                than this plus one frame.

        Raises:
            ValueError: `chunk_ms` is out of range.
        """
        if not 1 <= chunk_ms <= 50:
            raise ValueError(f"chunk_ms={chunk_ms} is out of range. Use 1 to 50 milliseconds.")
        self._chunk_bytes = chunk_ms * BYTES_PER_MS
        self._partial = b""
        self._resampler: Resampler | None = None
        self._channels = NUM_CHANNELS

    @property
    def pending_ms(self) -> float:
        """Audio held inside, in ms of output."""
        in_filter = self._resampler.held_ms if self._resampler else 0.0
        return len(self._partial) / BYTES_PER_MS + in_filter

    def push(self, frame: rtc.AudioFrame) -> list[bytes]:
        """Take one frame and return the chunks that are now due, in order.

        Args:
            frame: int16 audio of any rate, channel count and length, also empty. A new rate or channel count
                ends the old stream inside: its last samples come first.

        Returns:
            Chunks of `chunk_ms` to 100 ms, int16 little-endian mono at 24 kHz. Often none.
        """
        if frame.samples_per_channel == 0:
            return []
        rate_now = self._resampler.rate if self._resampler else SAMPLE_RATE
        if (frame.sample_rate, frame.num_channels) != (rate_now, self._channels):
            self._partial += self._resampler_tail()
            self._channels = frame.num_channels
            self._resampler = Resampler(frame.sample_rate) if frame.sample_rate != SAMPLE_RATE else None
        size = frame.samples_per_channel * frame.num_channels
        if self._resampler is None and self._channels == 1:
            audio = frame.data[:size].tobytes()
        else:
            mono = _mono(np.frombuffer(frame.data, dtype=np.int16)[:size], self._channels)
            audio = _pcm(self._resampler.push(mono) if self._resampler else mono)
        self._partial = self._partial + audio if self._partial else audio
        if len(self._partial) < self._chunk_bytes:
            return []
        return self._take()

    def flush(self) -> list[bytes]:
        """Everything held inside, in chunks of at most 100 ms. Empty when nothing is held."""
        self._partial += self._resampler_tail()
        return self._take() if self._partial else []

    def clear(self) -> None:
        """Forget what is held."""
        self._partial = b""
        if self._resampler is not None:
            self._resampler.reset()

    def _resampler_tail(self) -> bytes:
        return _pcm(self._resampler.flush()) if self._resampler else b""

    def _take(self) -> list[bytes]:
        """All held bytes, in equal parts when they exceed one chunk, so that no remainder has to wait."""
        held, self._partial = self._partial, b""
        parts = -(-len(held) // _MAX_CHUNK_BYTES)
        if parts == 1:
            return [held]
        samples = len(held) // BYTES_PER_SAMPLE
        edges = [samples * i // parts * BYTES_PER_SAMPLE for i in range(parts + 1)]
        return [held[start:end] for start, end in itertools.pairwise(edges)]


def frame_from_pcm(pcm: bytes) -> rtc.AudioFrame:
    """The server's 24 kHz mono int16 little-endian `pcm` as a frame. Half a sample at the end is left out."""
    samples = len(pcm) // BYTES_PER_SAMPLE
    whole = pcm if len(pcm) % BYTES_PER_SAMPLE == 0 else pcm[: samples * BYTES_PER_SAMPLE]
    return rtc.AudioFrame(whole, SAMPLE_RATE, NUM_CHANNELS, samples)


def _mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.float32]:
    """The mean of interleaved `channels`, as floats of int16 scale: their sum would not fit in int16."""
    if channels == 1:
        return samples.astype(np.float32)
    mean: NDArray[np.float32] = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mean


def _pcm(samples: NDArray[np.float32]) -> bytes:
    """Round to int16 little-endian; a filter's overshoot beyond full scale saturates instead of wrapping."""
    return np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()
