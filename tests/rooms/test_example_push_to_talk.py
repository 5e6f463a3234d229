"""examples/push_to_talk.py, with a caller whose button is three RPC methods."""

from __future__ import annotations

import base64

import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.emulator import speak

from .example_call import ExampleCall, example_call, script

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("conversation.json")
FIRST, LAST = TURNS


def heard_seconds(call: ExampleCall) -> float:
    """How much of the microphone has reached the model."""
    pieces = [base64.b64decode(event["audio"]) for event in call.model.received("input_audio_buffer.append")]
    return sum(map(len, pieces)) / 48000


async def press(call: ExampleCall, method: str) -> str:
    """Call the agent's method; while the agent is still on its way, again."""
    await call.caller.until(lambda: call.caller.agent_state not in ("", "initializing"))
    while True:
        try:
            return await call.caller.room.local_participant.perform_rpc(
                destination_identity=call.agent, method=method, payload=""
            )
        except rtc.RpcError as error:
            if error.code != rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD:
                raise


async def say_with_the_button_held(call: ExampleCall, text: str) -> None:
    assert await press(call, "start_turn") == "listening"
    before = heard_seconds(call)
    call.microphone.say(text)
    length = len(speak(text, "alloy")) / 48000
    await call.model.wait_until(lambda: heard_seconds(call) > before + length + 0.3, timeout=20.0)


async def test_the_agent_hears_only_what_is_said_while_the_button_is_held(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with example_call(livekit, room_name, "push_to_talk.py", TURNS) as call:
        await say_with_the_button_held(call, FIRST.heard)
        assert await press(call, "end_turn") == "thinking"
        heard = heard_seconds(call)
        await call.caller.until(lambda: call.agent_texts() == [FIRST.say])
        assert call.caller.texts("caller") == [FIRST.heard]
        assert heard_seconds(call) == heard  # the microphone was on all the time

        await say_with_the_button_held(call, "No, wait.")
        cleared = len(call.model.received("input_audio_buffer.clear"))
        assert await press(call, "cancel_turn") == "forgotten"
        await call.model.wait_received("input_audio_buffer.clear", count=cleared + 1)
        await say_with_the_button_held(call, LAST.heard)
        assert await press(call, "end_turn") == "thinking"
        await call.caller.until(lambda: call.agent_texts() == [FIRST.say, LAST.say])
        assert len(call.model.received("input_audio_buffer.commit")) == 2
        assert call.model.received("session.update")[0]["session"]["audio"]["input"]["turn_detection"] is None


async def test_the_button_cuts_the_agent_short(livekit: LiveKitServer, room_name: str) -> None:
    async with example_call(livekit, room_name, "push_to_talk.py", TURNS) as call:
        await say_with_the_button_held(call, FIRST.heard)
        await press(call, "end_turn")
        await call.caller.until(lambda: call.caller.agent_ear and call.caller.agent_ear.audible)
        await press(call, "start_turn")
        (cut,) = await call.model.wait_received("conversation.item.truncate", timeout=20.0)
        assert cut["audio_end_ms"] < len(speak(FIRST.say, "marin")) / 48
