"""Push to talk: the agent listens only while the caller holds a button, however loud it is around.

The caller's app calls three RPC methods of the agent: `start_turn`, `end_turn` and `cancel_turn`.
Start it with: python examples/push_to_talk.py dev
"""

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import openai_ga

server = AgentServer()


@server.rtc_session()
async def talk(ctx: JobContext) -> None:
    # Neither OpenAI nor LiveKit decides when a turn begins or ends.
    session = AgentSession(llm=openai_ga.RealtimeModel(), turn_handling={"turn_detection": "manual"})
    await session.start(agent=Agent(instructions="You are a dispatcher on the radio. Be brief."), room=ctx.room)
    session.input.set_audio_enabled(False)

    @ctx.room.local_participant.register_rpc_method("start_turn")
    async def start_turn(call: rtc.RpcInvocationData) -> str:
        await session.interrupt()
        session.clear_user_turn()
        session.input.set_audio_enabled(True)
        return "listening"

    @ctx.room.local_participant.register_rpc_method("end_turn")
    async def end_turn(call: rtc.RpcInvocationData) -> str:
        session.input.set_audio_enabled(False)
        session.commit_user_turn()
        return "thinking"

    @ctx.room.local_participant.register_rpc_method("cancel_turn")
    async def cancel_turn(call: rtc.RpcInvocationData) -> str:
        session.input.set_audio_enabled(False)
        session.clear_user_turn()
        return "forgotten"


if __name__ == "__main__":
    cli.run_app(server)
