"""`recognize()` by upload: the fields of the form, the answer, failures, and whose HTTP session it is."""

from __future__ import annotations

import asyncio
import io
import math
import socket
import time
import wave
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, APIStatusError, utils
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DelayTranscription, RefuseHandshake

SERVER, OLD, WHISPER = "gpt-transcribe", "gpt-4o-mini-transcribe", "whisper-1"
ONE, TWO = "hello there my friend", "what is the weather in rome"
QUICK_SERVER = Knobs(transcription_latency=0.01)
QUICK = APIConnectOptions(max_retry=2, retry_interval=0.02, timeout=2.0)
ONCE = APIConnectOptions(max_retry=0, timeout=2.0)


@pytest.fixture
def uploader(make_stt) -> Any:
    def make(where: Emulator | str, model: str = SERVER, **options: Any) -> STT:
        return make_stt(where, model, use_realtime=False, **options)

    return make


@pytest.fixture
def buffer(recording) -> Any:
    def make(text: str = ONE, **how: Any) -> list[rtc.AudioFrame]:
        return list(recording(text).frames(**how))

    return make


async def test_a_recording_comes_back_as_one_final_text(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE), Turn(heard=TWO)]), knobs=QUICK_SERVER) as server:
        stt = uploader(server)
        for text in (ONE, TWO):
            event = await stt.recognize(buffer(text), conn_options=ONCE)
            assert event.type is lk.SpeechEventType.FINAL_TRANSCRIPT
            (data,) = event.alternatives
            assert (data.text, data.start_time, data.confidence) == (text, 0.0, 0.0)
        assert [upload.path for upload in server.uploads] == ["/v1/audio/transcriptions"] * 2
        assert server.handshakes == []


async def test_a_key_that_the_provider_kept_too_long_costs_one_attempt(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=Knobs(api_keys=frozenset({"sk-new"}))) as server:
        keys = iter(["sk-old", "sk-new"])
        event = await uploader(server, api_key=lambda: next(keys)).recognize(buffer(), conn_options=QUICK)
        assert event.alternatives[0].text == ONE


async def test_the_final_says_how_long_the_recording_was_and_which_request_it_was(uploader, buffer, recording):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        event = await uploader(server).recognize(buffer(), conn_options=ONCE)
        assert event.alternatives[0].end_time == pytest.approx(recording(ONE).seconds, abs=0.01)
        assert event.request_id == "req_1"


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (48000, 2), (8000, 1)])
async def test_the_file_is_a_wav_of_the_whole_recording(uploader, buffer, recording, rate, channels):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        await uploader(server).recognize(buffer(rate=rate, channels=channels), conn_options=ONCE)
        (upload,) = server.uploads
        assert upload.file is not None
        with wave.open(io.BytesIO(upload.file)) as wav:
            assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (rate, channels, 2)
        assert upload.seconds == pytest.approx(recording(ONE).seconds, abs=0.01)
        assert upload.file_name.endswith(".wav")


async def test_one_frame_is_a_buffer_too(uploader, recording):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        (frame,) = recording(ONE).frames(ms=60_000)
        assert (await uploader(server).recognize(frame, conn_options=ONCE)).alternatives[0].text == ONE


@pytest.mark.parametrize(
    ("model", "options", "fields"),
    [
        (
            SERVER,
            {"language": ["de", "en-GB"], "keywords": ["Gleis", "ICE"], "prompt": "trains", "temperature": 0.2},
            {
                "model": (SERVER,),
                "languages": ("de", "en"),
                "keywords": ("Gleis", "ICE"),
                "prompt": ("trains",),
                "temperature": ("0.2",),
                "response_format": ("json",),
            },
        ),
        (
            OLD,
            {"language": "de", "include_logprobs": True},
            {"model": (OLD,), "language": ("de",), "include": ("logprobs",), "response_format": ("json",)},
        ),
        (
            WHISPER,
            {"detect_language": True},
            {"model": (WHISPER,), "response_format": ("verbose_json",)},
        ),
    ],
)
async def test_the_options_are_the_fields_of_the_form(uploader, buffer, model, options, fields):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        await uploader(server, model, **options).recognize(buffer(), conn_options=ONCE)
        assert dict(server.uploads[0].fields) == fields


async def test_a_language_for_one_call_is_for_that_call_alone(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE)] * 3), knobs=QUICK_SERVER) as server:
        stt = uploader(server, OLD)
        before = stt.options
        event = await stt.recognize(buffer(), language="fr", conn_options=ONCE)
        assert event.alternatives[0].language == "fr"
        assert stt.options == before
        await stt.recognize(buffer(), conn_options=ONCE)
        assert [upload.value("language") for upload in server.uploads] == ["fr", "en"]


async def test_the_languages_that_were_heard_are_told(uploader, buffer):
    turns = [Turn(heard=ONE, languages=("pt", "en")), Turn(heard=TWO, languages=())]
    async with Emulator(Script(turns), knobs=QUICK_SERVER) as server:
        stt = uploader(server, language="en")
        mixed = (await stt.recognize(buffer(), conn_options=ONCE)).alternatives[0]
        assert (mixed.language, mixed.source_languages) == ("pt", ["pt", "en"])
        unsure = (await stt.recognize(buffer(), conn_options=ONCE)).alternatives[0]
        assert unsure.language == "en"


async def test_whisper_tells_the_language_by_its_name(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE, languages=("de",))]), knobs=QUICK_SERVER) as server:
        stt = uploader(server, WHISPER, detect_language=True)
        data = (await stt.recognize(buffer(), conn_options=ONCE)).alternatives[0]
        assert (data.language, data.text) == ("de", ONE)


async def test_confidence_comes_when_it_is_asked_for(uploader, buffer):
    async with Emulator(Script([Turn(heard="well said", logprobs=(-0.1, -0.5))]), knobs=QUICK_SERVER) as server:
        stt = uploader(server, OLD, include_logprobs=True)
        data = (await stt.recognize(buffer("well said"), conn_options=ONCE)).alternatives[0]
        assert data.confidence == pytest.approx(math.exp(-0.3))


@pytest.mark.parametrize("model", [SERVER, OLD, WHISPER])
async def test_usage_is_what_the_server_bills(uploader, buffer, recording, model):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        usage = (await uploader(server, model).recognize(buffer(), conn_options=ONCE)).recognition_usage
        if model == OLD:
            assert usage.input_tokens > 0
            assert usage.output_tokens > 0
            assert usage.audio_duration == pytest.approx(recording(ONE).seconds, abs=0.01)
        else:
            assert (usage.input_tokens, usage.output_tokens) == (0, 0)
            assert usage.audio_duration == math.ceil(recording(ONE).seconds)


async def test_silence_has_an_empty_text(uploader, recording):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        event = await uploader(server).recognize(list(recording(before=0.5).frames()), conn_options=ONCE)
        assert event.alternatives[0].text == ""


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "retryable", "code"),
    [
        (400, '{"error":{"message":"Bad audio.","code":"audio_too_short"}}', False, "audio_too_short"),
        (401, "", False, "http_401"),
        (403, "", False, "http_403"),
        (404, "<html>no</html>", False, "http_404"),
        (413, "", False, "http_413"),
        (429, '{"error":{"message":"Slow down.","code":"rate_limit_exceeded"}}', True, "rate_limit_exceeded"),
        (429, '{"error":{"message":"No credit.","code":"insufficient_quota"}}', False, "insufficient_quota"),
        (500, "", True, "http_500"),
        (503, "upstream gone", True, "http_503"),
    ],
)
async def test_a_refusal_is_an_error_with_status_code_and_remedy(uploader, buffer, status, body, retryable, code):
    async with Emulator(faults=[RefuseHandshake(status, body)]) as server:
        with pytest.raises(APIStatusError) as caught:
            await uploader(server).recognize(buffer(), conn_options=ONCE)
        assert (caught.value.status_code, caught.value.retryable) == (status, retryable)
        assert caught.value.message.startswith(f"{code}: ")
        assert caught.value.message.endswith(". (request req_1)")
        assert "<html>" not in str(caught.value)
        assert caught.value.request_id == "req_1"


async def test_the_framework_tries_again_what_can_pass_and_nothing_else(uploader, buffer):
    async with Emulator(
        Script([Turn(heard=ONE)]), knobs=QUICK_SERVER, faults=[RefuseHandshake(500, times=2)]
    ) as server:
        event = await uploader(server).recognize(buffer(), conn_options=QUICK)
        assert event.alternatives[0].text == ONE
        assert len(server.uploads) == 3
    async with Emulator(faults=[RefuseHandshake(401, times=3)]) as server:
        with pytest.raises(APIStatusError):
            await uploader(server).recognize(buffer(), conn_options=QUICK)
        assert len(server.uploads) == 1


async def test_a_key_provider_is_asked_for_every_recording(uploader, buffer):
    keys = iter(["sk-1", "sk-2"])
    async with Emulator() as server:
        stt = uploader(server, api_key=lambda: next(keys))
        for _ in range(2):
            await stt.recognize(buffer())
        assert [upload.headers["authorization"] for upload in server.uploads] == ["Bearer sk-1", "Bearer sk-2"]


async def test_a_wrong_key_is_told_and_not_shown(uploader, buffer):
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-right"}))) as server:
        stt = uploader(server, api_key="sk-wrong-0123456789abcdef")
        with pytest.raises(APIStatusError, match="invalid_api_key") as caught:
            await stt.recognize(buffer(), conn_options=QUICK)
        assert "sk-wrong" not in str(caught.value) + repr(caught.value)
        assert len(server.uploads) == 1


async def test_a_server_that_is_not_there_is_a_connection_error(uploader, buffer):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(APIConnectionError) as caught:
        await uploader(f"http://127.0.0.1:{port}/v1").recognize(buffer(), conn_options=ONCE)
    assert caught.value.retryable
    assert caught.value.message.startswith("connection_refused")
    assert "base_url" in caught.value.message


async def test_a_server_that_accepts_nothing_is_given_up_in_bounded_time(uploader, buffer, monkeypatch):
    from livekit_plugins_openai_ga.stt import upload

    monkeypatch.setattr(upload, "READ_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        stt = uploader(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        started = time.monotonic()
        with pytest.raises(APIError, match="timeout") as caught:
            await stt.recognize(buffer(), conn_options=APIConnectOptions(max_retry=0, timeout=0.2))
        assert time.monotonic() - started < 1.5
        assert caught.value.retryable


async def test_a_connection_that_breaks_off_is_tried_again(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=Knobs(transcription_latency=0.2)) as server:
        asking = asyncio.ensure_future(uploader(server).recognize(buffer(), conn_options=QUICK))
        await server.wait_until(lambda: len(server.uploads) == 1)
        await server.drop()
        assert (await asking).alternatives[0].text == ONE
        assert len(server.uploads) == 2


@pytest.mark.parametrize("answer", [b"this is no json", b"", b"[1,2]", b"{}", b'{"error":{"message":"Oops."}}'])
async def test_an_answer_without_a_text_is_a_failure_and_not_silence(uploader, buffer, answer):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"--\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**22)
    async with server:
        stt = uploader(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(APIError) as caught:
            await stt.recognize(buffer(), conn_options=ONCE)
        assert caught.value.retryable
        await stt.aclose()


async def test_an_empty_buffer_is_refused(uploader):
    async with Emulator() as server:
        with pytest.raises(ValueError, match="empty"):
            await uploader(server).recognize([], conn_options=ONCE)
        assert server.uploads == []


async def test_a_language_the_model_does_not_take_is_refused_before_the_network(uploader, buffer):
    async with Emulator() as server:
        with pytest.raises(ValueError, match="language"):
            await uploader(server, OLD).recognize(buffer(), language=["en", "de"], conn_options=ONCE)
        assert server.uploads == []


# -- whose HTTP session -----------------------------------------------------------------------------------------


async def test_outside_a_job_its_own_http_session_is_closed_with_it(uploader, buffer, recwarn):
    async with Emulator(Script([Turn(heard=ONE)] * 2), knobs=QUICK_SERVER) as server:
        stt = uploader(server)
        await stt.recognize(buffer(), conn_options=ONCE)
        await stt.aclose()
        assert [w for w in recwarn if "Unclosed" in str(w.message)] == []
        await stt.recognize(buffer(), conn_options=ONCE)  # closing does not spoil it
        await stt.aclose()


async def test_a_given_http_session_is_used_and_left_open(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as http:
            stt = uploader(server, http_session=http)
            await stt.recognize(buffer(), conn_options=ONCE)
            await stt.aclose()
            assert not http.closed
        assert server.uploads[0].headers["x-mine"] == "yes"


async def test_in_a_job_the_jobs_http_session_is_used(uploader, buffer):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server, utils.http_context.open():
        jobs = utils.http_context.http_session()
        jobs.headers["X-Job"] = "yes"
        stt = uploader(server)
        await stt.recognize(buffer(), conn_options=ONCE)
        await stt.aclose()
        assert server.uploads[0].headers["x-job"] == "yes"
        assert not jobs.closed


async def test_metrics_are_those_of_the_framework(uploader, buffer, recording):
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER) as server:
        stt = uploader(server)
        told: list[Any] = []
        stt.on("metrics_collected", told.append)
        await stt.recognize(buffer(), conn_options=ONCE)
        (metrics,) = told
        assert metrics.request_id == "req_1"
        assert not metrics.streamed
        assert metrics.audio_duration == pytest.approx(recording(ONE).seconds, abs=0.01)
        assert metrics.metadata.model_name == SERVER


async def test_a_slow_transcript_is_waited_for(uploader, buffer):
    faults = [DelayTranscription(0.5)]
    async with Emulator(Script([Turn(heard=ONE)]), knobs=QUICK_SERVER, faults=faults) as server:
        event = await uploader(server).recognize(buffer(), conn_options=APIConnectOptions(max_retry=0, timeout=0.2))
        assert event.alternatives[0].text == ONE
