"""Replies that an application asks for itself, over real sockets to the emulator: told more, beside, or cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit.agents import function_tool, llm

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn

MOOD = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mood?"}]}


async def test_a_text_is_two_awaits_away(open_session):
    async with Emulator(Script(out_of_band=[Turn(say="cheerful")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply(
            conversation="none",
            instructions="Name the mood in one word.",
            input=[llm.ChatMessage(role="user", content=["What a day!"])],
            output_modalities=["text"],
            max_output_tokens=20,
            reasoning="low",
            metadata={"topic": "mood"},
        )
        assert await reply.text() == "cheerful"
        (event,) = server.received("response.create")
        metadata = event["response"].pop("metadata")
        assert event["response"] == {
            "conversation": "none",
            "instructions": "Name the mood in one word.",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What a day!"}]}],
            "output_modalities": ["text"],
            "max_output_tokens": 20,
            "reasoning": {"effort": "low"},
        }
        assert metadata == {"topic": "mood", "client_event_id": event["event_id"]}
        assert call.session.chat_ctx.items == []
        assert call.events["generation_created"] == []
        assert not call.session.has_active_generation
        *_, metrics = call.events["metrics_collected"]
        assert (metrics.request_id, metrics.output_tokens > 0) == (reply.response_id, True)


async def test_several_run_beside_the_one_that_speaks(open_session):
    slow = Knobs(pace=1.0)
    script = Script([Turn(say="I speak all the while.", latency=0.2)], out_of_band=[Turn(say="a"), Turn(say="b")])
    async with Emulator(script, knobs=slow) as server:
        call = open_session(server)
        spoken = await call.session.generate_reply()
        asides = [await call.session.generate_reply(conversation="none", output_modalities=["text"]) for _ in range(2)]
        assert sorted(await asyncio.gather(*(aside.text() for aside in asides))) == ["a", "b"]
        assert call.session.has_active_generation
        assert await spoken.text() == "I speak all the while."
        assert server.sent("error") == []
        assert [event.response_id for event in call.events["generation_created"]] == [spoken.response_id]


async def test_an_interruption_leaves_an_aside_alone_and_its_owner_ends_it(open_session):
    script = Script([Turn(say="A reply.", stall=True)], out_of_band=[Turn(say="A side remark.", stall=True)])
    async with Emulator(script) as server:
        call = open_session(server)
        spoken = await call.session.generate_reply()
        aside = await call.session.generate_reply(conversation="none")
        call.session.interrupt()
        assert (await spoken.end()).status == "cancelled"
        assert len(server.received("response.cancel")) == 1
        aside.cancel()
        end = await aside.end()
        assert (end.status, end.reason) == ("cancelled", "client_cancelled")
        assert "A side remark.".startswith(end.text)
        with pytest.raises(llm.RealtimeError, match="ended as cancelled"):
            await aside.text()


async def test_a_call_out_of_band_is_its_callers_and_leaves_no_item(open_session):
    async with Emulator(Script(out_of_band=[Turn(tool=ToolCall("add", {"a": 1, "b": 2}))])) as server:

        @function_tool
        async def add(a: int, b: int) -> int:
            """Add."""
            return a + b

        call = open_session(server)
        aside = await call.session.generate_reply(
            conversation="none", tools=[add], tool_choice="required", input=[MOOD]
        )
        (made,) = (await aside.end()).calls
        assert (made.name, made.arguments) == ("add", '{"a": 1, "b": 2}')
        assert [c async for c in aside.function_stream] == [made]
        assert call.session.chat_ctx.items == []


async def test_an_aside_outlives_its_connection_when_nothing_of_it_was_told(open_session):
    script = Script(out_of_band=[Turn(say="lost", latency=60.0), Turn(say="kept")])
    async with Emulator(script) as server:
        call = open_session(server)
        aside = await call.session.generate_reply(conversation="none", input=[MOOD], output_modalities=["text"])
        await server.drop()
        assert await aside.text() == "kept"
        first, second = server.received("response.create")
        assert first["response"] == second["response"]


async def test_an_aside_that_was_being_told_is_lost_with_its_connection(open_session):
    async with Emulator(Script(out_of_band=[Turn(say="Half of it.", stall=True)])) as server:
        call = open_session(server)
        aside = await call.session.generate_reply(conversation="none", output_modalities=["text"])
        await server.wait_sent("response.output_text.delta")
        await call.until(lambda: call.events["openai_server_event_received"][-1]["type"].endswith("text.delta"))
        await server.drop()
        end = await aside.end()
        assert end.status == "lost"
        assert end.text
        with pytest.raises(llm.RealtimeError):
            await aside.text()


async def test_a_reference_names_an_item_of_the_conversation(open_session):
    async with Emulator(Script(out_of_band=[Turn(say="yes")])) as server:
        call = open_session(server)
        history = llm.ChatContext()
        name = history.add_message(role="user", content="My name is Ada.")
        await call.session.update_chat_ctx(history)
        reference = {"type": "item_reference", "id": name.id}
        aside = await call.session.generate_reply(conversation="none", input=[reference])
        assert await aside.text() == "yes"
        with pytest.raises(llm.RealtimeError, match="does not exist"):
            await call.session.generate_reply(conversation="none", input=[{**reference, "id": "item_0"}])


async def test_a_text_that_broke_off_raises(open_session):
    async with Emulator(Script(out_of_band=[Turn(say="One two three four five six seven.")])) as server:
        call = open_session(server)
        aside = await call.session.generate_reply(conversation="none", output_modalities=["text"], max_output_tokens=3)
        with pytest.raises(llm.RealtimeError, match=r"incomplete \(max_output_tokens\)") as raised:
            await aside.text()
        assert raised.value.code == "max_output_tokens"


async def test_what_the_server_refuses_fails_with_its_code(open_session):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        await (await call.session.generate_reply()).text()  # the voice is fixed now
        with pytest.raises(llm.RealtimeError) as raised:
            await call.session.generate_reply(conversation="none", voice="cedar")
        assert raised.value.code == "cannot_update_voice"


async def test_a_reply_in_the_conversation_with_its_own_words_is_livekits_to_play(open_session):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply(instructions="Greet.", reasoning="high", max_output_tokens=100)
        (announced,) = call.events["generation_created"]
        assert (announced.response_id, announced.user_initiated) == (reply.response_id, False)
        assert await reply.text() == "Hello."
        assert [item.text_content for item in call.session.chat_ctx.items] == ["Hello."]


@pytest.mark.parametrize("given", [{"max_output_tokens": 0}, {"metadata": {"n": 1}}, {"input": ["x"]}])
async def test_a_wrong_value_is_refused_at_once_and_nothing_is_asked(open_session, given: dict[str, Any]):
    async with Emulator() as server:
        call = open_session(server)
        with pytest.raises(ValueError, match=f"^{next(iter(given))}"):
            call.session.generate_reply(**given)
        assert not call.session.has_active_generation
