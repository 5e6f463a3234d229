"""What the model sees of a caller."""

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
from livekit.agents.voice.room_io import RoomOptions

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from . import sound
from .conftest import StartRoomCall

RED, BLUE = (200, 30, 30), (30, 30, 200)
WIDTH, HEIGHT = 320, 240


class Camera:
    """Ten frames a second of one colour."""

    def __init__(self) -> None:
        self.colour = RED
        self.shown = 0

    @contextlib.asynccontextmanager
    async def publish(self, room: rtc.Room, kind: rtc.TrackSource.ValueType) -> AsyncIterator[None]:
        source = rtc.VideoSource(WIDTH, HEIGHT)
        track = rtc.LocalVideoTrack.create_video_track("picture", source)
        await room.local_participant.publish_track(track, rtc.TrackPublishOptions(source=kind))
        task = asyncio.create_task(self._show(source))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await source.aclose()

    async def _show(self, source: rtc.VideoSource) -> None:
        while True:
            pixels = bytes((*self.colour, 255)) * (WIDTH * HEIGHT)
            source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, pixels))
            self.shown += 1
            await asyncio.sleep(0.1)


def images(server: Emulator) -> list[PIL.Image.Image]:
    """The pictures that arrived at the model, in order."""
    found: list[PIL.Image.Image] = []
    for event in server.received("conversation.item.create"):
        parts: list[dict[str, Any]] = event["item"].get("content", [])
        for part in parts:
            if part["type"] == "input_image":
                kind, _, data = part["image_url"].partition(",")
                assert kind == "data:image/jpeg;base64"
                found.append(PIL.Image.open(io.BytesIO(base64.b64decode(data))))
    return found


def colour(image: PIL.Image.Image) -> Any:
    return image.convert("RGB").getpixel((image.width // 2, image.height // 2))


@pytest.mark.parametrize("kind", [rtc.TrackSource.SOURCE_CAMERA, rtc.TrackSource.SOURCE_SCREENSHARE])
async def test_the_model_sees_what_the_caller_shows_while_speaking(
    start_room_call: StartRoomCall, kind: rtc.TrackSource.ValueType
) -> None:
    async with Emulator(Script([Turn(heard="What do you see?", say="A colour.")])) as server:
        call = await start_room_call(server, room_options=RoomOptions(video_input=True))
        camera = Camera()
        async with camera.publish(call.caller.room, kind):
            await server.wait_until(lambda: images(server) != [], timeout=20)
            camera.colour = BLUE
            call.microphone.play(sound.notes([440], 2.0))
            await call.caller.until(lambda: call.caller.texts("agent") == ["A colour."])
        seen = images(server)
        assert colour(seen[0]) == pytest.approx(RED, abs=30)
        assert colour(seen[-1]) == pytest.approx(BLUE, abs=30)
        # LiveKit lets about one picture a second through.
        assert len(seen) * 3 < camera.shown
        assert server.sent("error") == []
