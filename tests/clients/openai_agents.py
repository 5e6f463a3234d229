"""OpenAI's Agents SDK: `python openai_agents.py question.wav` (24 kHz, mono, 16 bit)."""

import asyncio
import os
import sys
import wave

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner

URL = os.environ["OPENAI_BASE_URL"].replace("http", "ws", 1) + "/realtime?model=gpt-realtime-2.1"
SETTINGS = {
    "audio": {
        "input": {"transcription": {"model": "gpt-transcribe"}, "turn_detection": {"type": "server_vad"}},
        "output": {"voice": "marin"},
    }
}


@function_tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"It is sunny in {city}."


async def speak(session, path):
    with wave.open(path) as sound:
        pcm = sound.readframes(sound.getnframes()) + bytes(48 * 1000)
    for start in range(0, len(pcm), 4800):
        await session.send_audio(pcm[start : start + 4800])
        await asyncio.sleep(0.1)


async def main(path):
    agent = RealtimeAgent(name="Assistant", instructions="Be brief.", tools=[get_weather])
    runner = RealtimeRunner(agent, config={"model_settings": SETTINGS})
    sound, said = 0, ""
    async with await runner.run(model_config={"url": URL}) as session:
        speaking = asyncio.create_task(speak(session, path))
        async for event in session:
            if event.type == "error":
                sys.exit(str(event.error))
            elif event.type == "tool_end":
                print("tool:", event.tool.name, event.output)
            elif event.type == "audio":
                sound += len(event.audio.data)
            elif event.type == "raw_model_event" and event.data.type == "input_audio_transcription_completed":
                print("user:", event.data.transcript)
            elif event.type == "raw_model_event" and event.data.type == "transcript_delta":
                said += event.data.delta
            elif event.type == "audio_end":
                print("agent:", said)
                break
        await speaking
    print(f"sound: {sound / 48000:.1f} s")


asyncio.run(main(sys.argv[1]))
