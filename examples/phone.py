"""An agent on the phone: it is ready before the caller is in the room, and hears and speaks what telephones do.

LiveKit's SIP service puts callers into rooms: see docs/telephony.md. Start it with: python examples/phone.py dev
"""

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, room_io
from livekit.plugins import openai_ga

PHONE = room_io.RoomOptions(
    audio_input=room_io.AudioInputOptions(sample_rate=8000),
    audio_output=room_io.AudioOutputOptions(sample_rate=8000),
    delete_room_on_close=True,  # hangs up
)


class Receptionist(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="You answer the phone of a bakery. Be brief.")

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Say good morning, and the name of the bakery.")


server = AgentServer()


@server.rtc_session()
async def answer(ctx: JobContext) -> None:
    agent = Receptionist()
    model = openai_ga.RealtimeModel(input_audio_format="pcmu", output_audio_format="pcmu")
    model.prewarm(instructions=agent.instructions, tools=agent.tools)
    await AgentSession(llm=model).start(agent=agent, room=ctx.room, room_options=PHONE)


if __name__ == "__main__":
    cli.run_app(server)
