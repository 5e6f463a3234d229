"""Other people's clients hold a conversation with `livekit-openai-ga emulate`, each in a process of its own.

They are the programs that docs/emulate.md shows. A client that cannot is a finding about the emulator.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import SCRIPT, Serving

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "emulate.md"
LIMIT_S = 60.0
"""They take five seconds where nothing else runs."""
pytestmark = pytest.mark.timeout(120)
OURS = ["openai_sdk.py", "livekit_official.py"]
THEIRS = ["openai_agents.py", "pipecat_pipeline.py"]


@pytest.mark.parametrize(
    ("python", "node", "told"),
    [
        ("exit 0", "exit 0", ""),
        ("echo it is too old >&2; exit 1", "exit 0", "it is too old"),
        ("exit 0", "exit 1", "make clients: OpenAI's client for Node needs Node 20 or later, and npm"),
        ("exit 0", "", "make clients: OpenAI's client for Node needs Node 20 or later, and npm"),
    ],
)
def test_make_clients_says_what_it_needs(python: str, node: str, told: str, tmp_path: Path) -> None:
    scripts = {"python": python, "node": node}
    done = can_have_clients(tmp_path, **{name: script for name, script in scripts.items() if script})
    assert (done.returncode != 0, done.stderr.startswith(told)) == (bool(told), True), done.stderr


def test_make_clients_can_ask_a_real_node(tmp_path: Path) -> None:
    """What one release takes for an exit code is an error in another."""
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no Node here")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    done = can_have_clients(tmp_path, python="exit 0", node=f'exec "{node}" "$@"')
    assert (done.returncode == 0) == (int(version.lstrip("v").split(".")[0]) >= 20), done.stderr


def can_have_clients(folder: Path, **scripts: str) -> subprocess.CompletedProcess[str]:
    """`make can-have-clients` where there are npm and these programs, and no others."""
    tools = folder / "bin"
    tools.mkdir()
    for name, script in {"npm": "exit 0", **scripts}.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    make, shell = shutil.which("make"), shutil.which("sh")
    assert make
    assert shell
    (tools / "sh").symlink_to(shell)
    command = [make, "can-have-clients", f"VENV={folder}", f"SHELL={shell}"]
    return subprocess.run(command, cwd=HERE.parents[1], env={"PATH": str(tools)}, capture_output=True, text=True)


async def run(runner: str, program: Path | str, base_url: str, question: Path, **settings: str) -> list[str]:
    """Run a client to its end and return the lines it printed. `runner`: Python or Node."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.pop("PYTHONPATH", None)
    environment |= {
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        **settings,
    }
    process = await asyncio.create_subprocess_exec(
        runner,
        str(HERE / program),
        str(question),
        env=environment,
        cwd=question.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
    except asyncio.TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{program} did not end. It said:\n{out.decode()}\n{err.decode()[-3000:]}")
    assert process.returncode == 0, err.decode()[-3000:]
    return out.decode().splitlines()


def check(said: list[str], emulator: Serving) -> None:
    """Both ends tell the same conversation, and nothing was refused."""
    assert "user: What is the weather in Rome?" in said
    assert any(re.match(r"tool: get_weather .*Rome", line) for line in said)
    assert "agent: The sun shines in Rome." in said
    (sound,) = [float(line.split()[1]) for line in said if line.startswith("sound: ")]
    assert sound > 1.0
    done = emulator.events("sent", "response.done")
    assert {response["response"]["status"] for response in done} == {"completed"}
    assert emulator.events("received", "input_audio_buffer.append")
    assert emulator.events("sent", "input_audio_buffer.speech_started")
    outputs = [event["item"] for event in emulator.events("received", "conversation.item.create")]
    assert [item["type"] for item in outputs].count("function_call_output") == 1
    over = emulator.told[-1]
    assert (over["what"], over["sessions"], over["refused"], emulator.exit_code) == ("over", 1, 0, 0)


@pytest.mark.parametrize("program", OURS)
async def test_a_client_among_our_tools(program: str, emulate: Any, question: Path) -> None:
    async with emulate("--script", str(SCRIPT)) as emulator:
        said = await run(sys.executable, program, emulator.base_url, question)
    check(said, emulator)


@pytest.mark.parametrize("program", THEIRS)
async def test_a_client_with_a_home_of_its_own(program: str, emulate: Any, question: Path, their_python: str) -> None:
    async with emulate("--script", str(SCRIPT)) as emulator:
        said = await run(their_python, program, emulator.base_url, question)
    check(said, emulator)


async def test_a_client_in_another_language_that_insists_on_tls(
    emulate: Any, question: Path, their_modules: Path, certificates: dict[str, Path]
) -> None:
    program = their_modules / "openai_sdk.mjs"  # Node looks for modules beside it
    shutil.copy(HERE / program.name, program)
    certificate = str(certificates["localhost"])
    async with emulate("--script", str(SCRIPT), "--tls", certificate, certificate) as emulator:
        base_url = emulator.base_url.replace("127.0.0.1", "localhost")
        said = await run("node", program, base_url, question, NODE_EXTRA_CA_CERTS=certificate)
    check(said, emulator)


async def test_a_client_meets_a_fault(emulate: Any, question: Path) -> None:
    async with emulate("--script", str(SCRIPT), "--fault", "http:429") as emulator:
        with pytest.raises(AssertionError, match="HTTP 429"):
            await run(sys.executable, "openai_sdk.py", emulator.base_url, question)
    assert [each["fault"] for each in emulator.told if each["what"] == "fault"] == ["http:429"]
    assert emulator.exit_code == 0  # it was asked to refuse


@pytest.mark.parametrize("program", [*OURS, *THEIRS])
def test_the_page_shows_the_programs_that_run_here(program: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert (HERE / program).read_text(encoding="utf-8") in shown
