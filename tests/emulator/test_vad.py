from __future__ import annotations

import numpy as np
import pytest

from livekit_plugins_openai_ga.emulator.vad import SpeechDetector, SpeechStarted, SpeechStopped, level, speech_ms
from livekit_plugins_openai_ga.emulator.voice import synthetic

SERVER = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}


def tone(milliseconds, loudness):
    time = np.arange(24 * milliseconds) / 24000
    return (loudness * np.sqrt(2) * 32767 * np.sin(2 * np.pi * 440 * time)).astype("<i2").tobytes()


def silence(milliseconds):
    return bytes(48 * milliseconds)


def test_a_burst_is_started_with_padding_and_stopped_after_the_silence():
    detector = SpeechDetector(SERVER)
    events = detector.feed(silence(1000) + tone(500, 0.1) + silence(1000))
    assert events == [SpeechStarted(700), SpeechStopped(1700)]
    assert not detector.speaking


def test_chunking_does_not_matter():
    pcm = silence(500) + synthetic("hello there") + silence(500)
    whole = SpeechDetector(SERVER).feed(pcm)
    detector = SpeechDetector(SERVER)
    pieces = [event for start in range(0, len(pcm), 334) for event in detector.feed(pcm[start : start + 334])]
    assert pieces == whole
    assert len(whole) == 2


def test_a_click_is_not_speech():
    assert SpeechDetector(SERVER).feed(silence(500) + tone(40, 0.5) + silence(500)) == []


def test_a_short_pause_does_not_end_the_turn():
    events = SpeechDetector(SERVER).feed(tone(300, 0.1) + silence(180) + tone(300, 0.1) + silence(180))
    assert [type(event) for event in events] == [SpeechStarted]


@pytest.mark.parametrize(("threshold", "heard"), [(0.1, True), (0.5, True), (0.9, False)])
def test_the_threshold_is_a_loudness(threshold, heard):
    detector = SpeechDetector({**SERVER, "threshold": threshold})
    assert bool(detector.feed(tone(300, 0.02))) is heard
    assert level(0.5) == pytest.approx(0.01)


@pytest.mark.parametrize(("eagerness", "waits_ms"), [("high", 300), ("auto", 600), ("medium", 600), ("low", 1200)])
def test_semantic_vad_waits_by_eagerness(eagerness, waits_ms):
    detector = SpeechDetector({"type": "semantic_vad", "eagerness": eagerness})
    assert detector.feed(tone(400, 0.1) + silence(3000))[1] == SpeechStopped(400 + waits_ms)


def test_positions_go_on_from_where_the_session_is():
    assert SpeechDetector(SERVER, position_ms=10_000).feed(silence(400) + tone(200, 0.1)) == [SpeechStarted(10_100)]


def test_speech_is_measured():
    assert speech_ms(silence(500)) == 0
    assert speech_ms(tone(500, 0.1) + silence(500)) == 500
