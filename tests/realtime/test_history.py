"""The conversation's items when the server refuses a change, and video, over real sockets to the emulator."""

from __future__ import annotations

from livekit import rtc
from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import DropOn, RejectOn


def texts(session) -> list[str | None]:
    return [item.text_content for item in session.chat_ctx.items]


def frame(shade: int = 0) -> rtc.VideoFrame:
    return rtc.VideoFrame(16, 16, rtc.VideoBufferType.RGBA, bytes([shade]) * (16 * 16 * 4))


def pictures(chat_ctx: llm.ChatContext) -> list[list[object]]:
    """The pictures in each message."""
    messages = [item for item in chat_ctx.items if item.type == "message"]
    return [[part.image for part in item.content if isinstance(part, llm.ImageContent)] for item in messages]


async def test_an_item_that_the_server_does_not_delete_stays_in_the_context(open_session):
    async with Emulator() as server:
        call = open_session(server)
        history = llm.ChatContext()
        for text in ("one", "two", "three"):
            history.add_message(role="user", content=text)
        await call.session.update_chat_ctx(history)
        server.add_fault(RejectOn("conversation.item.delete", "server_error", "Not now."))
        del history.items[1]
        await call.session.update_chat_ctx(history)
        assert texts(call.session) == ["one", "two", "three"]
        assert "Not now." in str((await call.first("error")).error)
        await call.session.update_chat_ctx(history)
        assert texts(call.session) == ["one", "three"]
        assert [item["content"][0]["text"] for item in server.sessions[0].items] == ["one", "three"]


async def test_an_edit_that_the_server_does_not_take_shows_the_old_text(open_session):
    async with Emulator() as server:
        call = open_session(server)
        history = llm.ChatContext()
        message = history.add_message(role="user", content="old")
        await call.session.update_chat_ctx(history)
        server.add_fault(RejectOn("conversation.item.delete", "server_error", "Not now."))
        message.content = ["new"]
        await call.session.update_chat_ctx(history)
        assert texts(call.session) == ["old"]
        assert [item["content"][0]["text"] for item in server.sessions[0].items] == ["old"]


async def test_speech_that_the_server_does_not_cut_is_no_longer_in_its_history(open_session, reading):
    async with Emulator(Script([Turn(say="One two three.")])) as server:
        call = open_session(server)
        reply = await call.session.generate_reply()
        await reading(reply)
        (item,) = call.session.chat_ctx.items
        server.add_fault(RejectOn("conversation.item.truncate", "server_error", "Not now."))
        call.session.truncate(
            message_id=item.id, modalities=["audio", "text"], audio_end_ms=200, audio_transcript="One"
        )
        await server.wait_sent("conversation.item.deleted")
        await call.until(lambda: not call.session._conversation.mirror.is_pending(item.id))
        (kept,) = server.sessions[0].items
        assert kept["content"] == [{"type": "output_text", "text": "One"}]
        assert texts(call.session) == ["One"]
        assert "Not now." in str((await call.first("error")).error)


async def test_an_hour_of_video_keeps_one_picture(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Look.")
        livekit = llm.ChatContext()  # LiveKit appends a shallow copy of what it is told
        call.session.on("remote_item_added", lambda event: livekit.items.append(event.item.model_copy()))
        for number in range(5):
            call.session.push_video(frame(number))
        await call.first("remote_item_added", 5)
        assert [len(urls) for urls in pictures(call.session.chat_ctx)] == [0, 0, 0, 0, 1]
        assert pictures(livekit) == pictures(call.session.chat_ctx)
        sent = len(server.sessions[0].received)
        await call.session.update_chat_ctx(livekit)
        assert len(server.sessions[0].received) == sent
        assert all(item["content"][0]["image_url"] for item in server.sessions[0].items)  # the model sees them all


async def test_a_reconnect_shows_the_newest_frame_only(open_session):
    async with Emulator() as server:
        call = open_session(server)
        await call.session.update_instructions("Look.")
        for number in range(3):
            call.session.push_video(frame(number))
        await call.first("remote_item_added", 3)
        newest = server.sessions[0].items[-1]
        server.add_fault(DropOn("session.update"))
        call.session.update_options(speed=1.1)
        await call.first("session_reconnected")
        await server.wait_until(lambda: len(server.sessions[-1].items) == 1)
        assert server.sessions[-1].items == [newest]
        assert call.session.counters["video frame not replayed"] == 2
        await call.until(lambda: not call.session._conversation.mirror.is_pending(newest["id"]))
        assert len(call.session.chat_ctx.items) == 1
