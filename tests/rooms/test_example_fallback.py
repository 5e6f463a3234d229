"""examples/fallback.py: the model is shut down in the middle of a call."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.emulator import Turn
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake

from .example_call import example_call

pytestmark = pytest.mark.timeout(180)


async def test_a_call_goes_on_with_the_second_model_when_the_first_is_shut_down(
    livekit: LiveKitServer, room_name: str
) -> None:
    turns = [Turn(say="Good morning."), Turn(heard="Who is it?", say="It is Iris.")]
    async with example_call(livekit, room_name, "fallback.py", turns) as call:
        await call.caller.until(lambda: call.agent_texts() == ["Good morning."])
        call.model.add_fault(RejectHandshake("model_not_found", "The model has been shut down.", 4000))
        await call.model.drop()
        await call.worker.until_logged("is gone, gpt-realtime-2.1-mini answers now")
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.agent_texts() == ["Good morning.", "It is Iris."], timeout=30.0)
        assert [handshake.query["model"] for handshake in call.model.handshakes] == [
            "gpt-realtime-2.1",
            "gpt-realtime-2.1",
            "gpt-realtime-2.1-mini",
        ]
