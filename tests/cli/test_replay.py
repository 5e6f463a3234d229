"""The command `replay`: what it shows, what it writes, and with which exit code."""

from __future__ import annotations

import ast
import json
import stat
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


def test_a_header_from_anybody_is_no_code(call, tmp_path):
    header, *rest = call.read_text().splitlines(keepends=True)
    hostile = '0.1.0 """\nraise SystemExit(7)\n"""; raise SystemExit(7)'
    call.write_text(json.dumps({**json.loads(header), "plugin": hostile}) + "\n" + "".join(rest))
    path = tmp_path / "test_call.py"
    assert cli.main(["replay", str(call), "--pytest", str(path)]) == 0
    assert not any(isinstance(node, ast.Raise) for node in ast.walk(ast.parse(path.read_bytes())))


@pytest.mark.parametrize(("option", "name"), [("--script", "script.json"), ("--pytest", "test_call.py")])
def test_what_is_written_is_for_its_owner(option, name, call, tmp_path):
    path = tmp_path / name
    assert cli.main(["replay", str(call), option, str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert cli.main(["replay", str(call), option, str(path), "--force"]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("option", ["--script", "--pytest"])
def test_what_cannot_be_written_is_named(option, call, tmp_path, capsys):
    assert cli.main(["replay", str(call), option, str(tmp_path / "gone" / "out.py")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"replay: {tmp_path / 'gone'}")
    assert str(call) not in err


def test_keys_are_not_shown(tmp_path, capsys):
    key = "sk-proj-ABCDEFGHIJKLMNOP1234567890"
    arguments = json.dumps({"token": key})
    done = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "login", "arguments": arguments}
    content = [{"type": "input_text", "text": f"my key is {key}"}]
    item = {"id": "u1", "type": "message", "role": "user", "content": content}
    events = [
        {"type": "session.update", "session": {"type": "realtime"}},
        {"type": "session.created", "session": {"id": "s1", "type": "realtime", "model": "gpt-realtime"}},
        {"type": "session.updated", "session": {"id": "s1", "type": "realtime", "model": "gpt-realtime"}},
        {"type": "conversation.item.create", "previous_item_id": "gone", "item": item},
        {"type": "conversation.item.added", "item": item},
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_item.added", "response_id": "r1", "item": {**done, "arguments": ""}},
        {"type": "response.output_item.done", "response_id": "r1", "item": done},
        {"type": "response.done", "response": {"id": "r1", "status": "completed"}},
    ]
    path = tmp_path / "taps.jsonl"
    path.write_text("".join(json.dumps({"t": 0.1 * n, **event}) + "\n" for n, event in enumerate(events)))
    assert cli.main(["replay", str(path)]) == 1
    shown = capsys.readouterr()
    assert "tool: login(" in shown.out
    assert "[redacted]" in shown.out
    assert cli.main(["replay", str(path), "--json"]) == 1
    assert key not in shown.out + shown.err + "".join(capsys.readouterr())


def test_audio_that_is_none_is_one_sentence(call, capsys):
    lines = [json.loads(line) for line in call.read_text().splitlines()]
    appends = [line for line in lines if line.get("out", {}).get("type") == "input_audio_buffer.append"]
    appends[0]["out"]["audio"] = "AAAAA"
    call.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli.main(["replay", str(call)]) == 2
    assert "input_audio_buffer.append carries audio that is no base64" in capsys.readouterr().err


@pytest.mark.parametrize("option", [[], ["--script", "out.json"]])
@pytest.mark.parametrize(
    ("direction", "event", "said"),
    [
        ("note", {"type": "failed", "code": ["x"], "sentence": ["y"]}, 'code=["x"], which is not a text'),
        ("in", {"type": "response.output_text.delta", "delta": {"chars": "abc"}}, 'chars="abc", which is not a number'),
        ("out", {"type": "session.update", "session": "x"}, 'session="x", which is not an object'),
        ("out", {"type": "session.update", "session": {"audio": "x"}}, 'session.audio="x", which is not an object'),
        ("in", {"type": ["a"]}, '"type"|type='),
        ("in", {"type": "response.output_audio.delta", "delta": {"bytes": 300_000_000}}, "left out 400,000,000 bytes"),
    ],
)
def test_an_odd_line_is_one_sentence(direction, event, said, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = [
        {"recording": 1, "at": 1_700_000_000.0, "kind": "realtime", "model": "gpt-realtime"},
        {"t": 1.0, "link": 1, "in": {"type": "session.created", "session": {"id": "s"}}},
        {"t": 2.0, "link": 1, direction: event},
        {"t": 9.0, "link": 1, "note": {"type": "closed"}},
    ]
    Path("odd.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli.main(["replay", "odd.jsonl", *option]) == 2
    err = capsys.readouterr().err
    assert err.startswith("replay: ")
    assert any(part in err for part in said.split("|"))
    assert err.count("\n") == 1
