"""The bundled caller says what its text file promises, when it promises."""

from __future__ import annotations

import re

import numpy as np
from livekit import rtc

from livekit_plugins_openai_ga.audio import SAMPLE_RATE, InputAudio
from livekit_plugins_openai_ga.devtools.played_call import CALLER
from livekit_plugins_openai_ga.devtools.wav import read_wav

TIMES = [
    (float(start), float(end))
    for start, end in re.findall(r"^([\d.]+)-([\d.]+) s", CALLER.with_suffix(".txt").read_text(), re.MULTILINE)
]


def test_speech_is_where_the_text_says_and_silence_elsewhere() -> None:
    samples, rate = read_wav(CALLER)
    assert samples.shape[1] == 1
    assert len(TIMES) == 4
    silent = np.ones(len(samples), dtype=bool)
    for start, end in TIMES:
        said = samples[round(start * rate) : round(end * rate)].astype(float)
        assert np.sqrt((said**2).mean()) > 1000
        silent[round((start - 0.01) * rate) : round((end + 0.01) * rate)] = False
    assert not samples[silent].any()
    assert len(samples) / rate - TIMES[-1][1] > 2.5


def test_no_pause_inside_a_sentence_ends_the_turn() -> None:
    """Server VAD takes 500 ms of silence as the end of a turn."""
    samples, rate = read_wav(CALLER)
    for start, end in TIMES:
        said = samples[round(start * rate) : round(end * rate), 0].astype(float)
        blocks = said[: len(said) // (rate // 50) * (rate // 50)].reshape(-1, rate // 50)
        loud = np.flatnonzero(np.sqrt((blocks**2).mean(axis=1)) > 300)
        assert np.diff(loud).max() * 0.02 < 0.35


def test_a_session_takes_it_whole() -> None:
    samples, rate = read_wav(CALLER)
    audio, sent = InputAudio(), 0
    for at in range(0, len(samples), rate // 50):
        part = samples[at : at + rate // 50]
        sent += sum(map(len, audio.push(rtc.AudioFrame(part.tobytes(), rate, 1, len(part)))))
    sent += sum(map(len, audio.flush()))
    assert sent == 2 * len(samples) * SAMPLE_RATE // rate
