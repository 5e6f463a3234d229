"""The command line: its commands, and what it says when it is asked for none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from livekit_plugins_openai_ga import __version__, cli

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "livekit_plugins_openai_ga", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_package_can_be_run_and_lists_its_commands() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m livekit_plugins_openai_ga")
    for command in cli.COMMANDS:
        assert f"{command.name} " in done.stdout
        assert command.help in done.stdout


def test_the_exit_code_is_that_of_the_command() -> None:
    done = run("listen", "there-is-no-such-file.wav", "--out", ".")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["listen"], ["listen", "a.wav", "--mic"]])
def test_wrong_arguments_end_with_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: livekit-openai-ga")


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


def test_every_command_has_help_and_a_name_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert len({command.name for command in cli.COMMANDS}) == len(cli.COMMANDS)
    for command in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([command.name, "--help"])
        assert ended.value.code == 0
        assert command.name in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("timeline tests/docs/call.jsonl", 0),
        ("migrate tests/cli/corpus", 0),
        ("emulate --list-faults", 0),
        ("--help", 0),
    ],
)
def test_a_closed_output_is_no_traceback_and_the_exit_code_stays(arguments: str, code: int) -> None:
    command = f"'{sys.executable}' -m livekit_plugins_openai_ga {arguments}"
    for closed in (">&-", ">&- 2>&-"):
        done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    corpus = Path(__file__).parent / "corpus"
    command = [sys.executable, "-m", "livekit_plugins_openai_ga", "migrate", str(corpus)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 141)
