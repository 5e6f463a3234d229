"""The demo as its user runs it: a call, a WAV file, a printed timeline, and sentences instead of tracebacks."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from livekit_plugins_openai_ga.devtools import demo, long_line, played_call
from livekit_plugins_openai_ga.devtools.wav import read_wav
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, speak

RATE = 24000
SPOKEN = re.compile(r"^([\d.]+)-([\d.]+) s +(caller|agent) +(.*)$")


@dataclass
class Speech:
    start: float
    end: float
    lane: str
    text: str


def speeches(printed: str) -> list[Speech]:
    """The timeline's spoken entries, with their continuation lines."""
    found: list[Speech] = []
    for line in printed.splitlines():
        if match := SPOKEN.match(line):
            start, end, lane, text = match.groups()
            found.append(Speech(float(start), float(end), lane, text))
        elif found and line.startswith(" " * 25):
            found[-1].text += " " + line.strip()
    return found


def write_wav(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)


def silence(seconds: float) -> bytes:
    return bytes(2 * round(RATE * seconds))


def loudness(samples: np.ndarray) -> float:
    return float(np.sqrt((samples.astype(float) ** 2).mean())) if len(samples) else 0.0


def test_a_call_is_heard_where_its_timeline_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, out = tmp_path / "mine.wav", tmp_path / "call.wav"
    # The pause lets the second sentence fall into the answer to the first.
    write_wav(caller, speak("How is the weather?", "ash", 1.0) + silence(5.5) + speak("Stop, please.", "ash", 1.0))
    monkeypatch.setenv("COLUMNS", "100")
    assert demo.main(["--wav", str(caller), "--out", str(out)]) == 0
    printed, complaints = capsys.readouterr()
    assert complaints == ""
    samples, rate = read_wav(out)
    assert rate == RATE
    heard = speeches(printed)
    assert [speech.lane for speech in heard] == ["agent", "caller", "agent", "agent", "caller", "agent"]
    for side, lane in enumerate(("caller", "agent")):
        quiet = np.ones(len(samples), dtype=bool)
        for speech in heard:
            if speech.lane == lane:
                said = samples[round(speech.start * RATE) : round(speech.end * RATE), side]
                assert loudness(said) > 1000, speech
                # The timeline is rounded to a tenth of a second.
                quiet[round((speech.start - 0.06) * RATE) : round((speech.end + 0.06) * RATE)] = False
        assert loudness(samples[quiet, side]) < 100

    answer, interruption, last = heard[3:]
    assert "interrupted" in answer.text
    # A fifth of a second on a quiet machine. Not interrupted, it would go on for nine seconds more.
    assert answer.start + 1 < interruption.start <= answer.end < interruption.start + 1
    assert last.start > interruption.end
    assert "get_weather" in printed
    assert "Interruptions: 1. Tool calls: 1." in printed
    told = re.search(r"(\d+) ms prewarmed, (\d+) ms dialled in the same run: (\d+) ms saved", printed)
    assert told is not None
    prewarmed, dialled, saved = map(int, told.groups())
    trips = demo.ROUND_TRIP * 1000 * (long_line.HANDSHAKE_TRIPS + 2)  # the upgrade, and the configuration
    assert prewarmed < trips <= dialled
    assert abs(dialled - prewarmed - saved) <= 1
    assert re.search(r"Tokens: [\d,]+ audio in", printed)
    assert re.search(r"Cost: \$0\.\d+", printed)


def test_the_bundled_caller_interrupts_once_and_nothing_else_collides() -> None:
    text = played_call.CALLER.with_suffix(".txt").read_text()
    said = [(float(a), float(b), what) for a, b, what in re.findall(r"^([\d.]+)-([\d.]+) s  (.*)$", text, re.MULTILINE)]
    assert [turn.heard for turn in played_call.BUNDLED_SCRIPT if turn.heard] == [what for _, _, what in said]

    replies: list[float] = []  # how long the agent speaks after each sentence of the caller
    for turn in played_call.BUNDLED_SCRIPT[1:]:
        spoken = sum(len(speak(text, played_call.VOICE, 1.0)) / 2 / RATE for text in turn.texts)
        length = played_call.REPLY_LATENCY + spoken
        if turn.heard:
            replies.append(demo.TURN_DETECTION["silence_duration_ms"] / 1000 + length)
        else:
            replies[-1] += length
    begins = [start for start, _, _ in said]
    ends = [end + reply for (_, end, _), reply in zip(said, replies, strict=True)]
    assert ends[0] < begins[1] - 0.3
    assert ends[2] < begins[3] - 0.3
    long_answer = len(speak(played_call.BUNDLED_SCRIPT[3].say, played_call.VOICE, 1.0)) / 2 / RATE
    assert 2.0 < begins[2] - (ends[1] - long_answer) < 4.0
    assert begins[2] < ends[1] - 3.0


class TestWithoutACall:
    """What is wrong with the arguments is said in one sentence, before anything is played."""

    def complaint(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
        assert demo.main(arguments) == 2
        printed, complaint = capsys.readouterr()
        assert printed == ""
        assert complaint.count("\n") == 1
        return complaint

    def test_a_file_that_is_no_wav(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        path = tmp_path / "song.mp3"
        path.write_bytes(b"ID3" + b"x" * 99)
        assert "song.mp3 is not a 16-bit PCM WAV file" in self.complaint(capsys, "--wav", str(path))

    def test_a_file_that_is_not_there(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert "cannot be read: No such file" in self.complaint(capsys, "--wav", str(tmp_path / "none.wav"))

    def test_live_without_a_key(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert "OPENAI_API_KEY is not set" in self.complaint(capsys, "--live")

    def test_a_place_that_cannot_be_written(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert "cannot be written" in self.complaint(capsys, "--out", str(tmp_path / "none" / "call.wav"))
        assert "cannot be written" in self.complaint(capsys, "--out", str(tmp_path))


class TestLive:
    """`--live` against an emulator that stands in for OpenAI, in a process of its own."""

    async def start(self, server: Emulator, out: Path) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "livekit_plugins_openai_ga.devtools.demo", "--live", "--out", str(out)),
            env={**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-secret-key"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def test_ctrl_c_hangs_up_and_prints_what_there_was(self, tmp_path: Path) -> None:
        out = tmp_path / "call.wav"
        async with Emulator(Script(played_call.BUNDLED_SCRIPT)) as server:
            process = await self.start(server, out)
            await server.wait_sent("response.done", timeout=30)
            await server.wait_received("input_audio_buffer.append", count=40, timeout=30)
            process.send_signal(signal.SIGINT)
            printed, complaints = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 130
        assert complaints == b""
        assert [speech.lane for speech in speeches(printed.decode())][:1] == ["agent"]
        assert "session  closed" in printed.decode()
        assert loudness(read_wav(out)[0][:, 1]) > 100

    async def test_a_refused_key_is_one_failure_with_its_reason(self, tmp_path: Path) -> None:
        async with Emulator(Script(), knobs=Knobs(api_keys=frozenset({"sk-good"}))) as server:
            process = await self.start(server, tmp_path / "call.wav")
            printed, complaints = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1
        assert b"ended by an error" in printed
        assert b"The call failed: invalid_api_key" in complaints
        assert b"Traceback" not in complaints
        assert b"sk-secret-key" not in printed + complaints
