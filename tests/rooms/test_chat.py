"""A caller who writes instead of speaking, on the topic `lk.chat`."""

from __future__ import annotations

from typing import Any

from livekit.agents.types import TOPIC_CHAT

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak

from .conftest import RoomCall, StartRoomCall
from .test_barge_in import LONG


async def write(call: RoomCall, text: str) -> None:
    await call.caller.room.local_participant.send_text(text, topic=TOPIC_CHAT)


def written(server: Emulator) -> list[Any]:
    items = [event["item"] for event in server.received("conversation.item.create")]
    return [item["content"] for item in items if item.get("role") == "user"]


async def test_a_written_question_is_answered_aloud(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script([Turn(say="It is noon.")])) as server:
        call = await start_room_call(server)
        # Before it hears the caller, the agent may not be there yet for what is written.
        await server.wait_received("input_audio_buffer.append", timeout=20)
        await write(call, "What time is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["It is noon."])
        assert written(server) == [[{"type": "input_text", "text": "What time is it?"}]]
        assert call.texts("user") == ["What time is it?"]
        assert call.caller.agent_ear is not None
        assert call.caller.agent_ear.audible


async def test_a_written_question_interrupts_the_agent(start_room_call: StartRoomCall) -> None:
    async with Emulator(Script([Turn(say=LONG), Turn(say="All right.")])) as server:
        call = await start_room_call(server)
        speech = call.session.generate_reply()
        await call.caller.until(lambda: call.caller.agent_ear and call.caller.agent_ear.audible)
        await write(call, "Shorter, please.")
        await call.caller.until(lambda: call.caller.texts("agent")[-1:] == ["All right."])
        assert speech.interrupted
        assert written(server) == [[{"type": "input_text", "text": "Shorter, please."}]]
        assert call.caller.agent_ear is not None
        begin, end = call.caller.agent_ear.stretches()[0]
        assert end - begin < len(speak(LONG, "marin")) / 48000 / 2
        assert len(server.received("conversation.item.truncate")) == 1
