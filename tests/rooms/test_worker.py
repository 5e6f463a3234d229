"""A worker in processes of its own: told to stop while somebody talks, and asked for its metrics."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from pathlib import Path

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .conftest import Microphone
from .worker import Worker, environment, running_worker

pytestmark = pytest.mark.timeout(180)  # workers start in seconds, and in more of them on a busy machine

WORKER = Path(__file__).with_name("scale_worker.py")
TURNS = [Turn(say="Good morning."), Turn(heard="Who is it?", say="It is Iris.")]


def texts(caller: RoomCaller) -> list[str]:
    """What the agent has said, by its captions."""
    return caller.texts(caller.agent.identity) if caller.agent else []


async def test_a_worker_that_is_told_to_stop_finishes_its_call(livekit: LiveKitServer, room_name: str) -> None:
    async with Emulator(Script(TURNS)) as server:
        own = {**environment(livekit, server.base_url), "WORKER": "A", "CALLS": "5"}
        async with running_worker(WORKER, "start", own) as worker:
            async with RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller:
                microphone = Microphone()
                await caller.publish_microphone(microphone)
                await caller.until(lambda: texts(caller) == ["Good morning."])
                worker.terminate()
                await worker.until_logged("draining worker")
                microphone.say("Who is it?")
                await caller.until(lambda: texts(caller) == ["Good morning.", "It is Iris."])
            assert await worker.exited() == 0


async def test_a_worker_that_is_told_to_stop_gets_no_new_room(livekit: LiveKitServer, room_name: str) -> None:
    async with Emulator(Script([Turn(say="Good morning.")] * 9)) as server:
        own = {**environment(livekit, server.base_url), "CALLS": "5"}
        async with (
            running_worker(WORKER, "start", {**own, "WORKER": "A"}) as stopping,
            RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as first,
        ):
            await first.until(lambda: texts(first))
            async with running_worker(WORKER, "start", {**own, "WORKER": "B"}):
                stopping.terminate()
                await stopping.until_logged("draining worker")
                for number in range(3):
                    token = livekit.token("caller", f"{room_name}-{number}")
                    async with RoomCaller.join(livekit.url, token) as caller:
                        await caller.until(lambda caller=caller: texts(caller))
                        assert caller.agent is not None
                        assert caller.agent.attributes["worker"] == "B"
                assert first.agent is not None
                assert first.agent.attributes["worker"] == "A"


async def test_the_workers_metrics_tell_of_the_calls_in_its_job_processes(
    livekit: LiveKitServer, room_name: str, tmp_path: Path
) -> None:
    async with Emulator(Script(TURNS)) as server:
        own = {**environment(livekit, server.base_url), "WORKER": "A", "CALLS": "5", "METRICS": "yes"}
        # In the environment, because prometheus_client reads it when it is imported: long before LiveKit sets it.
        own["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
        async with (
            running_worker(WORKER, "start", own) as worker,
            RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller,
        ):
            await caller.until(lambda: texts(caller) == ["Good morning."])
            shown = await metrics(worker)
    ours = 'kind="realtime",model="gpt-realtime-2.1"'
    assert shown[f"livekit_openai_ga_sessions{{{ours}}}"] == 1
    assert shown[f"livekit_openai_ga_connections_total{{{ours}}}"] == 1
    assert shown[f'livekit_openai_ga_replies_total{{{ours},status="completed"}}'] == 1
    assert shown[f"livekit_openai_ga_first_output_seconds_count{{{ours}}}"] == 1
    theirs = {re.sub(r"\{.*", "", name): value for name, value in shown.items()}
    assert theirs["lk_agents_active_job_count"] == 1
    assert 0 <= theirs["lk_agents_worker_load"] <= 1


async def metrics(worker: Worker) -> dict[str, float]:
    """What the worker's Prometheus endpoint shows: series -> value."""
    shown = next(found for line in worker.log if (found := re.search(r"http://(.*):(\d+)/metrics", line)))
    url = f"http://{shown[1] or '127.0.0.1'}:{shown[2]}/metrics"  # without a host: on all of them

    def get() -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=20) as answer:
            return str(answer.read(), "utf-8")

    lines = (await asyncio.to_thread(get)).splitlines()
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}
