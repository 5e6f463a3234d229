"""What people say, and keys, stay out of the logs: whole sessions at DEBUG, good and bad, with every record read."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, llm

from livekit_plugins_openai_ga import STT, RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn, speak
from livekit_plugins_openai_ga.emulator.faults import (
    AlterOn,
    CloseOn,
    DropOn,
    FailTranscription,
    Fault,
    InjectOn,
    RefuseHandshake,
    RejectOn,
)
from livekit_plugins_openai_ga.log import socket_logger

KEY = "sk-proj-verysecretkey1234567890"
HEADER = "headersecret"
PRIVATE = {
    "key": KEY,
    "header": HEADER,
    "instructions": "instructionsecret",
    "history": "historysecret",
    "user": "usersecret",
    "reply": "replysecret",
    "arguments": "argumentsecret",
    "output": "outputsecret",
    "image": "imagesecret",
    "prompt": "promptsecret",
    "keywords": "keywordsecret",
}
VAD = {"type": "server_vad", "silence_duration_ms": 300}


pytestmark = pytest.mark.usefixtures("everything_at_debug")


@llm.function_tool
async def look_up(question: str) -> str:
    """Answer a question."""
    return question


def no_secret_in(records: list[logging.LogRecord]) -> None:
    for record in records:
        public = {name: value for name, value in record.__dict__.items() if not name.startswith("lk.pii.")}
        text = f"{record.getMessage()} {logging.Formatter().format(record)} {public!r}"
        for what, secret in PRIVATE.items():
            assert secret not in text, f"{what} in a record of {record.name}: {record.msg!r}"
        assert KEY not in repr(record.__dict__), "a key is nobody's private data to log"


async def talk(session: RealtimeSession) -> None:
    """Set everything up, hear a spoken turn, call a tool, give its output, hear the answer."""
    calls: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
    session.on("generation_created", calls.put_nowait)
    context = llm.ChatContext.empty()
    picture = llm.ImageContent(image="http://127.0.0.1/imagesecret")
    context.add_message(role="user", content=["historysecret", picture])
    await session._update_session(instructions="instructionsecret", chat_ctx=context, tools=[look_up])
    pcm = speak("usersecret", "alloy") + bytes(48000)
    for start in range(0, len(pcm), 960):
        piece = pcm[start : start + 960]
        session.push_audio(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))
    for _ in range(2):
        reply = await asyncio.wait_for(calls.get(), 8)
        async for message in reply.message_stream:
            async for _text in message.text_stream:
                pass
            async for _frame in message.audio_stream:
                pass
        async for call in reply.function_stream:
            context = session.chat_ctx.copy()
            context.items.append(
                llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="outputsecret", is_error=False)
            )
            await session.update_chat_ctx(context)
            session.generate_reply(instructions="instructionsecret")


SCRIPT = [
    Turn(heard="usersecret", tool=ToolCall("look_up", {"question": "argumentsecret"})),
    Turn(say="replysecret and more of it."),
]
FAULTS: dict[str, list[Fault]] = {
    "nothing goes wrong": [],
    "the connection drops": [DropOn("input_audio_buffer.append", nth=3)],
    "the server mishears": [FailTranscription()],
    "the server keeps other values": [AlterOn("session.updated", {"session": {"instructions": "other"}})],
    "an item is refused": [RejectOn("conversation.item.create", "invalid_value", "Invalid value.", param="item.x")],
    "the server sends rubbish": [
        InjectOn("response.created", '{"type":"response.output_audio_transcript.delta","delta":"replysecret"}'),
        InjectOn("response.created", '{"usersecret'),
        InjectOn("response.created", {"type": "response.new_thing", "text": "replysecret"}),
    ],
}


@pytest.mark.usefixtures("every_callback_told")
@pytest.mark.parametrize("case", FAULTS)
async def test_a_session_at_debug_level_logs_no_secret(case: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Emulator(Script(SCRIPT), faults=FAULTS[case]) as server:
        model = RealtimeModel(
            api_key=KEY,
            base_url=server.base_url,
            extra_headers={"X-Gateway-Key": HEADER},
            turn_detection=VAD,
            conn_options=APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=3.0),
        )
        session = model.session()
        try:
            await talk(session)
        finally:
            await session.aclose()
        # The secrets did pass through; else there would be nothing to hide.
        assert any("argumentsecret" in repr(event) for event in server.sent("response.function_call_arguments.done"))
        assert any("outputsecret" in repr(event) for event in server.received("conversation.item.create"))
        assert server.handshakes[0].headers["x-gateway-key"] == HEADER
    no_secret_in(caplog.records)
    assert any(record.name == "livekit.plugins.openai_ga" for record in caplog.records)


STT_FAULTS: dict[str, list[Fault]] = {
    "nothing goes wrong": [],
    "the connection drops": [DropOn("input_audio_buffer.append", nth=3)],
    "the connection drops after the commit": [DropOn("input_audio_buffer.committed")],
    "the server mishears": [FailTranscription(message="The audio could not be transcribed.")],
    "the server keeps other values": [
        AlterOn("session.updated", {"session": {"audio": {"input": {"transcription": {"prompt": "other"}}}}})
    ],
    "a change is refused": [RejectOn("session.update", "invalid_value", "Invalid value.", param="session.x", nth=2)],
    "the server quotes the key": [
        CloseOn("session.created", 3000, error=("invalid_api_key", f"Incorrect API key provided: {KEY}."))
    ],
    "the server sends rubbish": [
        InjectOn(
            "input_audio_buffer.committed",
            '{"type":"conversation.item.input_audio_transcription.delta","delta":"usersecret"}',
        ),
        InjectOn("input_audio_buffer.committed", '{"usersecret'),
        InjectOn("input_audio_buffer.committed", {"type": "response.new_thing", "text": "usersecret"}),
    ],
}


def speech() -> list[rtc.AudioFrame]:
    pcm = speak("usersecret", "alloy") + bytes(48000)
    pieces = (pcm[start : start + 960] for start in range(0, len(pcm), 960))
    return [rtc.AudioFrame(piece, 24000, 1, len(piece) // 2) for piece in pieces]


def secretive_stt(server: Emulator, model: str, **options: Any) -> STT:
    headers = {"X-Gateway-Key": HEADER}
    words: dict[str, Any] = {"prompt": "promptsecret", "keywords": ["keywordsecret"]}
    return STT(api_key=KEY, base_url=server.base_url, model=model, extra_headers=headers, **words, **options)


@pytest.mark.usefixtures("every_callback_told")
@pytest.mark.parametrize("model", ["gpt-transcribe", "gpt-live-transcribe"])
@pytest.mark.parametrize("case", STT_FAULTS)
async def test_a_stream_of_speech_at_debug_level_logs_no_secret(
    case: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    script = Script([Turn(heard="usersecret and more of it")])
    async with Emulator(script, faults=STT_FAULTS[case]) as server:
        stt = secretive_stt(server, model)
        stt.on("error", lambda error: told.append((error, error.error)))
        stream = stt.stream(conn_options=APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=3.0))
        try:
            for frame in speech():
                stream.push_frame(frame)
                await asyncio.sleep(0)
            stt.update_options(prompt="promptsecret2")
            stream.end_input()
            heard = [event async for event in stream]
        except (APIError, RuntimeError) as exc:
            told.append((exc, str(exc)))
        else:
            assert ("usersecret" in repr(heard)) or case == "the server mishears"
        finally:
            await stream.aclose()
            await stt.aclose()
        assert server.handshakes[0].headers["x-gateway-key"] == HEADER
        audio = [event["audio"][:40] for event in server.received("input_audio_buffer.append")]
    no_secret_in(caplog.records)
    assert told == [] or not case.startswith("nothing")
    text = "".join(f"{record.getMessage()} {record.__dict__!r}" for record in caplog.records)
    assert [piece for piece in audio if piece.strip("A=") and piece in text] == []
    assert KEY not in repr(told)
    assert HEADER not in repr(told)


@pytest.mark.usefixtures("every_callback_told")
@pytest.mark.parametrize(
    "fault",
    [
        None,
        RefuseHandshake(401, f'{{"error":{{"message":"Incorrect API key provided: {KEY}."}}}}'),
        RefuseHandshake(500, f"upstream refused Bearer {KEY}", times=9),
    ],
    ids=["good", "a quoted key", "an error page with the key"],
)
async def test_an_upload_at_debug_level_logs_no_secret(fault: Fault | None, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    async with Emulator(Script([Turn(heard="usersecret")]), faults=[fault] if fault else []) as server:
        stt = secretive_stt(server, "gpt-transcribe", use_realtime=False)
        stt.on("error", lambda error: told.append((error, error.error, str(error.error))))
        try:
            event = await stt.recognize(speech(), conn_options=APIConnectOptions(max_retry=1, retry_interval=0.02))
        except APIError as exc:
            told.append((exc, str(exc)))
        else:
            assert event.alternatives[0].text == "usersecret"
        finally:
            await stt.aclose()
        assert server.uploads[0].headers["x-gateway-key"] == HEADER
        assert server.uploads[0].value("prompt") == "promptsecret"
    no_secret_in(caplog.records)
    assert bool(told) == bool(fault)
    assert KEY not in repr(told)


async def test_a_key_that_the_server_quotes_is_neither_logged_nor_told(caplog: pytest.LogCaptureFixture) -> None:
    message = f"Incorrect API key provided: {KEY}. You can find your API key in your settings."
    fault = RejectOn("session.update", "invalid_api_key", message)
    async with Emulator(faults=[fault]) as server:
        session = RealtimeModel(api_key=KEY, base_url=server.base_url).session()
        told: asyncio.Queue[Any] = asyncio.Queue()
        session.on("error", told.put_nowait)
        error = await asyncio.wait_for(told.get(), 5)
        await session.aclose()
    assert KEY not in repr(error)
    assert KEY not in repr(error.error)
    assert "invalid_api_key" in str(error.error)
    no_secret_in(caplog.records)


def test_the_socket_logger_cannot_be_talked_into_debug(caplog: pytest.LogCaptureFixture) -> None:
    socket_logger.debug("> Authorization: Bearer %s", KEY)
    socket_logger.info("connection open")
    assert caplog.records == []
    socket_logger.error("something is wrong")
    assert len(caplog.records) == 1
