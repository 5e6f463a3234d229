"""Images that are links, in the conversation and in what one reply is shown, over real sockets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import llm

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.realtime import Images

from .web import PNG, Web, serving

HERE = Images(trusted_hosts=("127.0.0.1",))
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
REFUSED = "image_refused"


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as served:
        yield served


def message(*content: str | llm.ImageContent, role: llm.ChatRole = "user") -> llm.ChatMessage:
    return llm.ChatMessage(role=role, content=list(content))


def parts(item: dict[str, object]) -> list[object]:
    return [part.get("text") or part.get("image_url") for part in item["content"]]  # type: ignore[attr-defined]


async def test_a_linked_image_reaches_the_model_and_stays_a_link_in_the_context(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = message("Look:", llm.ImageContent(image=web.url("image.png"), inference_detail="low"))
        await call.session.update_chat_ctx(llm.ChatContext([look]))
        (item,) = server.sessions[0].items
        assert parts(item) == ["Look:", PNG_URL]
        assert item["content"][1]["detail"] == "low"
        assert call.session.chat_ctx.items == [look]
        context = call.session.chat_ctx
        context.items.append(message("And now?"))
        await call.session.update_chat_ctx(context)
        assert len(web.asked) == len(server.received("conversation.item.create")) - 1 == 1
        await server.drop()
        await call.first("session_reconnected")
        assert parts(server.sessions[1].items[0]) == ["Look:", PNG_URL]  # brought back without asking the web again
        assert len(web.asked) == 1


async def spoken(call: Any, text: str) -> llm.ChatMessage:
    """The message of a reply that was made to its end."""
    assert await (await call.session.generate_reply()).text() == text
    return call.session.chat_ctx.items[-1]  # type: ignore[no-any-return]


async def asked_for(web: Web) -> None:
    async with web.arrived:
        await asyncio.wait_for(web.arrived.wait_for(lambda: web.waiting), 5)


async def test_what_is_cut_while_an_image_is_fetched_stays_cut(open_session, web):
    async with Emulator(Script([Turn(say="One two three four.")])) as server:
        call = open_session(server, images=HERE)
        said = await spoken(call, "One two three four.")
        look = message("Look:", llm.ImageContent(image=web.url("slow.png")))
        update = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([said, look])))
        await asked_for(web)
        call.session.truncate(
            message_id=said.id, modalities=["audio", "text"], audio_end_ms=400, audio_transcript="One two"
        )
        web.gate.set()
        await update
        assert [item.text_content for item in call.session.chat_ctx.items] == ["One two", "Look:"]
        assert server.received("conversation.item.delete") == []
        assert len(server.received("conversation.item.create")) == 1


async def test_what_nobody_heard_is_not_brought_back_by_an_image(open_session, web):
    async with Emulator(Script([Turn(say="Unheard.")])) as server:
        call = open_session(server, images=HERE)
        said = await spoken(call, "Unheard.")
        look = message("Look:", llm.ImageContent(image=web.url("slow.png")))
        update = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([said, look])))
        await asked_for(web)
        call.session.truncate(message_id=said.id, modalities=["audio"], audio_end_ms=0)
        await server.wait_sent("conversation.item.deleted")
        web.gate.set()
        await update
        assert [item.text_content for item in call.session.chat_ctx.items] == ["Look:"]
        assert [parts(item)[0] for item in server.sessions[0].items] == ["Look:"]


async def test_a_context_brings_back_what_the_one_before_it_took_out(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        first, second = message("Hello."), message("Well?")
        await call.session.update_chat_ctx(llm.ChatContext([first, second]))
        look = message("Look:", llm.ImageContent(image=web.url("slow.png")))
        edited = first.model_copy(update={"content": ["Hi."]})
        older = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([edited, look])))
        newer = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([first, second])))
        await asked_for(web)
        web.gate.set()
        await asyncio.gather(older, newer)
        assert [parts(item) for item in server.sessions[0].items] == [["Hello."], ["Well?"]]
        assert call.session.chat_ctx.items == [first, second]


async def test_an_image_that_was_refused_is_neither_asked_for_nor_told_again(open_session, web, caplog):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        context = llm.ChatContext([message(llm.ImageContent(image=web.url("nothing.png")))])
        with pytest.raises(llm.RealtimeError, match="HTTP 404"):
            await call.session.update_chat_ctx(context)
        for text in ("Hello.", "Well?"):
            context.items.append(message(text))
            await call.session.update_chat_ctx(context)
        assert [item.text_content for item in call.session.chat_ctx.items] == ["Hello.", "Well?"]
        assert (len(web.asked), len(call.errors)) == (1, 1)
        assert any("refused here, before OpenAI saw it: image_refused" in text for text in caplog.messages)
        assert not any("OpenAI reported" in text for text in caplog.messages)
        context.items.append(message(llm.ImageContent(image=web.url("nothing.png"))))  # another try
        with pytest.raises(llm.RealtimeError, match="HTTP 404"):
            await call.session.update_chat_ctx(context)


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
async def test_an_image_that_is_not_the_users_is_told_loudly(open_session, web, role):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = message("Look:", llm.ImageContent(image=web.url("image.png")), role=role)
        with pytest.raises(llm.RealtimeError, match=r"An image was left out .* that is not the user's") as raised:
            await call.session.update_chat_ctx(llm.ChatContext([look]))
        assert raised.value.code == REFUSED
        assert [parts(item) for item in server.sessions[0].items] == [["Look:"]]
        assert (len(call.errors), web.asked) == (1, [])


@pytest.mark.parametrize(
    ("path", "images", "told"),
    [
        ("nothing.png", HERE, "answered with HTTP 404"),
        ("image.png", Images(), "is not on the public internet"),
        ("image.png", Images(fetch=False), "images.fetch is off"),
    ],
)
async def test_one_that_cannot_be_had_is_told_loudly_and_the_rest_goes_on(open_session, web, path, images, told):
    async with Emulator() as server:
        call = open_session(server, images=images)
        look = message("Look:", llm.ImageContent(image=web.url(path)))
        with pytest.raises(llm.RealtimeError, match=told) as raised:
            await call.session.update_chat_ctx(llm.ChatContext([message("Hello."), look, message("Well?")]))
        assert raised.value.code == REFUSED
        assert [parts(item) for item in server.sessions[0].items] == [["Hello."], ["Look:"], ["Well?"]]
        (error,) = call.errors
        assert error.recoverable
        assert path not in str(error.error)


async def test_an_image_alone_that_cannot_be_had_leaves_no_empty_item(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        context = llm.ChatContext([message(llm.ImageContent(image=web.url("nothing.png")))])
        with pytest.raises(llm.RealtimeError, match="HTTP 404"):
            await call.session.update_chat_ctx(context)
        assert call.session.chat_ctx.items == []


async def test_what_is_said_while_an_image_is_fetched_stays(open_session, web):
    async with Emulator(Script([Turn(say="Meanwhile.")])) as server:
        call = open_session(server, images=HERE)
        first = message("Hello.")
        await call.session.update_chat_ctx(llm.ChatContext([first]))
        look = message("Look:", llm.ImageContent(image=web.url("slow.png")))
        update = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([first, look])))
        await (await call.session.generate_reply()).text()
        web.gate.set()
        await update
        texts = [item.text_content for item in call.session.chat_ctx.items]
        assert texts == ["Hello.", "Look:", "Meanwhile."]
        assert [parts(item)[0] for item in server.sessions[0].items][:2] == ["Hello.", "Look:"]
        assert server.received("conversation.item.delete") == []


async def test_contexts_are_applied_in_the_order_in_which_they_came(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = message("Look:", llm.ImageContent(image=web.url("slow.png")))
        older = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([look])))
        newer = asyncio.ensure_future(call.session.update_chat_ctx(llm.ChatContext([message("Never mind.")])))
        await asyncio.sleep(0)
        web.gate.set()
        await asyncio.gather(older, newer)
        assert [parts(item) for item in server.sessions[0].items] == [["Never mind."]]


async def test_a_reply_is_asked_for_when_the_images_it_is_to_see_are_there(open_session, web):
    async with Emulator(Script(out_of_band=[Turn(say="A cat.")])) as server:
        call = open_session(server, images=HERE)
        look = message("What is it?", llm.ImageContent(image=web.url("image.png")))
        reply = await call.session.generate_reply(conversation="none", input=[look])
        assert await reply.text() == "A cat."
        (event,) = server.received("response.create")
        assert parts(event["response"]["input"][0]) == ["What is it?", PNG_URL]


async def test_a_reply_that_is_to_see_an_image_that_cannot_be_had_fails(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = llm.ImageContent(image=web.url("nothing.png"))
        with pytest.raises(llm.RealtimeError, match="HTTP 404") as raised:
            await call.session.generate_reply(conversation="none", input=[message(look)])
        assert raised.value.code == REFUSED
        for image in ("data:image/webp;base64,UklGRg==", "photo.png"):
            with pytest.raises(ValueError, match=r"^input: .*An image was left out"):
                call.session.generate_reply(conversation="none", input=[message(llm.ImageContent(image=image))])
        link = {"type": "input_image", "image_url": "https://example.com/a.png"}
        with pytest.raises(ValueError, match=r"^input\[0\]\.content\[0\]\.image_url is no data: URL"):
            call.session.generate_reply(input=[{"type": "message", "role": "user", "content": [link]}])
        assert not call.session.has_active_generation
        assert server.received("response.create") == []


async def test_a_reply_that_is_cancelled_while_its_image_is_fetched_is_never_asked_for(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = message(llm.ImageContent(image=web.url("slow.png")))
        future = call.session.generate_reply(conversation="none", input=[look])
        await call.session.update_chat_ctx(llm.ChatContext([message("Hello.")]))
        future.cancel()
        web.gate.set()
        await call.session.update_chat_ctx(llm.ChatContext([message("Bye.")]))
        assert not call.session.has_active_generation
        assert server.received("response.create") == []


async def test_the_end_of_the_session_ends_what_waits_for_an_image(open_session, web):
    async with Emulator() as server:
        call = open_session(server, images=HERE)
        look = message(llm.ImageContent(image=web.url("slow.png")))
        future = call.session.generate_reply(conversation="none", input=[look])
        await server.wait_received("session.update")
        await call.session.aclose()
        with pytest.raises(llm.RealtimeError, match="closed"):
            await future


async def test_frames_come_no_closer_than_was_asked(open_session):
    async with Emulator() as server:
        call = open_session(server, images=Images(min_interval=60.0, max_edge=32, frame_detail="low"))
        await call.session.update_chat_ctx(llm.ChatContext([message("Hello.")]))
        for _ in range(3):
            call.session.push_video(rtc.VideoFrame(64, 64, rtc.VideoBufferType.RGBA, bytes(64 * 64 * 4)))
        await call.session.update_instructions("Look.")
        _, shown = server.received("conversation.item.create")
        assert shown["item"]["content"][0]["detail"] == "low"
