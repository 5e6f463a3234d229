"""An AgentSession that is shown video."""

from __future__ import annotations

from livekit import rtc
from livekit.agents import Agent, llm

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

FRAME = rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes(16 * 16 * 4))


def pictures(chat_ctx: llm.ChatContext) -> list[int]:
    """How many pictures there are in each message without a text."""
    return [len(message.content) for message in chat_ctx.messages() if not message.text_content]


async def test_livekit_keeps_every_frame_and_one_picture_and_its_syncs_leave_them_alone(start_call):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        agent = Agent(instructions="Look.")
        call = await start_call(server, agent)
        await call.session.generate_reply()
        for number in range(5):
            call.rt.push_video(FRAME)
            await call.until(lambda seen=number + 1: len(pictures(agent.chat_ctx)) == seen)
        assert pictures(agent.chat_ctx) == pictures(call.rt.chat_ctx) == [0, 0, 0, 0, 1]
        await agent.update_chat_ctx(agent.chat_ctx.copy())
        assert len(server.received("conversation.item.create")) == 5
        assert server.received("conversation.item.delete") == []
