"""What goes wrong on the wire: said once, in words that help, and survived where it can be."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import weakref

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIStatusError, llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import (
    AlterOn,
    CloseOn,
    DelayOn,
    DropOn,
    ExpireAfter,
    InjectOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
    SwallowOn,
)

from .conftest import EVENTS, QUICK, Watched

FOREVER = 1000


async def final_error(call) -> llm.RealtimeModelError:
    await call.until(lambda: any(not error.recoverable for error in call.errors))
    (error,) = [error for error in call.errors if not error.recoverable]
    return error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (RejectHandshake("beta_api_shape_disabled", "The Realtime Beta API is no longer supported."), "OpenAI-Beta"),
        (RejectHandshake("invalid_model", 'Model "x" is not supported in realtime mode.'), "model"),
        (RejectHandshake("invalid_api_key", "Incorrect API key provided: sk-test.", 3000), "key"),
        (RejectHandshake("insufficient_quota", "You exceeded your current quota.", 4000), "billing"),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_a_refusal_after_the_101_is_one_exception_with_code_meaning_and_remedy(open_session, fault, words):
    async with Emulator(faults=[fault]) as server:
        call = open_session(server)
        reply = call.session.generate_reply()
        with pytest.raises(llm.RealtimeError) as caught:
            await reply
        assert caught.value.code == fault.code
        error = await final_error(call)
        assert call.errors == [error]
        assert error.error.body.code == fault.code
        assert words in str(error.error)
        assert "sk-test" not in str(error.error)
        assert len(server.handshakes) == 1
        # Whatever is asked for later fails at once, with the same reason.
        with pytest.raises(llm.RealtimeError):
            await call.session.generate_reply()
        with pytest.raises(llm.RealtimeError):
            await call.session.update_instructions("Be brief.")


async def test_the_model_the_emulator_does_not_know_is_refused_by_name(open_session):
    async with Emulator() as server:
        call = open_session(server, model="gpt-4o-realtime-preview")
        error = await final_error(call)
        assert "gpt-4o-realtime-preview" in str(error.error)
        assert error.error.body.code == "invalid_model"


async def test_http_refusals_carry_status_and_body_and_take_one_attempt(open_session):
    body = json.dumps({"error": {"message": "Country not supported.", "code": "unsupported_country"}})
    async with Emulator(faults=[RefuseHandshake(403, body)]) as server:
        call = open_session(server)
        error = await final_error(call)
        assert isinstance(error.error, APIStatusError)
        assert error.error.status_code == 403
        assert "Country not supported." in str(error.error)
        assert len(server.handshakes) == 1


async def test_an_overloaded_server_is_tried_again(open_session, reading):
    async with Emulator(
        Script([Turn(say="Hi.")]), faults=[RefuseHandshake(503), RefuseHandshake(429, nth=2)]
    ) as server:
        call = open_session(server)
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        assert [error.recoverable for error in call.errors] == [True, True]


async def test_attempts_are_bounded_when_every_session_is_closed_at_once(open_session):
    # The handshake succeeds each time; the budget must not come back for it (livekit/agents#6352).
    async with Emulator(faults=[CloseOn("session.created", 1011, times=FOREVER)]) as server:
        call = open_session(server)
        await final_error(call)
        assert len(server.handshakes) == 3
        assert [error.recoverable for error in call.errors] == [True, True, False]


async def test_a_configuration_refused_at_the_start_ends_the_session_and_names_the_field(open_session):
    fault = RejectOn(
        "session.update", "unknown_parameter", "Unknown parameter: 'session.tools[0].x'.", "session.tools[0].x"
    )
    async with Emulator(faults=[fault]) as server:
        call = open_session(server)
        error = await final_error(call)
        assert "session.tools[0].x" in str(error.error)
        assert server.received("response.create") == []


async def test_a_bad_voice_on_a_gateway_is_named_by_the_server(open_session):
    async with Emulator() as server:
        call = open_session(server, voice="breeze")
        error = await final_error(call)
        assert "breeze" in str(error.error)
        assert "session.audio.output.voice" in str(error.error)


async def test_a_server_that_never_confirms_the_configuration_is_left(open_session, reading):
    options = APIConnectOptions(max_retry=1, retry_interval=0.05, timeout=0.3)
    async with Emulator(Script([Turn(say="Hi.")]), faults=[SwallowOn("session.updated")]) as server:
        call = open_session(server, conn_options=options)
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."
        assert len(server.handshakes) == 2
        assert "did not confirm the configuration" in str(call.errors[0].error)


async def test_a_change_whose_answer_is_lost_is_made_on_the_next_connection(open_session):
    async with Emulator(faults=[SwallowOn("session.updated", nth=2)]) as server:
        call = open_session(server, request_timeout=0.2)
        await call.session.update_instructions("Be brief.")
        await call.session.update_instructions("Be kind.")
        assert [session.config["instructions"] for session in server.sessions] == ["Be kind.", "Be kind."]
        (error,) = call.errors
        assert error.recoverable
        assert error.error.body.code == "timeout"
        assert "did not answer a request within 0.2 s" in str(error.error)


async def test_a_change_that_two_connections_do_not_answer_raises(open_session, reading):
    lost = SwallowOn("conversation.item.added", times=FOREVER)
    async with Emulator(Script([Turn(say="Hi.")]), faults=[lost]) as server:
        call = open_session(server, request_timeout=0.2)
        await call.session.update_instructions("Be brief.")
        history = llm.ChatContext()
        history.add_message(role="user", content="My name is Ada.")
        with pytest.raises(llm.RealtimeError, match=r"did not answer within 0.2 s, on two connections") as caught:
            await call.session.update_chat_ctx(history)
        assert caught.value.code == "timeout"
        assert len(server.handshakes) == 2
        assert [error.recoverable for error in call.errors] == [True]
        await call.session.generate_reply()


async def test_a_long_history_has_its_time_for_each_item(open_session):
    slow = [DelayOn("conversation.item.added", seconds=0.15, nth=nth) for nth in range(1, 6)]
    async with Emulator(faults=slow) as server:
        call = open_session(server, request_timeout=0.3)
        await call.session.update_instructions("Be brief.")
        history = llm.ChatContext()
        for number in range(5):
            history.add_message(role="user", content=f"{number}")
        await call.session.update_chat_ctx(history)
        assert len(server.handshakes) == 1
        assert len(server.sent("conversation.item.added")) == 5


async def test_a_request_has_no_time_limit_while_there_is_no_connection(open_session):
    patient = APIConnectOptions(max_retry=4, retry_interval=0.1, timeout=2.0)
    async with Emulator(faults=[RefuseHandshake(503, times=3)]) as server:
        call = open_session(server, conn_options=patient, request_timeout=0.1)
        await call.session.update_instructions("Be brief.")
        assert server.sessions[0].config["instructions"] == "Be brief."
        assert len(call.errors) == 3


async def test_an_expired_session_is_replaced(open_session, reading):
    async with Emulator(Script([Turn(say="Still here.")]), faults=[ExpireAfter(0.2)]) as server:
        call = open_session(server)
        await call.first("session_reconnected")
        assert (await reading(await call.session.generate_reply()))[0][0] == "Still here."
        (error,) = call.errors
        assert error.recoverable
        assert error.error.body.code == "session_expired"


@pytest.mark.parametrize(
    ("data", "counted"),
    [
        ("{not json", "malformed event"),
        ("[1, 2, 3]", "malformed event"),
        (b"\x00\x01binary", "malformed event"),
        ({"type": "response.sparkle", "event_id": "event_x"}, "unknown event"),
        ({"type": "response.done", "event_id": "event_x"}, "malformed event"),
        (
            {"type": "response.output_audio.delta", "event_id": "e", "response_id": "r", "item_id": "i", "delta": "x"},
            None,
        ),
        ({"type": "session.updated", "session": {"model": "x" * 10_000_000}}, None),
    ],
    ids=["bad json", "not an object", "binary", "unknown", "missing field", "stray delta", "10 MB"],
)
async def test_bytes_the_server_should_never_send_are_survived_and_counted(
    open_session, reading, caplog, data, counted
):
    script = Script([Turn(say="One."), Turn(say="Two.")])
    async with Emulator(script, faults=[InjectOn("response.created", data, times=2)]) as server:
        call = open_session(server)
        with caplog.at_level(logging.WARNING, "livekit.plugins.openai_ga"):
            for expected in ("One.", "Two."):
                assert (await reading(await call.session.generate_reply()))[0][0] == expected
        assert len(server.handshakes) == 1
        if counted:
            assert call.session.counters[counted] == 2
            assert len([r for r in caplog.records if counted in r.message]) == 1  # said once


async def test_beta_event_names_that_a_gateway_still_sends_are_understood(open_session, reading):
    renames = {
        "response.output_audio.delta": "response.audio.delta",
        "response.output_audio_transcript.delta": "response.audio_transcript.delta",
        "conversation.item.added": "conversation.item.created",
    }
    faults = [AlterOn(ga, {"type": beta}, times=FOREVER) for ga, beta in renames.items()]
    async with Emulator(Script([Turn(say="Old names.")]), faults=faults) as server:
        call = open_session(server)
        ((text, seconds),) = await reading(await call.session.generate_reply())
        assert text == "Old names."
        assert seconds > 0.3
        assert [i.text_content for i in call.session.chat_ctx.items] == ["Old names."]


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(rate_limits="before"),
        Knobs(audio_done_first=False),
        Knobs(item_done_first=False),
        Knobs(conversation_created=True),
        Knobs(transcripts="before_done"),
        Knobs(transcripts="after_done"),
    ],
    ids=[
        "rate limits first",
        "transcript done first",
        "output item done first",
        "conversation.created",
        "early",
        "late",
    ],
)
async def test_the_order_of_events_may_differ(open_session, reading, knobs):
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")]), knobs=knobs) as server:
        call = open_session(server)
        texts = [(await reading(await call.session.generate_reply()))[0][0] for _ in range(2)]
        assert texts == ["One.", "Two."]
        assert [i.text_content for i in call.session.chat_ctx.items] == ["One.", "Two."]
        assert call.session.counters == {}


async def test_a_drop_in_the_middle_of_a_reply_ends_its_stream_once(open_session, reading):
    script = Script([Turn(say="A reply that breaks off in the middle of it all."), Turn(say="Again.")])
    async with Emulator(script, faults=[DropOn("response.output_audio.delta", nth=2)]) as server:
        call = open_session(server)
        messages = await reading(await call.session.generate_reply())
        assert len(messages) == 1
        await call.first("session_reconnected")
        assert (await reading(await call.session.generate_reply()))[0][0] == "Again."


async def test_a_value_the_server_does_not_keep_is_told(open_session, caplog):
    fault = AlterOn("session.updated", {"session": {"audio": {"output": {"voice": "alloy"}}}})
    async with Emulator(faults=[fault]) as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        assert "session.audio.output.voice" in caplog.text


async def test_an_applications_listener_that_raises_does_not_end_the_call(open_session, reading):
    async with Emulator(Script([Turn(say="Hi.")])) as server:
        call = open_session(server)

        def broken(event: object) -> None:
            raise RuntimeError("an application's bug")

        call.session.on("openai_server_event_received", broken)
        call.session.on("generation_created", broken)
        assert (await reading(await call.session.generate_reply()))[0][0] == "Hi."


def broken(event: object) -> None:
    len(None)  # a TypeError, which LiveKit does not catch


async def test_no_listener_that_raises_a_type_error_ends_the_call_or_keeps_others_from_hearing(open_session, reading):
    names = (*EVENTS, "session_created", "rate_limits_updated")
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")])) as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK).session()
        for name in names:
            session.on(name, broken)
        call = Watched(session)  # hears behind them
        try:
            await session.update_instructions("Be brief.")
            assert (await reading(await session.generate_reply()))[0][0] == "One."
            await server.wait_sent("rate_limits.updated")
            await server.drop()
            await call.first("session_reconnected")
            assert (await reading(await session.generate_reply()))[0][0] == "Two."
            assert session.info.state == "ready"
            assert len(server.handshakes) == 2
            assert [error.recoverable for error in call.errors] == [True]
        finally:
            await session.aclose()


async def test_a_listener_can_be_taken_away_again(open_session, reading):
    async with Emulator(Script([Turn(say="One.")])) as server:
        call = open_session(server)
        heard: list[object] = []
        call.session.on("generation_created", heard.append)
        call.session.off("generation_created", heard.append)
        once = call.session.once("generation_created", lambda event, *more: heard.append("once"))
        assert callable(once)

        @call.session.on("generation_created")
        def without_arguments() -> None:
            heard.append("told")

        await call.session.generate_reply()
        assert heard == ["once", "told"]


async def test_a_session_closes_although_a_listener_raises_a_type_error(open_session):
    async with Emulator(Script([Turn(say="A reply that stalls.", stall=True)])) as server:
        call = open_session(server)
        await call.session.generate_reply()
        call.session.on("metrics_collected", broken)
        asked = call.session.generate_reply()
        await call.session.aclose()
        assert call.session.info.state == "over"
        with pytest.raises(llm.RealtimeError, match="closed"):
            await asked
        await server.wait_until(lambda: server.sessions[0].closed is not None)


@pytest.mark.parametrize("steps", range(12))
async def test_nothing_begins_in_the_step_in_which_a_session_closes(open_session, reading, steps):
    """A frame that was read, and whose reader had not come to its turn, began a reply that never ended."""
    async with Emulator(Script([Turn(say="Too late.")])) as server:
        call = open_session(server)
        await call.session.update_instructions("Be brief.")
        call.session.send_event({"type": "response.create"})  # nobody's future ends this one
        while not server.sent("response.created"):  # noqa: ASYNC110  # every step counts
            await asyncio.sleep(0)
        for _ in range(steps):  # of the event loop: in some of them the frame is half-way
            await asyncio.sleep(0)
        replies = call.events["generation_created"]
        before = len(replies)
        await call.session.aclose()
        assert len(replies) == before
        for reply in replies:
            await asyncio.wait_for(reading(reply), 5)


async def test_a_closed_session_is_let_go_of(open_session):
    """Nothing waits any more on its behalf: each session would be held for as long as its longest time limit."""
    options = APIConnectOptions(max_retry=0, retry_interval=0.05, timeout=600.0)
    async with Emulator(faults=[SwallowOn("session.updated")]) as server:
        session = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=options).session()
        await server.wait_received("session.update")
        await session.aclose()
        gone = weakref.ref(session)
        del session
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None


async def test_what_waited_for_a_transcript_is_let_go_of_with_its_connection(open_session):
    async with Emulator(knobs=Knobs(transcription_latency=60.0)) as server:
        call = open_session(server, turn_detection=None)
        await call.session.update_instructions("Be brief.")
        pcm = speak("My name is Ada.", "alloy", 1.3)
        call.session.push_audio(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
        call.session.commit_audio()
        content = (await call.first("remote_item_added")).item.content
        held = sys.getrefcount(content)
        call.session.restart()
        await call.first("session_reconnected")
        assert sys.getrefcount(content) == held - 1
