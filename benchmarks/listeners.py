"""Reading replies as LiveKit does."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

from livekit import rtc

Heard = Callable[[rtc.AudioFrame], None]


async def listen(session: Any, heard: Heard) -> str:
    """Ask for a reply and read it to its end; returns its text. `heard` gets each frame."""
    generation = await session.generate_reply()
    said = []

    async def read(stream: Any) -> None:
        async for delta in stream:
            said.append(delta)

    async for message in generation.message_stream:
        reading = asyncio.create_task(read(message.text_stream))
        async for frame in message.audio_stream:
            heard(frame)
        await reading
    return "".join(said)


def age_ms(frame: rtc.AudioFrame) -> float:
    """How long ago the counting server sent the frame that begins with its stamp."""
    sent: float
    (sent,) = struct.unpack("<d", bytes(frame.data[:4]))
    return (time.monotonic() - sent) * 1000
