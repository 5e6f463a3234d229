"""Speech to text: how old the audio gets on its way to the server, and what that costs.

As in `uplink`, with streams of `STT` for a model that writes while somebody speaks. Nobody ends the segments, and no
voice detection runs (`vad=None`), for both plugins. The official one sends 50 ms at a time; LiveKit resamples for it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject

CASES = {"room": (24000, 50, 40), "fine": (48000, 10, 40)}
"""Name -> Hz, ms in a frame, streams. The official plugin keeps 100 connections in a process, of both cases."""


async def measure(subject: Subject) -> dict[str, float]:
    from benchmarks.microphones import Microphones, alone, mean_and_p99

    numbers: dict[str, float] = {}
    for case, (rate, frame_ms, count) in CASES.items():
        sessions = subject.count(count)
        await subject.server.reset()
        floor = await alone(subject, sessions, rate=rate, frame_ms=frame_ms)
        recognizer = subject.stt(language="en", model="gpt-live-transcribe", vad=None)
        streams, readers = [], []
        for number in range(sessions):
            streams.append(recognizer.stream())
            await subject.server.opened(number + 1)
            readers.append(asyncio.create_task(read(streams[-1])))
        microphones = Microphones([stream.push_frame for stream in streams], rate=rate, frame_ms=frame_ms)
        await subject.warm_up()
        began = time.monotonic()
        cpu = await subject.cpu()
        stats = await subject.server.stats()
        microphones.stop()
        await asyncio.gather(*(stream.aclose() for stream in streams))
        await asyncio.gather(*readers)
        await subject.closing.aclose()  # the official plugin keeps the sockets for the next stream
        await subject.warm_up()  # what closing leaves behind is no part of it
        floor = (floor + await alone(subject, sessions, rate=rate, frame_ms=frame_ms)) / 2
        numbers[f"{case}_age"], numbers[f"{case}_p99"] = mean_and_p99(microphones.ages_ms(stats, began))
        numbers[f"{case}_cpu"] = (cpu - floor) / sessions * 1000
    return numbers


async def read(stream: Any) -> None:
    """Take what comes of a stream."""
    async for _ in stream:
        pass


AGE, CPU = "ms", "ms per audio-second"

FIGURE = Figure(
    name="stt",
    title="Speech to text",
    measure=measure,
    seconds=2.0,
    rounds=5,
    fresh=False,
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", AGE, target=12.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", AGE),
        Row("24 kHz, 50 ms frames: CPU", "room_cpu", CPU, target=0.70),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", AGE, target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", AGE),
        Row("48 kHz, 10 ms frames: CPU", "fine_cpu", CPU, target=0.70),
    ),
)
