"""How a process of ours ends while LiveKit's native library still talks to Python."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

ENDING = "livekit_plugins_openai_ga.devtools.ending"

HELD_UP = """
    import atexit, logging, os, sys, time, types

    # LiveKit's library logs a line when it is loaded. Its thread is kept inside of that until the interpreter is being
    # taken down, which waits a moment then, for the thread to find out.
    os.environ["LIVEKIT_RTC_DEBUG"] = "1"
    taken_down = []

    class Last:
        def __del__(self, sleep=time.sleep, taken_down=taken_down):
            taken_down.append(True)
            sleep(0.5)

    def keep(record, sleep=time.sleep, taken_down=taken_down):
        while not taken_down:
            sleep(0.01)

    sys.modules["last"] = module = types.ModuleType("last")
    module.last = Last()
    del module
    logger = logging.getLogger("livekit")
    logger.setLevel(logging.DEBUG)
    logger.addFilter(keep)

    from livekit import rtc

    resampler = rtc.AudioResampler(48_000, 24_000)
    atexit.register(os.write, 2, b"registered\\n")
    print("written", end=" ")
"""


def ended_by(statement: str) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(HELD_UP) + statement
    # What is written waits for the end then, whatever the tests run with.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run([sys.executable, "-c", program], env=buffered, capture_output=True, text=True, timeout=60)


def test_the_exit_code_is_ours_although_a_native_thread_is_in_python() -> None:
    done = ended_by(f"from {ENDING} import end; end(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "written ", "registered\n")


@pytest.mark.parametrize(
    "gone",
    [
        pytest.param("sys.stdout = None", id="closed by the caller"),
        pytest.param("reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)", id="its reader has left"),
    ],
)
def test_an_output_that_is_gone_changes_nothing(gone: str) -> None:
    done = ended_by(f"{gone}; from {ENDING} import end; end(3)")
    assert (done.returncode, done.stderr) == (3, "registered\n")


SCRIPT = "from importlib.metadata import entry_points as all; [one] = all(name='livekit-openai-ga'); one.load()()"
MODULE = "import runpy; runpy.run_module('livekit_plugins_openai_ga{}', run_name='__main__')"


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        pytest.param(["listen", "no-such.wav"], SCRIPT, id="the installed command"),
        pytest.param(["listen", "no-such.wav"], MODULE.format(""), id="python -m"),
        pytest.param(["--wav", "no-such.wav"], MODULE.format(".devtools.demo"), id="make demo"),
        pytest.param(["--wav", "no-such.wav"], MODULE.format(".devtools.room"), id="make room"),
    ],
)
def test_a_command_ends_so(arguments: list[str], begin: str) -> None:
    done = ended_by(f"sys.argv[1:] = {arguments}; {begin}")
    assert (done.returncode, done.stdout) == (2, "written ")
    refused, registered = done.stderr.splitlines()
    assert "no-such.wav" in refused
    assert registered == "registered"
