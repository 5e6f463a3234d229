"""The README's agent, as it stands in examples/, and the page about the examples."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "agent.py"


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


def test_the_page_names_every_example_and_a_script_for_it():
    rows = re.findall(r"^\| `(\w+\.py)` \| .+ \| `(\w+\.json)` \|$", (EXAMPLES / "README.md").read_text(), re.M)
    assert sorted(name for name, _ in rows) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    of_browser = {"browser.json"}  # which has a page of its own
    assert {script for _, script in rows} | of_browser == {path.name for path in (EXAMPLES / "scripts").glob("*.json")}
