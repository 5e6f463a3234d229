"""examples/agent.py in every way to start it, and examples/swap.py with either plugin."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script

from .conftest import Microphone
from .example_call import EXAMPLES, ExampleCall, example_call, script
from .worker import environment, running, running_worker

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("agent.json")
GREETING, QUESTION, ANSWER = TURNS[0].say, TURNS[1].heard, TURNS[2].say


async def ask_for_the_weather(call: ExampleCall) -> None:
    await call.agent_arrives()
    await call.caller.until(lambda: call.agent_texts() == [GREETING])
    call.microphone.say(QUESTION)
    await call.caller.until(lambda: call.agent_texts() == [GREETING, ANSWER])
    assert call.caller.texts("caller") == [QUESTION]
    assert call.tool_outputs() == ["It is sunny in Rome."]
    assert call.caller.agent_ear is not None
    assert call.caller.agent_ear.audible


MODES = [
    pytest.param("dev", (), id="dev"),
    # As a simulation it has no health check on the fixed port 8081, and takes the job on a busy machine.
    pytest.param("start", ("--simulation",), id="start"),
]


@pytest.mark.parametrize(("mode", "arguments"), MODES)
async def test_the_agent_greets_and_uses_its_tool(
    livekit: LiveKitServer, room_name: str, mode: str, arguments: tuple[str, ...]
) -> None:
    async with example_call(livekit, room_name, "agent.py", TURNS, mode=mode, arguments=arguments) as call:
        await ask_for_the_weather(call)


async def test_the_agent_can_be_sent_to_one_room(livekit: LiveKitServer, room_name: str) -> None:
    """`connect` waits for no dispatch, so the room may have people in it already."""
    async with (
        Emulator(Script(TURNS)) as model,
        RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller,
    ):
        microphone = Microphone()
        await caller.publish_microphone(microphone)
        variables = environment(livekit, model.base_url)
        async with running_worker(EXAMPLES / "agent.py", "connect", variables, "--room", room_name) as worker:
            await ask_for_the_weather(ExampleCall(model, worker, caller, microphone))


@pytest.mark.parametrize("mode", [("--dev",), ("--simulation",)], ids=["lk agent dev", "lk agent start"])
async def test_the_livekit_cli_finds_the_agents_server(
    livekit: LiveKitServer, room_name: str, mode: tuple[str, ...]
) -> None:
    """`lk agent dev|start agent.py` runs this; it wants a global AgentServer, and runs nothing below `__main__`."""
    async with Emulator(Script(TURNS)) as model:
        command = ("-m", "livekit.agents", "start", EXAMPLES / "agent.py", *mode)
        async with (
            running(*command, environment=environment(livekit, model.base_url)) as worker,
            RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller,
        ):
            call = ExampleCall(model, worker, caller, Microphone())
            await call.agent_arrives()
            await caller.until(lambda: call.agent_texts() == [GREETING])


PLUGINS = [
    pytest.param({}, "livekit_plugins_openai_ga", id="ours"),
    pytest.param({"OFFICIAL": "1", "OPENAI_API_KEY": "any"}, "livekit.plugins.openai", id="official"),
]


@pytest.mark.parametrize(("variables", "plugin"), PLUGINS)
async def test_the_plugins_are_swapped_by_one_variable(
    livekit: LiveKitServer, room_name: str, variables: dict[str, str], plugin: str
) -> None:
    async with example_call(livekit, room_name, "swap.py", TURNS, variables=variables) as call:
        await ask_for_the_weather(call)
        registered = [line for line in call.worker.log if "plugin registered" in line]
        assert len(registered) == 1
        assert f'"{plugin}"' in registered[0]
