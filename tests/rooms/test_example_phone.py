"""examples/phone.py, with a caller as LiveKit's SIP service publishes one."""

from __future__ import annotations

import base64

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.emulator import g711
from livekit_plugins_openai_ga.emulator.vad import speech_ms

from .example_call import example_call, script

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("phone.json")
GREETING, QUESTION, ANSWER = TURNS[0].say, TURNS[1].heard, TURNS[1].say


async def test_a_caller_is_greeted_and_answered_in_the_telephones_format(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with example_call(livekit, room_name, "phone.py", TURNS) as call:
        await call.caller.until(lambda: call.agent_texts() == [GREETING])
        call.microphone.say(QUESTION)
        await call.caller.until(lambda: call.agent_texts() == [GREETING, ANSWER])
        assert call.caller.texts("caller") == [QUESTION]
        assert call.caller.agent_ear is not None
        assert call.caller.agent_ear.audible
        (update,) = call.model.received("session.update")  # prewarmed, and nothing was missing
        assert update["session"]["audio"]["output"]["format"] == {"type": "audio/pcmu"}
        appends = call.model.received("input_audio_buffer.append")
        heard = g711.decode(b"".join(base64.b64decode(event["audio"]) for event in appends), "audio/pcmu")
        assert speech_ms(heard) > 500
