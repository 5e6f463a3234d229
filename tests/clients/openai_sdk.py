"""OpenAI's own client: `python openai_sdk.py question.wav` (24 kHz, mono, 16 bit)."""

import asyncio
import base64
import os
import sys
import wave

from openai import AsyncOpenAI

SESSION = {
    "type": "realtime",
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}}],
    "audio": {
        "input": {"transcription": {"model": "gpt-transcribe"}, "turn_detection": {"type": "server_vad"}},
        "output": {"voice": "marin"},
    },
}


async def speak(connection, path):
    with wave.open(path) as sound:
        pcm = sound.readframes(sound.getnframes()) + bytes(48 * 1000)
    for start in range(0, len(pcm), 4800):
        await connection.input_audio_buffer.append(audio=base64.b64encode(pcm[start : start + 4800]).decode())
        await asyncio.sleep(0.1)


async def main(path):
    base_url = os.environ["OPENAI_BASE_URL"]
    client = AsyncOpenAI(base_url=base_url, websocket_base_url=base_url.replace("http", "ws", 1))
    sound = 0
    async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
        await connection.session.update(session=SESSION)
        await connection.response.create()
        speaking = None
        async for event in connection:
            if event.type == "error":
                sys.exit(event.error.message)
            elif event.type == "conversation.item.input_audio_transcription.completed":
                print("user:", event.transcript)
            elif event.type == "response.function_call_arguments.done":
                print("tool:", event.name, event.arguments)
                output = {"type": "function_call_output", "call_id": event.call_id, "output": "sunny"}
                await connection.conversation.item.create(item=output)
            elif event.type == "response.output_audio.delta":
                sound += len(base64.b64decode(event.delta))
            elif event.type == "response.output_audio_transcript.done":
                print("agent:", event.transcript)
            elif event.type == "response.done":
                if event.response.output[0].type == "function_call":
                    await connection.response.create()
                elif speaking is None:
                    speaking = asyncio.create_task(speak(connection, path))
                else:
                    break
        await speaking
    print(f"sound: {sound / 48000:.1f} s")


asyncio.run(main(sys.argv[1]))
