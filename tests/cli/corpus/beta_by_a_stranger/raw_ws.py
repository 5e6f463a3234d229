"""Twilio bridge. Sends audio both ways."""
import json, os
import websockets
from websockets.asyncio.client import connect

KEY = os.environ["OPENAI_API_KEY"]
URL = "wss://api.openai.com/v1/realtime?model=gpt-4o-mini-realtime-preview-2024-12-17"  # expect: model-gone
LOG_EVENT_TYPES = [
    "error", "response.content.done", "rate_limits.updated", "response.done",
    "input_audio_buffer.committed", "input_audio_buffer.speech_stopped", "session.created",
]
HEADERS = {
    "Authorization": f"Bearer {KEY}",
    "OpenAI-Beta": "realtime=v1",  # expect: beta-header
}


def make_session(voice, vad=None):
    cfg = dict(  # expect: session-type
        modalities=["audio", "text"],  # expect: session-field
        voice=voice,  # expect: session-field
        instructions="hi",
        turn_detection=vad or {"type": "server_vad"},  # expect: session-field
    )
    cfg["input_audio_format"] = "g711_ulaw"  # expect: session-field
    cfg["temperature"] = 0.8  # expect: session-field
    return cfg


async def bridge(twilio):
    async with connect(URL, additional_headers=HEADERS) as ws:
        update = {"type": "session.update", "session": make_session("sage")}
        await ws.send(json.dumps(update))
        await ws.send(json.dumps({
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello there"}],  # expect: item-content
            },
        }))
        async for raw in ws:
            response = json.loads(raw)
            if response["type"] in LOG_EVENT_TYPES:
                print(response)
            if response.get("type") == "response.audio.delta" and "delta" in response:  # expect: server-event
                await twilio.send_json({"event": "media", "media": {"payload": response["delta"]}})
            elif response["type"].startswith("response.audio_transcript"):  # expect: server-event
                print(response)
