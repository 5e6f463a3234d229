"""One agent, two plugins: LiveKit's official one with OFFICIAL=1, else this one. Only the import differs.

The official plugin (pip install livekit-plugins-openai) wants an OPENAI_API_KEY for a local server, too: any will do.
Start it with: python examples/swap.py dev
"""

import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool

if os.environ.get("OFFICIAL"):
    from livekit.plugins.openai.realtime import RealtimeModel
else:
    from livekit.plugins.openai_ga.realtime import RealtimeModel


class Assistant(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You are a friendly voice assistant. Be brief.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the caller.")

    @function_tool
    async def get_weather(self, city: str) -> str:
        """The weather in a city."""
        return f"It is sunny in {city}."


server = AgentServer()


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    session = AgentSession(llm=RealtimeModel(model="gpt-realtime-2.1", voice="marin"))
    await session.start(agent=Assistant(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
