"""GA on a bare WebSocket. The beta had response.audio.delta and the header OpenAI-Beta: realtime=v1."""
import json

URL = "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1"


async def configure(ws):
    # session.voice became audio.output.voice
    await ws.send(json.dumps({
        "type": "session.update",
        "session": {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "gpt-transcribe"},
                    "turn_detection": {"type": "semantic_vad"},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.1},
            },
            "max_output_tokens": 4096,
        },
    }))
    await ws.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))


async def read(ws, play):
    async for raw in ws:
        event = json.loads(raw)
        if event["type"] == "response.output_audio.delta":
            play(event["delta"])
        elif event["type"] == "response.content_part.added" and event["part"]["type"] == "audio":
            print("audio begins")
