"""A worker in processes of its own, started as a user starts it: `python agent.py dev|start|connect`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer

_START_SECONDS = 40.0
_READY = {"connect": "starting worker"}


class Worker:
    """The worker's main process, which has the jobs' processes below it, and what all of them have logged."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self.log: list[str] = []
        self._process = process
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def until_logged(self, text: str, *, count: int = 1, timeout: float = 20.0) -> None:
        """Wait for the `count`-th line with this text. Raises TimeoutError, and RuntimeError when the log has ended."""

        async def wait() -> None:
            while len([line for line in self.log if text in line]) < count:
                if self._reading.done():
                    raise RuntimeError(f"The worker never said {text!r}, but: {' | '.join(self.log[-5:])}")
                self._news.clear()
                await self._news.wait()

        await asyncio.wait_for(wait(), timeout)

    def terminate(self) -> None:
        """SIGTERM: finish the calls, take no more, end. `exited` tells the exit code."""
        self._process.terminate()

    async def exited(self, *, timeout: float = 30.0) -> int:
        """Wait until the main process has ended; its exit code. Raises TimeoutError."""
        return await asyncio.wait_for(self._process.wait(), timeout)

    async def stop(self, *, timeout: float = 30.0) -> int:
        """`terminate` and `exited`."""
        self.terminate()
        return await self.exited(timeout=timeout)

    async def kill(self) -> None:
        """SIGKILL for the main process alone: what becomes of its jobs is LiveKit's affair."""
        self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Leave no process behind, whatever happened."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        await self._reading
        print(*self.log, sep="\n")  # pytest shows it with a test that fails

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.log.append(line.decode(errors="replace").rstrip())
            self._news.set()
        self._news.set()


def environment(livekit: LiveKitServer, base_url: str) -> dict[str, str]:
    """What a user sets to run an example against a LiveKit server and an emulator."""
    return {**livekit.environment, "OPENAI_BASE_URL": base_url}


@contextlib.asynccontextmanager
async def running(
    *command: str | Path, environment: Mapping[str, str], ready: str = "registered worker"
) -> AsyncIterator[Worker]:
    """`python <command>` from when it has logged `ready` to the end of the block, which leaves none of its processes.

    Nothing that this machine has set for LiveKit or OpenAI reaches it, only `environment`.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "OPENAI_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**own, **environment},
        stdout=PIPE,
        stderr=STDOUT,
        limit=2**20,  # a line of the log may hold a traceback
        start_new_session=True,  # a process group of its own, which `end` kills
    )
    worker = Worker(process)
    try:
        await worker.until_logged(ready, timeout=_START_SECONDS)
        yield worker
    finally:
        await worker.end()


def running_worker(
    script: Path, mode: str, environment: Mapping[str, str], *arguments: str
) -> contextlib.AbstractAsyncContextManager[Worker]:
    """`python <script> <mode> <arguments>`, registered with LiveKit; with the mode `connect`, started.

    `dev` has no idle processes and takes jobs under any load. `start` has one for each core, refuses jobs above a load
    of 0.7, and has its health check on port 8081, unless the script says otherwise or an argument is `--simulation`.
    """
    ready = _READY.get(mode, "registered worker")
    return running(script, mode, *arguments, environment=environment, ready=ready)
