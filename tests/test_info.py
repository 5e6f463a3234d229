"""What a session says of itself while all is well, when its connection breaks, and when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, llm

from livekit_plugins_openai_ga import STT, RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.core.spoken import KEPT_MS
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import (
    CloseOn,
    FailResponse,
    FailTranscription,
    InjectOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
)
from livekit_plugins_openai_ga.log import logger
from livekit_plugins_openai_ga.transport.outbox import MAX_EVENTS

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
FOREVER = 1000
MODEL = "gpt-realtime-2.1"


@contextlib.asynccontextmanager
async def session(server: Emulator, **options: Any) -> AsyncIterator[tuple[RealtimeSession, asyncio.Queue[Any]]]:
    """A session, and the errors it tells."""
    session = RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=QUICK, **options).session()
    errors: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
    session.on("error", errors.put_nowait)
    try:
        yield session, errors
    finally:
        await session.aclose()


async def spoken(session: RealtimeSession) -> None:
    """A reply, to its end."""
    async for _ in (await session.generate_reply()).message_stream:
        pass


async def last(errors: asyncio.Queue[Any]) -> Any:
    """The error that ends a session."""
    while True:
        error = await asyncio.wait_for(errors.get(), 10)
        if not error.recoverable:
            return error


def records(caplog: pytest.LogCaptureFixture, words: str) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records if words in record.getMessage()]


async def test_before_the_first_connection_there_is_nothing_to_tell() -> None:
    async with Emulator() as server, session(server) as (call, _):
        info = call.info
        assert (info.state, info.session_id, info.model, info.connections) == ("connecting", "", MODEL, 0)
        assert (info.age, info.attempt, info.last_failure, info.last_error) == (0.0, 0, None, None)


async def test_a_session_that_works_names_itself_and_what_it_has_done() -> None:
    async with Emulator(Script([Turn(say="Good morning.")])) as server, session(server) as (call, _):
        call.push_audio(rtc.AudioFrame(pcm := speak("Hello.", "alloy", 1.0), 24000, 1, len(pcm) // 2))
        await spoken(call)
        info = call.info
        (created,) = server.sent("session.created")
        assert info.session_id == created["session"]["id"]
        assert info.expires_at == created["session"]["expires_at"]
        assert (info.state, info.connections, info.reconnects, info.attempt) == ("ready", 1, 0, 0)
        assert info.age > 0
        assert info.audio_sent == pytest.approx(len(pcm) / 48000, abs=0.1)
        assert info.audio_kept > 0
        assert (info.audio_waiting, info.audio_dropped, info.audio_replayed, info.items_pending) == (0, 0, 0, 0)


async def test_it_is_a_snapshot_that_can_be_written_down() -> None:
    fault = RejectHandshake("invalid_api_key", "No.", 3000)
    async with Emulator(faults=[fault]) as server, session(server) as (call, errors):
        before = call.info
        await last(errors)
        assert (before.state, call.info.state) == ("connecting", "over")
        assert json.dumps(dataclasses.asdict(call.info), default=str)


async def test_a_close_is_told_with_its_session_its_code_and_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    fault = CloseOn("response.done", 1011, "the server is not well")
    turns = Script([Turn(say="Here."), Turn(say="Again.")])
    async with Emulator(turns, faults=[fault]) as server, session(server) as (call, errors):
        again = asyncio.Event()
        call.on("session_reconnected", lambda _: again.set())
        await spoken(call)
        failure = (await asyncio.wait_for(errors.get(), 10)).error.body
        first = server.sent("session.created")[0]["session"]["id"]
        assert (failure.session_id, failure.model, failure.attempt) == (first, MODEL, 1)
        assert (failure.close_code, failure.close_reason) == (1011, "the server is not well")
        assert f"(session {first})" in str(failure)
        (record,) = records(caplog, "connection to OpenAI lost")
        told = {name: record[name] for name in ("session_id", "model", "attempt", "close_code", "close_reason")}
        assert told == {name: getattr(failure, name) for name in told}
        assert first in record["message"]
        await asyncio.wait_for(again.wait(), 10)
        info = call.info
        assert info.session_id == server.sent("session.created")[1]["session"]["id"] != first
        assert (info.connections, info.reconnects, info.attempt) == (2, 1, 1)
        assert (info.close_code, info.close_reason) == (1011, "the server is not well")
        assert info.last_failure == failure


async def test_an_attempt_without_an_answer_has_no_session_and_info_keeps_the_last_one() -> None:
    faults = [RefuseHandshake(503, nth=2, times=FOREVER)]
    async with Emulator(Script([Turn(say="Here.")]), faults=faults) as server, session(server) as (call, errors):
        await spoken(call)
        first = call.info.session_id
        await server.drop()
        error = await last(errors)
        assert (error.error.body.session_id, error.error.body.http_status) == ("", 503)
        assert error.error.body.attempt == QUICK.max_retry
        info = call.info
        assert (info.state, info.session_id, info.age, info.connections) == ("over", first, 0.0, 1)
        assert info.last_failure == error.error.body


async def test_a_refusal_at_the_start_is_the_last_error_and_the_last_failure() -> None:
    fault = RejectHandshake("invalid_model", "No such model.", 4000)
    async with Emulator(faults=[fault]) as server, session(server) as (call, errors):
        failure = (await last(errors)).error.body
        info = call.info
        assert (info.state, info.connections, info.close_code) == ("over", 0, 4000)
        assert info.last_failure == info.last_error == failure
        assert (failure.code, failure.attempt) == ("invalid_model", 0)


async def test_a_refused_request_is_told_with_the_session_that_refused_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The close comes long after the error, and has nothing to do with it.
    monkeypatch.setattr("livekit_plugins_openai_ga.transport.link.ERROR_CLOSE_GAP_S", 0.0)
    fault = RejectOn("session.update", "invalid_value", "Invalid value.", "session.instructions", nth=2)
    async with Emulator(Script([Turn(say="Here.")]), faults=[fault]) as server, session(server) as (call, errors):
        await spoken(call)
        with pytest.raises(llm.RealtimeError) as caught:
            await call.update_instructions("Be brief.")
        failure = (await asyncio.wait_for(errors.get(), 10)).error.body
        assert failure.session_id == call.info.session_id
        assert call.info.session_id in str(caught.value)
        (record,) = records(caplog, "OpenAI reported an error")
        assert (record["session_id"], record["code"]) == (call.info.session_id, "invalid_value")
        assert call.info.last_error == failure
        assert (call.info.last_failure, call.info.requests_refused) == (None, 1)
        await server.drop()
        lost = (await asyncio.wait_for(errors.get(), 10)).error.body
        assert (lost.code, lost.last_error) == ("close_1006", "invalid_value")
        assert call.info.last_error == failure


async def test_what_hangs_up_here_is_told_with_the_session_too() -> None:
    # The server says that it is over and keeps the socket open.
    error = {"type": "error", "error": {"type": "server_error", "code": "session_expired", "message": "Over."}}
    fault = InjectOn("response.created", error)
    async with Emulator(Script([Turn(say="Here.")]), faults=[fault]) as server, session(server) as (call, errors):
        call.generate_reply()
        failure = (await asyncio.wait_for(errors.get(), 10)).error.body
        assert (failure.code, failure.close_code) == ("session_expired", None)
        assert failure.session_id == server.sent("session.created")[0]["session"]["id"]


async def test_what_was_not_understood_is_counted_in_the_info() -> None:
    odd = [InjectOn("response.created", {"type": "response.hologram"}), InjectOn("response.created", "{")]
    async with Emulator(Script([Turn(say="Here.")]), faults=odd) as server, session(server) as (call, _):
        await spoken(call)
        assert (call.info.unknown_events, call.info.malformed_events) == (1, 1)


async def test_a_reply_that_was_asked_for_again_is_counted() -> None:
    async with Emulator(Script([Turn(say="Here.")]), faults=[FailResponse()]) as server, session(server) as (call, _):
        await spoken(call)
        assert call.info.replies_again == 1


async def test_a_warning_in_a_session_says_which_one(caplog: pytest.LogCaptureFixture) -> None:
    fault = InjectOn("response.created", {"type": "response.hologram"})
    async with Emulator(Script([Turn(say="Here.")]), faults=[fault]) as server, session(server) as (call, _):
        await spoken(call)
        (record,) = records(caplog, "response.hologram")
        assert (record["session_id"], record["model"]) == (call.info.session_id, MODEL)


async def test_a_new_connection_is_in_the_log_for_those_who_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=logger.name)
    async with Emulator(Script([Turn(say="Here.")])) as server, session(server) as (call, _):
        await spoken(call)
        (record,) = records(caplog, "connected to OpenAI")
        assert record["session_id"] == call.info.session_id


async def test_audio_that_was_sent_again_is_in_the_info() -> None:
    async with Emulator(Script([Turn(say="Here.")])) as server, session(server, turn_detection=None) as (call, _):
        await spoken(call)
        again = asyncio.Event()
        call.on("session_reconnected", lambda _: again.set())
        call.push_audio(rtc.AudioFrame(pcm := speak("Hello.", "alloy", 1.0), 24000, 1, len(pcm) // 2))
        await server.wait_received("input_audio_buffer.append")
        await server.drop()
        await asyncio.wait_for(again.wait(), 10)
        call.commit_audio()
        await server.wait_sent("input_audio_buffer.committed")
        assert 0 < call.info.audio_replayed <= call.info.audio_sent


async def test_events_that_were_let_go_because_too_many_waited_are_in_the_info() -> None:
    async with Emulator() as server, session(server) as (call, _):
        for _ in range(MAX_EVENTS + 3):
            call.send_event({"type": "input_audio_buffer.clear"})
        assert call.info.events_dropped == 3


async def test_a_turn_without_a_transcript_whose_audio_was_let_go_is_in_the_info() -> None:
    options: dict[str, Any] = {"turn_detection": None, "input_audio_transcription": None, "max_replay_audio": 200}
    async with Emulator() as server, session(server, **options) as (call, _):
        placed: asyncio.Queue[Any] = asyncio.Queue()
        call.on("remote_item_added", placed.put_nowait)
        half = bytes((KEPT_MS // 2 + 1_000) * 48)
        for dropped in (0, 1):
            call.push_audio(rtc.AudioFrame(half, 24000, 1, len(half) // 2))
            call.commit_audio()
            await asyncio.wait_for(placed.get(), 20)
            assert call.info.turns_dropped == dropped


# -- speech to text ------------------------------------------------------------------------------------------------


async def test_a_stream_of_speech_to_text_has_the_same() -> None:
    faults = [CloseOn("input_audio_buffer.committed", 1011, "not well")]
    async with Emulator(Script([Turn(heard="Hello.")]), faults=faults) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, turn_detection=None, vad=None)
        async with stt.stream(conn_options=QUICK) as stream:
            pcm = speak("Hello.", "alloy", 1.0)
            stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
            stream.end_input()
            async for _ in stream:
                pass
            info = stream.info
        first, second = (event["session"]["id"] for event in server.sent("session.created"))
        assert (info.session_id, info.connections, info.reconnects) == (second, 2, 1)
        assert (info.close_code, info.close_reason, info.attempt) == (1011, "not well", 0)
        assert info.audio_replayed > 0
        assert info.last_failure is not None
        assert (info.last_failure.session_id, info.last_failure.attempt, info.model) == (first, 1, stt.model)


async def test_a_stream_that_fails_raises_with_its_session_and_its_attempt() -> None:
    fault = CloseOn("session.updated", 1011, "not well", times=FOREVER)
    async with Emulator(faults=[fault]) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, turn_detection=None, vad=None)
        async with stt.stream(conn_options=dataclasses.replace(QUICK, max_retry=0)) as stream:
            with pytest.raises(APIError) as caught:
                await asyncio.wait_for(anext(stream), 10)
        failure = caught.value.__cause__ or caught.value
        (created,) = server.sent("session.created")
        assert created["session"]["id"] in str(failure)
        assert (stream.info.session_id, stream.info.age) == (created["session"]["id"], 0.0)


async def test_speech_without_a_text_is_told_with_its_session(caplog: pytest.LogCaptureFixture) -> None:
    async with Emulator(Script([Turn(heard="Hello.")]), faults=[FailTranscription()]) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, turn_detection=None, vad=None)
        told: asyncio.Queue[Any] = asyncio.Queue()
        stt.on("error", told.put_nowait)
        async with stt.stream(conn_options=QUICK) as stream:
            pcm = speak("Hello.", "alloy", 1.0)
            stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, len(pcm) // 2))
            stream.end_input()
            async for _ in stream:
                pass
        failure = (await asyncio.wait_for(told.get(), 10)).error.body
        (created,) = server.sent("session.created")
        assert failure.session_id == created["session"]["id"]
        (record,) = records(caplog, "speech was not transcribed")
        assert record["session_id"] == failure.session_id
