"""Workers for the room tests: as `devtools.worker` runs them, and what they logged is shown with a test that fails."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from livekit_plugins_openai_ga.devtools import worker
from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.worker import Worker


def environment(livekit: LiveKitServer, base_url: str) -> dict[str, str]:
    """What a user sets to run an example against a LiveKit server and an emulator."""
    return {**livekit.environment, "OPENAI_BASE_URL": base_url}


@contextlib.asynccontextmanager
async def _shown(starting: contextlib.AbstractAsyncContextManager[Worker]) -> AsyncIterator[Worker]:
    started = None
    try:
        async with starting as started:
            yield started
    finally:
        print(*(started.log if started else ()), sep="\n")


def running(
    *command: str | Path, environment: Mapping[str, str], ready: str = "registered worker"
) -> contextlib.AbstractAsyncContextManager[Worker]:
    """See `devtools.worker.running`."""
    return _shown(worker.running(*command, environment=environment, ready=ready))


def running_worker(
    script: Path, mode: str, environment: Mapping[str, str], *arguments: str
) -> contextlib.AbstractAsyncContextManager[Worker]:
    """See `devtools.worker.running_worker`."""
    return _shown(worker.running_worker(script, mode, environment, *arguments))
