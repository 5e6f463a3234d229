"""Reading replies as LiveKit does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from livekit import rtc

from benchmarks.figures import Subject


class Listener:
    """Reads replies of one session. `frames` counts what came out of `audio_stream`."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.frames = 0

    async def listen(self) -> None:
        """Ask for a reply and read it to its end."""
        generation = await self.session.generate_reply()
        async for message in generation.message_stream:
            reading = asyncio.create_task(self._read(message.text_stream))
            async for frame in message.audio_stream:
                self.frames += 1
                self.heard(frame)
            await reading

    async def keep_listening(self, after: float) -> None:
        """In `after` seconds, ask for a reply, read it, and ask for the next one, until cancelled."""
        await asyncio.sleep(after)
        while True:
            await self.listen()

    async def _read(self, texts: Any) -> None:
        async for _ in texts:
            pass

    def heard(self, frame: rtc.AudioFrame) -> None:
        """A frame came."""


class Stopwatch(Listener):
    """Notes how long ago the counting server sent each frame, in ms."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.ages: list[float] = []

    def heard(self, frame: rtc.AudioFrame) -> None:
        """Read the server's stamp."""
        (sent,) = struct.unpack("<d", bytes(frame.data[:4]))
        self.ages.append((time.monotonic() - sent) * 1000)


REPLY_S, QUICK_REPLY_S = 3.9, 0.7
"""Of those who always listen. Not a whole number of deltas for each: they would all come at once."""
ALL_ASKED_S = 0.2
"""How long it takes until all are asked for their reply: their audio must not come at once."""
SPARE_S = 0.4
"""So much longer is a reply, because of what is waited for before it is measured."""


@contextlib.asynccontextmanager
async def listening(subject: Subject, listeners: Sequence[Listener]) -> AsyncIterator[None]:
    """While all of them listen to a reply, which ends by itself, not before `subject.seconds` are over."""
    await subject.server.behave(reply_s=ALL_ASKED_S + subject.seconds + SPARE_S)
    began, reading = time.monotonic(), []
    for number, listener in enumerate(listeners):
        await asyncio.sleep(began + ALL_ASKED_S * number / len(listeners) - time.monotonic())
        reading.append(asyncio.create_task(listener.listen()))
    await subject.settle()
    yield
    await asyncio.gather(*reading)


@contextlib.asynccontextmanager
async def always_listening(subject: Subject, listeners: Sequence[Listener]) -> AsyncIterator[None]:
    """While each of them listens to one reply after the other: for a figure whose plugins have their turns `together`.

    Neither replies nor deltas come at once: a reply begins for one after the other, until the first one's is over.
    """
    reply_s = QUICK_REPLY_S if subject.quick else REPLY_S
    await subject.server.behave(reply_s=reply_s)
    reading = [
        asyncio.create_task(listener.keep_listening(after=reply_s * number / len(listeners)))
        for number, listener in enumerate(listeners)
    ]
    await asyncio.sleep(reply_s)
    await subject.settle()
    yield
    for each in reading:
        each.cancel()
    ends = await asyncio.gather(*reading, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
            raise end


async def cpu_of(subject: Subject, listeners: Sequence[Listener], delta_ms: int = 100) -> float:
    """CPU seconds per second while these listen in real time. Raises RuntimeError when they hear little."""
    before, began = sum(each.frames for each in listeners), time.monotonic()
    cpu = await subject.cpu()
    heard, took = sum(each.frames for each in listeners) - before, time.monotonic() - began
    if heard < took * 1000 / delta_ms * len(listeners) / 2:
        raise RuntimeError("less than half of the audio was heard")
    return cpu
