"""examples/screen_notes.py, with somebody who shares a screen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import PIL.Image
import pytest
from livekit import rtc

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer

from .example_call import ExampleCall, example_call, script

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("notes.json")
WIDTH, HEIGHT = 1600, 900
RED, BLUE = (200, 30, 30), (30, 30, 200)


class Screen:
    """A screen of one colour, shown ten times a second."""

    def __init__(self) -> None:
        self.colour = RED

    @contextlib.asynccontextmanager
    async def shared(self, room: rtc.Room) -> AsyncIterator[None]:
        source = rtc.VideoSource(WIDTH, HEIGHT)
        track = rtc.LocalVideoTrack.create_video_track("screen", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_SCREENSHARE)
        await room.local_participant.publish_track(track, options)

        async def show() -> None:
            while True:
                pixels = bytes((*self.colour, 255)) * (WIDTH * HEIGHT)
                source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, pixels))
                await asyncio.sleep(0.1)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            await source.aclose()


def pictures(call: ExampleCall) -> list[tuple[str, PIL.Image.Image]]:
    """The pictures that the model was shown: the id of the item, and the picture."""
    found = []
    for event in call.model.received("conversation.item.create"):
        for part in event["item"].get("content", ()):
            if part["type"] == "input_image":
                data = base64.b64decode(part["image_url"].partition("base64,")[2])
                found.append((event["item"]["id"], PIL.Image.open(io.BytesIO(data)).convert("RGB")))
    return found


def is_near(picture: PIL.Image.Image, colour: tuple[int, int, int]) -> bool:
    seen: Any = picture.getpixel((picture.width // 2, picture.height // 2))
    return all(abs(a - b) < 40 for a, b in zip(seen, colour, strict=True))


async def test_a_note_is_written_on_a_picture_now_and_then(livekit: LiveKitServer, room_name: str) -> None:
    notes = [turn.say for turn in TURNS]
    async with example_call(livekit, room_name, "screen_notes.py", TURNS) as call:
        screen = Screen()
        async with screen.shared(call.caller.room):
            await call.model.wait_until(lambda: bool(pictures(call)), timeout=30.0)
            screen.colour = BLUE
            await call.caller.until(lambda: call.agent_texts() == notes)
        (first, red), (second, blue) = pictures(call)
        assert (red.size, blue.size) == ((1280, 720), (1280, 720))
        assert is_near(red, RED)
        assert is_near(blue, BLUE)
        deleted = [event["item_id"] for event in call.model.received("conversation.item.delete")]
        assert first in deleted
        assert second not in deleted
        assert call.caller.agent_ear is None
        assert call.model.received("session.update")[0]["session"]["output_modalities"] == ["text"]
        assert not call.model.received("input_audio_buffer.append")
