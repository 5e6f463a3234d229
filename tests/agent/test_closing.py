"""A session closes within a second in every phase, and leaves no task behind."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from livekit.agents import llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake


async def close_in_time(session) -> None:
    started = time.monotonic()
    await session.aclose()
    assert time.monotonic() - started < 1.0
    others = [t for t in asyncio.all_tasks() if "openai_ga" in t.get_name()]
    assert others == []


async def test_while_connecting():
    listener = socket.create_server(("127.0.0.1", 0))  # accepts, and never answers
    port = listener.getsockname()[1]
    session = RealtimeModel(api_key="sk-test", base_url=f"http://127.0.0.1:{port}/v1").session()
    await asyncio.sleep(0.1)
    reply = session.generate_reply()
    setup = asyncio.ensure_future(session.update_instructions("Be brief."))
    await asyncio.sleep(0)
    await close_in_time(session)
    with pytest.raises(llm.RealtimeError):
        await reply
    with pytest.raises(llm.RealtimeError):
        await setup
    listener.close()


async def test_when_configured():
    async with Emulator() as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url).session()
        await session.update_instructions("Be brief.")
        await close_in_time(session)


async def test_in_the_middle_of_a_reply():
    async with Emulator(Script([Turn(say="A long reply that never ends.", stall=True)])) as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url).session()
        reply = await session.generate_reply()
        messages = reply.message_stream.__aiter__()
        message = await messages.__anext__()
        await message.audio_stream.__aiter__().__anext__()
        await close_in_time(session)
        assert "".join([text async for text in message.text_stream]) in "A long reply that never ends."
        assert [m async for m in messages] == []
        assert [c async for c in reply.function_stream] == []


async def test_when_the_peer_is_frozen():
    async with Emulator() as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url).session()
        await session.update_instructions("Be brief.")
        await server.freeze()
        await close_in_time(session)


async def test_closing_twice_is_fine():
    async with Emulator() as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url).session()
        await session.aclose()
        await close_in_time(session)


async def test_an_agent_session_closes_with_the_reason_when_the_key_is_refused(start_call):
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000)
    async with Emulator(faults=[fault]) as server:
        call = await start_call(server)
        await call.until(lambda: call.named("close") != [])
        (close,) = call.named("close")
        assert close.error.error.body.code == "invalid_api_key"
        assert len(server.handshakes) == 1
