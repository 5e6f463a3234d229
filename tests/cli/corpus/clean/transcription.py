import json

import websockets

URL = "wss://api.openai.com/v1/realtime?intent=transcription"
GATEWAY = "wss://gateway.example.com/v1/realtime?intent=transcription&model=gpt-live-transcribe"


async def run():
    async with websockets.connect(URL, additional_headers={"Authorization": "Bearer x"}) as ws:
        session = {"audio": {"input": {"transcription": {"model": "gpt-live-transcribe"}, "turn_detection": None}}}
        session["type"] = "transcription"
        await ws.send(json.dumps({"type": "session.update", "session": session}))
