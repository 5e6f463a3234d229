"""MCP tools that the server runs: what the application hears, what the history holds, who asks for the answer."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from livekit.agents import llm

from livekit_plugins_openai_ga import MCPTool
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DropOn, FailToolList, InjectOn, RejectOn
from livekit_plugins_openai_ga.emulator.voice import synthetic

from .conftest import played

SECRET = "mcp-secret-token"
ASK = MCPCall("shop", "find", {"what": "socks"}, output="3 pairs", seconds=0.05)
ASKS = Turn(mcp=(ASK,))
TELLS = Turn(say="There are three pairs.")


def shop(**options: Any) -> MCPTool:
    where = {"server_label": "shop", "server_url": "https://shop.test/mcp", "authorization": SECRET}
    return MCPTool(**{**where, "require_approval": "never", **options})


def emulator(*turns: Turn, faults: Any = (), **options: Any) -> Emulator:
    fast = {"mcp_list_latency": 0.0, "reply_latency": 0.0, "pace": 200.0, "speak": synthetic}
    return Emulator(Script(turns), knobs=Knobs(**{**fast, **options}), faults=faults)


def shown(context: llm.ChatContext) -> list[Any]:
    return [
        (item.name, item.arguments)
        if item.type == "function_call"
        else (item.output, item.is_error)
        if item.type == "function_call_output"
        else item.text_content
        for item in context.items
    ]


def on(call: Any, name: str) -> list[Any]:
    """What comes with each event of this name."""
    call.events.setdefault(name, [])
    call.session.on(name, lambda event: call._note(name, event))
    return call.events[name]


# -- a call --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_response", [True, False])
async def test_one_reply_holds_the_call_and_what_the_agent_says_of_it(open_session, reading, in_response):
    asks = Turn(say="One moment.", mcp=(ASK,))
    async with emulator(asks, TELLS, mcp_in_response=in_response) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        reply = await call.session.generate_reply()
        said = [text for text, _ in await reading(reply)]
        assert said == played("One moment.", "There are three pairs.")
        assert len(call.events["generation_created"]) == 1
        _, second = server.received("response.create")
        assert "instructions" not in second["response"]
        (metrics,) = [each for each in call.events["metrics_collected"] if each.request_id]
        done = [event["response"]["usage"] for event in server.sessions[0].sent if event["type"] == "response.done"]
        assert metrics.output_tokens == sum(usage["output_tokens"] for usage in done)
        assert shown(call.session.chat_ctx) == [
            "One moment.",
            ("find", '{"what": "socks"}'),
            ("3 pairs", False),
            "There are three pairs.",
        ]
        assert not server.received("conversation.item.create")
        assert call.errors == []


async def test_a_failed_call_is_told_of_and_answered(open_session, reading):
    broken = Turn(mcp=(MCPCall("shop", "find", error=("http_error", "Bad gateway"), seconds=0.0),))
    async with emulator(broken, Turn(say="That did not work.")) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["That did not work."]
        assert ("Error: Bad gateway", False) in shown(call.session.chat_ctx)
        assert call.session.counters["MCP call failed: shop.find"] == 1


async def test_several_calls_are_answered_once(open_session, reading):
    two = Turn(mcp=(ASK, MCPCall("shop", "find", {"what": "hats"}, output="none", seconds=0.2)))
    async with emulator(two, TELLS, mcp_in_response=False) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        assert len(await reading(await call.session.generate_reply())) == 1
        assert len(server.received("response.create")) == 2


async def test_a_call_that_runs_makes_the_session_busy(open_session):
    async with emulator(Turn(mcp=(MCPCall("shop", "find", seconds=3600.0),)), mcp_in_response=False) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await call.session.generate_reply()
        await call.until(lambda: any(event["type"] == "response.done" for event in call.events[RAW]))
        assert call.session.has_active_generation


async def test_a_forced_choice_does_not_call_for_ever(open_session, reading):
    async with emulator(ASKS, TELLS) as server:
        call = open_session(server, tool_choice={"type": "mcp", "server_label": "shop"})
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        assert [event["response"].get("tool_choice") for event in server.received("response.create")] == [None, "auto"]


async def test_after_an_interruption_the_agent_says_what_a_call_brought_when_it_is_asked(open_session, reading):
    asks = Turn(mcp=(MCPCall("shop", "find", output="3 pairs", seconds=0.3),))
    async with emulator(asks, TELLS, mcp_in_response=False) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        first = await call.session.generate_reply()
        await call.until(lambda: any(event["type"] == "response.done" for event in call.events[RAW]))
        call.session.interrupt()
        assert await reading(first) == []
        await call.until(lambda: shown(call.session.chat_ctx))
        await call.session.update_instructions("All quiet.")
        assert shown(call.session.chat_ctx) == [("find", "{}"), ("3 pairs", False)]
        assert len(server.received("response.create")) == 1
        assert [text for text, _ in await reading(await call.session.generate_reply())] == ["There are three pairs."]


async def test_a_reply_out_of_band_calls_no_tool_that_the_server_runs(open_session):
    script = Script((ASKS,), out_of_band=(Turn(say="Socks, I think.", mcp=(ASK,)),))
    async with Emulator(script, knobs=Knobs(mcp_list_latency=0.0, reply_latency=0.0)) as server:
        call = open_session(server, modalities=["text"])
        await call.session.update_tools([shop()])
        reply = await call.session.generate_reply(conversation="none", instructions="What do they want?")
        assert (await reply.text()).splitlines() == ["Socks, I think.", "(tool find is not available)"]
        assert not any(event["type"].startswith("response.mcp_call") for event in call.events[RAW])


# -- approvals -----------------------------------------------------------------------------------------------------


async def test_a_call_runs_when_it_is_approved_and_the_agent_answers(open_session, reading, caplog):
    async with emulator(ASKS, TELLS) as server:
        call = open_session(server)
        asked = on(call, "mcp_approval_requested")
        await call.session.update_tools([shop(require_approval="always")])
        assert await reading(await call.session.generate_reply()) == []  # the conversation goes on meanwhile
        (request,) = asked
        assert (request.server_label, request.name, request.arguments) == ("shop", "find", '{"what": "socks"}')
        assert "socks" not in repr(request)
        assert "nobody listens" not in caplog.text
        request.approve()
        answer = await call.first("generation_created", 2)
        assert [text for text, _ in await reading(answer)] == ["There are three pairs."]
        (sent,) = server.received("conversation.item.create")
        assert (sent["item"]["approve"], sent["item"]["approval_request_id"]) == (True, request.request_id)
        assert shown(call.session.chat_ctx)[:2] == [("find", '{"what": "socks"}'), ("3 pairs", False)]
        with pytest.raises(llm.RealtimeError, match="waits no more"):
            request.approve()


async def test_a_denied_call_does_not_run_and_the_agent_goes_on(open_session, reading):
    async with emulator(ASKS, Turn(say="Then not.")) as server:
        call = open_session(server)
        on(call, "mcp_approval_requested")
        await call.session.update_tools([shop(require_approval={"always": {"tool_names": ["find"]}})])
        await reading(await call.session.generate_reply())
        call.events["mcp_approval_requested"][0].deny("Too dear.")
        answer = await call.first("generation_created", 2)
        assert [text for text, _ in await reading(answer)] == ["Then not."]
        assert server.received("conversation.item.create")[0]["item"]["reason"] == "Too dear."
        assert not any(event["type"].startswith("response.mcp_call.") for event in call.events[RAW])


async def test_an_approval_that_nobody_listens_for_is_said_in_the_log(open_session, reading, caplog):
    async with emulator(ASKS) as server:
        call = open_session(server)
        await call.session.update_tools([shop(require_approval="always")])
        await reading(await call.session.generate_reply())
    told = [record.getMessage() for record in caplog.records if "approval" in record.getMessage()]
    assert len(told) == 1
    assert "shop.find" in told[0]


async def test_an_approval_does_not_outlive_its_connection(open_session, reading):
    async with emulator(ASKS) as server:
        call = open_session(server)
        asked = on(call, "mcp_approval_requested")
        await call.session.update_tools([shop(require_approval="always")])
        await reading(await call.session.generate_reply())
        call.session.restart()
        await call.first("session_reconnected")
        with pytest.raises(llm.RealtimeError, match="connection has gone"):
            asked[0].approve()


# -- lists ---------------------------------------------------------------------------------------------------------


async def test_the_tools_of_a_server_are_told(open_session):
    async with emulator(ASKS, Turn(mcp=(MCPCall("shop", "buy"),))) as server:
        call = open_session(server)
        listed = on(call, "mcp_tools_listed")
        await call.session.update_tools([shop(allowed_tools=["find"])])
        await call.until(lambda: listed)
        assert (listed[0].server_label, listed[0].tools) == ("shop", ("find",))


async def test_a_server_that_lists_no_tools_is_named_and_the_session_goes_on(open_session, reading):
    async with emulator(TELLS, faults=[FailToolList()]) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        error = await call.first("error")
        assert error.recoverable
        assert "mcp_list_tools_failed" in str(error.error)
        assert "'shop'" in str(error.error)
        assert len(await reading(await call.session.generate_reply())) == 1


# -- a lost connection ---------------------------------------------------------------------------------------------


async def test_a_new_connection_has_the_server_its_secrets_and_what_the_call_brought(open_session, reading):
    async with emulator(ASKS, TELLS) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        before = call.session.chat_ctx
        call.session.restart()
        await call.first("session_reconnected")
        await call.until(lambda: len(server.sessions[-1].items) == 4)
        assert server.received("session.update")[-1]["session"]["tools"][0]["authorization"] == SECRET
        made = [item for item in server.sessions[-1].items if item["type"] != "mcp_list_tools"]
        assert [item["type"] for item in made] == ["function_call", "function_call_output", "message"]
        after = call.session.chat_ctx
        assert [item.id for item in after.items] == [item.id for item in before.items]
        assert shown(after) == shown(before)


async def test_a_call_that_ran_when_the_connection_broke_is_not_made_twice(open_session, reading):
    drop = DropOn("response.mcp_call.in_progress")
    async with emulator(ASKS, TELLS, faults=[drop]) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        assert await reading(await call.session.generate_reply()) == []
        await call.first("session_reconnected")
        await call.session.update_instructions("All quiet.")
        assert len(server.received("response.create")) == 1


async def test_the_rest_of_a_reply_is_asked_for_again_on_the_next_connection(open_session, reading):
    async with emulator(ASKS, TELLS, TELLS, faults=[DropOn("response.created", nth=2)]) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        assert len(await reading(await call.session.generate_reply())) == 1
        assert len(server.sessions) == 2
        assert len(call.events["generation_created"]) == 1


# -- the history that LiveKit holds --------------------------------------------------------------------------------


async def test_livekit_is_told_of_a_call_when_it_has_its_result(open_session, reading):
    async with emulator(ASKS, TELLS) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        assert [event.item.type for event in call.events["remote_item_added"]] == [
            "function_call",
            "function_call_output",
            "message",
        ]


@pytest.mark.parametrize("kept", ["as it is", "made anew", "without calls"])
async def test_a_context_that_comes_back_changes_nothing(open_session, reading, kept):
    async with emulator(Turn(say="Wait.", mcp=(ASK,)), TELLS) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        before = [item["id"] for item in server.sessions[0].items]
        context = call.session.chat_ctx
        if kept == "made anew":
            context = llm.ChatContext.from_dict(context.to_dict())
        elif kept == "without calls":
            context = context.copy(tools=[])
        await call.session.update_chat_ctx(context)
        await call.session.update_instructions("All quiet.")
        assert [item["id"] for item in server.sessions[0].items] == before
        assert not server.received("conversation.item.delete")
        assert not server.received("conversation.item.create")


async def test_a_call_goes_with_the_item_in_front_of_it(open_session, reading):
    async with emulator(Turn(say="Wait.", mcp=(ASK,)), TELLS) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        await call.session.update_chat_ctx(llm.ChatContext.empty())
        await call.until(lambda: len(server.sessions[0].items) == 1)
        assert server.sessions[0].items[0]["type"] == "mcp_list_tools"  # without it the model would have no tools
        assert call.session.chat_ctx.items == []


async def test_another_session_can_be_given_the_history(open_session, reading):
    async with emulator(ASKS, TELLS) as server:
        call = open_session(server)
        await call.session.update_tools([shop()])
        await reading(await call.session.generate_reply())
        other = open_session(server)
        await other.session.update_chat_ctx(call.session.chat_ctx)
        assert [item["type"] for item in server.sessions[1].items] == [
            "function_call",
            "function_call_output",
            "message",
        ]
        assert call.errors == other.errors == []


# -- secrets -------------------------------------------------------------------------------------------------------


async def test_what_is_secret_in_a_server_is_sent_and_shown_to_nobody(open_session, reading, caplog):
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    quoted = {"type": "invalid_request_error", "code": "x", "message": f"What is {SECRET}?", "param": None}
    fault = InjectOn("response.created", {"type": "error", "event_id": "e", "error": {**quoted, "event_id": None}})
    async with emulator(ASKS, TELLS, faults=[fault]) as server:
        call = open_session(server)
        tool = shop(headers={"X-Key": SECRET}, server_url=f"https://shop.test/{SECRET}")
        await call.session.update_tools([tool])
        await reading(await call.session.generate_reply())
        (sent,) = [event for event in call.events["openai_client_event_queued"] if "tools" in event.get("session", {})]
        printed = [repr(tool), repr(tool.payload), repr(sent), repr(call.session.info), caplog.text]
        printed += [str(error.error) for error in call.errors] + [
            repr(event) for event in call.events[RAW] if event["type"] == "error"
        ]
        assert any("What is [redacted]?" in text for text in printed)
        assert [text for text in printed if SECRET in text] == []
        assert server.received("session.update")[-1]["session"]["tools"][0]["headers"] == {"X-Key": SECRET}


@pytest.mark.parametrize("version", ["1", "create_item"])
async def test_a_header_that_is_no_key_leaves_what_an_error_is_known_by(open_session, version):
    refused = RejectOn("conversation.item.create", "create_item_refused", f"No create_item. Is it {SECRET}?")
    async with emulator(faults=[refused]) as server:
        call = open_session(server)
        headers = {"X-Version": version, "X-Kind": "request_error", "X-Key": f"Token {SECRET}"}
        await call.session.update_tools([shop(authorization=None, headers=headers)])
        told = llm.ChatMessage(role="user", content=["Hello."], id="create_item_1")
        await call.session.update_chat_ctx(llm.ChatContext([told]))  # left out, and that is all
        (error,) = [event["error"] for event in call.events[RAW] if event["type"] == "error"]
        (sent,) = server.received("conversation.item.create")
        assert (error["event_id"], error["code"]) == (sent["event_id"], "create_item_refused")
        assert error["type"] == "invalid_request_error"
        assert error["message"].endswith("Is it [redacted]?")
        assert call.session.chat_ctx.items == []
        assert len(server.sessions) == 1


RAW = "openai_server_event_received"
