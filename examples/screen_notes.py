"""Notes on what somebody shows: a shared screen or a camera in, one written sentence every few seconds out.

The notes are in the room, as text streams on the topic `lk.transcription`.
Start it with: python examples/screen_notes.py dev
"""

import asyncio
import time

from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, llm, room_io
from livekit.plugins import openai_ga

SECONDS_BETWEEN_LOOKS = 5.0


class NoteTaker(Agent):
    def __init__(self) -> None:
        super().__init__(
            instructions="You are shown pictures of a screen, one at a time, and take notes. "
            "Write one short sentence about what is new since your last note."
        )
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None

    def sample(self, frame: rtc.VideoFrame, session: AgentSession) -> bool:
        """The session asks of every frame whether the model gets it as it is. It never does: `look` makes it small."""
        busy = self._looking is not None and not self._looking.done()
        if not busy and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            self._looking = asyncio.create_task(self.look(frame))
        return False

    async def look(self, frame: rtc.VideoFrame) -> None:
        # The model keeps its notes, and sees only the newest picture: every reply is billed for all there is.
        seen = llm.ChatContext([item for item in self.chat_ctx.messages() if item.role == "assistant"])
        seen.add_message(
            role="user", content=[llm.ImageContent(image=frame, inference_width=1280, inference_height=720)]
        )
        await self.update_chat_ctx(seen)
        await self.session.generate_reply()


server = AgentServer()


@server.rtc_session()
async def take_notes(ctx: JobContext) -> None:
    notes = NoteTaker()
    session = AgentSession(llm=openai_ga.RealtimeModel(modalities=["text"]), video_sampler=notes.sample)
    options = room_io.RoomOptions(video_input=True, audio_input=False, audio_output=False)
    await session.start(agent=notes, room=ctx.room, room_options=options)


if __name__ == "__main__":
    cli.run_app(server)
