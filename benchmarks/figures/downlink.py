"""Replies on their way to the caller: what they cost, and how long a frame takes when the server floods.

40 sessions listen to a reply in real time: deltas of 100 ms of audio and a word of transcript for every third, read
from `audio_stream` and `text_stream`. CPU is that of the process, per second of audio. It has no target: the loop wakes
for each delta, and a bare `asyncio.Protocol` that throws the bytes away takes 0.4 of what the official plugin does.

Then one session asks for replies of 20 s that come as fast as the socket takes them, so what is done with a delta is
nearly all there is. A frame's time is counted from the server's sending it to its coming out of `audio_stream`; the
mean of all frames is taken.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.figures import Figure, Row, Subject

SESSIONS = 40
FLOOD_S = 20.0


async def measure(subject: Subject) -> dict[str, float]:
    return {"cpu": await in_real_time(subject), **await flooded(subject)}


async def in_real_time(subject: Subject) -> float:
    """CPU ms per second of audio."""
    from benchmarks.listeners import Listener, cpu_of

    sessions = subject.count(SESSIONS)
    await subject.server.behave(reply_s=subject.seconds + 60)
    model = subject.model(turn_detection=None)
    listeners, reading = [], []
    for number in range(sessions):
        listeners.append(Listener(model.session()))
        await subject.server.opened(number + 1)
        reading.append(asyncio.create_task(listeners[-1].listen()))
    await subject.warm_up()
    cpu = await cpu_of(subject, listeners)
    for listener in listeners:
        await listener.session.aclose()
    await asyncio.gather(*reading)
    return cpu / sessions * 1000


async def flooded(subject: Subject) -> dict[str, float]:
    """ms from the server to `audio_stream`, CPU ms per second of audio."""
    from benchmarks.listeners import Stopwatch
    from benchmarks.server import Behaviour

    await subject.server.reset()
    await subject.server.behave(reply_s=FLOOD_S, pace=0)
    listener = Stopwatch(subject.model(turn_detection=None).session())
    await subject.server.opened(1)
    await listener.listen()
    listener.ages.clear()
    until, used = time.monotonic() + subject.seconds, time.process_time()
    while time.monotonic() < until:
        await listener.listen()
    used = time.process_time() - used
    await listener.session.aclose()
    heard_s = len(listener.ages) * Behaviour.delta_ms / 1000
    return {"latency": statistics.fmean(listener.ages), "flood_cpu": used / heard_s * 1000}


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
        Row("40 sessions in real time: CPU", "cpu", CPU),
        Row("40 sessions in real time: CPU with `fast`", "cpu", CPU, plugin="ours_fast"),
        Row("flooded: CPU", "flood_cpu", CPU, target=0.60),
        Row("flooded: CPU with `fast`", "flood_cpu", CPU, target=0.30, plugin="ours_fast"),
        Row("flooded: server to audio_stream", "latency", "ms", target=0.5),
        Row("flooded: server to audio_stream with `fast`", "latency", "ms", target=0.5, plugin="ours_fast"),
    ),
)
