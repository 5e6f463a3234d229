"""The programs of docs/production.md, on the agent that the README shows."""

from __future__ import annotations

from types import SimpleNamespace

from livekit import api
from livekit.agents.types import NOT_GIVEN

from livekit_plugins_openai_ga.emulator import Emulator

from .blocks import blocks
from .given import GIVEN
from .programs import run


async def test_the_agent_that_is_ready_sooner_greets_on_the_connection_made_ahead(server: Emulator) -> None:
    (talk,) = [block for block in blocks("docs/production.md", "python") if "model.prewarm(" in block.code]
    names = GIVEN["docs/production.md"]()
    await run(talk, names)
    await names["talk"](SimpleNamespace(room=NOT_GIVEN))  # a session without a room
    await server.wait_received("response.create")
    assert [update["session"]["instructions"] for update in server.received("session.update")] == [
        names["Assistant"]().instructions
    ]
    assert len(server.sessions) == 1


async def test_another_agent_is_asked_for(dispatches: list[api.CreateAgentDispatchRequest]) -> None:
    (ask,) = [block for block in blocks("docs/production.md", "python") if "create_dispatch" in block.code]
    await run(ask, {})
    assert [dispatch.room for dispatch in dispatches] == ["the-room"]
