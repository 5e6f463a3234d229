"""User audio on its way to the server: how old it gets, and what it costs.

Sessions in real time, each with a microphone of its own: 200 as a room delivers by default (24 kHz, frames of 50 ms),
then 60 at 48 kHz in frames of 10 ms. A message is as old as its oldest sample when it reaches the server, counted
from the moment in which the frame that holds it was pushed. CPU is that of the process per second of audio, without
what the microphones take by themselves.

The official plugin sends 100 ms at a time, so the oldest sample waits for the rest; its resampler withholds 27-40 ms.
"""

from __future__ import annotations

import time

from benchmarks.figures import Figure, Row, Subject

CASES = {"room": (24000, 50, 200), "fine": (48000, 10, 60)}
"""Name -> Hz, ms in a frame, sessions."""


async def measure(subject: Subject) -> dict[str, float]:
    from benchmarks.microphones import Microphones, alone, mean_and_p99

    numbers: dict[str, float] = {}
    for case, (rate, frame_ms, count) in CASES.items():
        sessions = subject.count(count)
        await subject.server.reset()
        model = subject.model(turn_detection=None)
        floor = await alone(subject, sessions, rate=rate, frame_ms=frame_ms)
        talking = []
        for number in range(sessions):
            talking.append(model.session())
            await subject.server.opened(number + 1)
        microphones = Microphones([session.push_audio for session in talking], rate=rate, frame_ms=frame_ms)
        await subject.warm_up()
        began = time.monotonic()
        cpu = await subject.cpu()
        stats = await subject.server.stats()
        microphones.stop()
        for session in talking:
            await session.aclose()
        await subject.warm_up()  # what closing leaves behind is no part of it
        floor = (floor + await alone(subject, sessions, rate=rate, frame_ms=frame_ms)) / 2
        numbers[f"{case}_age"], numbers[f"{case}_p99"] = mean_and_p99(microphones.ages_ms(stats, began))
        numbers[f"{case}_cpu"] = (cpu - floor) / sessions * 1000
    return numbers


AGE, CPU = "ms", "ms per audio-second"

FIGURE = Figure(
    name="uplink",
    title="Uplink",
    measure=measure,
    seconds=2.0,
    rounds=5,
    plugins=("ours", "ours_fast", "official"),
    fresh=False,
    rows=(
        Row("24 kHz, 50 ms frames: age, mean", "room_age", AGE, target=2.0, compare="ours"),
        Row("24 kHz, 50 ms frames: age, p99", "room_p99", AGE),
        Row("24 kHz, 50 ms frames: CPU", "room_cpu", CPU, target=0.70),
        Row("24 kHz, 50 ms frames: CPU with `fast`", "room_cpu", CPU, target=0.55, plugin="ours_fast"),
        Row("48 kHz, 10 ms frames: age, mean", "fine_age", AGE, target=12.0, compare="ours"),
        Row("48 kHz, 10 ms frames: age, p99", "fine_p99", AGE),
        Row("48 kHz, 10 ms frames: CPU", "fine_cpu", CPU, target=1.0),
        Row("48 kHz, 10 ms frames: CPU with `fast`", "fine_cpu", CPU, target=0.75, plugin="ours_fast"),
    ),
)
