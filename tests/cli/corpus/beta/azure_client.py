import os

import websockets


def url(resource: str) -> str:
    return f"wss://{resource}.openai.azure.com/openai/realtime?api-version=2024-10-01-preview&deployment=gpt-4o-realtime-preview"  # expect: azure-endpoint


async def connect():
    return await websockets.connect(url("eastus2"), additional_headers={"api-key": os.environ["AZURE_KEY"]})


async def read(ws, handle):
    handlers = {
        "response.text.delta": handle.text,  # expect: server-event
        "response.text.done": handle.text_done,  # expect: server-event
        "input_audio_buffer.speech_started": handle.started,
    }
    async for message in ws:
        handlers[message["type"]](message)
