"""Speech-to-text through a real LiteLLM proxy. What it leaves out, and docs/gateways.md says, is held here, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.agents.stt import SpeechEvent, SpeechEventType

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Script, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import DropOn

from .conftest import GATEWAY_KEY, MODELS, Gateway

pytestmark = pytest.mark.timeout(150)  # the first test starts the proxy

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=5.0)
SENTENCES = ("Hello there my friend.", "How are you today?")


def speech(text: str) -> Iterator[rtc.AudioFrame]:
    """The text spoken, and a second of silence."""
    pcm = speak(text, "marin", 1.0) + bytes(48000)
    for start in range(0, len(pcm), 960):
        piece = pcm[start : start + 960]
        yield rtc.AudioFrame(piece, 24000, 1, len(piece) // 2)


@pytest.fixture
async def listener(gateway: Gateway) -> AsyncIterator[Callable[..., STT]]:
    stack = AsyncExitStack()

    def make(**options: Any) -> STT:
        made = STT(**{"base_url": gateway.base_url, "api_key": GATEWAY_KEY, **options})
        stack.push_async_callback(made.aclose)
        return made

    async with stack:
        yield make


async def listen(to: STT) -> list[SpeechEvent]:
    """Stream every sentence and give all the finals that have a text."""
    async with to.stream(conn_options=QUICK) as stream:
        for sentence in SENTENCES:
            for frame in speech(sentence):
                stream.push_frame(frame)
        stream.end_input()

        async def read() -> list[SpeechEvent]:
            events = [event async for event in stream]
            return [event for event in events if event.type is SpeechEventType.FINAL_TRANSCRIPT]

        finals = await asyncio.wait_for(read(), 30)
        return [event for event in finals if event.alternatives[0].text]


def texts(finals: list[SpeechEvent]) -> tuple[str, ...]:
    return tuple(event.alternatives[0].text for event in finals)


@pytest.mark.parametrize("model", ["ears", "gpt-transcribe", "gpt-live-transcribe"])
async def test_every_sentence_of_a_stream_comes_out(gateway: Gateway, listener: Callable[..., STT], model: str) -> None:
    async with gateway.upstream(Script([Turn(heard=sentence) for sentence in SENTENCES])) as server:
        assert texts(await listen(listener(model=model))) == SENTENCES
        (shake,) = server.handshakes
        assert dict(shake.query) == {"intent": "transcription", "model": MODELS[model]}
        told = server.received("session.update")[0]["session"]["audio"]["input"]["transcription"]
        assert told["model"] == MODELS[model]  # the proxy puts its model in


async def test_confidence_comes_along_in_a_stream(gateway: Gateway, listener: Callable[..., STT]) -> None:
    async with gateway.upstream(Script([Turn(heard=sentence) for sentence in SENTENCES])):
        finals = await listen(listener(model="ears", include_logprobs=True))
        assert [round(event.alternatives[0].confidence, 2) for event in finals] == [0.95, 0.95]


async def test_a_session_lost_behind_the_proxy_costs_no_sentence(
    gateway: Gateway, listener: Callable[..., STT]
) -> None:
    script = Script([Turn(heard=sentence) for sentence in SENTENCES])
    fault = DropOn("conversation.item.input_audio_transcription.completed")
    async with gateway.upstream(script, faults=[fault]) as server:
        assert texts(await listen(listener(model="ears"))) == SENTENCES
        assert len(server.handshakes) == 2


async def test_a_name_the_proxy_does_not_know_ends_the_stream(gateway: Gateway, listener: Callable[..., STT]) -> None:
    async with gateway.upstream() as server:
        with pytest.raises(APIError, match="nobody"):
            await listen(listener(model="nobody"))
        assert not server.handshakes


async def test_a_whole_recording(gateway: Gateway, listener: Callable[..., STT]) -> None:
    async with gateway.upstream(Script([Turn(heard=SENTENCES[0])])) as server:
        event = await listener(model="ears", use_realtime=False).recognize(list(speech(SENTENCES[0])))
        assert event.alternatives[0].text == SENTENCES[0]
        (upload,) = server.uploads
        assert upload.fields["model"] == (MODELS["ears"],)


async def test_litellm_leaves_out_what_a_recording_says_of_confidence_and_languages(
    gateway: Gateway, listener: Callable[..., STT]
) -> None:
    """When this fails, docs/gateways.md has a line less to say."""
    async with gateway.upstream(Script([Turn(heard=SENTENCES[0], languages=("de",))] * 2)) as server:
        sure = listener(model="ears", use_realtime=False, include_logprobs=True)
        assert (await sure.recognize(list(speech(SENTENCES[0])))).alternatives[0].confidence == 0.0
        found = listener(model="gpt-transcribe", use_realtime=False, language=["en", "de"])
        assert not (await found.recognize(list(speech(SENTENCES[0])))).alternatives[0].source_languages
        assert server.uploads[0].fields["include"] == ("logprobs",)
        assert server.uploads[1].fields["languages"] == ("en", "de")
