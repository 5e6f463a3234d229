import os

from openai import AsyncOpenAI

client = AsyncOpenAI(
    websocket_base_url=f"wss://{os.environ['RESOURCE']}.openai.azure.com/openai/v1",
    api_key=os.environ["AZURE_OPENAI_API_KEY"],
)


async def run():
    async with client.realtime.connect(model=os.environ["DEPLOYMENT"]) as connection:
        await connection.session.update(session={"type": "realtime", "audio": {"output": {"voice": "marin"}}})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
        )
        await connection.conversation.item.create(
            item={"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
        )
        await connection.response.create()
