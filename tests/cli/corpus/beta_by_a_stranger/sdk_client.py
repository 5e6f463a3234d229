import asyncio
import base64
from openai import AsyncOpenAI
from openai.types.beta.realtime.session import Session  # expect: sdk-types
from openai.resources.beta.realtime.realtime import AsyncRealtimeConnection  # expect: sdk-types

client = AsyncOpenAI()
TOOLS = []


async def handle(connection: AsyncRealtimeConnection):
    session: Session | None = None
    async with client.beta.realtime.connect(model="gpt-4o-realtime-preview-2024-10-01") as conn:  # expect: sdk-beta, model-gone
        await conn.session.update(
            session={  # expect: session-type
                "modalities": ["text", "audio"],  # expect: session-field
                "voice": "alloy",  # expect: session-field
                "instructions": "Be nice.",
                "input_audio_format": "pcm16",  # expect: session-field
                "output_audio_format": "g711_ulaw",  # expect: session-field
                "input_audio_transcription": {"model": "whisper-1"},  # expect: session-field, model-ending
                "turn_detection": {"type": "server_vad", "threshold": 0.5},  # expect: session-field
                "tools": TOOLS,
                "temperature": 0.6,  # expect: session-field
                "max_response_output_tokens": 512,  # expect: session-field
            }
        )
        async for event in conn:
            match event.type:
                case "response.audio.delta":  # expect: server-event
                    play(base64.b64decode(event.delta))
                case "response.audio_transcript.delta" | "response.text.delta":  # expect: server-event, server-event
                    print(event.delta, end="")
                case "conversation.item.created":  # expect: server-event
                    print("item", event.item.id)
                case "response.done":
                    await conn.response.create(response={"modalities": ["text"]})  # expect: response-field
