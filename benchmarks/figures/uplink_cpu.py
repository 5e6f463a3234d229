"""User audio on its way to the server: what it costs.

Sessions in real time, each with a microphone of its own: 200 as a room delivers by default (24 kHz, frames of 50 ms),
and 40 at 48 kHz in frames of 10 ms. All plugins are spoken to at the same time, and so is a process that has only
microphones: CPU is that of a process per second of audio, less that one's. One second of a shared machine is a tenth
faster than the next, which is more than what is to be told here.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

CASES = {
    "room": {"rate": 24000, "frame_ms": 50, "count": 200},
    "fine": {"rate": 48000, "frame_ms": 10, "count": 40},
}
"""Hz, ms in a frame, sessions."""
BEFORE_S = 32.0
"""Our sessions keep the last 30 s for a reconnect. Until they have them, each frame is memory that the process asks the
system for; where that is slow, it is a tenth of what a frame takes, and over after half a minute of a call."""


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import cpu, sessions

    room, fine = CASES["room"], CASES["fine"]
    fewer = subject.with_fewer_turns(2)
    return side_by_side(
        await cpu(subject, "room", sessions, **room, before_s=BEFORE_S), await cpu(fewer, "fine", sessions, **fine)
    )


UNIT = "ms per audio-second"

FIGURE = Figure(
    name="uplink_cpu",
    title="Uplink, CPU",
    measure=measure,
    seconds=0.3,
    rounds=90,
    turns=30,
    plugins=("nobody", "ours", "ours_fast", "official"),
    together=True,
    rows=(
        Row("24 kHz, 50 ms frames", "room_cpu", UNIT, floor="room_floor", target=0.70),
        Row("24 kHz, 50 ms frames, with `fast`", "room_cpu", UNIT, floor="room_floor", target=0.55, plugin="ours_fast"),
        Row("48 kHz, 10 ms frames", "fine_cpu", UNIT, floor="fine_floor", target=1.0),
        Row("48 kHz, 10 ms frames, with `fast`", "fine_cpu", UNIT, floor="fine_floor", target=0.75, plugin="ours_fast"),
    ),
)
