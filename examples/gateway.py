"""An agent that reaches OpenAI through a gateway, such as LiteLLM: see docs/gateways.md.

OPENAI_BASE_URL is the gateway (https://litellm.example/v1), OPENAI_API_KEY its key, and GATEWAY_MODEL the name of the
model there. Start it with: python examples/gateway.py dev
"""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai_ga

MODEL = os.environ.get("GATEWAY_MODEL", "gpt-realtime-2.1")
server = AgentServer()


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    model = openai_ga.RealtimeModel(
        model=MODEL,
        # For the gateway's own books: with every connection, also when a lost one is made again.
        extra_headers={"x-room": ctx.room.name},
        # LiteLLM asks for a second reply to every turn that is transcribed.
        input_audio_transcription=None,
    )
    await AgentSession(llm=model).start(
        agent=Agent(instructions="You are a friendly assistant. Be brief."), room=ctx.room
    )


if __name__ == "__main__":
    cli.run_app(server)
