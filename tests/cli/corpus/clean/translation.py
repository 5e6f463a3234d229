import json

URL = "wss://api.openai.com/v1/realtime/translations?model=gpt-realtime-translate"


async def configure(ws):
    await ws.send(json.dumps({"type": "session.update", "session": {"audio": {"output": {"language": "es"}}}}))
    await ws.send(json.dumps({"type": "session.close"}))
