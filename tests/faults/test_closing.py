"""`aclose()` ends a session at once and for good, whatever the network is doing. The bounds only catch a hang."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn

from .conftest import Call, client_sockets, read
from .proxy import Path, Plan

LONG = bytes(48 * 1000 * 100)
SLOW = Path(rate=200_000)
HOLE = Path(end="swallow")


def emulator() -> Emulator:
    knobs = Knobs(pace=1e6, delta_ms=100_000, reply_latency=0.0, speak=lambda text, voice, speed: LONG)
    return Emulator(Script([Turn(heard="Hello?", say="Yes.")] * 5), knobs=knobs)


async def nothing(call: Call) -> None:
    """Close at once."""


async def connected(call: Call) -> None:
    await call.proxy.until(lambda: call.proxy.connections)


async def half_upgraded(call: Call) -> None:
    await call.proxy.until(lambda: call.proxy.connections and call.proxy.connections[0].down.struck)


async def stalled(call: Call) -> None:
    await call.session.update_instructions("Be brief.")
    call.proxy.change(up=Path(end="stall"), down=Path(end="stall"))


async def stalled_with_full_buffers(call: Call) -> None:
    await call.session.update_instructions("Be brief.")
    await call.fill()


async def in_a_big_frame(call: Call) -> None:
    await call.session.update_instructions("Be brief.")
    call.proxy.change(down=SLOW)
    before = call.proxy.connections[0].down.passed
    await call.session.generate_reply()
    await call.proxy.until(lambda: call.proxy.connections[0].down.passed > before + 50_000)


async def refused(call: Call) -> None:
    await call.session.update_instructions("Be brief.")
    call.proxy.refuse()
    call.proxy.cut("rst")
    await call.failed(4)


async def just_cut(call: Call) -> None:
    await call.session.update_instructions("Be brief.")
    call.proxy.cut("rst")


STATES: dict[str, tuple[Plan, Callable[[Call], Awaitable[None]]]] = {
    "before the first step": (Plan(), nothing),
    "while the port is open and nobody answers": (Plan(HOLE, HOLE), connected),
    "in the middle of the upgrade": (Plan(down=Path(end="stall", after=60)), half_upgraded),
    "in the middle of the first frame": (Plan(down=Path(end="stall", after=700)), half_upgraded),
    "before the configuration is confirmed": (Plan(up=Path(end="swallow", after=900)), connected),
    "while both directions are stalled": (Plan(), stalled),
    "while the send buffers are full": (Plan(), stalled_with_full_buffers),
    "while a big frame trickles in": (Plan(), in_a_big_frame),
    "while connections are refused": (Plan(), refused),
    "in the tick of a cut": (Plan(), just_cut),
}


@pytest.mark.parametrize("state", STATES)
async def test_a_session_closes(open_call, state):
    plan, get_there = STATES[state]
    async with open_call(emulator(), plan, turn_detection=None, heartbeat=20.0) as call:
        await get_there(call)
        asked = call.session.generate_reply()
        said_before = list(call.reasons)
        await asyncio.wait_for(call.session.aclose(), 5)
        with pytest.raises(llm.RealtimeError, match="closed"):
            await asyncio.wait_for(asked, 5)
        assert call.reasons == said_before
        with pytest.raises(llm.RealtimeError):
            await asyncio.wait_for(call.session.update_instructions("More."), 5)


async def test_a_reply_that_trickles_in_ends_when_the_session_closes(open_call):
    async with open_call(emulator(), turn_detection=None, heartbeat=20.0) as call:
        await call.session.update_instructions("Be brief.")
        call.proxy.change(down=SLOW)
        reply = await call.session.generate_reply()
        reading = asyncio.create_task(read(reply))
        await asyncio.wait_for(call.session.aclose(), 5)
        assert (await reading)[1] < 100


STEPS = 24
"""Turns of the event loop: more than a change of connection needs to let go of the old one."""


async def test_a_session_that_closes_in_any_step_of_a_change_of_connection_leaves_nothing(open_call):
    for steps in range(STEPS):
        async with open_call(emulator(), turn_detection=None, heartbeat=20.0) as call:
            await call.session.update_instructions("Be brief.")
            call.session.restart()
            for _ in range(steps):
                await asyncio.sleep(0)
            await call.session.aclose()
            assert client_sockets(call.proxy.port) == 0, steps
            await call.proxy.until(lambda call=call: not call.proxy.live)
