"""Twilio Media Streams to OpenAI: the session is built piece by piece."""
import json

LOG_EVENT_TYPES = ["response.content.done", "rate_limits.updated", "response.done", "session.created"]


def session_config(voice: str, tools: list) -> dict:
    config = {  # expect: session-type
        "turn_detection": {"type": "server_vad"},  # expect: session-field
        "input_audio_format": "g711_ulaw",  # expect: session-field
        "output_audio_format": "g711_ulaw",  # expect: session-field
        "instructions": "Take the order.",
    }
    config["voice"] = voice  # expect: session-field
    config["temperature"] = 0.7  # expect: session-field
    if tools:
        config["tools"] = tools
    return config


async def initialize(openai_ws):
    config = session_config("ash", [])
    await openai_ws.send(json.dumps({"type": "session.update", "session": config}))


async def greet(openai_ws):
    await openai_ws.send(json.dumps({"type": "conversation.item.create", "item": {
        "type": "message", "role": "assistant",
        "content": [{"type": "text", "text": "Hello, what can I get you?"}],  # expect: item-content
    }}))
    await openai_ws.send(json.dumps({"type": "response.create", "response": {
        "modalities": ["text", "audio"],  # expect: response-field
        "temperature": 0.6,  # expect: response-field
    }}))


async def pump(openai_ws, twilio):
    async for raw in openai_ws:
        response = json.loads(raw)
        if response.get("type") == "response.audio.delta" and "delta" in response:  # expect: server-event
            await twilio.send_json({"event": "media", "media": {"payload": response["delta"]}})
