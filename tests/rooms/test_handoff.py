"""One agent hands the caller over to another."""

from __future__ import annotations

from typing import Any

from livekit.agents import Agent, function_tool

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn

from .conftest import SERVER_VAD, StartRoomCall


class Billing(Agent):
    def __init__(self, **options: Any) -> None:
        super().__init__(instructions="You do the bills.", **options)

    @function_tool
    async def amount_due(self) -> str:
        """What the caller has to pay."""
        return "ten euros"


class Reception(Agent):
    def __init__(self, colleague: Billing) -> None:
        super().__init__(instructions="You pass callers on.")
        self.colleague = colleague

    @function_tool
    async def pass_on(self) -> Agent:
        """Pass the caller on."""
        return self.colleague


PASS_ON = Turn(heard="My bill is wrong.", tool=ToolCall("pass_on"))
BILL = [Turn(heard="How much is it?", tool=ToolCall("amount_due")), Turn(say="It is ten euros.")]


def configured(server: Emulator) -> list[tuple[str, list[str]]]:
    """Instructions and tools of each configuration that named both, in order; no two in a row are the same."""
    found: list[tuple[str, list[str]]] = []
    for session in server.sessions:
        for event in session.sent:
            if event["type"] == "session.updated":
                kept = event["session"]
                entry = (kept["instructions"], [tool["name"] for tool in kept["tools"]])
                if found[-1:] != [entry]:
                    found.append(entry)
    return found


async def test_a_handoff_keeps_the_connection_and_changes_what_the_model_is_told(
    start_room_call: StartRoomCall,
) -> None:
    async with Emulator(Script([PASS_ON, *BILL])) as server:
        billing = Billing()
        call = await start_room_call(server, Reception(billing))
        call.microphone.say("My bill is wrong.")
        await server.wait_until(lambda: len(configured(server)) == 2, timeout=20)
        call.microphone.say("How much is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["It is ten euros."])
        assert call.session.current_agent is billing
        assert configured(server) == [("You pass callers on.", ["pass_on"]), ("You do the bills.", ["amount_due"])]
        assert len(server.sessions) == 1
        assert call.caller.texts("caller") == ["My bill is wrong.", "How much is it?"]
        assert server.sent("error") == []


async def test_an_agent_with_a_model_of_its_own_gets_a_connection_of_its_own(start_room_call: StartRoomCall) -> None:
    # LiveKit closes the connection that is left behind: a transcript that came later would be lost.
    at_once = Knobs(transcription_latency=0.0)
    async with Emulator(Script([PASS_ON]), knobs=at_once) as first, Emulator(Script(BILL)) as second:
        model = RealtimeModel(api_key="sk-test", base_url=second.base_url, turn_detection=SERVER_VAD)
        call = await start_room_call(first, Reception(Billing(llm=model)))
        call.microphone.say("My bill is wrong.")
        await second.wait_until(lambda: configured(second) != [], timeout=20)
        call.microphone.say("How much is it?")
        await call.caller.until(lambda: call.caller.texts("agent") == ["It is ten euros."])
        assert configured(first) == [("You pass callers on.", ["pass_on"])]
        assert configured(second) == [("You do the bills.", ["amount_due"])]
        await first.wait_until(lambda: first.sessions[0].closed is not None, timeout=20)
        assert call.caller.texts("caller") == ["My bill is wrong.", "How much is it?"]
