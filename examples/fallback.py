"""An agent with spare models: when OpenAI refuses the first one, also in the middle of a call, the next one goes on.

The conversation is kept. Start it with: python examples/fallback.py dev
"""

import logging

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai_ga

MODELS = ["gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-realtime-1.5"]
server = AgentServer()


def report(change: openai_ga.realtime.ModelChanged) -> None:
    logging.getLogger("fallback").error("%s is gone, %s answers now: %s", change.refused, change.model, change.reason)


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    agent = Agent(instructions="You are a friendly voice assistant. Be brief.")
    session = AgentSession(llm=openai_ga.RealtimeModel(model=MODELS[0], fallback_models=MODELS[1:]))
    await session.start(agent=agent, room=ctx.room)
    agent.realtime_llm_session.on("model_changed", report)
    session.generate_reply(instructions="Greet the caller.")


if __name__ == "__main__":
    cli.run_app(server)
