from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli
from livekit.plugins.openai.realtime import realtime_model_beta  # expect: livekit-beta
from livekit.plugins import openai


async def entrypoint(ctx: JobContext):
    await ctx.connect()
    old = openai.realtime.RealtimeModelBeta(voice="alloy", temperature=0.8)  # expect: livekit-beta
    other = realtime_model_beta.RealtimeModelBeta(model="gpt-4o-realtime-preview")  # expect: livekit-beta, model-gone
    session = AgentSession(llm=openai.realtime.RealtimeModel(model="gpt-4o-realtime-preview-2025-06-03", modalities=["text"]))  # expect: model-gone
    await session.start(agent=Agent(instructions="x"), room=ctx.room)

    @session.llm.on("openai_server_event_received")
    def tap(ev):
        if ev["type"] == "response.audio_transcript.delta":  # expect: server-event
            print(ev["delta"])


if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entrypoint))
