"""G.711 telephone audio: 8 kHz, one byte per sample, mu-law (`audio/pcmu`) or A-law (`audio/pcma`).

Only what the emulator needs to hear and to speak in these formats: tables for decoding, nearest value for encoding. It
shares no line with the client's, so that each is a witness of the other.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from .voice import SAMPLE_RATE, resample

FORMATS = ("audio/pcmu", "audio/pcma")
BYTES_PER_MS = 8

_TAPS = 128  # of the filter: 24 kHz samples, in which it falls from all to nothing around 4 kHz


def decode(data: bytes, format_type: str) -> bytes:
    """G.711 bytes as 24 kHz int16 mono PCM (each sample held three times: good enough to measure loudness)."""
    samples = _table(format_type)[np.frombuffer(data, np.uint8)]
    return bytes(np.repeat(samples, 3).astype("<i2").tobytes())


def encode(pcm: bytes, format_type: str) -> bytes:
    """A whole recording, 24 kHz int16 mono PCM, as G.711 bytes. A millisecond of it is 8 bytes."""
    return nearest(resample(np.frombuffer(pcm, "<i2").astype(np.float64), SAMPLE_RATE, 8000, taps=_TAPS), format_type)


def nearest(samples: npt.NDArray[np.float64], format_type: str) -> bytes:
    """The code that is nearest to each sample, of int16 scale."""
    values, codes = _sorted_table(format_type)
    right = np.clip(np.searchsorted(values, samples), 1, len(values) - 1)
    nearest = np.where(samples - values[right - 1] < values[right] - samples, right - 1, right)
    return bytes(codes[nearest].astype(np.uint8).tobytes())


@functools.lru_cache(maxsize=2)
def _table(format_type: str) -> npt.NDArray[np.int16]:
    code = np.arange(256)
    if format_type == "audio/pcmu":
        inverted = ~code & 0xFF
        magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted & 0x70) >> 4)
        return np.where(inverted & 0x80, 0x84 - magnitude, magnitude - 0x84).astype(np.int16)
    toggled = code ^ 0x55
    exponent, mantissa = (toggled & 0x70) >> 4, (toggled & 0x0F) << 4
    magnitude = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(toggled & 0x80, magnitude, -magnitude).astype(np.int16)


@functools.lru_cache(maxsize=2)
def _sorted_table(format_type: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
    values = _table(format_type)
    order = np.argsort(values, kind="stable")
    return values[order].astype(np.float64), order
