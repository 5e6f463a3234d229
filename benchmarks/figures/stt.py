"""Speech to text: how old the audio gets on its way to the server, and what that costs.

As in `uplink`, with streams of `STT` for a model that writes while somebody speaks. Nobody ends the segments, and no
voice detection runs (`vad=None`), for both plugins. The official one sends 50 ms at a time; LiveKit resamples for it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

CASES = {"room": (24000, 50, 96), "fine": (48000, 10, 40)}
"""Name -> Hz, ms in a frame, streams."""

HOSTS = ("127.0.0.1", "localhost")
"""Names of the server. The official plugin uses LiveKit's HTTP session: 50 connections to each name, 100 in all."""


async def measure(subject: Subject) -> Turns:
    return side_by_side(await spoken_to(subject.with_fewer_turns(3), "room"), await spoken_to(subject, "fine"))


async def spoken_to(subject: Subject, case: str) -> Turns:
    """One case."""
    from benchmarks.microphones import in_turns

    rate, frame_ms, count = CASES[case]
    await subject.server.reset()
    recognizers = [at(subject, host).stt(language="en", model="gpt-live-transcribe", vad=None) for host in HOSTS]
    streams, readers = [], []
    for number in range(subject.count(count)):
        streams.append(recognizers[number % len(HOSTS)].stream())
        await subject.server.opened(number + 1)
        readers.append(asyncio.create_task(read(streams[-1])))
    pushes = [stream.push_frame for stream in streams]
    found = await in_turns(subject, case, pushes, rate=rate, frame_ms=frame_ms)
    await asyncio.gather(*(stream.aclose() for stream in streams))
    await asyncio.gather(*readers)
    await subject.closing.aclose()  # the official plugin keeps the sockets for the next stream
    return found


def at(subject: Subject, host: str) -> Subject:
    """The same, with another name for the server."""
    return replace(subject, url=subject.url.replace("127.0.0.1", host))


async def read(stream: Any) -> None:
    """Take what comes of a stream."""
    async for _ in stream:
        pass


AGE, CPU = "ms", "ms per audio-second"

FIGURE = Figure(
    name="stt",
    title="Speech to text",
    measure=measure,
    seconds=0.3,
    rounds=45,
    turns=15,
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", AGE, target=12.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", AGE),
        Row("24 kHz, 50 ms frames: CPU", "room_cpu", CPU, floor="room_floor", target=0.70),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", AGE, target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", AGE),
        Row("48 kHz, 10 ms frames: CPU", "fine_cpu", CPU, floor="fine_floor", target=0.70),
    ),
)
