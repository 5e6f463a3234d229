"""Replies that an application asks the session for, while an AgentSession holds it: what the room hears of them."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn


async def test_an_out_of_band_reply_is_not_heard_in_the_room(start_call):
    async with Emulator(Script([Turn(say="Hello there.")], out_of_band=[Turn(say="cheerful")])) as server:
        call = await start_call(server)
        mood = await call.rt.generate_reply(conversation="none", input=[], instructions="The mood, in one word.")
        assert await mood.text() == "cheerful"
        await call.session.generate_reply()
        assert call.texts("assistant") == ["Hello there."]
        assert len(call.speaker.heard) == 1


async def test_a_reply_with_its_own_words_is_heard_in_the_room_and_in_the_history(start_call):
    async with Emulator(Script([Turn(say="Hello there.")])) as server:
        call = await start_call(server)
        reply = await call.rt.generate_reply(instructions="Greet.", max_output_tokens=200)
        assert await reply.text() == "Hello there."
        await call.until(lambda: call.texts("assistant") == ["Hello there."])
        assert call.speaker.loudness > 0


async def test_an_out_of_band_reply_that_is_played_is_heard_and_the_model_does_not_know_of_it(start_call):
    async with Emulator(Script(out_of_band=[Turn(say="Please hold on.")])) as server:
        call = await start_call(server)
        reply = await call.rt.generate_reply(conversation="none", play=True, input=[], instructions="Ask to hold on.")
        assert await reply.text() == "Please hold on."
        await call.until(lambda: call.texts("assistant") == ["Please hold on."])
        assert call.speaker.loudness > 0
        assert call.rt.chat_ctx.items == []


async def test_an_interruption_ends_a_played_reply_out_of_band_and_asks_the_server_for_no_cut(start_call):
    long = "This is a long remark, which goes on for quite a while, so that there is time to interrupt it."
    async with Emulator(Script(out_of_band=[Turn(say=long)])) as server:
        call = await start_call(server)
        reply = await call.rt.generate_reply(conversation="none", play=True, instructions="Talk.")
        await call.until(lambda: call.speaker.loudness > 0)
        await call.session.interrupt()
        await call.until(lambda: bool(call.speaker.heard))
        assert call.speaker.heard[-1][1]
        assert (await reply.end()).status in ("cancelled", "completed")  # the server may have said all of it before
        assert server.received("conversation.item.truncate") == []
        assert call.named("error") == []


async def test_an_agent_without_a_tts_says_a_text_when_the_model_may_read_it_aloud(start_call):
    async with Emulator(Script([Turn(say="This call is recorded.")])) as server:
        call = await start_call(server, read_aloud=True)
        await call.session.say("This call is recorded.")
        assert call.texts("assistant") == ["This call is recorded."]
        assert call.speaker.loudness > 0
        assert [item.text_content for item in call.rt.chat_ctx.items] == ["This call is recorded."]


async def test_an_agent_without_a_tts_says_no_text_by_default(start_call):
    async with Emulator() as server:
        call = await start_call(server)
        with pytest.raises(RuntimeError, match="add a TTS model"):
            call.session.say("This call is recorded.")
