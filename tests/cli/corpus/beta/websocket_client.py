"""A voice assistant on a bare WebSocket, from the days of response.audio.delta."""
import asyncio
import base64
import json
import os

import websockets

URL = "wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview-2024-10-01"  # expect: model-gone


async def main():
    headers = {
        "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",
        "OpenAI-Beta": "realtime=v1",  # expect: beta-header
    }
    async with websockets.connect(URL, additional_headers=headers) as ws:
        await ws.send(json.dumps({
            "type": "session.update",
            "session": {  # expect: session-type
                "modalities": ["text", "audio"],  # expect: session-field
                "instructions": "Be kind.",
                "voice": "alloy",  # expect: session-field
                "input_audio_format": "pcm16",  # expect: session-field
                "output_audio_format": "pcm16",  # expect: session-field
                "input_audio_transcription": {"model": "whisper-1"},  # expect: session-field, model-ending
                "turn_detection": {"type": "server_vad", "threshold": 0.5},  # expect: session-field
                "temperature": 0.8,  # expect: session-field
                "max_response_output_tokens": "inf",  # expect: session-field
            },
        }))
        async for message in ws:
            event = json.loads(message)
            # response.text.delta used to come here as well
            if event["type"] == "response.audio.delta":  # expect: server-event
                play(base64.b64decode(event["delta"]))
            elif event["type"] == "response.audio_transcript.done":  # expect: server-event
                print(event["transcript"])
            elif event["type"] == "conversation.item.created":  # expect: server-event
                print("item", event["item"]["id"])


asyncio.run(main())
