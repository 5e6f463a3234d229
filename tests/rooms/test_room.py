"""`make room` as its user runs it: a worker, a caller, a WAV file and a timeline; or a person in the caller's place."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from livekit_plugins_openai_ga.devtools import room
from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.played_call import BUNDLED_SCRIPT
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.devtools.wav import read_wav

ROOT = Path(__file__).parents[2]
AGENT = str(ROOT / "examples" / "agent.py")
COMMAND = [sys.executable, "-m", "livekit_plugins_openai_ga.devtools.room"]


@pytest.mark.timeout(180)
def test_a_call_in_a_room_gives_the_demos_timeline_and_a_recording(livekit: LiveKitServer, tmp_path: Path) -> None:
    out = tmp_path / "call.wav"
    arguments = [*COMMAND, "--agent", AGENT, "--out", str(out)]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = re.sub(r"\n {20,}", " ", done.stdout)
    said = [text for turn in BUNDLED_SCRIPT for text in (turn.heard, turn.say) if text]
    interrupted = next(turn.say for turn in BUNDLED_SCRIPT if turn.say.startswith("Right now"))
    places = [listed.find(text if text != interrupted else "Right now it is") for text in said]
    assert -1 not in places
    assert places == sorted(places)
    assert interrupted not in listed
    assert listed.count("[interrupted]") == 1
    assert 'get_weather({"city": "Lisbon"}) -> It is sunny in Lisbon.' in listed
    assert "Interruptions: 1. Tool calls: 1." in listed
    samples, rate = read_wav(out)
    for start, end, lane in re.findall(r"^([\d.]+)-([\d.]+) s +(caller|agent) ", listed, re.MULTILINE):
        side = samples[int(float(start) * rate) : int(float(end) * rate), ("caller", "agent").index(lane)]
        assert np.abs(side.astype(int)).max() > 2000, (start, end, lane)


class Open:
    """`make room OPEN=1`, and what it has told a person."""

    def __init__(self, folder: Path) -> None:
        arguments = [*COMMAND, "--agent", AGENT, "--open"]
        self.process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder
        )
        self.told: dict[str, str] = {}

    def invitation(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, value = line.strip().partition("  ")
            self.told[name] = value.strip()
            if line.startswith("In a browser"):
                assert self.told["Token"] in line
                return
        raise AssertionError("nobody was invited")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def opened(livekit: LiveKitServer, tmp_path: Path) -> Iterator[Open]:
    made = Open(tmp_path)
    yield made
    made.process.terminate()
    made.process.wait(40)


@pytest.mark.timeout(180)
async def test_a_person_can_join_an_open_room_and_is_greeted(opened: Open) -> None:
    await asyncio.to_thread(opened.invitation)
    async with RoomCaller.join(opened.told["URL"], opened.told["Token"]) as person:
        await person.until(lambda: _said(person), timeout=60)
    opened.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(opened.process.wait, 40) == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("begun", [False, True])
def test_whoever_ends_it_leaves_no_process_behind(opened: Open, begun: bool) -> None:
    if begun:
        opened.invitation()
        assert len(opened.children()) >= 2  # the LiveKit server and the worker
    while not (left := opened.children()):
        time.sleep(0.02)  # nothing tells when a process has a child
    opened.process.terminate()
    assert opened.process.wait(40) == (0 if begun else 130)
    assert not psutil.wait_procs(left, timeout=10)[1]


def _said(person: RoomCaller) -> bool:
    return any(caption.final and caption.text == BUNDLED_SCRIPT[0].say for caption in person.captions.values())


def test_a_worker_that_ends_is_told_with_its_own_words(livekit: LiveKitServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('no such voice')\n")
    arguments = [*COMMAND, "--agent", str(broken), "--out", str(tmp_path / "call.wav")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert "The worker ended by itself (exit code 1):\nno such voice" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "call.wav").exists()


def test_what_is_missing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    assert room.main(["--agent", AGENT]) == 2
    assert capsys.readouterr().err == "There is no livekit-server here: `make livekit-server` installs it.\n"
    program = tmp_path / "livekit-server"
    program.touch(mode=0o755)
    assert room.main(["--agent", "nowhere.py"]) == 2
    assert capsys.readouterr().err == "--agent nowhere.py is not there: name the file of a LiveKit worker.\n"
