"""User audio on its way to the server: how old it gets, and what it costs.

Sessions in real time, each with a microphone of its own: 200 as a room delivers by default (24 kHz, frames of 50 ms),
in the middle of a call, and 60 at 48 kHz in frames of 10 ms. They are kept, and speak in turns. A message is as old as
its oldest sample when it reaches the server, counted from the moment in which the frame that holds it was pushed. CPU
is that of the process per second of audio, without what the microphones take by themselves.

The official plugin sends 100 ms at a time, so the oldest sample waits for the rest; its resampler withholds 27-40 ms.
"""

from __future__ import annotations

from benchmarks.figures import Figure, Row, Subject, Turns, side_by_side

CASES = {"room": (24000, 50, 200), "fine": (48000, 10, 60)}
"""Name -> Hz, ms in a frame, sessions."""
BEFORE_S = 32.0
"""Our sessions keep the last 30 s for a reconnect. Until they have them, each frame is memory that the process asks the
system for; where that is slow, it is a tenth of what a frame takes, and over after half a minute of a call."""
EACH_BEFORE_S = 1.6
"""A turn comes after a pause, and in a call there is none. Linux acknowledges the first 16 messages after a pause at
once, later ones after a while; at once and on one machine it seems to be work of whoever sends: our first 16 messages,
0.8 s of speech, take 5 us more each. The official plugin's first 16 are 1.6 s."""


async def measure(subject: Subject) -> Turns:
    return side_by_side(await spoken_to(subject, "room"), await spoken_to(subject.with_fewer_turns(2), "fine"))


async def spoken_to(subject: Subject, case: str) -> Turns:
    """One case."""
    from benchmarks.microphones import in_turns

    rate, frame_ms, count = CASES[case]
    await subject.server.reset()
    model = subject.model(turn_detection=None)
    talking = []
    for number in range(subject.count(count)):
        talking.append(model.session())
        await subject.server.opened(number + 1)
    pushes = [session.push_audio for session in talking]
    before_s = BEFORE_S if case == "room" else 0.0
    found = await in_turns(
        subject, case, pushes, rate=rate, frame_ms=frame_ms, before_s=before_s, each_before_s=EACH_BEFORE_S
    )
    for session in talking:
        await session.aclose()
    return found


AGE, CPU = "ms", "ms per audio-second"

FIGURE = Figure(
    name="uplink",
    title="Uplink",
    measure=measure,
    seconds=0.3,
    rounds=48,
    turns=12,
    plugins=("ours", "ours_fast", "official"),
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", AGE, target=2.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", AGE),
        Row("24 kHz, 50 ms frames: CPU", "room_cpu", CPU, floor="room_floor", target=0.70),
        Row(
            "24 kHz, 50 ms frames: CPU with `fast`",
            "room_cpu",
            CPU,
            floor="room_floor",
            target=0.55,
            plugin="ours_fast",
        ),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", AGE, target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", AGE),
        Row("48 kHz, 10 ms frames: CPU", "fine_cpu", CPU, floor="fine_floor", target=1.0),
        Row(
            "48 kHz, 10 ms frames: CPU with `fast`",
            "fine_cpu",
            CPU,
            floor="fine_floor",
            target=0.75,
            plugin="ours_fast",
        ),
    ),
)
