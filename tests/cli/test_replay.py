"""The command `replay`: what it shows, what it writes, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from livekit_plugins_openai_ga import cli
from livekit_plugins_openai_ga.emulator import Script
from tests.replay.sessions import SESSIONS, record


@pytest.fixture
def call(tmp_path: Path) -> Path:
    return record(tmp_path, **SESSIONS["drop mid-reply"])[0].rename(tmp_path / "call.jsonl")


def test_a_session_that_goes_as_recorded(call, capsys):
    assert cli.main(["replay", str(call)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A realtime session with gpt-realtime-2.1, recorded ")
    assert "2 connections" in out
    assert "Audio was left out of the recording: a tone of the same length is played instead." in out
    assert "  user: How are you?\n" in out
    assert "  error close_1006\n" in out
    assert out.endswith("It went as recorded.\n")
    assert "\x1b" not in out


def test_a_session_that_goes_another_way(call, capsys):
    lines = call.read_text().splitlines()
    (told,) = [n for n, line in enumerate(lines) if '"conversation.item.create"' in line and "How are you?" in line]
    lines[told] = lines[told].replace("How are you?", "Who are you?")
    call.write_text("\n".join(lines) + "\n")
    assert cli.main(["replay", str(call)]) == 1
    out = capsys.readouterr().out
    assert "It went another way:\n" in out
    assert 'conversation.item.create (message) differs in item.content[0].text: "Who are you?" was recorded, ' in out
    assert cli.main(["replay", str(call), "--json"]) == 1
    (difference,) = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["connection"], difference["t_ms"] > 0) == (2, True)


def test_json(call, capsys):
    assert cli.main(["replay", str(call), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["as_recorded"], told["kind"], told["connections"], told["differences"]) == (True, "realtime", 2, [])
    assert "user: How are you?" in told["told"]
    assert told["asked"] == ["response.create"]


def test_a_script_is_written(call, tmp_path, capsys):
    path = tmp_path / "script.json"
    assert cli.main(["replay", str(call), "--script", str(path)]) == 0
    assert [turn.heard for turn in Script.load(path).turns] == ["How are you?", ""]
    out = capsys.readouterr().out
    assert f"livekit-openai-ga emulate --script {path}" in out
    assert "not in it: A connection ended with close_1006 after 1.5 s: --fault drop@1.5s does that." in out


def test_a_test_is_written_and_passes(call, tmp_path, capsys):
    folder = tmp_path / "tests"
    folder.mkdir()
    path = folder / "test_call.py"
    assert cli.main(["replay", str(call), "--pytest", str(path)]) == 0
    assert "it holds what was said in the session" in capsys.readouterr().out
    assert (folder / "call.jsonl").read_bytes() == call.read_bytes()
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", str(path)], capture_output=True, text=True, timeout=60)
    assert "2 passed" in done.stdout, done.stdout


def test_what_is_there_is_not_overwritten_unasked(call, tmp_path, capsys):
    path = tmp_path / "script.json"
    path.write_text("mine")
    assert cli.main(["replay", str(call), "--script", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert cli.main(["replay", str(call), "--script", str(path), "--force"]) == 0
    assert path.read_text() != "mine"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("", "is empty"),
        ("hello\n", "is no JSON object"),
        ('{"recording": 1, "at": 0.0, "kind": "realtime"}\n', "has no connection in it"),
        ('{"recording": 99}\n', "update the plugin"),
    ],
)
def test_a_file_that_cannot_be_used(content, said, tmp_path, capsys):
    path = tmp_path / "call.jsonl"
    if content is not None:
        path.write_text(content)
    assert cli.main(["replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_patience_is_a_number_of_seconds(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["replay", "call.jsonl", "--patience", seconds])
    assert ended.value.code == 2
    assert "is no number of seconds" in capsys.readouterr().err
