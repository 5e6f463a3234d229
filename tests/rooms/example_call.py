"""An example of examples/ as a user runs it: in processes of its own, over an emulator, with a caller in its room."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .conftest import Microphone
from .worker import Worker, environment, running_worker

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str) -> tuple[Turn, ...]:
    """What the emulator hears and says with `--script examples/scripts/<name>`."""
    return Script.load(EXAMPLES / "scripts" / name).turns


@dataclass
class ExampleCall:
    """A running example, the model it talks to, and somebody who talks to it."""

    model: Emulator
    worker: Worker
    caller: RoomCaller
    microphone: Microphone

    async def agent_arrives(self) -> None:
        """Wait until the job has been given to a process and that has joined: seconds, on a busy machine many."""
        await self.caller.until(lambda: self.caller.agent, timeout=60.0)

    @property
    def agent(self) -> str:
        """The identity of the example's participant."""
        assert self.caller.agent is not None
        return self.caller.agent.identity

    def agent_texts(self) -> list[str]:
        """What the agent has said, as the caller reads it; empty before it is there."""
        return self.caller.texts(self.agent) if self.caller.agent else []

    def tool_outputs(self) -> list[str]:
        """What the model was told by tools, in order."""
        items = [event["item"] for event in self.model.received("conversation.item.create")]
        return [item["output"] for item in items if item["type"] == "function_call_output"]


@contextlib.asynccontextmanager
async def example_call(
    livekit: LiveKitServer,
    room: str,
    name: str,
    turns: Sequence[Turn],
    *,
    mode: str = "dev",
    arguments: Sequence[str] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[ExampleCall]:
    """Starts `python examples/<name> <mode> <arguments>` with an emulator, and joins `room` with a microphone.

    The agent is there, but what it does at first may not be done.
    """
    async with (
        Emulator(Script(turns)) as model,
        running_worker(
            EXAMPLES / name, mode, {**environment(livekit, model.base_url), **variables}, *arguments
        ) as worker,
        RoomCaller.join(livekit.url, livekit.token("caller", room)) as caller,
    ):
        microphone = Microphone()
        await caller.publish_microphone(microphone)
        call = ExampleCall(model, worker, caller, microphone)
        await call.agent_arrives()
        yield call
