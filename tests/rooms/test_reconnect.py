"""Connections that are lost under a call: to OpenAI, and to the room."""

from __future__ import annotations

from livekit import rtc

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .conftest import RoomCall, StartRoomCall

TURNS = [Turn(say="Good morning."), Turn(heard="Are you there?", say="Yes, still here.")]


def agent_tracks(call: RoomCall) -> list[str]:
    assert call.caller.agent is not None
    return list(call.caller.agent.track_publications)


async def test_the_agents_track_stays_while_its_connection_to_openai_is_lost(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server)
        await call.session.generate_reply()
        before = agent_tracks(call)
        await server.drop()
        call.microphone.say("Are you there?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["Good morning.", "Yes, still here."])
        assert call.caller.texts("caller") == ["Are you there?"]
        assert agent_tracks(call) == before
        assert len(server.sessions) == 2
        assert [event.error.recoverable for event in call.named("error")] == [True]


async def test_the_call_goes_on_when_the_agents_connection_to_the_room_is_lost(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server)
        await call.session.generate_reply()
        seen: list[str] = []
        call.agent_room.on("reconnected", lambda: seen.append("room"))
        call.agent_room.on("track_subscribed", lambda *_: seen.append("microphone"))
        await call.caller.until(lambda: call.caller.texts("agent") == ["Good morning."])  # its caption has arrived, too
        await call.agent_room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
        await call.caller.until(lambda: {"room", "microphone"} <= set(seen))
        call.microphone.say("Are you there?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["Good morning.", "Yes, still here."])
        assert sum(len(ear.stretches()) for ear in call.caller.ears.values()) >= 2
        assert len(server.sessions) == 1
        assert call.named("error") == []
