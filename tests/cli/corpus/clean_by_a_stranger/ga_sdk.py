from openai import AsyncOpenAI

client = AsyncOpenAI()


async def main():
    async with client.realtime.connect(model="gpt-realtime-2.1") as conn:
        await conn.session.update(session={
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "turn_detection": {"type": "server_vad"}},
                      "output": {"voice": "marin"}},
        })
        async for event in conn:
            if event.type == "response.output_audio.delta":
                print(len(event.delta))
            elif event.type == "conversation.item.added":
                print(event.item.id)
