"""Who comes and goes beside the agent."""

from __future__ import annotations

import asyncio

import pytest
from livekit.agents import CloseReason
from livekit.agents.voice.room_io import RoomOptions

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from . import sound
from .conftest import Microphone, StartRoomCall

TURNS = [Turn(heard="Who is it?", say="It is Iris."), Turn(heard="Are you there?", say="Yes, still here.")]


async def test_the_session_closes_when_the_caller_leaves(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server)
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["It is Iris."])
        await call.caller.leave()
        await asyncio.wait_for(call.closed.wait(), 20)
        (close,) = call.named("close")
        assert close.reason == CloseReason.PARTICIPANT_DISCONNECTED
        assert close.error is None
        await server.wait_until(lambda: server.sessions[0].closed is not None, timeout=20)


async def test_a_caller_who_returns_goes_on_with_the_conversation(
    start_room_call: StartRoomCall, livekit: LiveKitServer, room_name: str
) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server, room_options=RoomOptions(close_on_disconnect=False))
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["It is Iris."])
        await call.caller.leave()
        async with RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as returned:
            microphone = Microphone()
            await returned.publish_microphone(microphone)
            microphone.say("Are you there?")
            await returned.until(lambda: returned.texts("agent") == ["Yes, still here."])
            assert returned.texts("caller") == ["Are you there?"]
            assert returned.agent_ear is not None
            assert returned.agent_ear.audible
        assert len(server.sessions) == 1
        assert call.texts("user") == ["Who is it?", "Are you there?"]
        assert call.named("close") == []


async def test_the_model_does_not_hear_a_second_participant(
    start_room_call: StartRoomCall, livekit: LiveKitServer, room_name: str
) -> None:
    async with Emulator(Script(TURNS)) as server:
        call = await start_room_call(server)
        async with RoomCaller.join(livekit.url, livekit.token("bystander", room_name)) as bystander:
            whistle = Microphone()
            await bystander.publish_microphone(whistle)
            whistle.play(sound.notes([3000], 20.0))
            await call.caller.until(lambda: any(ear.audible for ear in call.caller.ears.values()))
            call.microphone.play(sound.notes([440], 1.5))
            await server.wait_sent("input_audio_buffer.speech_stopped", timeout=20)
        heard = sound.sounding(sound.microphone_audio(server.received("input_audio_buffer.append")))
        assert sound.pitch(heard) == pytest.approx(440, rel=0.01)
        assert sound.strength(heard, 3000) < 0.001
