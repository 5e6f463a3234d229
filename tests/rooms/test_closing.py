"""A room that is closed under a call."""

from __future__ import annotations

import asyncio
import logging

import pytest
from livekit import api

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .conftest import StartRoomCall
from .test_barge_in import LONG


async def delete_room(livekit: LiveKitServer, name: str) -> None:
    async with api.LiveKitAPI(livekit.url, livekit.api_key, livekit.api_secret) as service:
        await service.room.delete_room(api.DeleteRoomRequest(room=name))


async def test_a_room_that_is_closed_in_the_middle_of_a_reply_leaves_nothing_behind(
    start_room_call: StartRoomCall, livekit: LiveKitServer, room_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Emulator(Script([Turn(say=LONG, stall=True)])) as server:
        call = await start_room_call(server)
        speech = call.session.generate_reply()
        await call.caller.until(lambda: call.caller.agent_ear and call.caller.agent_ear.audible)
        out = asyncio.Event()
        call.agent_room.on("disconnected", lambda _: out.set())
        await delete_room(livekit, room_name)
        await asyncio.wait_for(out.wait(), 20)
        await call.session.aclose()  # LiveKit's worker does so when its room is gone
        assert speech.interrupted
        assert [event.error for event in call.named("close")] == [None]
        await server.wait_until(lambda: server.sessions[0].closed is not None, timeout=20)
        assert len(server.sessions) == 1
    ours = [record for record in caplog.records if record.name.startswith("livekit.plugins.openai_ga")]
    assert [record.getMessage() for record in ours if record.levelno >= logging.WARNING] == []
    assert [task.get_name() for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []
