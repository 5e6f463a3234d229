"""How the emulator speaks: text in, 24 kHz int16 mono PCM out.

The speech is espeak-ng's when the `espeakng-loader` wheel is installed (extra `emulator`), and otherwise a synthetic
vowel-like voice: nobody can follow it, but it has the length, the level and the pauses of speech, which is what voice
activity detection and playback need.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..wire.session import BYTES_PER_MS as BYTES_PER_MS
from ..wire.session import SAMPLE_RATE as SAMPLE_RATE

PEAK = 0.6

Samples = npt.NDArray[np.float64]

# espeak-ng variant and pitch (0-100) standing in for each of OpenAI's voices.
_TIMBRES: dict[str, tuple[str, int]] = {
    "alloy": ("f2", 45),
    "ash": ("m1", 35),
    "ballad": ("m4", 50),
    "coral": ("f3", 60),
    "echo": ("m2", 30),
    "sage": ("f4", 50),
    "shimmer": ("f5", 70),
    "verse": ("m3", 45),
    "marin": ("f1", 55),
    "cedar": ("m7", 25),
}
_WORDS_PER_MINUTE = 170


@functools.lru_cache(maxsize=256)
def speak(text: str, voice: str = "alloy", speed: float = 1.0) -> bytes:
    """Say `text` as 24 kHz int16 mono PCM; `speed` 0.25 to 1.5. Empty text gives no bytes. Results are cached."""
    if not text.strip():
        return b""
    engine = _espeak()
    samples = engine.say(text, voice, speed) if engine else np.empty(0)
    if not samples.size:
        samples = _hum(text, voice, speed)
    peak = float(np.max(np.abs(samples)))
    scaled = samples * (PEAK / peak) if peak else samples
    return bytes(np.round(scaled * 32767).astype("<i2").tobytes())


def synthetic(text: str, voice: str = "alloy", speed: float = 1.0) -> bytes:
    """The voice used without espeak-ng, on its own: the same PCM format, the same bytes on every machine."""
    samples = _hum(text, voice, speed)
    return bytes(np.round(samples * PEAK * 32767).astype("<i2").tobytes())


class _Espeak:
    """The espeak-ng library, which keeps global state: one instance, one caller at a time."""

    def __init__(self, library: str, data: str) -> None:
        self._lock = threading.Lock()
        self._lib = ctypes.CDLL(library)
        self._chunks: list[bytes] = []
        # Kept on self: ctypes does not hold a reference to a callback it handed to C.
        self._callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(self._collect)
        retrieval, do_not_exit = 1, 0x8000
        self._rate = self._lib.espeak_Initialize(retrieval, 0, str(Path(data).parent).encode(), do_not_exit)
        if self._rate <= 0:
            raise OSError("espeak-ng did not start")
        self._lib.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    def say(self, text: str, voice: str, speed: float) -> Samples:
        variant, pitch = _TIMBRES.get(voice, ("m1", 50))
        rate_parameter, pitch_parameter, utf8 = 1, 3, 1
        with self._lock:
            self._chunks = []
            self._lib.espeak_SetVoiceByName(f"en-us+{variant}".encode())
            self._lib.espeak_SetParameter(rate_parameter, int(_WORDS_PER_MINUTE * speed), 0)
            self._lib.espeak_SetParameter(pitch_parameter, pitch, 0)
            data = text.encode()
            self._lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, utf8, None, None)
            self._lib.espeak_Synchronize()
            pcm = b"".join(self._chunks)
        return resample(np.frombuffer(pcm, "<i2").astype(np.float64) / 32768, self._rate, SAMPLE_RATE)


@functools.lru_cache(maxsize=1)
def _espeak() -> _Espeak | None:
    try:
        import espeakng_loader

        return _Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError):
        return None


def resample(samples: Samples, rate_in: int, rate_out: int, *, taps: int = 32) -> Samples:
    """A whole recording at another rate, by a windowed sinc (polyphase, so no drift)."""
    if rate_in == rate_out or not samples.size:
        return samples
    divisor = int(np.gcd(rate_in, rate_out))
    up, down = rate_out // divisor, rate_in // divisor
    cutoff = min(1.0, up / down)
    phase = np.arange(up)[:, None] / up
    offset = np.arange(taps)[None, :] - (taps // 2 - 1) - phase
    kernel = (
        cutoff
        * np.sinc(cutoff * offset)
        * np.kaiser(2048, 8.0)[np.clip(((offset / taps + 0.5) * 2047).astype(int), 0, 2047)]
    )
    kernel /= kernel.sum(axis=1, keepdims=True)
    position = np.arange(int(np.ceil(samples.size * up / down))) * down
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, (taps // 2 - 1, taps)), taps)
    result: Samples = np.einsum("ij,ij->i", windows[position // up], kernel[position % up])
    return result


def _hum(text: str, voice: str, speed: float) -> Samples:
    """One voiced burst per syllable, formants by spelling, with the pauses of words and sentences."""
    digest = hashlib.sha256(voice.encode()).digest()
    pitch = 95 + digest[0] * 0.5
    pieces: list[Samples] = []
    for word in text.split():
        for start in range(0, len(word), 3):
            pieces.append(_syllable(word[start : start + 3], pitch, speed))
        pause = 0.15 if word[-1] in ".!?" else 0.05
        pieces.append(np.zeros(int(SAMPLE_RATE * pause / speed)))
    return np.concatenate(pieces) if pieces else np.zeros(0)


def _syllable(letters: str, pitch: float, speed: float) -> Samples:
    seconds = 0.16 / speed
    time = np.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    spelling = sum(letters.encode())
    first, second = 300 + spelling % 5 * 120, 900 + spelling % 7 * 220
    wave = np.zeros_like(time)
    for harmonic in range(1, 24):
        frequency = pitch * harmonic
        weight = sum(1 / (1 + ((frequency - formant) / 90) ** 2) for formant in (first, second))
        wave += (weight + 0.02) * np.sin(2 * np.pi * frequency * time)
    envelope = np.sin(np.pi * time / seconds) ** 0.5
    return np.asarray(wave * envelope / np.max(np.abs(wave)), dtype=np.float64)
