"""LiveKit's fallback adapter keeps a call alive in a room: from ours to ours, to the official plugin's, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import openai
from openai.types.beta.realtime.session import TurnDetection

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .conftest import SERVER_VAD, StartRoomCall
from .test_barge_in import LONG

ONCE = APIConnectOptions(max_retry=0, timeout=2.0)
MakeModel = Callable[[Emulator], llm.RealtimeModel]


def ours(server: Emulator) -> llm.RealtimeModel:
    return RealtimeModel(api_key="sk-test", base_url=server.base_url, turn_detection=SERVER_VAD, conn_options=ONCE)


def official(server: Emulator) -> llm.RealtimeModel:
    return openai.realtime.RealtimeModel(
        api_key="sk-test", base_url=server.base_url, turn_detection=TurnDetection(**SERVER_VAD), conn_options=ONCE
    )


def said(server: Emulator) -> list[tuple[str, str]]:
    """Role and text of each message that the model was told of."""
    items: list[dict[str, Any]] = [event["item"] for event in server.received("conversation.item.create")]
    return [(item["role"], part["text"]) for item in items for part in item.get("content", ()) if "text" in part]


CHANGES = [(ours, ours), (ours, official), (official, ours)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("primary", "secondary"), CHANGES)
async def test_the_call_goes_on_with_the_next_model(
    start_room_call: StartRoomCall, primary: MakeModel, secondary: MakeModel
) -> None:
    before = [Turn(heard="Who is it?", say="Iris.")]
    after = [Turn(heard="Are you there?", say="Yes.")]
    async with Emulator(Script(before)) as first, Emulator(Script(after)) as second:
        model = llm.RealtimeModelFallbackAdapter([primary(first), secondary(second)])
        call = await start_room_call(first, model=model)
        call.microphone.say("Who is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["Iris."])
        await call.caller.until(lambda: call.caller.agent_state == "listening")
        await first.aclose()
        await second.wait_until(lambda: len(said(second)) == 2, timeout=20)
        assert said(second) == [("user", "Who is it?"), ("assistant", "Iris.")]
        call.microphone.say("Are you there?")
        await call.caller.until(lambda: call.caller.texts("agent")[-1:] == ["Yes."])
        assert call.texts("user") == ["Who is it?", "Are you there?"]
        assert call.named("close") == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("primary", "secondary"), CHANGES)
async def test_a_reply_that_breaks_off_is_given_by_the_next_model(
    start_room_call: StartRoomCall, primary: MakeModel, secondary: MakeModel
) -> None:
    async with (
        Emulator(Script([Turn(say=LONG, stall=True)])) as first,
        Emulator(Script([Turn(say="Again.")])) as second,
    ):
        model = llm.RealtimeModelFallbackAdapter([primary(first), secondary(second)])
        call = await start_room_call(first, model=model)
        call.session.generate_reply()
        await call.caller.until(lambda: len("".join(call.caller.texts("agent", final=False)).split()) > 5)
        await first.aclose()
        await call.caller.until(lambda: call.caller.texts("agent")[-1:] == ["Again."])
        broken, again = call.texts("assistant")
        assert again == "Again."
        assert LONG.startswith(broken.rstrip())
        assert said(second) == [("assistant", broken)]
        assert call.named("close") == []
