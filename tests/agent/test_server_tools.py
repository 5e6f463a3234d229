"""The agent of docs/server-tools.md, as it stands there: tools that OpenAI runs, in LiveKit's own agent."""

from __future__ import annotations

from typing import Any

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, Turn
from tests.docs.programs import program

FIND = MCPCall("shop", "find", {"what": "socks"}, output="3 pairs", seconds=0.1)
BUY = MCPCall("shop", "buy", output="bought", seconds=0.1)
STEAL = MCPCall("shop", "steal")


async def shopkeeper(monkeypatch: Any) -> Any:
    monkeypatch.setenv("SHOP_TOKEN", "hush-hush")
    return (await program("docs/server-tools.md"))["Shopkeeper"]()


async def test_the_agent_of_the_page_answers_what_its_tools_bring(start_call, monkeypatch):
    turns = (Turn(mcp=(FIND,)), Turn(say="Three pairs."), Turn(mcp=(BUY,)), Turn(say="Yours."))
    async with Emulator(Script(turns), knobs=Knobs(mcp_list_latency=0.0)) as server:
        agent = await shopkeeper(monkeypatch)
        call = await start_call(server, agent)
        await call.session.generate_reply()
        assert call.texts("assistant") == ["Three pairs."]
        await call.session.generate_reply()
        await call.until(lambda: call.texts("assistant") == ["Three pairs.", "Yours."])
        assert [item.type for item in agent.chat_ctx.items if item.type != "agent_config_update"] == [
            *("function_call", "function_call_output", "message"),
            *("function_call", "function_call_output", "message"),
        ]
        before = [item["id"] for item in server.sessions[0].items]
        await agent.update_chat_ctx(agent.chat_ctx)  # in which LiveKit leaves out calls of functions it does not know
        await agent.update_instructions("You sell hats.")
        assert [item["id"] for item in server.sessions[0].items] == before
        assert call.named("error") == call.named("function_tools_executed") == []


async def test_the_agent_of_the_page_denies_what_it_does_not_know(start_call, monkeypatch):
    async with Emulator(Script((Turn(mcp=(STEAL,)), Turn(say="Sorry, no.")))) as server:
        call = await start_call(server, await shopkeeper(monkeypatch))
        await call.session.generate_reply()
        await call.until(lambda: call.texts("assistant") == ["Sorry, no."])
        (answer,) = server.received("conversation.item.create")
        assert answer["item"]["reason"] == "Only the manager may do that."
