"""`say()`: refused by default; on request the model reads the text aloud, and what it said is compared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.agents import llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.realtime import SaidOtherwise
from livekit_plugins_openai_ga.realtime.saying import READING, similarity

TEXT = "This call is recorded."


async def pieces(*texts: str) -> AsyncIterator[str]:
    for text in texts:
        yield text


def watch(session: Any) -> list[SaidOtherwise]:
    seen: list[SaidOtherwise] = []
    session.on("said_otherwise", seen.append)
    return seen


@pytest.mark.parametrize(
    ("options", "can"),
    [({}, False), ({"read_aloud": True}, True), ({"read_aloud": True, "modalities": ["text"]}, False)],
)
def test_livekit_is_told_whether_a_text_can_be_said(options: dict[str, Any], can: bool) -> None:
    assert RealtimeModel(api_key="sk-test", **options).capabilities.supports_say is can


async def test_without_read_aloud_it_says_what_to_do(open_session):
    async with Emulator() as server:
        call = open_session(server)
        with pytest.raises(NotImplementedError, match=r"give AgentSession a tts, or pass .*read_aloud=True"):
            call.session.say(TEXT)


async def test_a_text_is_read_aloud_into_the_conversation_by_a_model_that_sees_nothing_else(open_session, reading):
    async with Emulator(Script([Turn(say=TEXT)])) as server:
        call = open_session(server, read_aloud=True)
        await call.session.update_instructions("You are Ada.")
        seen = watch(call.session)
        reply = await call.session.say(TEXT)
        assert call.events["generation_created"] == [reply]  # LiveKit plays what it asked for
        ((text, seconds),) = await reading(reply)
        assert (text, seconds > 0.5) == (TEXT, True)
        (event,) = server.received("response.create")
        response = event["response"]
        assert (response["instructions"], response["tools"], response["tool_choice"]) == (READING, [], "none")
        assert [part["text"] for item in response["input"] for part in item["content"]] == [TEXT]
        assert "conversation" not in response
        assert [item.text_content for item in call.session.chat_ctx.items] == [TEXT]
        assert seen == []


async def test_other_words_are_told_with_how_many_were_right(open_session, caplog):
    async with Emulator(Script([Turn(say="This call is being taped.")])) as server:
        call = open_session(server, read_aloud=True)
        seen = watch(call.session)
        reply = await call.session.say(TEXT)
        await reply.end()
        await asyncio.sleep(0)
        (event,) = seen
        assert event == SaidOtherwise(reply.response_id, TEXT, "This call is being taped.", 2 * 3 / 9)
        assert any("in other words (similarity 0.67)" in record.getMessage() for record in caplog.records)
        assert not any("taped" in record.getMessage() for record in caplog.records)


async def test_what_was_interrupted_was_not_said_in_other_words(open_session):
    async with Emulator(Script([Turn(say=TEXT, stall=True)])) as server:
        call = open_session(server, read_aloud=True)
        seen = watch(call.session)
        reply = await call.session.say(TEXT)
        call.session.interrupt()
        assert (await reply.end()).status == "cancelled"
        await asyncio.sleep(0)
        assert seen == []


async def test_a_text_that_comes_in_pieces_is_said_when_it_is_whole(open_session):
    async with Emulator(Script([Turn(say=TEXT)])) as server:
        call = open_session(server, read_aloud=True)
        reply = await call.session.say(pieces("This call ", "is recorded."))
        assert await reply.text() == TEXT
        (event,) = server.received("response.create")
        assert event["response"]["input"][0]["content"][0]["text"] == TEXT


async def test_a_text_that_is_none_or_never_comes_fails(open_session):
    async def broken() -> AsyncIterator[str]:
        yield "This call"
        raise KeyError("name")

    async with Emulator() as server:
        call = open_session(server, read_aloud=True)
        with pytest.raises(ValueError, match=r"^say\(\): the text has no word in it"):
            call.session.say(" ... ")
        for text, cause in ((broken(), KeyError), (pieces(" "), ValueError)):
            with pytest.raises(llm.RealtimeError, match="could not be had") as raised:
                await call.session.say(text)
            assert isinstance(raised.value.__cause__, cause)
        assert not call.session.has_active_generation


async def test_a_text_that_nobody_waits_for_is_read_no_further(open_session):
    asked, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "This call"
            asked.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Emulator() as server:
        call = open_session(server, read_aloud=True)
        waiting = call.session.say(endless())
        await asked.wait()
        waiting.cancel()
        await asyncio.wait_for(ended.wait(), 5)
        assert not call.session.has_active_generation
        assert call.errors == []


async def test_the_end_of_the_session_ends_a_text_that_has_not_come(open_session):
    async def never() -> AsyncIterator[str]:
        await asyncio.Event().wait()
        yield ""

    async with Emulator() as server:
        call = open_session(server, read_aloud=True)
        waiting = call.session.say(never())
        await call.session.aclose()  # before it has begun to listen
        for future in (waiting, call.session.say(TEXT)):
            with pytest.raises(llm.RealtimeError, match="closed"):
                await future


@pytest.mark.parametrize(
    ("text", "said", "how_much"),
    [
        ("Hello, Ada!", "hello ada", 1.0),
        ("Hello, Ada!", "", 0.0),
        ("Hello Ada", "Hello dear Ada", 0.8),
        ("Grüß Gott", "GRÜSS GOTT", 1.0),
    ],
)
def test_words_are_compared_and_not_how_they_are_written(text: str, said: str, how_much: float) -> None:
    assert similarity(text, said) == how_much
