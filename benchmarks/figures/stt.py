"""Speech to text: how old the audio gets on its way to the server; what that costs is `stt_cpu`.

As in `uplink`, with streams of `STT` for a model that writes while somebody speaks. Nobody ends the segments, and no
voice detection runs (`vad=None`), for both plugins. The official one sends 50 ms at a time; LiveKit resamples for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

if TYPE_CHECKING:
    from benchmarks.microphones import Push

CASES = {
    "room": {"rate": 24000, "frame_ms": 50, "count": 96},
    "fine": {"rate": 48000, "frame_ms": 10, "count": 40},
}
"""Hz, ms in a frame, streams."""

HOSTS = ("127.0.0.1", "localhost")
"""Names of the server. The official plugin uses LiveKit's HTTP session: 50 connections to each name, 100 in all."""


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import ages

    return side_by_side(*[await ages(subject, name, streams, **case) for name, case in CASES.items()])


@asynccontextmanager
async def streams(subject: Subject, count: int) -> AsyncIterator[list[Push]]:
    """Where the frames of so many streams go, which are open and configured."""
    await subject.server.reset()
    recognizers = [at(subject, host).stt(language="en", model="gpt-live-transcribe", vad=None) for host in HOSTS]
    opened, readers = [], []
    for number in range(subject.count(count)):
        opened.append(recognizers[number % len(HOSTS)].stream())
        await subject.server.opened(number + 1)
        readers.append(asyncio.create_task(read(opened[-1])))
    yield [stream.push_frame for stream in opened]
    await asyncio.gather(*(stream.aclose() for stream in opened))
    await asyncio.gather(*readers)
    await subject.closing.aclose()  # the official plugin keeps the sockets for the next stream


def at(subject: Subject, host: str) -> Subject:
    """The same, with another name for the server."""
    return replace(subject, url=subject.url.replace("127.0.0.1", host))


async def read(stream: Any) -> None:
    """Take what comes of a stream."""
    async for _ in stream:
        pass


FIGURE = Figure(
    name="stt",
    title="Speech to text, age of the audio",
    measure=measure,
    seconds=0.5,
    rounds=8,
    turns=8,
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", "ms", target=12.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", "ms"),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", "ms", target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", "ms"),
    ),
)
