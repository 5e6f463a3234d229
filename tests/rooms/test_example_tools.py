"""examples/tools.py: what a guest hears, and what the model is told, by each of its tools."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer

from .example_call import example_call, script

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("tools.json")


async def test_a_guest_gets_answers_a_refusal_a_late_answer_and_a_goodbye(
    livekit: LiveKitServer, room_name: str
) -> None:
    said = [turn.say for turn in TURNS if turn.say]
    async with example_call(livekit, room_name, "tools.py", TURNS) as call:
        for position, turn in enumerate(TURNS):
            if turn.heard:
                before = [turn.say for turn in TURNS[:position] if turn.say]
                await call.caller.until(lambda before=before: call.agent_texts() == before)
                call.microphone.say(turn.heard)
        agent = call.agent
        await call.caller.until(lambda: not call.caller.room.isconnected())
        await call.caller.until(lambda: call.caller.texts(agent) == said)  # a busy machine reads the last one late
        hours, refusal, begun, taxi, _ = call.tool_outputs()
        assert hours == "From 7 to 10."
        assert refusal == "Wake-up calls are made from 5 to 10 only. Ask for another hour."
        assert "The taxi company is being called." in begun
        assert "A taxi to the station comes in ten minutes." in taxi
