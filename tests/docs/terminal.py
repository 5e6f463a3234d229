"""A terminal for the commands of the pages: bash, in a folder made for it, with the emulator where OpenAI would be.

What cannot run in a test is replaced, by the tables of this module, with the nearest thing that can; each says why.
What serves until Ctrl-C runs on behind the lines that follow, and gets its Ctrl-C at the end of the block.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import wave
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from livekit_plugins_openai_ga.emulator import Emulator, speak

from .blocks import ROOT, Block, blocks

# (a command, what runs in its place, why)
INSTEAD = (
    (r"(python \S+\.py) (dev|start|connect)\b.*", r"\1 \2 --help", "a worker needs a LiveKit server: tests/rooms"),
    (r"(python -m livekit_plugins_openai_ga|livekit-openai-ga) (listen --mic\b.*)", r"parse \2", "needs a microphone"),
    (r"<this repository>", "the-project", "where it is cloned from is not known here"),
    (
        r"https://gateway\.example/v1 --model my-alias",
        "$OPENAI_BASE_URL --model gpt-realtime-2.1",
        "there is no such host",
    ),
)
# Commands whose work is done by tests/docs/stand_ins.py, which says what it looks at and why.
STAND_INS = ("git", "lk", "make", "parse", "pip")
# (what serves until Ctrl-C, the port it has when none is named or None, what it prints when it is there)
SERVERS = (
    (r"livekit_plugins_openai_ga\.emulator\b.* --ring\b", 8765, "came in and is live"),
    (r"(livekit_plugins_openai_ga\.emulator|ga emulate)\b(?!.*--list)", 8765, "OPENAI_BASE_URL="),
    (r"\bpython examples/browser/server\.py", 8080, "Open http://"),
    (r"\bpython server\.py", None, "Running on"),
)
PORTS = ("8000", "8080", "8765")
_PATIENCE = 60.0


def free_ports(count: int) -> list[str]:
    """As many that nobody listens on right now."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in taken]


def put_files(page: str, folder: Path, changed: Callable[[str], str] = str) -> None:
    """Put the files that the page shows into the folder."""
    for block in blocks(page):
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_text(changed(block.code), encoding="utf-8")


class Terminal:
    """Runs the commands of one block. Raises AssertionError, with the output, for one that ends as it should not."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._environment = dict(environment)
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._before: list[str] = []
        self._running: dict[int | None, asyncio.subprocess.Process] = {}

    async def run(self, block: Block) -> str:
        """All lines of the block, one after the other; returns what they printed."""
        put_files(block.page, self.folder, self._with_ports)
        printed = ""
        try:
            for line in re.sub(r"\\\n\s*", "", block.code).splitlines():
                if line.strip() and not line.startswith("#"):
                    printed += await self._line(line, block)
        finally:
            ended = [await self._interrupt(port) for port in list(self._running)]
        assert all(code in (0, 130, -signal.SIGINT) for code in ended), f"{block}: Ctrl-C was answered with {ended}"
        return printed

    async def _interrupt(self, port: int | None) -> int:
        """Ctrl-C for what serves on this port; returns its exit code, 0 when there is nothing."""
        process = self._running.pop(port, None)
        if process is None:
            return 0
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGINT)
        return await asyncio.wait_for(process.wait(), _PATIENCE)

    def _with_ports(self, text: str) -> str:
        """Others may listen on the ports that the pages name."""
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: self._ports[found[1]], text)

    async def _line(self, line: str, block: Block) -> str:
        command = line
        for shown, run, _ in INSTEAD:
            command = re.sub(shown, run, command)
        server = next((each for each in SERVERS if re.search(each[0], command)), None)
        if server and server[1] and "--port" not in command:
            command = f"{command.partition('  #')[0]} --port {server[1]}"
        command = self._with_ports(command)
        if server:
            await self._interrupt(server[1])  # the line is one way to do it, and the one before it was another
        if re.match(r"(export|cd) ", command):
            self._before.append(command)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", "\n".join([*self._before, command])),
            cwd=self.folder,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout
        if server:
            self._running[server[1]] = process
            printed = ""
            while server[2] not in printed:
                got = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
                assert got, f"{block}: {line}\nended before it printed {server[2]!r}:\n{printed}"
                printed += got.decode()
            return printed
        try:
            out, _ = await asyncio.wait_for(process.communicate(), _PATIENCE)
        except asyncio.TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"{block}: {line}\ndid not end within {_PATIENCE:.0f} s") from None
        assert process.returncode == 0, f"{block}: {line}\nended with {process.returncode}:\n{out.decode()}"
        return out.decode()


def furnished(folder: Path, server: Emulator) -> dict[str, str]:
    """Put into the folder what the pages' commands find there; returns the environment they run in."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "agent.py").symlink_to(ROOT / "examples" / "agent.py")
    (folder / "call.jsonl").symlink_to(Path(__file__).with_name("call.jsonl"))
    for name in ("talk.wav", "my.wav"):
        with wave.open(str(folder / name), "wb") as file:
            file.setparams((1, 2, 24000, 0, "NONE", ""))
            file.writeframes(speak("Good morning.", "alloy", 1.5))
    programs = folder / "bin"
    programs.mkdir()
    stand_ins = Path(__file__).with_name("stand_ins.py")
    wrappers = {
        "python": f'exec "{sys.executable}" "$@"',
        "pytest": f'exec "{sys.executable}" -m pytest "$@"',
        "livekit-openai-ga": f'exec "{sys.executable}" -m livekit_plugins_openai_ga "$@"',
        **{name: f'exec "{sys.executable}" "{stand_ins}" {name} "$@"' for name in STAND_INS},
    }
    for name, does in wrappers.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not re.search("_proxy$|^OPENAI|^AZURE", name, re.I)}
    return {
        **kept,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(folder),
        "OPENAI_API_KEY": "sk-proj-" + "Ab1" * 14,
        "OPENAI_BASE_URL": server.base_url,
        "AZURE_OPENAI_API_KEY": "0123456789abcdef" * 2,
        "AZURE_OPENAI_ENDPOINT": server.azure_endpoint,
    }
