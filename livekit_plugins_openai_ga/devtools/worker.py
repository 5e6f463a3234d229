"""A LiveKit worker in processes of its own, started as a user starts it: `python agent.py dev|start|connect`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NoReturn

REGISTERED = "registered worker"
"""What a worker logs when LiveKit knows it. A room that is made before gets no agent."""
START_SECONDS = 40.0
_READY = {"connect": "starting worker"}


class WorkerFailed(Exception):
    """A worker ended, or did not get as far as it should; the message is for a user and has its last words."""


class Worker:
    """The worker's main process, which has the jobs' processes below it, and what all of them have logged."""

    def __init__(self, process: Process) -> None:
        self.pid = process.pid
        self.log: list[str] = []
        self._process = process
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def until_logged(self, text: str, *, count: int = 1, timeout: float = 20.0) -> None:
        """Wait for the `count`-th line with this text. Raises `WorkerFailed` when it does not come."""

        async def wait() -> None:
            while len([line for line in self.log if text in line]) < count:
                if self._reading.done():
                    raise WorkerFailed(await self._last_words())
                self._news.clear()
                await self._news.wait()

        try:
            await asyncio.wait_for(wait(), timeout)
        except asyncio.TimeoutError:
            raise WorkerFailed(f"The worker did not say {text!r} within {timeout:g} s:\n{self.said()}") from None

    async def watch(self) -> NoReturn:
        """Wait for ever, or until the worker ends by itself; then raises `WorkerFailed`."""
        await self._process.wait()
        await self._reading
        raise WorkerFailed(await self._last_words())

    def said(self, lines: int = 15) -> str:
        """The last lines of the log."""
        return "\n".join(self.log[-lines:])

    async def _last_words(self) -> str:
        return f"The worker ended by itself (exit code {await self._process.wait()}):\n{self.said()}"

    def terminate(self) -> None:
        """SIGTERM: finish the calls, take no more, end. `exited` tells the exit code."""
        self._process.terminate()

    async def exited(self, *, timeout: float = 30.0) -> int:
        """Wait until the main process has ended; its exit code. Raises asyncio.TimeoutError."""
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

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.log.append(line.decode(errors="replace").rstrip())
            self._news.set()
        self._news.set()


@contextlib.asynccontextmanager
async def running(
    *command: str | Path, environment: Mapping[str, str], ready: str | None = REGISTERED
) -> AsyncIterator[Worker]:
    """`python <command>` from when it has logged `ready` (None: at once) to the end of the block. No process stays.

    Nothing that this machine has set for LiveKit or OpenAI reaches it, only `environment`.

    Raises:
        WorkerFailed: It never became ready.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith(("LIVEKIT_", "OPENAI_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        env={**own, **environment},
        stdout=PIPE,
        stderr=STDOUT,
        limit=2**20,  # a line of the log may hold a traceback
        start_new_session=True,  # a group of its own, which `end` kills; and Ctrl-C is for whoever started it
    )
    worker = Worker(process)
    try:
        if ready is not None:
            await worker.until_logged(ready, timeout=START_SECONDS)
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
    ready = _READY.get(mode, REGISTERED)
    return running(script, mode, *arguments, environment=environment, ready=ready)
