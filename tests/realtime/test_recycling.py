"""A connection that is replaced before the server ends it: at a calm moment, or when there has been none for long."""

from __future__ import annotations

import asyncio
import base64

import pytest
from livekit.agents import APIConnectOptions

from livekit_plugins_openai_ga import MCPTool
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import RefuseHandshake, RejectHandshake, SwallowOn
from livekit_plugins_openai_ga.realtime import shell

from .test_session import frames

PROMPT = "Be brief."
AGE = 1.0
LONG = "One two three four five six seven eight nine ten eleven twelve."


async def goes_on(call, server, reading, *, connections=2):
    """The newest connection is configured, and answers."""
    await call.first("session_reconnected", connections - 1)
    assert len(server.handshakes) >= connections
    assert server.sessions[-1].config["instructions"] == PROMPT
    reply = await asyncio.wait_for(call.session.generate_reply(), 5)
    assert (await reading(reply))[0][0] == "Still here."


@pytest.mark.parametrize(
    ("turn", "statuses"),
    [
        (Turn(say=LONG), ["completed"]),
        (Turn(say=LONG, incomplete="max_output_tokens"), ["incomplete"]),
        (Turn(failure=("invalid_request_error", "invalid_value", "No."), latency=1.3), ["failed"]),
    ],
    ids=["completed", "incomplete", "failed"],
)
async def test_it_waits_for_a_reply_however_that_ends(open_session, reading, turn, statuses):
    script = Script([turn, Turn(say="Still here.")])
    async with Emulator(script, knobs=Knobs(pace=2.0)) as server:
        call = open_session(server, max_session_duration=AGE)
        await call.session.update_instructions(PROMPT)
        reply = await call.session.generate_reply()
        await reading(reply)
        assert len(server.handshakes) == 1
        ended = [event["response"]["status"] for event in server.sent("response.done")]
        assert ended == statuses
        await goes_on(call, server, reading)
        assert all(error.recoverable for error in call.errors)


async def test_it_waits_for_a_call_that_the_server_runs(open_session, reading):
    calls = (MCPCall("shop", "find", output="3 pairs", seconds=1.3),)
    script = Script([Turn(mcp=calls), *[Turn(say="Still here.")] * 3])
    async with Emulator(script, knobs=Knobs(mcp_in_response=False)) as server:
        call = open_session(server, max_session_duration=AGE)
        shop = MCPTool(server_label="shop", server_url="https://shop.test/mcp", require_approval="never")
        await call.session._update_session(instructions=PROMPT, tools=[shop])
        await call.session.generate_reply()
        await server.wait_until(lambda: server.sent("response.done"))
        call.session.interrupt()  # no reply waits for the call, and none tells of its result by itself
        await server.wait_sent("response.mcp_call.completed")
        assert len(server.handshakes) == 1
        await goes_on(call, server, reading)


async def test_a_reply_that_never_ends_is_not_waited_for_for_ever(open_session, reading, monkeypatch):
    monkeypatch.setattr(shell, "RECYCLE_PATIENCE_S", 0.3)
    script = Script([Turn(say=LONG, stall=True), Turn(say="Still here.")])
    async with Emulator(script, knobs=Knobs(pace=20.0)) as server:
        call = open_session(server, max_session_duration=AGE)
        await call.session.update_instructions(PROMPT)
        said = await asyncio.wait_for(reading(await call.session.generate_reply()), 5)
        assert LONG.startswith(said[0][0])
        await goes_on(call, server, reading)
        assert call.errors == []


async def test_a_user_who_never_stops_is_not_waited_for_for_ever_and_nothing_said_is_lost(
    open_session, reading, monkeypatch
):
    monkeypatch.setattr(shell, "RECYCLE_PATIENCE_S", 0.3)
    script = Script([Turn(say="Still here.")])
    async with Emulator(script) as server:
        call = open_session(server, max_session_duration=AGE, turn_detection={"type": "server_vad"})
        await call.session.update_instructions(PROMPT)
        spoken = speak("This sentence has no end.", "alloy", 1.3)
        for frame in frames(spoken):
            call.session.push_audio(frame)
        await call.first("input_speech_started")
        await call.first("session_reconnected")
        size = len(spoken) // 4800 * 4800  # the last piece waits for more
        await server.wait_until(lambda: len(audio_of(server.sessions[-1])) >= size)
        assert audio_of(server.sessions[-1]) in spoken
        assert len(audio_of(server.sessions[-1])) >= size
        assert call.errors == []


def audio_of(session):
    appends = [event for event in session.received if event["type"] == "input_audio_buffer.append"]
    return b"".join(base64.b64decode(event["audio"]) for event in appends)


async def test_a_connection_that_is_lost_while_it_waits_is_replaced_once(open_session, reading):
    script = Script([Turn(say=LONG, stall=True), Turn(say="Still here.")])
    async with Emulator(script, knobs=Knobs(pace=20.0)) as server:
        call = open_session(server, max_session_duration=AGE)
        await call.session.update_instructions(PROMPT)
        reply = await call.session.generate_reply()
        await asyncio.sleep(AGE + 0.2)
        assert len(server.handshakes) == 1
        await server.drop()
        await asyncio.wait_for(reading(reply), 5)
        await goes_on(call, server, reading)
        assert [error.recoverable for error in call.errors] == [True]


@pytest.mark.parametrize(
    "fault",
    [
        RefuseHandshake(503),
        RejectHandshake("server_error", "Sorry.", 4000, "server_error"),
        SwallowOn("session.updated"),
    ],
    ids=["refused", "closed", "never confirmed"],
)
async def test_a_new_connection_that_fails_is_tried_again(open_session, reading, fault):
    quick = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=0.3)
    async with Emulator(Script([Turn(say="Still here.")])) as server:
        call = open_session(server, max_session_duration=AGE, conn_options=quick)
        await call.session.update_instructions(PROMPT)
        server.add_fault(fault)
        await call.first("error")
        await goes_on(call, server, reading)
        assert all(error.recoverable for error in call.errors)
