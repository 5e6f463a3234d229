"""OpenAI's own client holds a conversation with the emulator."""

from __future__ import annotations

import base64

from openai import AsyncOpenAI

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn
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


async def test_a_transcription_session():
    async with Emulator(Script([Turn(heard="Good morning")]), knobs=FAST) as server:
        client = AsyncOpenAI(base_url=server.base_url, api_key="sk-test")
        client.websocket_base_url = server.base_url.replace("http://", "ws://")
        async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
            box = {"transcription": {"model": "gpt-live-transcribe"}, "turn_detection": None}
            await connection.session.update(session={"type": "transcription", "audio": {"input": box}})
            await connection.input_audio_buffer.append(audio=base64.b64encode(synthetic("Good morning")).decode())
            await connection.input_audio_buffer.commit()
            events = await events_until(connection, "conversation.item.input_audio_transcription.completed")
            assert events[-1].transcript == "Good morning"
        assert server.sent("error") == []
