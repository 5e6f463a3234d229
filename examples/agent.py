from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool
from livekit.plugins import openai_ga


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
    session = AgentSession(llm=openai_ga.RealtimeModel(voice="marin"))
    await session.start(agent=Assistant(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
