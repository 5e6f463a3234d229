"""A reply that nobody heard yet is made all the same, once, whatever happens to its connection or to the server."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import DelayOn, DropOn, FailResponse, RejectOn, SwallowOn

VAD = {"type": "server_vad", "silence_duration_ms": 300}
BUSY = "conversation_already_has_active_response"


def say(call: Any, text: str, silence_ms: int = 0) -> bytes:
    """The user says this; returns the speech."""
    pcm = speak(text, "alloy", 1.3)
    for start in range(0, len(pcm), 960):
        piece = pcm[start : start + 960]
        call.session.push_audio(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))
    call.session.push_audio(rtc.AudioFrame(bytes(48 * silence_ms), 24000, 1, 24 * silence_ms))
    return pcm


def texts(messages: list[tuple[str, float]]) -> list[str]:
    return [text for text, _ in messages]


# -- a lost connection -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", ["response.created", "response.output_item.added", "response.content_part.added"])
async def test_a_reply_that_began_goes_on_after_a_drop_under_the_same_future(open_session, reading, last):
    async with Emulator(Script([Turn(say="Here I am.")] * 2), faults=[DropOn(last)]) as server:
        call = open_session(server)
        reply = await call.session.generate_reply(instructions="Greet.")
        assert texts(await reading(reply)) == ["Here I am."]
        first, second = server.received("response.create")
        assert first == second
        assert len(server.sessions) == 2
        assert len(call.events["generation_created"]) == 1
        assert [each.request_id for each in call.events["metrics_collected"] if each.request_id] == [reply.response_id]
        assert [item.text_content for item in call.session.chat_ctx.items] == ["Here I am."]


async def test_a_reply_that_was_heard_in_part_keeps_that(open_session, reading):
    drop = DropOn("response.output_audio.delta", nth=3)
    async with Emulator(Script([Turn(say="One two three four five.")] * 2), faults=[drop]) as server:
        call = open_session(server)
        ((said, seconds),) = await reading(await call.session.generate_reply())
        await call.first("session_reconnected")
        assert seconds > 0
        assert len(server.received("response.create")) == 1
        assert [item.text_content for item in call.session.chat_ctx.items] == [said]


@pytest.mark.parametrize("begun", [True, False])
async def test_by_choice_a_reply_does_not_outlive_its_connection(open_session, reading, begun):
    faults = [DropOn("response.created")] if begun else [SwallowOn("response.created")]
    async with Emulator(Script([Turn(say="x")] * 2), faults=faults) as server:
        call = open_session(server, resume_replies="never")
        future = call.session.generate_reply()
        if begun:
            assert await reading(await future) == []
        else:
            await server.wait_received("response.create")
            call.session.restart()
            with pytest.raises(llm.RealtimeError, match="connection_lost"):
                await future
        await call.first("session_reconnected")
        await call.session.update_instructions("All quiet.")
        assert len(server.received("response.create")) == 1


async def test_the_servers_own_reply_is_asked_for_when_nobody_heard_it(open_session, reading):
    script = Script([Turn(heard="Hello?", say="Hello.")] * 2)
    async with Emulator(script, faults=[DropOn("response.output_item.added")]) as server:
        call = open_session(server, turn_detection=VAD)
        await call.session.update_instructions("Be brief.")
        say(call, "Hello?", 700)
        reply = await call.first("generation_created")
        assert not reply.user_initiated
        assert texts(await reading(reply)) == ["Hello."]
        assert len(call.events["generation_created"]) == 1


async def test_a_turn_the_server_did_not_begin_to_answer_is_answered(open_session, reading):
    script = Script([Turn(heard="Hello?", say="Hello.")] * 2)
    knobs = Knobs(transcription_latency=5.0)
    async with Emulator(script, knobs=knobs, faults=[DropOn("input_audio_buffer.committed")]) as server:
        call = open_session(server, turn_detection=VAD)
        await call.session.update_instructions("Be brief.")
        say(call, "Hello?", 700)
        assert texts(await reading(await call.first("generation_created"))) == ["Hello."]


async def test_a_request_given_up_behind_audio_never_leaves(open_session):
    async with Emulator(Script([Turn(say="x")])) as server:
        call = open_session(server)
        say(call, "A long sentence that has to leave first.")  # and waits for the configuration
        call.session.generate_reply().cancel()
        await call.session.update_instructions("Be kind.")
        await asyncio.wait_for(server.wait_received("input_audio_buffer.append"), 5)
        assert server.received("response.create") == []


@pytest.mark.parametrize("last", ["input_audio_buffer.committed", "response.created"])
async def test_a_caller_who_goes_on_while_the_connection_is_down_is_answered_once(open_session, reading, last):
    script = Script([Turn(heard="What is the weather?", say="Rain.")] * 4)
    async with Emulator(script, knobs=Knobs(transcription_latency=5.0), faults=[DropOn(last)]) as server:
        call = open_session(server, turn_detection=VAD)
        await call.session.update_instructions("Be brief.")
        call.session.once("error", lambda error: say(call, "And tomorrow?", 800))
        say(call, "What is the weather?", 800)
        await call.first("session_reconnected")
        await server.wait_until(lambda: "response.done" in [event["type"] for event in server.sessions[-1].sent])
        for _ in range(2):  # whatever waited for that has left, and was begun
            await call.session.update_instructions("Be kind.")
            await call.session.update_instructions("Be brief.")
        told = [texts(await reading(reply)) for reply in call.events["generation_created"]]
        assert [messages for messages in told if messages] == [["Rain."]]
        assert [event["type"] for event in server.sessions[-1].sent].count("response.created") == 1


async def test_a_cancelled_reply_whose_end_never_comes_does_not_hold_the_next_for_ever(open_session, reading):
    faults = [SwallowOn("response.done"), SwallowOn("response.cancel")]
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")]), faults=faults) as server:
        call = open_session(server, request_timeout=0.5)
        await call.session.update_instructions("Be brief.")
        first = asyncio.ensure_future(reading(await call.session.generate_reply()))
        await server.wait_until(lambda: "response.output_item.done" in [e["type"] for e in server.sessions[0].sent])
        second = call.session.generate_reply()
        call.session.interrupt()
        assert texts(await reading(await asyncio.wait_for(second, 10))) == ["Two."]
        assert texts(await first) == ["One."]
        (error,) = call.errors
        assert error.recoverable
        assert "did not end a reply that was cancelled" in str(error.error)


async def test_a_cancelled_reply_that_ends_as_it_should_costs_no_connection(open_session, reading):
    async with Emulator(Script([Turn(say="One two three four five six."), Turn(say="Two.")])) as server:
        call = open_session(server, request_timeout=0.5)
        await call.session.update_instructions("Be brief.")
        await call.session.generate_reply()
        await server.wait_sent("response.output_audio.delta")
        call.session.interrupt()
        assert texts(await reading(await call.session.generate_reply())) == ["Two."]
        await asyncio.sleep(0.8)  # longer than the cancel had
        assert len(server.handshakes) == 1
        assert call.errors == []


# -- turns of the user -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transcribed", [True, False])
async def test_a_spoken_turn_without_a_transcript_is_brought_back_as_audio(open_session, transcribed):
    options: dict[str, Any] = {} if transcribed else {"input_audio_transcription": None}
    knobs = Knobs(transcription_latency=60.0)
    async with Emulator(Script([Turn(heard="My name is Ada.", say="x")] * 2), knobs=knobs) as server:
        call = open_session(server, turn_detection=None, **options)
        await call.session.update_instructions("Be brief.")
        said = say(call, "My name is Ada.")
        call.session.commit_audio()
        await call.first("remote_item_added")
        call.session.restart()
        await call.first("session_reconnected")
        (create,) = await server.wait_received("conversation.item.create")
        (part,) = create["item"]["content"]
        assert part["type"] == "input_audio"
        assert base64.b64decode(part["audio"]) == said
        assert "input_audio_buffer.append" not in [event["type"] for event in server.sessions[1].received]
        assert call.errors == []


async def test_a_turn_detected_by_the_server_is_brought_back_from_its_beginning(open_session):
    knobs = Knobs(transcription_latency=60.0)
    vad = {**VAD, "create_response": False, "prefix_padding_ms": 100}
    async with Emulator(Script([Turn(heard="Ada.", say="x")] * 2), knobs=knobs) as server:
        call = open_session(server, turn_detection=vad)
        await call.session.update_instructions("Be brief.")
        call.session.push_audio(rtc.AudioFrame(bytes(48 * 3000), 24000, 1, 24 * 3000))
        said = say(call, "My name is Ada.", 700)
        await call.first("remote_item_added")
        call.session.restart()
        await call.first("session_reconnected")
        (create,) = await server.wait_received("conversation.item.create")
        audio = base64.b64decode(create["item"]["content"][0]["audio"])
        assert said.strip(b"\0") in audio
        assert len(audio) < len(said) + 48 * 1200  # without the silence before it


async def test_a_turn_with_a_transcript_is_brought_back_as_text(open_session):
    async with Emulator(Script([Turn(heard="My name is Ada.", say="x")])) as server:
        call = open_session(server, turn_detection=None)
        await call.session.update_instructions("Be brief.")
        say(call, "My name is Ada.")
        call.session.commit_audio()
        await call.first("input_audio_transcription_completed")
        call.session.restart()
        (create,) = await server.wait_received("conversation.item.create")
        assert create["item"]["content"] == [{"type": "input_text", "text": "My name is Ada."}]


# -- a server that is busy, or unwell --------------------------------------------------------------------------------


async def test_a_reply_the_server_failed_to_make_is_made_at_a_later_attempt(open_session, reading):
    async with Emulator(Script([Turn(say="At last.")]), faults=[FailResponse(times=2)]) as server:
        call = open_session(server)
        assert texts(await reading(await call.session.generate_reply())) == ["At last."]
        assert len(server.received("response.create")) == 3
        assert call.errors == []
        assert len(call.events["generation_created"]) == 1


async def test_a_server_that_stays_unwell_is_told_of_once(open_session, reading):
    async with Emulator(Script([Turn(say="x")]), faults=[FailResponse(times=9)]) as server:
        call = open_session(server)
        assert await reading(await call.session.generate_reply()) == []
        assert len(server.received("response.create")) == 4
        (error,) = call.errors
        assert error.recoverable
        assert "server_error" in str(error.error)


async def test_a_reply_asked_for_while_another_is_made_leaves_with_its_end(open_session, reading):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")])) as server:
        call = open_session(server)
        first = await call.session.generate_reply()
        waiting = call.session.generate_reply()
        assert texts(await reading(first)) == ["One."]
        assert texts(await reading(await waiting)) == ["Two."]
        order = [e["type"] for e in call.events["openai_server_event_received"] if e["type"] == "response.done"]
        assert order
        assert [event.get("code") for event in server.sent("error")] == []
        assert call.errors == []


async def test_a_request_that_crosses_the_servers_own_reply_is_made_behind_it(open_session, reading):
    script = Script([Turn(heard="Hello?", say="Yes?"), Turn(say="Two.")])
    async with Emulator(script, faults=[DelayOn("response.created", 0.3)]) as server:
        call = open_session(server, turn_detection=VAD)
        await call.session.update_instructions("Be brief.")
        say(call, "Hello?", 700)
        await server.wait_sent("input_audio_buffer.committed")
        reply = await call.session.generate_reply()
        assert texts(await reading(reply)) == ["Two."]
        assert [event["error"]["code"] for event in server.sent("error")] in ([], [BUSY])
        assert call.errors == []


async def test_a_request_that_waits_behind_a_long_reply_again_has_its_time_when_it_leaves(open_session, reading):
    script = Script([Turn(heard="Hello?", say="One two three four five six."), Turn(say="Two.")])
    busy = RejectOn("response.create", BUSY, "busy", error_type="invalid_request_error")
    crosses = DelayOn("response.created", 0.1)
    async with Emulator(script, knobs=Knobs(pace=2.0), faults=[busy, crosses]) as server:
        call = open_session(server, turn_detection=VAD, reply_timeout=0.3)
        await call.session.update_instructions("Be brief.")
        say(call, "Hello?", 700)
        await call.first("input_speech_stopped")
        reply = await call.session.generate_reply()
        assert texts(await reading(reply)) == ["Two."]


async def test_a_refused_change_of_the_models_options_does_not_return_with_its_next_session(open_session):
    reject = RejectOn("session.update", "invalid_value", "No.", param="session.audio.output.speed", nth=2)
    async with Emulator(faults=[reject]) as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        model = call.session.realtime_model
        model.update_options(speed=1.4)
        await call.first("error")
        assert model.options.values["speed"] == 1.0
