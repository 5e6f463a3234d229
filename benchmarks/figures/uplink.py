"""How old user audio is when it reaches the server; what it costs is `uplink_cpu`.

Sessions in real time, each with a microphone of its own: 200 as a room delivers by default (24 kHz, frames of 50 ms),
and 60 at 48 kHz in frames of 10 ms. A message is as old as its oldest sample when it reaches the server, counted from
the moment in which the frame that holds it was pushed.

The official plugin sends 100 ms at a time, so the oldest sample waits for the rest; its resampler withholds 27-40 ms.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

CASES = {
    "room": {"rate": 24000, "frame_ms": 50, "count": 200},
    "fine": {"rate": 48000, "frame_ms": 10, "count": 60},
}
"""Hz, ms in a frame, sessions."""


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import ages, sessions

    return side_by_side(*[await ages(subject, name, sessions, **case) for name, case in CASES.items()])


FIGURE = Figure(
    name="uplink",
    title="Uplink, age of the audio",
    measure=measure,
    seconds=0.5,
    rounds=8,
    turns=8,
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", "ms", target=2.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", "ms"),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", "ms", target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", "ms"),
    ),
)
