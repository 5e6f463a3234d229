"""A connection made before there is a session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import Agent, AgentSession, APIConnectOptions, function_tool, llm

from livekit_plugins_openai_ga import MCPTool, RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, MCPCall, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DelayOn, RefuseHandshake, RejectHandshake, RejectOn, SwallowOn

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
ALL = RealtimeModel(api_key="sk-test").options.session_payload(None, [])
FIRST, SECOND = "gpt-realtime-2.1", "gpt-realtime-2.1-mini"


@pytest.fixture
async def make_model(set_up_at_once):
    made: list[RealtimeModel] = []

    def make(server: Emulator, **options) -> RealtimeModel:
        made.append(RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK, **options))
        return made[-1]

    yield make
    for model in made:
        await model.aclose()


def asked(server: Emulator) -> list[dict[str, Any]]:
    return [update["session"] for update in server.received("session.update")]


async def warm(model: RealtimeModel, server: Emulator) -> None:
    """Prewarm, until `session.created` came."""
    model.prewarm()
    await server.wait_sent("session.created")
    await asyncio.sleep(0.05)  # it is on its way


async def test_the_first_session_takes_the_warm_connection_and_the_next_dials(make_model):
    async with Emulator() as server:
        model = make_model(server)
        model.prewarm()
        await warm(model, server)
        assert len(server.handshakes) == 1
        session = model.session()
        created = []
        session.on("session_created", created.append)
        await session.update_instructions("Be brief.")
        assert len(server.handshakes) == 1
        assert [(event.session_id, event.connection) for event in created] == [(session.info.session_id, 1)]
        assert asked(server) == [ALL, {"type": "realtime", "instructions": "Be brief."}]
        other = model.session()
        await other.update_instructions("Be kind.")
        assert len(server.handshakes) == 2
        await session.aclose()
        await other.aclose()


def look_up_tool() -> llm.FunctionTool:
    @function_tool
    async def look_up(name: str) -> str:
        """Look something up."""
        return name

    return look_up


async def test_a_session_that_is_what_was_prewarmed_asks_for_nothing_more(make_model, reading):
    # An answer to another update would never come.
    async with Emulator(Script([Turn(say="Hi.")]), faults=[SwallowOn("session.updated", nth=2)]) as server:
        model, tools = make_model(server), [look_up_tool()]
        model.prewarm(instructions="Be brief.", tools=tools)
        await server.wait_sent("session.updated")
        session = model.session()
        await session._update_session(instructions="Be brief.", chat_ctx=llm.ChatContext.empty(), tools=tools)
        assert (await reading(await session.generate_reply()))[0][0] == "Hi."
        (update,) = asked(server)
        assert (update["instructions"], [tool["name"] for tool in update["tools"]]) == ("Be brief.", ["look_up"])
        assert [event["type"] for event in server.sessions[0].received] == ["session.update", "response.create"]
        await session.aclose()


async def test_an_agent_that_was_prewarmed_starts_with_one_update_in_all():
    agent = Agent(instructions="Be brief.", tools=[look_up_tool()])
    async with Emulator() as server:
        model = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK)
        model.prewarm(instructions=agent.instructions, tools=agent.tools)
        await server.wait_sent("session.updated")
        session: AgentSession[None] = AgentSession(llm=model)
        await session.start(agent)
        assert len(server.received("session.update")) == 1
        await session.aclose()
        await model.aclose()


async def test_the_tools_of_an_mcp_server_are_listed_before_there_is_a_session(make_model, reading):
    script = Script([Turn(mcp=(MCPCall("shop", "find", {"what": "socks"}, output="3 pairs"),)), Turn(say="Three.")])
    async with Emulator(script, knobs=Knobs(mcp_list_latency=0.1)) as server:
        shop = MCPTool(server_label="shop", server_url="https://shop.test/mcp", require_approval="never")
        model, tools = make_model(server), [shop]
        model.prewarm(instructions="Be brief.", tools=tools)
        await server.wait_sent("mcp_list_tools.completed")
        session = model.session()
        listed: list[Any] = []
        session.on("mcp_tools_listed", listed.append)
        await session._update_session(instructions="Be brief.", tools=tools)
        assert len(asked(server)) == 1
        assert (await reading(await session.generate_reply()))[0][0] == "Three."
        assert [event.server_label for event in listed] == ["shop"]
        await session.aclose()


async def test_what_is_refused_ahead_is_asked_for_again_by_the_session_and_not_told(make_model):
    refusal = RejectOn("session.update", "invalid_value", "Not now.", "session.tools")
    async with Emulator(faults=[refusal]) as server:
        model = make_model(server)
        model.prewarm()
        await server.wait_sent("error")
        session = model.session()
        errors: list[llm.RealtimeModelError] = []
        session.on("error", errors.append)
        await session.update_instructions("Be brief.")
        await server.wait_sent("session.updated", count=2)
        assert asked(server) == [ALL, {"type": "realtime", "instructions": "Be brief."}, asked(server)[2]]
        assert asked(server)[2] == {**ALL, "instructions": "Be brief."}
        assert (errors, len(server.handshakes)) == ([], 1)
        await session.aclose()


async def test_what_is_refused_for_good_is_told_by_the_session(make_model):
    refusal = RejectOn("session.update", "invalid_value", "Never.", "session.audio.output.speed", times=3)
    async with Emulator(faults=[refusal]) as server:
        model = make_model(server)
        model.prewarm(instructions="Be brief.")
        session = model.session()
        told: asyncio.Future[llm.RealtimeModelError] = asyncio.get_running_loop().create_future()
        session.on("error", told.set_result)
        with pytest.raises(llm.RealtimeError, match="Never"):
            await session.update_instructions("Be brief.")
        assert not (await asyncio.wait_for(told, 2.0)).recoverable
        await session.aclose()


async def test_only_what_an_agent_has_of_its_own_goes_out_on_a_warm_connection(make_model):
    history = llm.ChatContext()
    history.add_message(role="user", content="My name is Ada.")

    async with Emulator() as server:
        model = make_model(server)
        await warm(model, server)
        session = model.session()
        await session._update_session(instructions="Be brief.", chat_ctx=history, tools=[look_up_tool()])
        told, own = asked(server)
        assert told == ALL
        assert sorted(own) == ["instructions", "tools", "type"]
        assert len(server.received("conversation.item.create")) == 1
        await session.aclose()


async def test_the_options_are_told_to_the_server_before_there_is_a_session(make_model):
    async with Emulator() as server:
        await warm(make_model(server, voice="cedar", speed=1.1), server)
        await server.wait_sent("session.updated")
        (told,) = asked(server)
        assert told["audio"]["output"] == {
            "format": {"type": "audio/pcm", "rate": 24000},
            "voice": "cedar",
            "speed": 1.1,
        }
        assert [event["type"] for event in server.sessions[0].received] == ["session.update"]


async def test_what_is_asked_for_after_prewarming_is_in_the_sessions_configuration(make_model):
    async with Emulator() as server:
        model = make_model(server)
        await warm(model, server)
        model.update_options(speed=1.2)
        session = model.session(turn_detection_disabled=True)
        await session.update_instructions("Be brief.")
        _, update = asked(server)
        assert update["audio"] == {"input": {"turn_detection": None}, "output": {"speed": 1.2}}
        assert len(server.handshakes) == 1
        await session.aclose()


async def test_a_session_waits_for_the_warm_connection_that_is_being_opened(make_model, reading):
    faults = [DelayOn("session.created", 0.2)]
    async with Emulator(Script([Turn(say="Hi.")]), faults=faults) as server:
        model = make_model(server)
        model.prewarm()
        session = model.session()
        assert (await reading(await session.generate_reply()))[0][0] == "Hi."
        assert len(server.handshakes) == 1
        await session.aclose()


async def test_a_warm_connection_for_other_headers_is_closed_and_not_used(make_model):
    async with Emulator() as server:
        model = make_model(server)
        await warm(model, server)
        model.update_options(extra_headers={"OpenAI-Project": "proj_1"})
        session = model.session()
        await session.update_instructions("Be brief.")
        assert len(server.handshakes) == 2
        await server.wait_until(lambda: bool(server.sessions[0].closed))
        await session.aclose()


async def test_a_warm_connection_that_died_is_replaced_and_no_attempt_is_lost(make_model):
    async with Emulator() as server:
        model = make_model(server)
        await warm(model, server)
        await server.drop()
        await server.wait_until(lambda: bool(server.sessions[0].closed))
        await asyncio.sleep(0.05)
        session = model.session()
        errors: list[llm.RealtimeModelError] = []
        session.on("error", errors.append)
        await session.update_instructions("Be brief.")
        assert errors == []
        assert session.info.attempt == 0
        await session.aclose()


async def test_a_warm_connection_that_could_not_be_opened_is_no_failure(make_model):
    async with Emulator(faults=[RefuseHandshake(503)]) as server:
        model = make_model(server)
        model.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        session = model.session()
        errors: list[llm.RealtimeModelError] = []
        session.on("error", errors.append)
        await session.update_instructions("Be brief.")
        assert errors == []
        await session.aclose()


async def test_a_wrong_key_is_told_by_the_session_and_not_by_prewarming(make_model):
    fault = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000, times=2)
    async with Emulator(faults=[fault]) as server:
        model = make_model(server)
        model.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        await asyncio.sleep(0.05)
        session = model.session()
        told: asyncio.Future[llm.RealtimeModelError] = asyncio.get_running_loop().create_future()
        session.on("error", told.set_result)
        error = await asyncio.wait_for(told, 2.0)
        assert (error.recoverable, error.error.body.code) == (False, "invalid_api_key")
        await session.aclose()


async def test_the_next_model_is_asked_for_when_the_first_was_refused_while_prewarming(make_model):
    fault = RejectHandshake("model_not_found", "No such model.", 4000, times=2)
    async with Emulator(faults=[fault]) as server:
        model = make_model(server, fallback_models=[SECOND])
        model.prewarm()
        session = model.session()
        await session.update_instructions("Be brief.")
        assert [handshake.query["model"] for handshake in server.handshakes] == [FIRST, FIRST, SECOND]
        await session.aclose()


async def test_a_warm_connection_that_is_lost_later_is_replaced_like_any_other(make_model, reading):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")])) as server:
        model = make_model(server)
        await warm(model, server)
        session = model.session()
        again: asyncio.Event = asyncio.Event()
        session.on("session_reconnected", lambda _: again.set())
        assert (await reading(await session.generate_reply()))[0][0] == "One."
        await server.drop()
        await asyncio.wait_for(again.wait(), 2.0)
        assert (await reading(await session.generate_reply()))[0][0] == "Two."
        assert len(server.handshakes) == 2
        await session.aclose()


async def test_closing_the_model_closes_the_connection_that_nobody_took(make_model):
    async with Emulator() as server:
        model = make_model(server)
        await warm(model, server)
        await model.aclose()
        await server.wait_until(lambda: bool(server.sessions[0].closed))
        assert [task for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []


async def test_closing_the_session_that_waits_for_it_leaves_nothing_behind(make_model):
    async with Emulator(faults=[DelayOn("session.created", 0.3)]) as server:
        model = make_model(server)
        model.prewarm()
        await server.wait_until(lambda: len(server.handshakes) == 1)
        session = model.session()
        await asyncio.sleep(0.05)
        await session.aclose()
        await model.aclose()
        assert [task for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []


def test_without_an_event_loop_nothing_is_warmed():
    RealtimeModel(api_key="sk-test", base_url="http://127.0.0.1:9/v1").prewarm()
