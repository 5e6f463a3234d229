"""What a session tells besides LiveKit's events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import AlterOn, InjectOn
from livekit_plugins_openai_ga.realtime import (
    InputAudioTimeoutTriggered,
    RateLimit,
    RateLimitsUpdated,
    ResponseIncomplete,
    SessionCreated,
)


def told(call: Any, name: str) -> asyncio.Queue[Any]:
    events: asyncio.Queue[Any] = asyncio.Queue()
    call.session.on(name, events.put_nowait)
    return events


async def next_of(events: asyncio.Queue[Any]) -> Any:
    return await asyncio.wait_for(events.get(), 10)


async def test_every_connection_is_told_with_its_session(open_session: Any, reading: Any) -> None:
    async with Emulator(Script([Turn(say="Here.")])) as server:
        call = open_session(server)
        events = told(call, "session_created")
        await reading(await call.session.generate_reply())
        await server.drop()
        first, second = [await next_of(events) for _ in range(2)]
        sessions = [event["session"] for event in server.sent("session.created")]
        assert [first, second] == [
            SessionCreated(payload["id"], "", "gpt-realtime-2.1", payload["expires_at"], number)
            for number, payload in enumerate(sessions, start=1)
        ]


@pytest.mark.parametrize("session", [{}, {"id": 5, "expires_at": "soon"}, {"id": None, "expires_at": 0}], ids=str)
async def test_a_gateways_session_without_an_id_is_told_all_the_same(open_session: Any, session: Any) -> None:
    async with Emulator(faults=[AlterOn("session.created", {"session": session})]) as server:
        event = await next_of(told(open_session(server), "session_created"))
        assert (event.session_id, event.expires_at, event.connection) == ("", None, 1)


async def test_what_is_left_of_the_limits_is_told(open_session: Any, reading: Any) -> None:
    async with Emulator(Script([Turn(say="Here.")])) as server:
        call = open_session(server)
        events = told(call, "rate_limits_updated")
        await reading(await call.session.generate_reply())
        event = await next_of(events)
        (sent,) = server.sent("rate_limits.updated")
        assert event == RateLimitsUpdated(tuple(RateLimit(**limit) for limit in sent["rate_limits"]))
        (limit,) = event.limits
        assert (limit.name, limit.reset_seconds) == ("tokens", 0.001)


async def test_a_silent_user_is_told_by_place_in_all_the_audio(open_session: Any, reading: Any) -> None:
    timeout = {
        "type": "input_audio_buffer.timeout_triggered",
        "item_id": "item_silence",
        "audio_start_ms": 100,
        "audio_end_ms": 400,
    }
    turns = Script([Turn(say="Here."), Turn(say="Still there?")])
    async with Emulator(turns, faults=[InjectOn("response.created", timeout, nth=2)]) as server:
        call = open_session(server, turn_detection=None)
        events, committed = told(call, "input_audio_timeout_triggered"), told(call, "openai_server_event_received")
        pcm = speak("Hello.", "alloy", 1.0)[:48000]
        frame = rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2)
        call.session.push_audio(frame)
        call.session.commit_audio()
        await reading(await call.session.generate_reply())
        while (await next_of(committed))["type"] != "input_audio_buffer.committed":
            pass
        await server.drop()
        await call.first("session_reconnected")
        call.session.push_audio(frame)
        await reading(await call.session.generate_reply())
        begin_ms = len(pcm) / 48  # what the first connection had taken
        assert await next_of(events) == InputAudioTimeoutTriggered("item_silence", begin_ms + 100, begin_ms + 400)


async def test_a_reply_that_was_cut_off_is_told_with_its_reason(open_session: Any, reading: Any) -> None:
    turns = Script([Turn(say="A long story about nothing.", incomplete="max_output_tokens"), Turn(say="Whole.")])
    async with Emulator(turns) as server:
        call = open_session(server)
        events = told(call, "response_incomplete")
        cut = await call.session.generate_reply()
        await reading(cut)
        assert await next_of(events) == ResponseIncomplete(cut.response_id, "max_output_tokens")
        await reading(await call.session.generate_reply())
        assert events.empty()


async def test_the_raw_event_tap_gets_every_event_whole(open_session: Any, reading: Any) -> None:
    async with Emulator(Script([Turn(say="Here, and a little more.")])) as server:
        call = open_session(server)
        await reading(await call.session.generate_reply())
        await call.until(lambda: any(e["type"] == "response.done" for e in call.events["openai_server_event_received"]))
        deltas = server.sent("response.output_audio.delta")
        assert deltas
        received = call.events["openai_server_event_received"]
        assert [e for e in received if e["type"] == "response.output_audio.delta"] == deltas
