"""`recognize()` over a socket: one utterance, one segment, one connection."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from typing import Any

import pytest
from livekit.agents import APIConnectionError, APIConnectOptions, APIError
from livekit.agents import stt as lk

from livekit_plugins_openai_ga.core import segments
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import (
    DelayTranscription,
    DropOn,
    FailTranscription,
    FreezeOn,
    RefuseHandshake,
    RejectHandshake,
    RejectOn,
    SwallowOn,
)

SERVER, STREAMING, OLD, WHISPER = "gpt-transcribe", "gpt-live-transcribe", "gpt-4o-mini-transcribe", "whisper-1"
MODELS = (SERVER, STREAMING, OLD, WHISPER)
ONE, TWO = "hello there my friend", "what is the weather in rome"
QUICK_SERVER = Knobs(transcription_latency=0.02)
QUICK = APIConnectOptions(max_retry=2, retry_interval=0.02, timeout=2.0)
ONCE = APIConnectOptions(max_retry=0, timeout=2.0)


def script(*texts: str) -> Script:
    return Script([Turn(heard=text) for text in texts or (ONE, TWO)])


async def closed(server: Emulator) -> None:
    await server.wait_until(lambda: all(session.closed for session in server.sessions))


@pytest.mark.parametrize("model", MODELS)
async def test_an_utterance_is_one_segment_whatever_pauses_it_has(make_stt, recording, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, model)
        utterance = recording(ONE, TWO, pause=1.0)
        event = await stt.recognize(list(utterance.frames()), conn_options=ONCE)
        assert event.type is lk.SpeechEventType.FINAL_TRANSCRIPT
        assert event.alternatives[0].text == ONE
        assert len(server.received("input_audio_buffer.commit")) == 1
        (update,) = server.received("session.update")
        assert update["session"]["audio"]["input"]["turn_detection"] is None
        (committed,) = server.sent("input_audio_buffer.committed")
        assert event.request_id == committed["item_id"]
        assert event.alternatives[0].start_time == 0.0
        assert event.alternatives[0].end_time == pytest.approx(utterance.seconds, abs=0.01)
        await closed(server)
        assert (await stt.recognize(list(utterance.frames()), conn_options=ONCE)).alternatives[0].text == TWO


@pytest.mark.parametrize(("rate", "channels"), [(48000, 2), (8000, 1), (44100, 1)])
async def test_any_format_is_sent_whole(make_stt, recording, sent_audio, rate, channels):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        utterance = recording(ONE)
        frames = list(utterance.frames(rate=rate, channels=channels))
        event = await make_stt(server).recognize(frames, conn_options=ONCE)
        assert event.alternatives[0].text == ONE
        assert len(sent_audio(server.sessions[0])) / 48000 == pytest.approx(utterance.seconds, abs=0.01)


@pytest.mark.parametrize("model", [SERVER, OLD])
async def test_the_event_carries_the_usage(make_stt, recording, model):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        utterance = recording(ONE)
        usage = (await make_stt(server, model).recognize(list(utterance.frames()), conn_options=ONCE)).recognition_usage
        (done,) = server.sent("conversation.item.input_audio_transcription.completed")
        if model == OLD:
            assert (usage.input_tokens, usage.output_tokens) == (
                done["usage"]["input_tokens"],
                done["usage"]["output_tokens"],
            )
            assert usage.audio_duration == pytest.approx(utterance.seconds, abs=0.01)
        else:
            assert usage.audio_duration == done["usage"]["seconds"]


async def test_confidence_and_languages_come_along(make_stt, recording):
    turns = [Turn(heard=ONE, logprobs=(-0.2,)), Turn(heard=ONE, languages=("pt",))]
    async with Emulator(Script(turns), knobs=QUICK_SERVER) as server:
        frames = list(recording(ONE).frames())
        sure = await make_stt(server, OLD, include_logprobs=True).recognize(frames, conn_options=ONCE)
        assert sure.alternatives[0].confidence == pytest.approx(math.exp(-0.2))
        heard = await make_stt(server).recognize(frames, conn_options=ONCE)
        assert heard.alternatives[0].language == "pt"


async def test_a_language_for_one_call_is_for_that_call_alone(make_stt, recording):
    async with Emulator(script(ONE, ONE), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, OLD)
        before = stt.options
        frames = list(recording(ONE).frames())
        event = await stt.recognize(frames, language="fr", conn_options=ONCE)
        assert event.alternatives[0].language == "fr"
        assert stt.options == before
        await stt.recognize(frames, conn_options=ONCE)
        told = [u["session"]["audio"]["input"]["transcription"]["language"] for u in server.received("session.update")]
        assert told == ["fr", "en"]


async def test_two_calls_at_a_time_do_not_mix(make_stt, recording):
    async with Emulator(script(ONE, ONE), knobs=QUICK_SERVER) as server:
        stt = make_stt(server, OLD)
        frames = list(recording(ONE).frames())
        calls = (stt.recognize(frames, language=code, conn_options=ONCE) for code in ("de", "fr"))
        events = await asyncio.gather(*calls)
        assert [event.alternatives[0].language for event in events] == ["de", "fr"]
        assert len({event.request_id for event in events}) == 2


async def test_less_than_the_server_takes_has_no_text_and_costs_nothing(make_stt, recording):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        started = time.monotonic()
        event = await make_stt(server).recognize(list(recording(before=0.05).frames()), conn_options=ONCE)
        assert time.monotonic() - started < 1.0
        assert event.alternatives[0].text == ""
        assert event.recognition_usage is None
        assert server.received("input_audio_buffer.commit") == []


async def test_an_empty_buffer_is_refused(make_stt):
    async with Emulator() as server:
        with pytest.raises(ValueError, match="empty"):
            await make_stt(server).recognize([], conn_options=ONCE)
        assert server.handshakes == []


async def test_silence_has_an_empty_text(make_stt, recording):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        event = await make_stt(server).recognize(list(recording(before=0.5).frames()), conn_options=ONCE)
        assert event.alternatives[0].text == ""


async def test_a_long_utterance_is_sent_whole(make_stt, recording, sent_audio):
    """Longer than what is kept for a stream, and than the longest segment."""
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        utterance = recording(before=70.0).say(ONE)
        event = await make_stt(server).recognize(list(utterance.frames(ms=100)), conn_options=ONCE)
        assert event.alternatives[0].text == ONE
        assert sent_audio(server.sessions[0]) == utterance.pcm
        assert len(server.received("input_audio_buffer.commit")) == 1


async def test_the_warm_connection_is_used(make_stt, recording):
    async with Emulator(script(), knobs=QUICK_SERVER) as server:
        stt = make_stt(server)
        stt.prewarm()
        await server.wait_sent("session.created")
        assert (await stt.recognize(list(recording(ONE).frames()), conn_options=ONCE)).alternatives[0].text == ONE
        assert len(server.handshakes) == 1


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        DropOn("input_audio_buffer.append", nth=5),
        DropOn("input_audio_buffer.committed"),
        RefuseHandshake(503),
        DropOn("session.update"),
    ],
    ids=["in the audio", "after the commit", "503", "while it is configured"],
)
async def test_the_framework_asks_again_after_what_can_pass(make_stt, recording, fault):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[fault]) as server:
        stt = make_stt(server)
        errors: list[Any] = []
        stt.on("error", errors.append)
        event = await stt.recognize(list(recording(ONE).frames()), conn_options=QUICK)
        assert event.alternatives[0].text == ONE
        assert [error.recoverable for error in errors] == [True]
        assert len(server.handshakes) == 2
        await closed(server)


async def test_without_retries_the_failure_comes_out(make_stt, recording):
    async with Emulator(script(), faults=[DropOn("input_audio_buffer.append", nth=5)]) as server:
        with pytest.raises(APIConnectionError, match="close_1006"):
            await make_stt(server).recognize(list(recording(ONE).frames()), conn_options=ONCE)
        assert len(server.handshakes) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (RejectHandshake("invalid_api_key", "Incorrect API key.", 3000), "invalid_api_key"),
        (RejectHandshake("invalid_model", "No such model.", 4000), "invalid_model"),
        (RejectOn("session.update", "invalid_value", "No.", "session.audio"), "invalid_value"),
        (RefuseHandshake(401), "http_401"),
    ],
)
async def test_what_no_retry_can_cure_is_asked_once(make_stt, recording, fault, code):
    async with Emulator(script(), faults=[fault]) as server:
        with pytest.raises(APIError, match=code) as caught:
            await make_stt(server).recognize(list(recording(ONE).frames()), conn_options=QUICK)
        assert not caught.value.retryable
        assert len(server.handshakes) == 1
        await closed(server)


async def test_speech_that_cannot_be_transcribed_is_an_error_with_its_code(make_stt, recording):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[FailTranscription(times=5)]) as server:
        with pytest.raises(APIError, match="audio_unintelligible"):
            await make_stt(server).recognize(list(recording(ONE).frames()), conn_options=ONCE)
        await closed(server)


async def test_the_part_that_came_before_a_failure_is_told_as_incomplete(make_stt, recording):
    knobs = Knobs(transcription_latency=0.05, seconds_per_word=0.2)
    async with Emulator(script(), knobs=knobs, faults=[FailTranscription()]) as server:
        event = await make_stt(server, STREAMING).recognize(list(recording(ONE).frames()), conn_options=ONCE)
        (data,) = event.alternatives
        assert data.text
        assert ONE.startswith(data.text)
        assert data.metadata == {"incomplete": True, "code": "audio_unintelligible"}


async def test_a_text_that_never_comes_is_given_up_in_bounded_time(make_stt, recording, monkeypatch):
    monkeypatch.setattr(segments, "FINAL_TIMEOUT_S", 0.2)
    async with Emulator(script(), faults=[DelayTranscription(math.inf)]) as server:
        started = time.monotonic()
        with pytest.raises(APIError, match="transcription_overdue"):
            await make_stt(server).recognize(list(recording(ONE).frames()), conn_options=ONCE)
        assert time.monotonic() - started < 2.0
        await closed(server)


async def test_a_dead_peer_is_noticed(make_stt, recording):
    async with Emulator(script(), knobs=QUICK_SERVER, faults=[FreezeOn("input_audio_buffer.commit")]) as server:
        stt = make_stt(server, heartbeat=0.1)
        event = await asyncio.wait_for(stt.recognize(list(recording(ONE).frames()), conn_options=QUICK), 3.0)
        assert event.alternatives[0].text == ONE
        assert len(server.handshakes) == 2


async def test_a_server_that_never_answers_is_given_up_in_bounded_time(make_stt, recording):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        stt = make_stt(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        started = time.monotonic()
        options = APIConnectOptions(max_retry=0, timeout=0.3)
        with pytest.raises(APIConnectionError, match="timeout"):
            await stt.recognize(list(recording(ONE).frames()), conn_options=options)
        assert time.monotonic() - started < 1.5


async def test_a_session_that_is_never_configured_is_given_up_in_bounded_time(make_stt, recording):
    async with Emulator(script(), faults=[SwallowOn("session.updated")]) as server:
        options = APIConnectOptions(max_retry=0, timeout=0.3)
        with pytest.raises(APIConnectionError, match="confirm"):
            await make_stt(server).recognize(list(recording(ONE).frames()), conn_options=options)
        await closed(server)


async def test_a_call_that_is_cancelled_leaves_nothing_behind(make_stt, recording):
    async with Emulator(script(), faults=[DelayTranscription(math.inf)]) as server:
        before = asyncio.all_tasks()
        call = asyncio.ensure_future(make_stt(server).recognize(list(recording(ONE).frames()), conn_options=ONCE))
        await server.wait_sent("input_audio_buffer.committed")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await closed(server)
        assert [t for t in asyncio.all_tasks() - before if "openai_ga" in repr(t)] == []
