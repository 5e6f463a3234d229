"""The agent of examples/diagnose.py, as it stands there: what it writes down in a call that loses its connection."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import CloseOn

EXAMPLE = Path(__file__).parents[2] / "examples" / "diagnose.py"


async def test_a_lost_connection_is_written_down_with_both_sessions(start_call, caplog):
    spec = importlib.util.spec_from_file_location("example_diagnose", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    caplog.set_level("INFO", logger=example.log.name)

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == example.log.name]

    fault = CloseOn("rate_limits.updated", 1011, "not well", nth=2)
    turns = Script([Turn(say="Hello!"), Turn(say="Again.")])
    async with Emulator(turns, faults=[fault]) as server:
        call = await start_call(server, example.Assistant())
        await call.until(lambda: call.texts("assistant") == ["Hello!"])
        await call.session.generate_reply()
        await call.until(lambda: any("now session" in line for line in lines()))
        first, second = (event["session"]["id"] for event in server.sent("session.created"))
        told = lines()
        assert told[0] == f"session {first}"
        assert " tokens left, all again in 0.001 s" in told[1]
        code, _, info = next(line for line in told if line.startswith("close_1011")).partition(": ")
        assert (code, json.loads(info)["session_id"], json.loads(info)["close_reason"]) == (
            "close_1011",
            first,
            "not well",
        )
        assert told[-1] == f"now session {second}"
