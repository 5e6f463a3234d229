"""`emulate` in a process of its own, and clients in others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from livekit_plugins_openai_ga.emulator.voice import synthetic

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "scripts" / "agent.json"


class Serving:
    """The emulator while it runs, and what it told, once it has ended."""

    def __init__(self, process: asyncio.subprocess.Process, base_url: str) -> None:
        self._process = process
        self.base_url = base_url
        self.told: list[dict[str, Any]] = []
        self.exit_code: int | None = None

    async def end(self) -> None:
        """As Ctrl-C does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        out, _ = await self._process.communicate()
        self.told = [json.loads(line) for line in out.splitlines()]
        self.exit_code = self._process.returncode

    def events(self, what: str, event_type: str) -> list[dict[str, Any]]:
        """The events of a type that were `received` or `sent`."""
        return [each["event"] for each in self.told if each["what"] == what and each["event"].get("type") == event_type]


Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture
def emulate() -> Serve:
    """Start it on any port with these arguments; it ends with the block."""

    @contextlib.asynccontextmanager
    async def serve(*arguments: str) -> AsyncIterator[Serving]:
        command = [sys.executable, "-m", "livekit_plugins_openai_ga", "emulate", "--port", "0", "--json", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=asyncio.subprocess.PIPE, limit=2**24
        )
        assert process.stdout is not None
        serving = Serving(process, json.loads(await process.stdout.readline())["base_url"])
        try:
            yield serving
        finally:
            await serving.end()

    return serve


@pytest.fixture(scope="session")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody says something: 24 kHz, mono, 16 bit."""
    path = tmp_path_factory.mktemp("clients") / "question.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(24000)
        sound.writeframes(synthetic("What is the weather in Rome?"))
    return path


def _home(path: Path, missing: str) -> Path:
    """$CLIENTS, else where `make clients` puts it."""
    home = Path(os.environ.get("CLIENTS", ROOT / ".venv" / "clients"))
    if not (home / path).exists():
        if os.environ.get("CLIENT_TESTS") == "required":
            pytest.fail(f"{missing}, and CLIENT_TESTS=required asks for it: run `make clients`")
        pytest.skip(f"{missing}: run `make clients`, or set CLIENTS to a folder that it made")
    return home / path


@pytest.fixture(scope="session")
def their_python() -> str:
    """The Python that has the clients whose requirements clash with ours."""
    return str(_home(Path("bin", "python"), "openai-agents and pipecat are not installed"))


@pytest.fixture(scope="session")
def their_modules() -> Path:
    """The folder in which Node finds its client."""
    return _home(Path("js", "node_modules"), "the client for Node is not installed").parent
