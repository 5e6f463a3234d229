from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from livekit_plugins_openai_ga.emulator import g711
from livekit_plugins_openai_ga.emulator.vad import SpeechDetector
from livekit_plugins_openai_ga.emulator.voice import resample, speak, synthetic
from livekit_plugins_openai_ga.formats import PCMA, PCMU
from livekit_plugins_openai_ga.wire.session import VOICES

SENTENCE = "The weather in Lisbon is sunny today."
HAS_ESPEAK = importlib.util.find_spec("espeakng_loader") is not None


def samples(pcm):
    return np.frombuffer(pcm, "<i2").astype(float) / 32768


@pytest.mark.parametrize("say", [speak, synthetic])
def test_speech_is_audible_pcm_as_long_as_its_text(say):
    pcm = say(SENTENCE)
    assert len(pcm) % 2 == 0
    assert 1.0 < len(pcm) / 48000 < 6.0
    loudness = 20 * np.log10(np.sqrt(np.mean(samples(pcm) ** 2)))
    assert -30 < loudness < -10
    assert np.max(np.abs(samples(pcm))) < 0.99
    assert len(say(SENTENCE + " " + SENTENCE)) > 1.7 * len(pcm)


@pytest.mark.parametrize("say", [speak, synthetic])
def test_the_detector_hears_it(say):
    settings = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
    assert len(SpeechDetector(settings).feed(bytes(24000) + say(SENTENCE) + bytes(48000))) == 2


def test_voices_differ_and_repeat_themselves():
    spoken = {voice: speak("Hello there.", voice) for voice in VOICES}
    assert len(set(spoken.values())) == len(VOICES)
    assert synthetic("Hello.", "marin") == synthetic("Hello.", "marin") != synthetic("Hello.", "cedar")


@pytest.mark.parametrize("say", [speak, synthetic])
def test_speed_shortens(say):
    assert len(say(SENTENCE, "alloy", 1.5)) < 0.8 * len(say(SENTENCE, "alloy", 1.0))


def test_nothing_said_is_nothing():
    assert speak("  ") == b""
    assert synthetic("") == b""


@pytest.mark.skipif(not HAS_ESPEAK, reason="espeakng-loader is not installed")
def test_espeak_is_used_when_it_is_there():
    assert speak(SENTENCE) != synthetic(SENTENCE)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_resampling_keeps_pitch_length_and_level(rate):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    out = resample(tone, rate, 24000)
    assert out.size == 24000
    spectrum = np.abs(np.fft.rfft(out * np.hanning(out.size)))
    assert np.argmax(spectrum) == 1000
    assert np.max(np.abs(out[2000:-2000])) == pytest.approx(1.0, abs=0.01)
    others = np.delete(spectrum, range(990, 1011))
    assert 20 * np.log10(others.max() / spectrum.max()) < -60


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_g711_survives_a_round_trip(encoding):
    codes = bytes(range(256))
    # Mu-law has two codes for zero; the values, not the codes, must survive.
    values = g711.decode(codes, encoding)
    samples = np.frombuffer(values, "<i2")[::3].astype(np.float64)
    assert g711.decode(g711.nearest(samples, encoding), encoding) == values


@pytest.mark.parametrize(("hz", "level"), [(300, 1), (1000, 1), (3300, 1), (4500, 0), (7000, 0), (11000, 0)])
def test_a_telephone_hears_what_it_can_carry_and_nothing_of_the_rest(hz, level):
    tone = 10000 * np.sin(2 * np.pi * hz * np.arange(24000) / 24000)
    codes = g711.encode(np.round(tone).astype("<i2").tobytes(), "audio/pcmu")
    assert len(codes) == 1000 * g711.BYTES_PER_MS
    heard = np.frombuffer(g711.decode(codes, "audio/pcmu"), "<i2")[600:-600:3].astype(np.float64)
    assert np.sqrt(np.mean(heard**2)) * 2**0.5 / 10000 == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("form", [PCMU, PCMA], ids=lambda form: form.name)
def test_emulator_and_client_agree_on_every_code(form):
    encoding, codes = form.wire["type"], bytes(range(256))
    theirs, ours = (np.frombuffer(pcm, "<i2") for pcm in (g711.decode(codes, encoding), form.decode(codes)))
    assert theirs[::3].tolist() == ours.tolist()


def test_g711_known_values():
    def first(code, encoding):
        return int(np.frombuffer(g711.decode(bytes([code]), encoding), "<i2")[0])

    assert [first(code, "audio/pcmu") for code in (0x00, 0x80, 0xFF, 0x7F)] == [-32124, 32124, 0, 0]
    assert [first(code, "audio/pcma") for code in (0xD5, 0x55, 0xAA, 0x2A)] == [8, -8, 32256, -32256]
