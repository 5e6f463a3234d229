"""Calls through a real LiteLLM proxy. What it does not support, and docs/gateways.md says, is held here, too."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import CloseOn, DropOn, ExpireAfter, Fault, RefuseHandshake

from .conftest import GATEWAY_KEY, MODELS, UPSTREAM_KEY, Gateway

pytestmark = pytest.mark.timeout(150)  # the first test starts the proxy

HERE = Path(__file__).parent
QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=5.0)
VAD = {"type": "server_vad", "silence_duration_ms": 300}
QUESTION = "What is the weather in Rome?"


class Call:
    """A session, its replies and its errors."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.replies: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        self.errors: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
        self.transcripts: asyncio.Queue[str] = asyncio.Queue()
        self.reconnected = asyncio.Event()
        session.on("generation_created", self.replies.put_nowait)
        session.on("error", self.errors.put_nowait)
        session.on("session_reconnected", lambda event: self.reconnected.set())
        session.on(
            "input_audio_transcription_completed",
            lambda event: self.transcripts.put_nowait(event.transcript) if event.is_final else None,
        )

    async def reply(self) -> tuple[str, float, list[str]]:
        """The next reply: text, seconds of audio, names of the functions called."""
        reply = await asyncio.wait_for(self.replies.get(), 10)
        text, samples = "", 0
        async for message in reply.message_stream:
            text += "".join([part async for part in message.text_stream])
            samples += sum([frame.samples_per_channel async for frame in message.audio_stream])
        return text, samples / 24000, [call.name async for call in reply.function_stream]

    def say(self, text: str) -> None:
        """Push speech, and enough silence to end the turn."""
        pcm = speak(text, "marin", 1.0) + bytes(48000)
        for start in range(0, len(pcm), 960):
            piece = pcm[start : start + 960]
            self.session.push_audio(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))

    async def over(self) -> llm.RealtimeModelError:
        """The error that ends the session."""
        while True:
            error = await asyncio.wait_for(self.errors.get(), 10)
            if not error.recoverable:
                return error


@pytest.fixture
async def call(gateway: Gateway) -> AsyncIterator[Callable[..., Call]]:
    stack = AsyncExitStack()

    def start(**options: Any) -> Call:
        given = {"model": "agent", "base_url": gateway.base_url, "api_key": GATEWAY_KEY, "conn_options": QUICK}
        session = RealtimeModel(**{**given, **options}).session()
        stack.push_async_callback(session.aclose)
        return Call(session)

    async with stack:
        yield start


async def weather(context: llm.FunctionCall) -> str:
    """The weather in a city."""
    return "sunny"


@pytest.fixture
def tool() -> llm.RawFunctionTool:
    schema = {"name": "weather", "description": "The weather.", "parameters": {"type": "object", "properties": {}}}
    return llm.function_tool(weather, raw_schema=schema)


def client_events(server: Emulator, *leave_out: str) -> list[str]:
    """Types of what reached the server, in order, without audio."""
    types = [event["type"] for session in server.sessions for event in session.received]
    return [name for name in types if name not in ("input_audio_buffer.append", *leave_out)]


# -- a conversation ------------------------------------------------------------------------------------------------


async def test_a_spoken_reply(gateway: Gateway, call: Callable[..., Call]) -> None:
    async with gateway.upstream(Script([Turn(say="Hello there.")])) as server:
        talk = call()
        await talk.session.generate_reply()
        text, seconds, calls = await talk.reply()
        assert (text, calls) == ("Hello there.", [])
        assert seconds > 0.3
        (shake,) = server.handshakes
        assert (shake.path, dict(shake.query)) == ("/v1/realtime", {"model": MODELS["agent"]})
        assert shake.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        # A gateway's alias in the configuration would be refused behind it.
        assert "agent" not in str(server.received("session.update"))


async def test_a_written_reply(gateway: Gateway, call: Callable[..., Call]) -> None:
    async with gateway.upstream(Script([Turn(say="Hello there.")])):
        talk = call(modalities=["text"])
        await talk.session.generate_reply()
        assert await talk.reply() == ("Hello there.", 0.0, [])


async def test_a_spoken_question_a_tool_and_the_answer(
    gateway: Gateway, call: Callable[..., Call], tool: llm.RawFunctionTool
) -> None:
    script = Script([Turn(heard=QUESTION, tool=ToolCall("weather", {})), Turn(say="It is sunny.")])
    async with gateway.upstream(script) as server:
        talk = call(turn_detection=VAD, input_audio_transcription=None)
        await talk.session._update_session(instructions="Be brief.", tools=[tool])
        talk.say(QUESTION)
        assert await talk.reply() == ("", 0.0, ["weather"])
        asked = next(item for item in talk.session.chat_ctx.items if item.type == "function_call")
        history = talk.session.chat_ctx.copy()
        history.items.append(
            llm.FunctionCallOutput(call_id=asked.call_id, name="weather", output="sunny", is_error=False)
        )
        await talk.session.update_chat_ctx(history)
        await talk.session.generate_reply()
        assert (await talk.reply())[0] == "It is sunny."
        assert client_events(server) == ["session.update", "conversation.item.create", "response.create"]
        assert talk.errors.empty()
        assert not talk.session.counters


async def test_litellm_asks_for_a_second_reply_to_every_turn_that_is_transcribed(
    gateway: Gateway, call: Callable[..., Call]
) -> None:
    """A defect of LiteLLM (BerriAI/litellm#31726); when this fails, docs/gateways.md has a paragraph less to say."""
    script = Script([Turn(heard=QUESTION, say="Sunny."), Turn(say="As I said.")])
    # A transcript that comes while the reply is being made: the second request is refused, and the reply goes on.
    async with gateway.upstream(script, knobs=Knobs(transcription_latency=0.0, reply_latency=0.5)) as server:
        talk = call(turn_detection=VAD)
        await talk.session.update_instructions("Be brief.")
        talk.say(QUESTION)
        assert (await talk.reply())[0] == "Sunny."
        assert await asyncio.wait_for(talk.transcripts.get(), 10) == QUESTION
        error = await asyncio.wait_for(talk.errors.get(), 10)
        assert "conversation_already_has_active_response" in str(error.error)
        assert error.recoverable
        assert client_events(server) == ["session.update", "response.create"]


async def test_the_way_round_the_second_reply(gateway: Gateway, call: Callable[..., Call]) -> None:
    script = Script([Turn(heard=QUESTION, say="Sunny."), Turn(say="As I said.")])
    async with gateway.upstream(script, knobs=Knobs(transcription_latency=0.0)) as server:
        talk = call(turn_detection=VAD, input_audio_transcription=None)
        await talk.session.update_instructions("Be brief.")
        talk.say(QUESTION)
        assert (await talk.reply())[0] == "Sunny."
        assert client_events(server) == ["session.update"]


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [DropOn("response.done"), CloseOn("response.done", 1011, "oops"), ExpireAfter(0.5)], ids=repr
)
async def test_a_session_lost_behind_the_proxy_is_opened_again(
    gateway: Gateway, call: Callable[..., Call], fault: Fault
) -> None:
    async with gateway.upstream(Script([Turn(say="One."), Turn(say="Two.")]), faults=[fault]) as server:
        talk = call()
        await talk.session.generate_reply()
        assert (await talk.reply())[0] == "One."
        await asyncio.wait_for(talk.reconnected.wait(), 10)
        await talk.session.generate_reply()
        assert (await talk.reply())[0] == "Two."
        assert len(server.sessions) == 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_refuses_behind_the_proxy_is_asked_again(
    gateway: Gateway, call: Callable[..., Call], status: int
) -> None:
    async with gateway.upstream(Script([Turn(say="One.")]), faults=[RefuseHandshake(status)]):
        talk = call()
        await talk.session.generate_reply()
        assert (await talk.reply())[0] == "One."
        assert f"HTTP {status}" in str((await talk.errors.get()).error)


async def test_a_wrong_key_for_the_proxy_ends_the_session_at_once(gateway: Gateway, call: Callable[..., Call]) -> None:
    async with gateway.upstream() as server:
        error = await call(api_key="sk-wrong-1234567890").over()
        assert error.error.body.http_status == 403
        assert not server.handshakes


async def test_a_wrong_key_behind_the_proxy_ends_the_session_at_once(
    gateway: Gateway, call: Callable[..., Call]
) -> None:
    async with gateway.upstream(knobs=Knobs(api_keys=frozenset({"sk-other"}))) as server:
        error = await call().over()
        assert error.error.body.code == "invalid_api_key"
        assert len(server.handshakes) == 1


async def test_a_name_the_proxy_does_not_know_is_named(gateway: Gateway, call: Callable[..., Call]) -> None:
    async with gateway.upstream() as server:
        error = await call(model="nobody").over()
        assert "Invalid model name passed in model=nobody" in str(error.error)
        assert not server.handshakes


async def test_query_and_headers_of_ours_end_at_the_proxy(gateway: Gateway, call: Callable[..., Call]) -> None:
    async with gateway.upstream(Script([Turn(say="One.")])) as server:
        talk = call(extra_query={"team": "a"}, extra_headers={"OpenAI-Project": "proj_1"})
        await talk.session.generate_reply()
        await talk.reply()
        assert "team" not in server.handshakes[0].query
        assert "openai-project" not in server.handshakes[0].headers


def test_the_page_tells_of_the_version_that_is_tested() -> None:
    (version,) = re.findall(r"^litellm\[proxy\]==(\S+)$", (HERE / "requirements.txt").read_text(), re.M)
    page = (HERE.parents[1] / "docs" / "gateways.md").read_text()
    assert f"LiteLLM {version}" in page
