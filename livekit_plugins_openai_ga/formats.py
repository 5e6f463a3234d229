"""One table of the audio formats that a session can hear and speak: how each is named, counted, encoded and decoded.

`pcm` is what OpenAI uses by default. `pcmu` and `pcma` are G.711, the telephone's mu-law and A-law: 8 kHz, one byte for
a sample. Their tables give what the ITU's own software does (G.191: `ulaw_compress`, `alaw_compress`). So does Python's
old `audioop`, except that its mu-law takes 508 negative samples at the edge of a step for the next one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .wire.session import PCM_24K, SAMPLE_RATE

G711_RATE = 8000
"""Hz of mu-law and A-law."""

Samples = NDArray[np.int16] | NDArray[np.float32]
"""Mono, of int16 scale. Floats may have fractions and lie beyond full scale."""

# numpy would make them of numbers and names for each call.
_INT16 = np.dtype("<i2")
_LOWEST, _HIGHEST = np.array(-32768, np.float32), np.array(32767, np.float32)


def _rounded(samples: Samples) -> NDArray[np.int16] | NDArray[np.float32]:
    """Whole numbers that fit in int16; a filter's overshoot beyond full scale saturates instead of wrapping."""
    if samples.dtype.kind == "i":
        return samples
    rounded: NDArray[np.float32] = np.rint(samples)
    return rounded.clip(_LOWEST, _HIGHEST, rounded)  # `np.clip` takes twice as long


def _to_pcm(samples: Samples) -> bytes:
    return _rounded(samples).astype(_INT16).tobytes()


def _from_pcm(audio: bytes) -> bytes:
    """Half a sample at the end is left out."""
    return audio if len(audio) % 2 == 0 else audio[:-1]


def _through(table: Callable[[], NDArray[np.uint8]]) -> Callable[[Samples], bytes]:
    return lambda samples: table()[_rounded(samples).astype(np.int16, copy=False).view(np.uint16)].tobytes()


def _out_of(table: Callable[[], NDArray[np.int16]]) -> Callable[[bytes], bytes]:
    return lambda audio: table()[np.frombuffer(audio, np.uint8)].tobytes()


def _every_sample() -> NDArray[np.int32]:
    """Every int16, at the place that its bits have as uint16."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


def _magnitude(samples: NDArray[np.int32]) -> NDArray[np.int32]:
    """Below 0 it is the one's complement: -1 is as far from the middle as 0."""
    return np.where(samples < 0, ~samples, samples)


@functools.cache
def _mu_law_codes() -> NDArray[np.uint8]:
    """The code of every int16: sign, segment (3 bits), place in it (4 bits), all inverted."""
    every = _every_sample()
    biased = np.minimum((_magnitude(every) >> 2) + 33, 8191)
    segment = np.searchsorted(2 ** np.arange(6, 14) - 1, biased)
    code = segment << 4 | (biased >> (segment + 1)) & 15
    codes: NDArray[np.uint8] = (code ^ np.where(every < 0, 0x7F, 0xFF)).astype(np.uint8)
    return codes


@functools.cache
def _mu_law_samples() -> NDArray[np.int16]:
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 15) << 3) + 132 << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


@functools.cache
def _a_law_codes() -> NDArray[np.uint8]:
    """The code of every int16: as in mu-law, but every other bit is inverted, and the lowest segment is linear."""
    every = _every_sample()
    eighth = _magnitude(every) >> 3
    segment = np.searchsorted(2 ** np.arange(5, 13) - 1, eighth)
    code = segment << 4 | (eighth >> np.maximum(segment, 1)) & 15
    return (code ^ np.where(every < 0, 0x55, 0xD5)).astype(np.uint8)


@functools.cache
def _a_law_samples() -> NDArray[np.int16]:
    code = np.arange(256) ^ 0x55
    segment, place = code >> 4 & 7, (code & 15) << 4
    magnitude = np.where(segment == 0, place + 8, place + 264 << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One format.

    Attributes:
        name: What the options call it.
        wire: `audio.input.format` and `audio.output.format` on the wire.
        rate: Hz; it is always mono.
        sample_bytes: Bytes of one sample.
        encode: Samples at `rate` to bytes.
        decode: Bytes to int16 little-endian PCM at `rate`.
        beta: What the retired beta called it.
    """

    name: str
    wire: Mapping[str, Any]
    rate: int
    sample_bytes: int
    encode: Callable[[Samples], bytes] = field(repr=False)
    decode: Callable[[bytes], bytes] = field(repr=False)
    beta: str

    @property
    def bytes_per_ms(self) -> int:
        """Bytes of one millisecond."""
        return self.rate * self.sample_bytes // 1000


PCM = AudioFormat("pcm", PCM_24K, SAMPLE_RATE, 2, _to_pcm, _from_pcm, "pcm16")
PCMU = AudioFormat(
    "pcmu", {"type": "audio/pcmu"}, G711_RATE, 1, _through(_mu_law_codes), _out_of(_mu_law_samples), "g711_ulaw"
)
PCMA = AudioFormat(
    "pcma", {"type": "audio/pcma"}, G711_RATE, 1, _through(_a_law_codes), _out_of(_a_law_samples), "g711_alaw"
)
FORMATS = {form.name: form for form in (PCM, PCMU, PCMA)}
"""Every format, by name."""

_BY_WORD = {word: form for form in FORMATS.values() for word in (form.name, form.wire["type"], form.beta)}


def find(word: object) -> AudioFormat | None:
    """The format with this name, type on the wire, or name in the beta; None when there is none."""
    return _BY_WORD.get(word) if isinstance(word, str) else None
