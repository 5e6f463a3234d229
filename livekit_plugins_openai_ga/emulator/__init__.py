"""A strict local server that speaks OpenAI's GA Realtime API, for tests and demos without a key.

    async with Emulator(Script([Turn(heard="Hello", say="Hi there.")])) as server:
        model = RealtimeModel(base_url=server.base_url, api_key="sk-test")

It refuses what OpenAI refuses, in the same words. It does not understand speech: it hears that somebody spoke, and
takes what was said, and what to answer, from the script. `faults` are things that go wrong on purpose. How agents are
tested with it: docs/testing.md.
"""

from . import faults
from .actions import Close
from .knobs import Knobs
from .script import MCPCall, Script, ToolCall, Turn
from .server import Emulator
from .session import EmulatorSession
from .voice import speak

__all__ = [
    "Close",
    "Emulator",
    "EmulatorSession",
    "Knobs",
    "MCPCall",
    "Script",
    "ToolCall",
    "Turn",
    "faults",
    "speak",
]
