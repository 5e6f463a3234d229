from openai import AsyncOpenAI
from openai.types.beta.realtime.session import Session  # expect: sdk-types
from openai.resources.beta.realtime.realtime import AsyncRealtimeConnection  # expect: sdk-types


class App:
    connection: AsyncRealtimeConnection | None
    session: Session | None = None

    def __init__(self) -> None:
        self.client = AsyncOpenAI()

    async def handle(self) -> None:
        async with self.client.beta.realtime.connect(model="gpt-4o-realtime-preview") as conn:  # expect: sdk-beta, model-gone
            await conn.session.update(session={"turn_detection": {"type": "server_vad"}})  # expect: session-type, session-field
            async for event in conn:
                if event.type == "session.created":
                    self.session = event.session
                if event.type == "response.audio.delta":  # expect: server-event
                    self.player.add(event.delta)
                if event.type == "response.audio_transcript.delta":  # expect: server-event
                    self.pane.write(event.delta)
