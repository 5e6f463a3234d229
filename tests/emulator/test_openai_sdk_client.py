"""OpenAI's own client holds a conversation with the emulator, and has speech transcribed."""

from __future__ import annotations

import base64
import contextlib

import pytest
from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn, faults
from livekit_plugins_openai_ga.emulator.voice import synthetic

SCRIPT = [
    Turn(say="Hello, how can I help?"),
    Turn(heard="What is the weather?", tool=ToolCall("weather", {"city": "Lisbon"})),
    Turn(say="It is sunny."),
]
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
FAST = Knobs(pace=50.0, speak=synthetic)


async def events_until(connection, event_type):
    events = []
    async for event in connection:
        events.append(event)
        if event.type == event_type:
            break
    return events


def of(events, event_type):
    return [event for event in events if event.type == event_type]


async def test_a_spoken_conversation_with_a_tool():
    async with Emulator(Script(SCRIPT), knobs=FAST) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key="sk-test")
        client.websocket_base_url = server.base_url.replace("http://", "ws://")
        async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
            asr = {"transcription": {"model": "gpt-transcribe"}}
            await connection.session.update(session={"type": "realtime", "tools": [WEATHER], "audio": {"input": asr}})
            await connection.response.create()
            greeting = await events_until(connection, "response.done")
            assert [event.type for event in greeting][:3] == ["session.created", "session.updated", "response.created"]
            assert of(greeting, "response.output_audio_transcript.done")[0].transcript == "Hello, how can I help?"
            assert b"".join(base64.b64decode(e.delta) for e in of(greeting, "response.output_audio.delta"))

            pcm = synthetic("What is the weather?") + bytes(48 * 500)
            await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())
            called = await events_until(connection, "response.done")
            (call,) = of(called, "response.function_call_arguments.done")
            assert (call.name, call.arguments) == ("weather", '{"city": "Lisbon"}')

            output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
            await connection.conversation.item.create(item=output)
            await connection.response.create()
            answer = await events_until(connection, "response.done")
            answer += (
                []
                if of(called + answer, "conversation.item.input_audio_transcription.completed")
                else (await events_until(connection, "conversation.item.input_audio_transcription.completed"))
            )
            assert of(answer, "response.done")[0].response.output[0].content[0].transcript == "It is sunny."
            (heard,) = of(called + answer, "conversation.item.input_audio_transcription.completed")
            assert heard.transcript == "What is the weather?"
        assert server.sent("error") == []


TRANSCRIPTION = "conversation.item.input_audio_transcription"
EVENT = TypeAdapter(RealtimeServerEvent)
TURNS = [Turn(heard="Good morning everyone", languages=("en", "pt"), logprobs=(-0.5,)), Turn(heard="Goodbye")]


@contextlib.asynccontextmanager
async def transcribing(server, model, *, include=None, **box):
    """A transcription session of OpenAI's own client."""
    client = AsyncOpenAI(base_url=server.base_url, api_key="sk-test")
    client.websocket_base_url = server.base_url.replace("http://", "ws://")
    session = {"type": "transcription", "audio": {"input": {"transcription": {"model": model}, **box}}}
    if include:
        session["include"] = include
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(session=session)
        configured = await events_until(connection, "session.updated")
        assert [event.type for event in configured] == ["session.created", "session.updated"]
        yield connection
    assert server.sent("error") == []
    for session in server.sessions:
        for frame in session.sent:
            EVENT.validate_python(frame)


async def speak(connection, pcm, *, chunk_ms=100):
    for start in range(0, len(pcm), 48 * chunk_ms):
        audio = base64.b64encode(pcm[start : start + 48 * chunk_ms]).decode()
        await connection.input_audio_buffer.append(audio=audio)


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
async def test_streaming_models_tell_deltas_before_the_commit(model):
    async with (
        Emulator(Script(TURNS), knobs=FAST) as server,
        transcribing(server, model, turn_detection=None) as connection,
    ):
        previous = None
        for turn in TURNS:
            await speak(connection, synthetic("a sentence of some length"))
            early = await events_until(connection, f"{TRANSCRIPTION}.delta")
            await connection.input_audio_buffer.commit()
            events = early + await events_until(connection, f"{TRANSCRIPTION}.completed")
            (committed,) = of(events, "input_audio_buffer.committed")
            assert committed.previous_item_id == previous
            assert {event.item_id for event in events if hasattr(event, "item_id")} == {committed.item_id}
            assert "".join(event.delta for event in of(events, f"{TRANSCRIPTION}.delta")) == turn.heard
            assert events[-1].transcript == turn.heard
            assert events[-1].usage.type == "duration"
            previous = committed.item_id


async def test_the_server_ends_turns_for_the_other_models():
    logprobs = ["item.input_audio_transcription.logprobs"]
    async with (
        Emulator(Script(TURNS), knobs=FAST) as server,
        transcribing(server, "gpt-4o-transcribe", include=logprobs) as connection,
    ):
        await speak(connection, synthetic("Good morning everyone") + bytes(48 * 500))
        events = await events_until(connection, f"{TRANSCRIPTION}.completed")
        assert [event.type for event in events if event.type != f"{TRANSCRIPTION}.delta"] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            f"{TRANSCRIPTION}.completed",
        ]
        assert [entry.logprob for entry in events[-1].logprobs] == [-0.5] * 3
        assert events[-1].usage.type == "tokens"


async def test_languages_are_told_and_transcripts_come_in_any_order():
    planned = [faults.DelayTranscription(1.0), faults.FailTranscription(nth=3)]
    async with (
        Emulator(Script(TURNS), knobs=FAST, faults=planned) as server,
        transcribing(server, "gpt-transcribe", turn_detection=None) as connection,
    ):
        for _ in range(3):
            await speak(connection, synthetic("Good morning everyone"))
            await connection.input_audio_buffer.commit()
        events = await events_until(connection, f"{TRANSCRIPTION}.failed")
        events += await events_until(connection, f"{TRANSCRIPTION}.completed")
        items = [event.item_id for event in of(events, "input_audio_buffer.committed")]
        ended = [event for event in events if event.type in (f"{TRANSCRIPTION}.completed", f"{TRANSCRIPTION}.failed")]
        assert [items.index(event.item_id) for event in ended] == [1, 2, 0]
        assert [language.code for language in ended[2].languages] == ["en", "pt"]
        assert (ended[1].error.type, ended[1].error.code) == ("transcription_error", "audio_unintelligible")
