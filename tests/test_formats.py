"""G.711 as the telephone has it: the codes that Python's old `audioop` gave, and as little noise as there should be."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from livekit_plugins_openai_ga.formats import FORMATS, PCM, PCMA, PCMU, AudioFormat, find

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
EVERY_CODE = bytes(range(256))
G711 = [PCMU, PCMA]

# ITU-T G.711, tables 1a to 2b: an int16 at the edge of a segment, or around 0, and its code.
VECTORS = {
    "pcmu": {0: 0xFF, -1: 0x7F, 8: 0xFE, 32124: 0x80, 32767: 0x80, -32768: 0x00, 1000: 0xCE, -1000: 0x4E},
    "pcma": {0: 0xD5, -1: 0x55, 16: 0xD4, 32256: 0xAA, 32767: 0xAA, -32768: 0x2A, 1000: 0xFA, -1000: 0x7A},
}


def samples(pcm: bytes) -> NDArray[np.int16]:
    return np.frombuffer(pcm, "<i2")


@pytest.mark.parametrize("form", G711, ids=lambda form: form.name)
def test_known_codes(form: AudioFormat) -> None:
    assert {value: form.encode(np.array([value], np.int16))[0] for value in VECTORS[form.name]} == VECTORS[form.name]


@pytest.mark.parametrize(("form", "encode", "decode"), [(PCMU, "lin2ulaw", "ulaw2lin"), (PCMA, "lin2alaw", "alaw2lin")])
def test_every_sample_and_every_code_are_audioops(form: AudioFormat, encode: str, decode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="Python 3.13 has none; the others compare")
    # Its mu-law rounds negative samples down before it drops their sign, so they are compared by their mirror images.
    mirrored = np.where(EVERY_SAMPLE < 0, ~EVERY_SAMPLE, EVERY_SAMPLE).astype("<i2")
    sign = np.where(EVERY_SAMPLE < 0, 0x80, 0).astype(np.uint8)
    codes = np.frombuffer(getattr(audioop, encode)(mirrored.tobytes(), 2), np.uint8) ^ sign
    assert form.encode(EVERY_SAMPLE) == codes.tobytes()
    assert form.decode(EVERY_CODE) == getattr(audioop, decode)(EVERY_CODE, 2)


@pytest.mark.parametrize("form", G711, ids=lambda form: form.name)
def test_what_was_decoded_is_encoded_to_the_same_again(form: AudioFormat) -> None:
    heard = samples(form.decode(EVERY_CODE))
    assert np.array_equal(samples(form.decode(form.encode(heard))), heard)


@pytest.mark.parametrize("form", G711, ids=lambda form: form.name)
@pytest.mark.parametrize("level_db", [0, -10, -20, -30])
def test_noise_is_as_far_below_the_sound_as_g711_promises(form: AudioFormat, level_db: int) -> None:
    """ITU-T G.712: 33 dB at least for a tone from 0 to -30 dB; about 38 in theory."""
    t = np.arange(8000 * 4) / 8000
    sound = np.rint(32000 * 10 ** (level_db / 20) * np.sin(2 * np.pi * 1019.7 * t)).astype(np.int16)
    noise = samples(form.decode(form.encode(sound))).astype(float) - sound
    ratio = 10 * np.log10(np.mean(sound.astype(float) ** 2) / np.mean(noise**2))
    assert 35 < ratio < 42


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_fractions_are_rounded_and_what_is_too_loud_saturates(form: AudioFormat) -> None:
    loud = np.array([40000.0, -40000.0, 99.6, -0.4], np.float32)
    assert form.encode(loud) == form.encode(np.array([32767, -32768, 100, 0], np.int16))


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_a_millisecond_has_as_many_bytes_as_are_counted(form: AudioFormat) -> None:
    assert len(form.encode(np.zeros(form.rate, np.int16))) == 1000 * form.bytes_per_ms


def test_no_audio_is_no_audio() -> None:
    assert [(form.encode(np.zeros(0, np.int16)), form.decode(b"")) for form in FORMATS.values()] == [(b"", b"")] * 3


def test_pcm_is_left_as_it_is() -> None:
    assert PCM.decode(b"\x01\x00\xff") == b"\x01\x00"
    assert PCM.encode(np.array([1, -2], np.int16)) == b"\x01\x00\xfe\xff"


@pytest.mark.parametrize(
    ("word", "form"),
    [("pcm", PCM), ("audio/pcm", PCM), ("pcm16", PCM), ("audio/pcmu", PCMU), ("g711_ulaw", PCMU), ("g711_alaw", PCMA)],
)
def test_a_format_is_found_by_each_of_its_names(word: str, form: AudioFormat) -> None:
    assert find(word) is form
    assert (find("opus"), find(None), find([])) == (None, None, None)
