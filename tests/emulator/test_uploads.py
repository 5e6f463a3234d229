"""`POST /v1/audio/transcriptions`, driven by OpenAI's own client."""

from __future__ import annotations

import asyncio
import io
import math
import wave

import httpx2
import numpy as np
import openai
import pytest
from openai.types.audio import Transcription, TranscriptionVerbose

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, faults
from livekit_plugins_openai_ga.emulator.uploads import MAX_FILE_BYTES
from livekit_plugins_openai_ga.emulator.voice import SAMPLE_RATE, synthetic

FAST = Knobs(transcription_latency=0.0, speak=synthetic)
HEARD = Turn(heard="Hello there friend", logprobs=(-0.1, -0.2))


def wav(pcm, *, rate=SAMPLE_RATE, channels=1, width=2):
    """A WAV of 24 kHz int16 mono PCM, in another format."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    samples = np.interp(
        np.arange(int(len(samples) * rate / SAMPLE_RATE)) * SAMPLE_RATE / rate, range(len(samples)), samples
    )
    if width == 1:
        data = np.round(samples / 256 + 128).astype(np.uint8)[:, None]
    else:
        data = np.round(samples).astype("<i2")[:, None].view(np.uint8)
        data = np.hstack([np.zeros((len(data), width - 2), np.uint8), data])
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(np.tile(data, channels).tobytes())
    return file.getvalue()


SPEECH = synthetic("a sentence of some length")
SECONDS = len(SPEECH) / 48000


def client(server, **options):
    return openai.AsyncOpenAI(**{"base_url": server.base_url, "api_key": "sk-test", "max_retries": 0, **options})


async def create(server, **options):
    options = {"file": ("speech.wav", wav(SPEECH)), "model": "gpt-4o-transcribe", **options}
    async with client(server) as sdk:
        return await sdk.audio.transcriptions.create(**options)


async def refusal(server, **options):
    """Status and error of a request that must be refused."""
    with pytest.raises(openai.APIStatusError) as refused:
        await create(server, **options)
    assert set(refused.value.body) == {"message", "type", "param", "code"}
    assert refused.value.request_id
    return refused.value.status_code, refused.value.body


def server_of(*turns, **options):
    return Emulator(Script(turns or (HEARD,)), **{"knobs": FAST, **options})


async def test_a_token_model_answers_with_text_and_tokens():
    async with server_of() as server:
        answer = await create(server, language="en", prompt="medical terms", temperature=0.5)
        assert isinstance(answer, Transcription)
        assert answer.text == "Hello there friend"
        assert answer.usage.type == "tokens"
        assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
        assert answer.logprobs is answer.languages is None
        (upload,) = server.uploads
        assert upload.fields == {
            "model": ("gpt-4o-transcribe",),
            "language": ("en",),
            "prompt": ("medical terms",),
            "temperature": ("0.5",),
        }
        assert (upload.path, upload.file_name, upload.seconds) == ("/v1/audio/transcriptions", "speech.wav", SECONDS)
        assert upload.file == wav(SPEECH)
        assert upload.headers["authorization"] == "Bearer sk-test"
        assert "sk-test" not in repr(server.uploads)


async def test_lists_arrive_as_the_sdk_sends_them():
    async with server_of() as server:
        answer = await create(server, model="gpt-transcribe", languages=["pt", "en"], keywords=["LiveKit", "naïve €"])
        assert [language.code for language in answer.languages] == ["pt"]
        assert server.uploads[0].fields["languages"] == ("pt", "en")
        assert server.uploads[0].fields["keywords"] == ("LiveKit", "naïve €")
        assert answer.usage.model_dump() == {"type": "duration", "seconds": math.ceil(SECONDS)}


@pytest.mark.parametrize(("languages", "told"), [((), []), (("ja", "en"), ["ja", "en"])])
async def test_detected_languages_are_the_turns(languages, told):
    async with server_of(Turn(heard="Hm", languages=languages)) as server:
        answer = await create(server, model="gpt-transcribe")
        assert [language.code for language in answer.languages] == told


async def test_logprobs_come_when_included():
    async with server_of() as server:
        answer = await create(server, include=["logprobs"])
        assert [(entry.token, entry.logprob) for entry in answer.logprobs] == [
            ("Hello", -0.1),
            (" there", -0.2),
            (" friend", -0.1),
        ]


async def test_whisper_tells_language_and_times():
    async with server_of(Turn(heard="Olá amigo", languages=("pt",))) as server:
        answer = await create(
            server, model="whisper-1", response_format="verbose_json", timestamp_granularities=["word", "segment"]
        )
        assert isinstance(answer, TranscriptionVerbose)
        TranscriptionVerbose.model_validate(answer.model_dump(), strict=True)
        assert (answer.text, answer.language, answer.duration) == ("Olá amigo", "portuguese", SECONDS)
        assert [word.word for word in answer.words] == ["Olá", "amigo"]
        assert answer.segments[0].text.strip() == "Olá amigo"
        assert answer.usage.seconds == math.ceil(SECONDS)


async def test_the_language_given_is_the_one_whisper_names():
    async with server_of() as server:
        answer = await create(server, model="whisper-1", response_format="verbose_json", language="it")
        assert answer.language == "italian"
        assert answer.words is None


async def test_plain_text_is_plain():
    async with server_of() as server:
        assert (await create(server, model="whisper-1", response_format="text")).strip() == "Hello there friend"


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
@pytest.mark.parametrize(("channels", "width"), [(1, 1), (2, 2), (1, 3), (2, 4)])
async def test_wavs_of_any_kind_are_heard(rate, channels, width):
    async with server_of() as server:
        answer = await create(server, file=("a.wav", wav(SPEECH, rate=rate, channels=channels, width=width)))
        assert answer.text == "Hello there friend"
        assert server.uploads[0].seconds == pytest.approx(SECONDS, abs=0.01)
        assert len(server.uploads[0].pcm) == pytest.approx(len(SPEECH), abs=100)


async def test_silence_is_transcribed_as_nothing_and_takes_no_turn():
    async with server_of() as server:
        assert (await create(server, file=("a.wav", wav(bytes(48 * 2000))))).text == ""
        assert (await create(server)).text == "Hello there friend"


async def test_another_container_is_taken_for_speech_of_unknown_length():
    async with server_of() as server:
        answer = await create(server, file=("a.mp3", b"\xff\xfb" + bytes(1000)), model="gpt-transcribe")
        assert (answer.text, answer.usage) == ("Hello there friend", None)
        assert server.uploads[0].seconds is None


BAD_REQUESTS = [
    ({"model": "gpt-nonsense"}, "invalid_value", "model"),
    ({"model": "gpt-realtime-2.1"}, "invalid_value", "model"),
    ({"model": "gpt-live-transcribe"}, "invalid_value", "model"),
    ({"model": "gpt-realtime-whisper"}, "invalid_value", "model"),
    ({"model": ""}, None, None),
    ({"model": "gpt-transcribe", "language": "en"}, "invalid_value", "language"),
    ({"languages": ["en"]}, "invalid_value", "languages"),
    ({"keywords": ["LiveKit"]}, "invalid_value", "keywords"),
    ({"model": "gpt-4o-transcribe-diarize", "prompt": "x"}, "invalid_value", "prompt"),
    ({"response_format": "verbose_json"}, "unsupported_value", "response_format"),
    ({"response_format": "srt", "model": "whisper-1"}, "unsupported_value", "response_format"),
    ({"include": ["logprobs"], "model": "whisper-1"}, "invalid_value", "include"),
    ({"include": ["logprobs"], "response_format": "text"}, "invalid_value", "include"),
    ({"include": ["everything"]}, "invalid_value", "include"),
    ({"timestamp_granularities": ["word"], "model": "whisper-1"}, "invalid_value", "timestamp_granularities"),
    ({"temperature": 2}, "invalid_value", "temperature"),
    ({"extra_body": {"delay": "low"}}, "unknown_parameter", "delay"),
    ({"extra_body": {"stream": "true"}}, "unsupported_parameter", "stream"),
    ({"file": ("a.wav", b"")}, "invalid_value", "file"),
    ({"file": ("a.wav", b"garbage")}, "invalid_value", "file"),
    ({"file": ("a.wav", wav(SPEECH[: 48 * 50]))}, "audio_too_short", "file"),
    ({"file": ("a.txt", b"text")}, None, None),
]


@pytest.mark.parametrize(("options", "code", "param"), BAD_REQUESTS)
async def test_bad_requests_are_refused_and_take_no_turn(options, code, param):
    async with server_of() as server:
        status, error = await refusal(server, **options)
        assert (status, error["type"]) == (400, "invalid_request_error")
        assert (error["code"], error["param"]) == (code, param)
        assert (await create(server)).text == "Hello there friend"
        assert len(server.uploads) == 2


async def test_a_file_over_the_limit_is_refused():
    async with server_of() as server:
        status, _ = await refusal(server, file=("a.mp3", bytes(MAX_FILE_BYTES + 1)))
        assert status == 413


@pytest.mark.parametrize(
    "form", [{"data": {"model": "whisper-1"}, "files": {"x": b""}}, {"json": {"model": "whisper-1"}}]
)
async def test_a_request_without_a_file_is_refused(form):
    async with server_of() as server, httpx2.AsyncClient() as http:
        answer = await http.post(
            f"{server.base_url}/audio/transcriptions", headers={"Authorization": "Bearer sk-test"}, **form
        )
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_a_wrong_key_is_refused_with_401():
    async with server_of(knobs=Knobs(api_keys=frozenset({"sk-right"}))) as server:
        status, error = await refusal(server)
        assert (status, error["code"]) == (401, "invalid_api_key")
        async with httpx2.AsyncClient() as http:
            answer = await http.post(f"{server.base_url}/audio/transcriptions", files={"file": b""})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, None)
        assert len(server.uploads) == 2


async def test_azure_takes_its_key_header_and_any_deployment():
    async with server_of(knobs=Knobs(api_keys=frozenset({"azure-key"}), transcription_latency=0.0)) as server:
        url = f"{server.azure_endpoint}/openai/v1"
        async with client(server, base_url=url, default_headers={"api-key": "azure-key"}) as sdk:
            options = {"file": ("a.wav", wav(SPEECH)), "model": "my-deployment", "language": "en"}
            assert (await sdk.audio.transcriptions.create(**options)).text == "Hello there friend"
            with pytest.raises(openai.BadRequestError, match="api-version"):
                await sdk.audio.transcriptions.create(**options, extra_query={"api-version": "2024-06-01"})
        async with client(server, base_url=url) as sdk:
            with pytest.raises(openai.AuthenticationError):
                await sdk.audio.transcriptions.create(**options)
        assert server.uploads[0].path == "/openai/v1/audio/transcriptions"


async def test_an_upload_can_be_refused_with_a_status_and_then_works():
    fault = faults.RefuseHandshake(429, '{"error": {"code": "slow_down"}}', retry_after=2)
    async with server_of(faults=[fault]) as server:
        with pytest.raises(openai.RateLimitError) as refused:
            await create(server)
        assert refused.value.response.headers["retry-after"] == "2"
        assert refused.value.code == "slow_down"
        assert (await create(server)).text == "Hello there friend"


async def test_an_upload_can_be_left_unanswered():
    async with server_of(faults=[faults.DelayTranscription(float("inf"))]) as server:
        with pytest.raises(openai.APITimeoutError):
            await create(server, timeout=0.1)
        assert (await create(server)).text == "Hello there friend"


async def test_uploads_beside_each_other_hear_different_turns():
    async with server_of(Turn(heard="One"), Turn(heard="Two"), knobs=Knobs(transcription_latency=0.1)) as server:
        answers = await asyncio.gather(create(server), create(server))
        assert sorted(answer.text for answer in answers) == ["One", "Two"]
