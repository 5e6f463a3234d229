"""Speech to text: what its audio costs on the way to the server.

The streams of `stt`, spoken to in both plugins at the same time, and in a process that has only microphones, as in
`uplink_cpu`. Nobody speaks ahead: audio that comes faster than anybody speaks is a file to us, and goes another way.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side
from benchmarks.figures.stt import CASES, streams


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import cpu

    return side_by_side(*[await cpu(subject, name, streams, **case) for name, case in CASES.items()])


UNIT = "ms per audio-second"

FIGURE = Figure(
    name="stt_cpu",
    title="Speech to text, CPU",
    measure=measure,
    seconds=0.3,
    rounds=60,
    turns=20,
    plugins=("nobody", "ours", "official"),
    together=True,
    rows=(
        Row("24 kHz, 50 ms frames", "room_cpu", UNIT, floor="room_floor", target=0.70),
        Row("48 kHz, 10 ms frames", "fine_cpu", UNIT, floor="fine_floor", target=0.70),
    ),
)
