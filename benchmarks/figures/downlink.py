"""Replies on their way to the caller: what they cost, and how long a frame takes when the server floods.

40 sessions listen to a reply in real time: deltas of 100 ms of audio and a word of transcript for every third, read
from `audio_stream` and `text_stream`. CPU is that of the process, per second of audio. Then one session asks for
replies of 20 s that come as fast as the socket takes them. A frame's time is counted from the server's sending it to
its coming out of `audio_stream`; the mean of all frames is taken.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.figures import Figure, Row, Subject

SESSIONS = 40
FLOOD_S = 20.0


async def measure(subject: Subject) -> dict[str, float]:
    return {"cpu": await in_real_time(subject), "latency": await flooded(subject)}


async def in_real_time(subject: Subject) -> float:
    """CPU ms per second of audio."""
    from benchmarks.listeners import listen

    sessions = subject.count(SESSIONS)
    await subject.server.behave(reply_s=subject.seconds + 60)
    model = subject.model(turn_detection=None)
    listening, readers = [], []
    for number in range(sessions):
        listening.append(model.session())
        await subject.server.opened(number + 1)
        readers.append(asyncio.create_task(listen(listening[-1], lambda frame: None)))
    await subject.warm_up()
    cpu = await subject.cpu()
    for session in listening:
        await session.aclose()
    await asyncio.gather(*readers)
    return cpu / sessions * 1000


async def flooded(subject: Subject) -> float:
    """ms from the server to `audio_stream`."""
    from benchmarks.listeners import age_ms, listen

    await subject.server.reset()
    await subject.server.behave(reply_s=FLOOD_S, pace=0)
    session = subject.model(turn_detection=None).session()
    await subject.server.opened(1)
    await listen(session, lambda frame: None)
    ages: list[float] = []
    until = time.monotonic() + subject.seconds
    while time.monotonic() < until:
        await listen(session, lambda frame: ages.append(age_ms(frame)))
    await session.aclose()
    return statistics.fmean(ages)


CPU = "ms per audio-second"

FIGURE = Figure(
    name="downlink",
    title="Downlink, 100 ms deltas",
    measure=measure,
    seconds=2.0,
    rounds=5,
    plugins=("ours", "ours_fast", "official"),
    fresh=False,
    rows=(
        Row("40 sessions in real time: CPU", "cpu", CPU, target=0.60),
        Row("40 sessions in real time: CPU with `fast`", "cpu", CPU, target=0.30, plugin="ours_fast"),
        Row("flooded: server to audio_stream", "latency", "ms", target=0.5),
        Row("flooded: server to audio_stream with `fast`", "latency", "ms", target=0.5, plugin="ours_fast"),
    ),
)
