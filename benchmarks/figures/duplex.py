"""Both directions at real time: what a session costs a worker that has many.

200 sessions in one process, each with a microphone (24 kHz, frames of 50 ms) and a reply that does not end. CPU is that
of the process, per session and second, without what the microphones take by themselves.
"""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.figures import Figure, Row, Subject

SESSIONS = 200
RATE, FRAME_MS = 24000, 50


async def measure(subject: Subject) -> dict[str, float]:
    return {"cpu": await in_both_directions(subject, subject.count(SESSIONS))}


async def in_both_directions(subject: Subject, sessions: int, **options: Any) -> float:
    """CPU ms per session and second. `options`: of the model."""
    from benchmarks.listeners import Listener, cpu_of
    from benchmarks.microphones import Microphones, alone

    floor = await alone(subject, sessions, rate=RATE, frame_ms=FRAME_MS)
    await subject.server.behave(reply_s=subject.seconds + 60)
    model = subject.model(turn_detection=None, **options)
    listeners, reading = [], []
    for number in range(sessions):
        listeners.append(Listener(model.session()))
        await subject.server.opened(number + 1)
        reading.append(asyncio.create_task(listeners[-1].listen()))
    calls = [listener.session for listener in listeners]
    microphones = Microphones([call.push_audio for call in calls], rate=RATE, frame_ms=FRAME_MS)
    await subject.warm_up()
    cpu = await cpu_of(subject, listeners)
    microphones.stop()
    microphones.ages_ms(await subject.server.stats(), 0.0)  # all of it came
    for call in calls:
        await call.aclose()
    await asyncio.gather(*reading)
    await subject.warm_up()  # what closing leaves behind is no part of it
    floor = (floor + await alone(subject, sessions, rate=RATE, frame_ms=FRAME_MS)) / 2
    return (cpu - floor) / sessions * 1000


CPU = "ms per session and second"

FIGURE = Figure(
    name="duplex",
    title="Both directions at real time, 200 sessions",
    measure=measure,
    seconds=2.0,
    rounds=5,
    plugins=("ours", "ours_fast", "official"),
    fresh=False,
    rows=(
        Row("CPU", "cpu", CPU, target=0.80),
        Row("CPU with `fast`", "cpu", CPU, target=0.66, plugin="ours_fast"),
    ),
)
