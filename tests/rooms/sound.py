"""Notes to send through a room, and what is left of them on the other side: pitch, length, gaps."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 24000
STEP_SECONDS = 0.02
_SILENCE = 0.01  # RMS, full scale being 1.0

Samples = npt.NDArray[np.float64]


def notes(pitches: Sequence[float], seconds: float, rate: int = RATE) -> bytes:
    """One pure tone after another, in Hz and `seconds` each, without a click between: int16 mono at `rate` Hz."""
    frequency = np.repeat(np.asarray(pitches, dtype=np.float64), round(seconds * rate))
    return _int16(0.3 * np.sin(2 * np.pi * np.cumsum(frequency) / rate))


def interleaved(*channels: bytes) -> bytes:
    """Mono recordings of one length as the channels of one."""
    return np.stack([np.frombuffer(channel, "<i2") for channel in channels], axis=1).tobytes()


def microphone_audio(events: Sequence[Mapping[str, Any]]) -> Samples:
    """What `input_audio_buffer.append` events brought, in order: 24 kHz mono, full scale being 1.0."""
    return samples(b"".join(base64.b64decode(event["audio"]) for event in events))


def samples(pcm: bytes | bytearray) -> Samples:
    """int16 mono as floats, full scale being 1.0."""
    return np.frombuffer(bytes(pcm), "<i2").astype(np.float64) / 32768


def levels(heard: Samples) -> Samples:
    """The RMS of each 20 ms."""
    size = round(STEP_SECONDS * RATE)
    whole = heard[: len(heard) // size * size].reshape(-1, size)
    return np.asarray(np.sqrt(np.mean(whole**2, axis=1)))


def sounding(heard: Samples) -> Samples:
    """From the first to the last 20 ms that are not silent."""
    loud = np.flatnonzero(levels(heard) > _SILENCE)
    if not loud.size:
        return heard[:0]
    size = round(STEP_SECONDS * RATE)
    return heard[loud[0] * size : (loud[-1] + 1) * size]


def seconds(heard: Samples) -> float:
    """How long it sounds, without the silent 20 ms in it."""
    return float(np.count_nonzero(levels(heard) > _SILENCE)) * STEP_SECONDS


def gaps(heard: Samples) -> float:
    """The share of silent 20 ms pieces."""
    return float(np.mean(levels(heard) <= _SILENCE))


def strength(heard: Samples, hertz: float) -> float:
    """The share of the energy that is within 2 % of a pitch."""
    power, frequency = _spectrum(heard)
    return float(power[np.abs(frequency - hertz) <= 0.02 * hertz].sum() / power.sum())


def pitch(heard: Samples) -> float:
    """Where in the spectrum most of the energy is, in Hz."""
    power, frequency = _spectrum(heard)
    return float(frequency[np.argmax(power)])


def whole(heard: Samples, original: Samples) -> bool:
    """Whether it sounds as long as the original, give or take 150 ms, and has no gaps of its own."""
    return abs(seconds(heard) - seconds(original)) <= 0.15 and gaps(heard) - gaps(original) < 0.05


async def take(record: Callable[[int], Awaitable[Samples]], original: Samples) -> Samples:
    """What was heard in the first of five recordings that is whole, else in the last. `record` gets its number.

    A machine that is too busy tears holes into sound now and then; a mistake does so each time.
    """
    for number in range(5):
        heard = await record(number)
        if whole(heard, original):
            break
    return heard


def melody(heard: Samples, count: int) -> list[float]:
    """The pitch of each of `count` equal parts, looked at in the middle of it."""
    parts = np.array_split(heard, count)
    return [pitch(part[len(part) // 4 : -len(part) // 4]) for part in parts]


def likeness(heard: Samples, original: Samples) -> float:
    """How well the loudness of one follows that of the other, shifted as fits best: 1.0 is perfectly.

    Loudness over 200 ms: on its way through a room, speech is stretched and shortened a little.
    """
    one, other = (np.convolve(levels(each), np.ones(10) / 10) for each in (heard, original))
    one, other = one - one.mean(), other - other.mean()
    return float(np.correlate(one, other, "full").max() / np.sqrt((one**2).sum() * (other**2).sum()))


def _spectrum(heard: Samples) -> tuple[Samples, Samples]:
    size = max(len(heard), RATE)  # zeros behind: a line for every Hz, at least
    power = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), size)) ** 2
    return power, np.fft.rfftfreq(size, 1 / RATE)


def _int16(wave: Samples) -> bytes:
    return np.rint(wave * 32767).astype("<i2").tobytes()
