"""The agent of examples/deploy, run by the commands of its Dockerfile."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from pathlib import Path

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .test_worker import metrics, texts
from .worker import environment, running_worker

pytestmark = pytest.mark.timeout(180)  # workers start in seconds, and in more of them on a busy machine

FOLDER = Path(__file__).parents[2] / "examples" / "deploy"


async def test_the_image_starts_a_healthy_worker_that_ends_when_told(livekit: LiveKitServer, tmp_path: Path) -> None:
    for port in (8081, 9090):  # what the image has for itself
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"something else listens on port {port}")
    health, start = commands()
    async with Emulator() as server:
        own = {**environment(livekit, server.base_url), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "made")}
        async with running_worker(FOLDER / start[1], *start[2:], own) as worker:
            check = await asyncio.create_subprocess_exec(sys.executable, *health[1:])
            assert await check.wait() == 0
            await worker.until_logged("Prometheus metrics exposed")
            assert any(name.startswith("lk_agents_worker_load") for name in await metrics(worker))
            assert await worker.stop() == 0


async def test_the_agent_to_deploy_answers_and_ends_the_room_with_the_call(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with (
        Emulator(Script([Turn(say="Good morning.")])) as server,
        # `dev` takes the job whatever else this machine does.
        running_worker(FOLDER / "agent.py", "dev", environment(livekit, server.base_url)) as worker,
    ):
        async with RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller:
            await caller.until(lambda: texts(caller) == ["Good morning."])
        await worker.until_logged("shutting down job task")


def commands() -> tuple[list[str], list[str]]:
    """The Dockerfile's health check and its command."""
    health, start = re.findall(r"^ *CMD (\[.*\])$", (FOLDER / "Dockerfile").read_text(), re.M)
    return json.loads(health), json.loads(start)
