from livekit.agents import Agent, AgentSession
from livekit.plugins.openai.realtime import RealtimeModelBeta  # expect: livekit-beta


async def entrypoint(ctx):
    model = RealtimeModelBeta(  # expect: livekit-beta
        model="gpt-4o-realtime-preview",  # expect: model-gone
        voice="coral",
        temperature=0.8,
        modalities=["text", "audio"],
    )
    session = AgentSession(llm=model)
    await session.start(Agent(instructions="Help."), room=ctx.room)
