"""Both directions at real time: what a session costs a worker that has many.

200 sessions in one process, each with a microphone (24 kHz, frames of 50 ms) and a reply, which is as long as a turn.
CPU is that of the process, per session and second, without what the microphones take by themselves.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns

SESSIONS = 200


async def measure(subject: Subject) -> Turns:
    from benchmarks.calls import Calls

    calls = await Calls.opened(subject, subject.count(SESSIONS))
    found = []
    for _ in range(subject.turns):
        await subject.turn()
        found.append({"floor": await calls.floor_ms(), "cpu": await calls.cpu_ms()})
    await calls.aclose()
    return found


CPU = "ms per session and second"

FIGURE = Figure(
    name="duplex",
    title="Both directions at real time, 200 sessions",
    measure=measure,
    seconds=0.3,
    rounds=18,
    turns=9,
    plugins=("ours", "ours_fast", "official"),
    rows=(
        Row("CPU", "cpu", CPU, floor="floor", target=0.80),
        Row("CPU with `fast`", "cpu", CPU, floor="floor", target=0.66, plugin="ours_fast"),
    ),
)
