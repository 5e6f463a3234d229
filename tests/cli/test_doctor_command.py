"""`livekit-openai-ga doctor` as a user meets it: on a terminal, in a pipe, as JSON, with settings of no use."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import struct
import sys
from pathlib import Path

import pytest

from livekit_plugins_openai_ga.cli import doctor_steps as steps
from livekit_plugins_openai_ga.cli import main
from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator import faults as f
from livekit_plugins_openai_ga.emulator.voice import synthetic

ROOT = Path(__file__).parents[2]
KEY = "sk-proj-" + "Ab1" * 14
STEP = re.compile(r"(ok|warning|failed|skipped) +([a-z]+) +(?:([\d,]+) ms)?")


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    for name in ("OPENAI_BASE_URL", "NO_COLOR", "AZURE_OPENAI_ENDPOINT"):
        kept.pop(name, None)
    return {**kept, "OPENAI_API_KEY": KEY, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "livekit_plugins_openai_ga", "doctor", *arguments]


async def piped(*arguments: str, **more: str) -> tuple[int, str, str]:
    running = await asyncio.create_subprocess_exec(
        *command(*arguments),
        env=environment(**more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await running.communicate()
    return running.returncode or 0, out.decode(), err.decode()


async def on_a_terminal(*arguments: str, columns: int = 80, **more: str) -> tuple[int, str]:
    ours, theirs = pty.openpty()
    import fcntl
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    running = await asyncio.create_subprocess_exec(
        *command(*arguments), env=environment(**more), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
    code = await running.wait()
    text = await reading
    os.close(ours)
    return code, text.replace("\r\n", "\n")


def _read_all(descriptor: int) -> str:
    found = b""
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        found += part
    return found.decode()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def emulator(*faults: f.Fault) -> Emulator:
    return Emulator(knobs=Knobs(speak=synthetic), faults=faults)


async def test_on_a_terminal_there_is_a_coloured_line_for_each_step() -> None:
    async with emulator() as server:
        code, text = await on_a_terminal("--base-url", server.base_url)
    assert code == 0
    assert "\x1b[32mok" in text
    lines = [found for line in plain(text).splitlines() if (found := STEP.match(line))]
    assert [found[2] for found in lines] == [step.name for step in steps.steps_of("conversation")]
    assert all(found[3] for found in lines)
    assert plain(text).endswith("\nAll is well.\n")


async def test_a_failure_stands_out_and_its_lines_fit_the_terminal() -> None:
    async with emulator(
        f.RejectHandshake("invalid_model", 'Model "x" is not supported in realtime mode. ' * 3)
    ) as server:
        code, text = await on_a_terminal("--base-url", server.base_url, columns=80)
    assert code == 1
    assert "\x1b[31;1mfailed" in text
    assert max(map(len, plain(text).splitlines())) <= 80
    assert "-> Set `model`" in plain(text)
    assert plain(text).splitlines()[-1] == "1 failed, first `session`: begin there."


async def test_in_a_pipe_there_are_no_colours_and_a_step_is_a_line() -> None:
    async with emulator(f.RejectHandshake()) as server:
        code, out, err = await piped("--base-url", server.base_url)
    assert (code, err) == (1, "")
    assert "\x1b" not in out
    assert len([line for line in out.splitlines() if STEP.match(line)]) == len(steps.steps_of("conversation"))


async def test_json_has_stable_keys_and_nothing_else_is_written() -> None:
    async with emulator() as server:
        code, out, err = await piped("--base-url", server.base_url, "--json", "--stt")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert list(told) == ["version", "session", "model", "address", "ok", "steps"]
    assert told["ok"] is True
    for step in told["steps"]:
        assert list(step) == ["name", "status", "ms", "summary", "remedy", "code", "details"]
    assert [step["name"] for step in told["steps"]] == [step.name for step in steps.steps_of(told["session"])]


async def test_a_server_that_quotes_the_key_does_not_get_it_shown() -> None:
    quoted = f"Incorrect API key provided: {KEY}. Authorization: Bearer {KEY}"
    async with emulator(f.RejectHandshake("invalid_api_key", quoted, 3000, times=2)) as server:
        for arguments in (["--json"], []):
            code, out, err = await piped("--base-url", server.base_url, *arguments)
            assert code == 1
            assert KEY not in out + err


async def test_a_deprecated_model_is_a_warning_on_the_screen_only_once() -> None:
    async with emulator() as server:
        code, out, err = await piped("--base-url", server.base_url, "--model", "gpt-realtime")
    assert (code, err) == (0, "")
    assert out.count("2027-01-20") == 1
    assert out.splitlines()[-1] == "It works, with 1 warning."


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--base-url", "http://example.com/v1"], "base_url"),
        (["--base-url", "example.com"], "base_url"),
        (["--azure"], "--model"),
        (["--azure", "--model", "x"], "azure_endpoint"),
        (["--azure", "--model", "x", "--translate"], "--translate"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_named_in_one_sentence(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    assert main(["doctor", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert named in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["--stt", "--translate"], ["--timeout", "soon"], ["--timeout", "0"], ["--timeout", "nan"], ["extra"]]
)
def test_wrong_arguments_end_with_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: ")
