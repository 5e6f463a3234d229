"""LiveKit's official OpenAI plugin holds a conversation with the emulator."""

from __future__ import annotations

import asyncio

import pytest
from livekit import rtc
from livekit.agents import llm, stt, utils
from livekit.plugins import openai

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, ToolCall, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic

SCRIPT = [
    Turn(say="Hello, how can I help?"),
    Turn(heard="What is the weather?", tool=ToolCall("weather", {"city": "Lisbon"})),
    Turn(say="It is sunny."),
]


@llm.function_tool
async def weather(city: str) -> str:
    """The weather of a city."""
    return "sunny"


async def take(generation):
    """What was said, for how long, and which tools were called."""
    texts, seconds = [], 0.0
    async for message in generation.message_stream:
        texts.append("".join([str(piece) async for piece in message.text_stream]))
        async for frame in message.audio_stream:
            seconds += frame.duration
    return texts, seconds, [call async for call in generation.function_stream]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_spoken_conversation_with_a_tool():
    async with Emulator(Script(SCRIPT), knobs=Knobs(pace=50.0, speak=synthetic)) as server:
        model = openai.realtime.RealtimeModel(base_url=server.base_url, api_key="sk-test")
        session = model.session()
        generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        session.on("generation_created", generations.put_nowait)
        errors: list[object] = []
        session.on("error", errors.append)
        try:
            await session.update_instructions("Be nice.")
            await session.update_tools([weather])
            texts, seconds, _ = await take(await session.generate_reply())
            assert texts == ["Hello, how can I help?"]
            assert seconds == pytest.approx(len(synthetic(texts[0])) / 48000, abs=0.01)
            await generations.get()

            # The plugin's default is semantic VAD, which waits longer for the user to go on.
            pcm = synthetic("What is the weather?") + bytes(48 * 1500)
            for start in range(0, len(pcm) - 959, 960):
                session.push_audio(rtc.AudioFrame(pcm[start : start + 960], 24000, 1, 480))
            texts, _, (call,) = await take(await asyncio.wait_for(generations.get(), 10))
            assert (texts, call.name, call.arguments) == ([], "weather", '{"city": "Lisbon"}')

            context = session.chat_ctx.copy()
            output = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny", is_error=False)
            context.items.append(output)
            await session.update_chat_ctx(context)
            texts, _, _ = await take(await session.generate_reply())
            assert texts == ["It is sunny."]
            assert server.sent("error") == []
            assert errors == []
        finally:
            await session.aclose()
            await model.aclose()


async def test_a_transcription_stream():
    script = Script([Turn(heard="What is the weather?"), Turn(heard="Thank you.")])
    async with Emulator(script, knobs=Knobs(speak=synthetic)) as server, utils.http_context.open():
        recognizer = openai.STT(
            model="gpt-4o-transcribe",
            language="en",
            base_url=server.base_url,
            api_key="sk-test",
            use_realtime=True,
        )
        stream = recognizer.stream()
        for _ in range(2):
            pcm = synthetic("What is the weather?") + bytes(48 * 1500)
            for start in range(0, len(pcm) - 959, 960):
                stream.push_frame(rtc.AudioFrame(pcm[start : start + 960], 24000, 1, 480))
        finals = []
        async for event in stream:
            if event.type == stt.SpeechEventType.FINAL_TRANSCRIPT:
                finals.append(event.alternatives[0].text)
                if len(finals) == 2:
                    break
        assert finals == ["What is the weather?", "Thank you."]
        assert server.sent("error") == []
        await stream.aclose()
        await recognizer.aclose()
