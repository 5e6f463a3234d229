"""Replies on their way to the caller: what they cost in real time.

40 sessions listen to one reply after the other: deltas of 100 ms of audio and a word of transcript for every third,
read from `audio_stream` and `text_stream`, in all plugins at the same time. CPU is that of the process, per second of
audio. It has no target: the loop wakes for each delta, and a bare `asyncio.Protocol` that throws the bytes away took
0.4 of what the official plugin did.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns

SESSIONS = 40


async def measure(subject: Subject) -> Turns:
    from benchmarks.listeners import Listener, always_listening, cpu_of

    sessions, found = await subject.sessions(subject.count(SESSIONS), turn_detection=None), []
    listeners = list(map(Listener, sessions))
    await subject.turn()
    async with always_listening(subject, listeners):
        for _ in range(subject.turns):
            await subject.turn()
            found.append({"cpu": await cpu_of(subject, listeners) / len(listeners) * 1000})
    for session in sessions:
        await session.aclose()
    return found


UNIT = "ms per audio-second"

FIGURE = Figure(
    name="downlink_cpu",
    title="Downlink in real time, 40 sessions",
    measure=measure,
    seconds=0.3,
    rounds=60,
    turns=20,
    plugins=("ours", "ours_fast", "official"),
    together=True,
    rows=(
        Row("CPU", "cpu", UNIT),
        Row("CPU with `fast`", "cpu", UNIT, plugin="ours_fast"),
    ),
)
