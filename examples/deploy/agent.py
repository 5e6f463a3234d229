"""An agent with what a cluster asks for: calls end before the worker does, and metrics on port 9090."""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, room_io
from livekit.plugins import openai_ga

server = AgentServer(
    drain_timeout=1800,  # seconds that calls may go on after SIGTERM; kubernetes.yaml grants a little more
    prometheus_port=9090,
)


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    session = AgentSession(llm=openai_ga.RealtimeModel(voice="marin"))
    # The room ends with the call; else the job, and a worker that drains, waits until LiveKit gives the room up.
    options = room_io.RoomOptions(delete_room_on_close=True)
    agent = Agent(instructions="You are a friendly voice assistant. Be brief.")
    await session.start(agent=agent, room=ctx.room, room_options=options)
    session.generate_reply(instructions="Greet the caller.")


if __name__ == "__main__":
    cli.run_app(server)
