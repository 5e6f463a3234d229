"""Replies on their way to the caller when the server floods: what they cost, and how long a frame takes.

One session asks for replies of 20 s that come as fast as the socket takes them, in deltas of 100 ms of audio with a
word of transcript for every third, so what is done with a delta is nearly all there is. CPU is that of the process, per
second of audio. A frame's time is counted from the server's sending it to its coming out of `audio_stream`; the mean of
all frames is taken.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import Figure, Row, Subject, Turns

FLOOD_S = 20.0


async def measure(subject: Subject) -> Turns:
    from benchmarks.listeners import Stopwatch
    from benchmarks.server import Behaviour

    await subject.server.behave(reply_s=FLOOD_S, pace=0)
    listener = Stopwatch(subject.model(turn_detection=None).session())
    await subject.server.opened(1)
    found = []
    for _ in range(subject.turns):
        await subject.turn()
        await listener.listen()
        listener.ages.clear()
        until, used = time.monotonic() + subject.seconds, time.process_time()
        while time.monotonic() < until:
            await listener.listen()
        used = time.process_time() - used
        heard_s = len(listener.ages) * Behaviour.delta_ms / 1000
        found.append({"latency": statistics.fmean(listener.ages), "cpu": used / heard_s * 1000})
    await listener.session.aclose()
    return found


CPU = "ms per audio-second"

FIGURE = Figure(
    name="downlink",
    title="Downlink, flooded, 100 ms deltas",
    measure=measure,
    seconds=0.6,
    rounds=24,
    turns=12,
    plugins=("ours", "ours_fast", "official"),
    rows=(
        Row("CPU", "cpu", CPU, target=0.60),
        Row("CPU with `fast`", "cpu", CPU, target=0.30, plugin="ours_fast"),
        Row("server to audio_stream", "latency", "ms", target=0.5),
        Row("server to audio_stream with `fast`", "latency", "ms", target=0.5, plugin="ours_fast"),
    ),
)
