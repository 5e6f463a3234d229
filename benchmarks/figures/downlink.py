"""Replies on their way to the caller: what they cost, and how long a frame takes when the server floods.

40 sessions listen to a reply in real time: deltas of 100 ms of audio and a word of transcript for every third, read
from `audio_stream` and `text_stream`. CPU is that of the process, per second of audio. It has no target: the loop wakes
for each delta, and a bare `asyncio.Protocol` that throws the bytes away takes 0.4 of what the official plugin does.

Then one session asks for replies of 20 s that come as fast as the socket takes them, so what is done with a delta is
nearly all there is. A frame's time is counted from the server's sending it to its coming out of `audio_stream`; the
mean of all frames is taken.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

SESSIONS = 40
FLOOD_S = 20.0
FLOODED = 2
"""So many times as long is what has targets, and begins from a standstill."""


async def measure(subject: Subject) -> Turns:
    return side_by_side(await in_real_time(subject.with_fewer_turns(3)), await flooded(subject))


async def in_real_time(subject: Subject) -> Turns:
    """`cpu`: CPU ms per second of audio."""
    from benchmarks.listeners import Listener, cpu_of, listening

    sessions = subject.count(SESSIONS)
    model = subject.model(turn_detection=None)
    listeners, found = [], []
    for number in range(sessions):
        listeners.append(Listener(model.session()))
        await subject.server.opened(number + 1)
    for _ in range(subject.turns):
        await subject.turn()
        async with listening(subject, listeners):
            found.append({"cpu": await cpu_of(subject, listeners) / sessions * 1000})
    for listener in listeners:
        await listener.session.aclose()
    return found


async def flooded(subject: Subject) -> Turns:
    """`latency`: ms from the server to `audio_stream`; `flood_cpu`: CPU ms per second of audio."""
    from benchmarks.listeners import Stopwatch
    from benchmarks.server import Behaviour

    await subject.server.reset()
    await subject.server.behave(reply_s=FLOOD_S, pace=0)
    listener = Stopwatch(subject.model(turn_detection=None).session())
    await subject.server.opened(1)
    found = []
    for _ in range(subject.turns):
        await subject.turn()
        await listener.listen()
        listener.ages.clear()
        until, used = time.monotonic() + FLOODED * subject.seconds, time.process_time()
        while time.monotonic() < until:
            await listener.listen()
        used = time.process_time() - used
        heard_s = len(listener.ages) * Behaviour.delta_ms / 1000
        found.append({"latency": statistics.fmean(listener.ages), "flood_cpu": used / heard_s * 1000})
    await listener.session.aclose()
    return found


CPU = "ms per audio-second"

FIGURE = Figure(
    name="downlink",
    title="Downlink, 100 ms deltas",
    measure=measure,
    seconds=0.3,
    rounds=24,
    turns=12,
    plugins=("ours", "ours_fast", "official"),
    rows=(
        Row("40 sessions in real time: CPU", "cpu", CPU),
        Row("40 sessions in real time: CPU with `fast`", "cpu", CPU, plugin="ours_fast"),
        Row("flooded: CPU", "flood_cpu", CPU, target=0.60),
        Row("flooded: CPU with `fast`", "flood_cpu", CPU, target=0.30, plugin="ours_fast"),
        Row("flooded: server to audio_stream", "latency", "ms", target=0.5),
        Row("flooded: server to audio_stream with `fast`", "latency", "ms", target=0.5, plugin="ours_fast"),
    ),
)
