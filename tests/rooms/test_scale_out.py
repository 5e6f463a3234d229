"""Two workers on one LiveKit server, which alone decides who gets which room."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from livekit import api

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .test_worker import WORKER, texts
from .worker import environment, running_worker

pytestmark = pytest.mark.timeout(180)  # workers start in seconds, and in more of them on a busy machine

ROOMS = 10
CALLS = 8
"""What a worker takes at once, so that neither can have all rooms."""
LEAVES_S = 60.0
"""LiveKit takes 20 s to notice that an agent is dead."""


def agents(caller: RoomCaller) -> list[str]:
    """The workers whose agents are in the caller's room."""
    return [p.attributes["worker"] for p in caller.room.remote_participants.values() if "worker" in p.attributes]


async def ask(caller: RoomCaller) -> None:
    """Write to the agent and wait for the answer, which is the second thing it says."""
    await caller.until(lambda: len(texts(caller)) == 1)
    await caller.room.local_participant.send_text("Are you there?", topic="lk.chat")
    await caller.until(lambda: len(texts(caller)) == 2)


def join(livekit: LiveKitServer, room: str) -> contextlib.AbstractAsyncContextManager[RoomCaller]:
    """Somebody in the room."""
    return RoomCaller.join(livekit.url, livekit.token("caller", room))


async def dispatch(livekit: LiveKitServer, room: str) -> None:
    """What an operator, or the caller's backend, does for a room without an agent."""
    async with api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as service:
        await service.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(room=room))


async def test_two_workers_share_ten_rooms(livekit: LiveKitServer, room_name: str) -> None:
    async with Emulator(Script([Turn(say="Yes?")] * 2 * ROOMS)) as server, contextlib.AsyncExitStack() as stack:
        own = {**environment(livekit, server.base_url), "CALLS": str(CALLS)}
        for name in "AB":
            await stack.enter_async_context(running_worker(WORKER, "start", {**own, "WORKER": name}))
        callers = []
        for number in range(ROOMS):
            callers.append(await stack.enter_async_context(join(livekit, f"{room_name}-{number}")))
            await callers[-1].until(lambda: callers[-1].agent)
        await asyncio.gather(*map(ask, callers))
        served = [agents(caller) for caller in callers]
        assert [len(names) for names in served] == [1] * ROOMS
        assert {name for [name] in served} == {"A", "B"}


async def test_the_rooms_of_a_killed_worker_get_a_new_agent_when_one_is_asked_for(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with Emulator(Script([Turn(say="Yes?")] * 20)) as server:
        own = {**environment(livekit, server.base_url), "CALLS": str(CALLS)}
        async with (
            running_worker(WORKER, "start", {**own, "WORKER": "A"}) as killed,
            join(livekit, room_name) as orphan,
        ):
            await ask(orphan)
            async with running_worker(WORKER, "start", {**own, "WORKER": "B"}):
                await killed.kill()
                await server.wait_until(lambda: server.sessions[0].closed is not None)  # its jobs end with it
                await orphan.until(lambda: orphan.agent is None, timeout=LEAVES_S)
                async with join(livekit, f"{room_name}-new") as other:
                    await ask(other)
                    assert agents(other) == ["B"]
                assert orphan.agent is None  # LiveKit dispatches once, when a room begins
                await dispatch(livekit, room_name)
                await ask(orphan)
                assert agents(orphan) == ["B"]


async def test_a_room_that_no_worker_had_a_place_for_gets_an_agent_when_one_is_asked_for(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with Emulator(Script([Turn(say="Yes?")] * 20)) as server:
        own = environment(livekit, server.base_url)
        async with (
            running_worker(WORKER, "start", {**own, "WORKER": "A", "CALLS": "1"}),
            join(livekit, f"{room_name}-1") as first,
        ):
            await ask(first)
            async with (
                join(livekit, f"{room_name}-2") as waiting,
                running_worker(WORKER, "start", {**own, "WORKER": "B", "CALLS": "5"}),
                join(livekit, f"{room_name}-3") as later,
            ):
                await ask(later)
                assert waiting.agent is None  # LiveKit asks once, when the room begins
                await dispatch(livekit, f"{room_name}-2")
                await ask(waiting)
                assert [agents(each) for each in (first, waiting, later)] == [["A"], ["B"], ["B"]]
