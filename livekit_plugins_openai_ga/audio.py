"""Audio on its way in and out of a session, in one of the `formats`: 24 kHz PCM, or the telephone's 8 kHz G.711.

`InputAudio` turns whatever a room delivers (any rate, any channel count, any frame length) into chunks ready to be
sent. Mono PCM of 24 kHz passes through byte for byte, and mono of 8 kHz becomes G.711 sample by sample. Everything
else is averaged to mono and resampled once, by one polyphase filter for all ratios. It is of minimum phase: it looks
only back, so nothing of a frame is withheld, speech is 0.1 ms later (48 kHz) and there is no ringing before a sound.
`rtc.AudioResampler` takes three times the CPU and withholds up to 39 ms at its default quality, which a caller hears as
a slower answer; its quality QUICK withholds nothing and filters nothing: a 13 kHz hiss comes back as an 11 kHz one.
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

from .formats import PCM, AudioFormat
from .wire.session import SAMPLE_RATE as SAMPLE_RATE

NUM_CHANNELS = 1
BYTES_PER_SAMPLE = 2

CHUNK_MS = 20
"""The least audio a message carries, unless told otherwise."""
MAX_CHUNK_MS = 100
"""The most: a longer frame becomes several messages."""

# Filter design (Kaiser's formulas): aliases and images at least 75 dB down. The transition band is a twelfth
# of the narrower rate and ends at its Nyquist frequency: 48 kHz is flat to 10 kHz and silent from 12 kHz on.
_STOP_BAND_DB = 75.0
_TRANSITION = 1 / 12
_KAISER_BETA = 0.1102 * (_STOP_BAND_DB - 8.7)
# Blocks of fewer outputs leave the matrix product too small to be worth its call; of more, its zeros take over.
_MIN_BLOCK_OUT = 16
# Every common rate needs at most 147 here. An odd one (say 44,099 Hz) gets the nearest ratio, or its table
# would take gigabytes.
_MAX_RATIO_DENOMINATOR = 640


@dataclass(frozen=True, slots=True)
class _Filter:
    """One block of the filter: a window of input samples times `matrix` gives `block_out` output samples."""

    block_in: int
    block_out: int
    past: int  # input samples before a block that it needs
    matrix: NDArray[np.float32]  # [past + block_in, block_out]

    def outputs(self, held: int) -> int:
        """How many outputs can be made of `held` samples, which begin with those before a block that it needs."""
        return -(-(held - self.past) * self.block_out // self.block_in)


@functools.lru_cache(maxsize=16)
def _design(rate: int, target: int) -> _Filter:
    """The windowed-sinc filter from `rate` Hz to `target` Hz, turned into the one of minimum phase."""
    ratio = Fraction(target, rate).limit_denominator(_MAX_RATIO_DENOMINATOR)
    up, down = ratio.numerator, ratio.denominator
    narrower = min(rate, target)
    transition = narrower * _TRANSITION / rate  # in cycles per input sample, as is the cutoff
    cutoff = narrower / 2 / rate - transition / 2
    half_width = (_STOP_BAND_DB - 7.95) / (2 * 2.285 * 2 * math.pi * transition)
    edge = math.ceil(half_width * up)
    distance = np.arange(-edge, edge + 1) / up
    taper = np.sqrt(np.clip(1 - (distance / half_width) ** 2, 0, None))
    taps = _minimum_phase(np.sinc(2 * cutoff * distance) * np.i0(_KAISER_BETA * taper))
    repeat = 1 << max(0, math.ceil(math.log2(_MIN_BLOCK_OUT / up)))  # so frames of 10 ms are whole blocks
    block_in, block_out, past = down * repeat, up * repeat, len(taps) // up
    # How far an output is behind an input, in steps of the rate that both are whole parts of.
    behind = np.arange(block_out)[None, :] * down - (np.arange(past + block_in)[:, None] - past) * up
    matrix = np.where((behind >= 0) & (behind < len(taps)), taps[np.clip(behind, 0, len(taps) - 1)], 0.0)
    return _Filter(block_in, block_out, past, (matrix / matrix.sum(axis=0)).astype(np.float32))


def _minimum_phase(taps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Taps of the same length and the same loudness at every frequency that come as early as they can.

    Folds the cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing, 13.5).
    """
    size = 1 << math.ceil(math.log2(8 * len(taps)))
    loudness = np.abs(np.fft.rfft(taps, size))
    cepstrum = np.fft.irfft(np.log(np.maximum(loudness, 1e-6 * loudness.max())), size)
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    folded: NDArray[np.float64] = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), size)[: len(taps)]
    return folded


class _Step:
    """A number of samples on their way through a filter in which others are held: a buffer, and what is where in it."""

    __slots__ = ("due", "held", "new", "rest", "windows")

    def __init__(self, design: _Filter, held: int, new: int) -> None:
        """`held`: how many samples wait in the filter; `new`: how many come."""
        length = held + new
        before, certain = design.outputs(held), design.outputs(length)
        blocks = -(-certain // design.block_out)
        # Padding completes the last block; only outputs that no padding reaches are handed out.
        buffer = np.zeros(max(length, blocks * design.block_in + design.past), dtype=np.float32)
        self.held, self.new = buffer[:held], buffer[held:length]
        shape, strides = (blocks, len(design.matrix)), (design.block_in * buffer.itemsize, buffer.itemsize)
        self.windows: NDArray[np.float32] = np.ndarray(shape, np.float32, buffer, strides=strides)
        # Which outputs were not handed out before; None: all.
        self.due = slice(before, certain) if before or certain != blocks * design.block_out else None
        # What will be held when these have gone through.
        self.rest = buffer[certain // design.block_out * design.block_in : length]


class Resampler:
    """Streaming mono resampler. Its output does not depend on how the input was cut into frames.

    Output n is the instant n / `target` s of the input, and comes with the first input at or behind it.
    """

    __slots__ = ("_filter", "_step")

    def __init__(self, rate: int, target: int) -> None:
        """`rate`: the input's rate in Hz, `target`: the output's; both above 0."""
        self._filter = _design(rate, target)
        self.reset()

    def reset(self) -> None:
        """Forget everything pushed so far."""
        self._step = _Step(self._filter, self._filter.past, 0)

    def push(self, samples: NDArray[np.int16] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Every sample up to the end of `samples` (mono, int16 scale, any length)."""
        step = self._step
        held = step.rest
        # Frames of 10 ms are whole blocks: each finds the filter as the one before it did, and goes the same way.
        if len(samples) != len(step.new) or len(held) != len(step.held):
            step = self._step = _Step(self._filter, len(held), len(samples))
        step.held[...] = held
        step.new[...] = samples
        # `dot` gives BLAS a copy of windows that overlap in memory; `@` would multiply them itself, which is slower.
        out: NDArray[np.float32] = np.dot(step.windows, self._filter.matrix).reshape(-1)
        return out if step.due is None else out[step.due]


class InputAudio:
    """Any `rtc.AudioFrame` to mono, to the rate and bytes of a format, to chunks ready to be sent.

    As soon as `chunk_ms` of audio are there, all of it goes out, in chunks of 100 ms at most: a 50 ms frame is not held
    back to make equal chunks, and a 10 ms frame is no message of its own. Frames wait as they came, and are turned into
    what the server hears together, which costs half as much as one by one.
    """

    __slots__ = (
        "_as_it_is",
        "_channels",
        "_chunk_ms",
        "_enough",
        "_longest",
        "_rate",
        "_resampler",
        "_samples",
        "_waiting",
        "form",
    )

    def __init__(self, form: AudioFormat = PCM, *, chunk_ms: float = CHUNK_MS) -> None:
        """Start empty.

        Args:
            form: What the session hears.
            chunk_ms: The least audio a message carries, in ms, 1 to 100. No sample waits inside for longer than this.

        Raises:
            ValueError: `chunk_ms` is out of range.
        """
        if not 1 <= chunk_ms <= MAX_CHUNK_MS:
            raise ValueError(f"chunk_ms={chunk_ms} is out of range. Use 1 to {MAX_CHUNK_MS} milliseconds.")
        self.form = form
        self._chunk_ms = chunk_ms
        self._longest = MAX_CHUNK_MS * form.bytes_per_ms
        self._waiting: list[bytes] = []  # of the frames' own rate and channels
        self._samples = 0  # in `_waiting`, of each channel
        self._rate = form.rate
        self._enough = math.ceil(chunk_ms * form.rate / 1000)
        self._channels = NUM_CHANNELS
        self._resampler: Resampler | None = None
        self._as_it_is = form is PCM  # the frames' own bytes are what is sent

    @property
    def pending_ms(self) -> float:
        """Audio held inside, in ms."""
        return self._samples * 1000 / self._rate

    def push(self, frame: rtc.AudioFrame) -> list[bytes]:
        """Take one frame and return the chunks that are now due, in order.

        Args:
            frame: int16 audio of any rate, channel count and length, also empty. With a new rate or channel count,
                what waits of the old one comes first, however short.

        Returns:
            Chunks of 100 ms at most, in the session's format. Often none.
        """
        samples, rate, channels = frame.samples_per_channel, frame.sample_rate, frame.num_channels
        if rate != self._rate or channels != self._channels:
            if samples == 0:
                return []
            before = self.flush()
            self._expect(rate, channels)
            return before + self.push(frame)
        data, length = frame.data, samples * channels
        if len(data) != length:
            data = data[:length]
        waited = self._samples
        if waited + samples < self._enough:
            if samples == 0:
                return []
            self._waiting.append(data.tobytes())
            self._samples = waited + samples
            return []
        if waited:
            audio = b"".join((*self._waiting, data))
            self._waiting, self._samples = [], 0
        else:
            audio = data.tobytes()
        return [audio] if self._as_it_is and len(audio) <= self._longest else self._chunks(audio)

    def _expect(self, rate: int, channels: int) -> None:
        self._rate, self._channels = rate, channels
        self._enough = math.ceil(self._chunk_ms * rate / 1000)
        self._resampler = Resampler(rate, self.form.rate) if rate != self.form.rate else None
        self._as_it_is = self._resampler is None and channels == NUM_CHANNELS and self.form is PCM

    def flush(self) -> list[bytes]:
        """Everything held inside, in chunks of at most 100 ms. Empty when nothing is held."""
        if not self._waiting:
            return []
        audio = b"".join(self._waiting)
        self._waiting, self._samples = [], 0
        return self._chunks(audio)

    def _chunks(self, audio: bytes) -> list[bytes]:
        if not self._as_it_is:
            mono = _mono(np.frombuffer(audio, dtype=np.int16), self._channels)
            audio = self.form.encode(self._resampler.push(mono) if self._resampler else mono)
            if not audio:  # less than the next sample
                return []
        return [audio] if len(audio) <= self._longest else self._parts(audio)

    def _parts(self, audio: bytes) -> list[bytes]:
        """Equal parts of 100 ms at most, so that no remainder has to wait."""
        parts, width = -(-len(audio) // self._longest), self.form.sample_bytes
        edges = [len(audio) // width * i // parts * width for i in range(parts + 1)]
        return [audio[start:end] for start, end in itertools.pairwise(edges)]

    def clear(self) -> None:
        """Forget what is held."""
        self._waiting = []
        self._samples = 0
        if self._resampler is not None:
            self._resampler.reset()


def to_frame(audio: bytes, form: AudioFormat = PCM) -> rtc.AudioFrame:
    """What the server said, as a mono frame of the format's rate. Half a sample at the end is left out."""
    pcm = form.decode(audio)
    return rtc.AudioFrame(pcm, form.rate, NUM_CHANNELS, len(pcm) // BYTES_PER_SAMPLE)


def _mono(samples: NDArray[np.int16], channels: int) -> NDArray[np.int16] | NDArray[np.float32]:
    """The mean of interleaved `channels`, as floats of int16 scale: their sum would not fit in int16."""
    if channels == 1:
        return samples
    mean: NDArray[np.float32] = samples.reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return mean
