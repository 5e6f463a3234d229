"""The README's agent, as it stands in examples/."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn

EXAMPLE = Path(__file__).parents[2] / "examples" / "agent.py"


async def test_the_examples_agent_holds_a_call(start_call):
    spec = importlib.util.spec_from_file_location("example_agent", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    turns = [
        Turn(say="Hello!"),
        Turn(heard="Weather in Rome?", tool=ToolCall("get_weather", {"city": "Rome"})),
        Turn(say="Sunny in Rome."),
    ]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server, example.Assistant())
        await call.until(lambda: call.texts("assistant") == ["Hello!"])
        call.microphone.say("What is the weather in Rome?")
        await call.until(lambda: "Sunny in Rome." in call.texts("assistant"))
        outputs = [e["item"] for e in server.received("conversation.item.create")]
        assert [o["output"] for o in outputs if o["type"] == "function_call_output"] == ["It is sunny in Rome."]
