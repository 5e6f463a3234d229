"""Sessions that are timed, from `session()` to the confirmed configuration."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent, function_tool

from livekit_plugins_openai_ga.devtools.readiness import TimedModel, dialled
from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator.faults import DelayOn


@function_tool
async def look_up(name: str) -> str:
    """Look something up."""
    return name


AGENT = Agent(instructions="Be brief.", tools=[look_up])


async def test_a_session_that_dials_is_timed_up_to_the_answer():
    async with Emulator(faults=[DelayOn("session.updated", 0.2)]) as server:
        model = TimedModel(api_key="sk-test", base_url=server.base_url)
        assert model.ready_after is None
        took = await dialled(model, AGENT)
        assert took is not None
        assert took >= 0.2
        assert model.ready_after == took
        (update,) = server.received("session.update")
        assert update["session"]["instructions"] == "Be brief."
        assert [tool["name"] for tool in update["session"]["tools"]] == ["look_up"]
        await server.wait_until(lambda: bool(server.sessions[0].closed))


async def test_a_session_that_is_refused_has_no_time():
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-good"}))) as server:
        model = TimedModel(api_key="sk-bad", base_url=server.base_url)
        assert await dialled(model, AGENT) is None


async def test_each_session_has_its_own_time():
    async with Emulator(faults=[DelayOn("session.updated", 0.3)]) as server:
        model = TimedModel(api_key="sk-test", base_url=server.base_url)
        first = await dialled(model, AGENT)
        session = model.session()
        assert model.ready_after is None
        await session.update_instructions("Be brief.")
        await asyncio.sleep(0)
        assert model.ready_after < first
        await session.aclose()
