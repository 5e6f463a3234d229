"""`make room` as its user runs it: a worker, a caller, a WAV file and a timeline; or a person in the caller's place."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
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


@pytest.fixture
def opened(livekit: LiveKitServer, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [*COMMAND, "--agent", AGENT, "--open"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    yield process
    process.kill()
    process.wait()


async def test_a_person_can_join_an_open_room_and_is_greeted(opened: subprocess.Popen[str]) -> None:
    assert opened.stdout is not None
    told: dict[str, str] = {}
    for line in opened.stdout:
        name, _, value = line.strip().partition("  ")
        told[name] = value.strip()
        if line.startswith("In a browser"):
            assert told["Token"] in line
            break
    async with RoomCaller.join(told["URL"], told["Token"]) as person:
        await person.until(lambda: _said(person))
    opened.send_signal(signal.SIGINT)
    assert opened.wait(30) == 0


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
