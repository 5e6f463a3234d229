"""One session is flooded, and what the others on its loop feel of it.

20 sessions in one process, each with a microphone (24 kHz, frames of 50 ms). The server sends small events (250 bytes)
to the first as fast as they are taken. A message of the others is as old as its oldest sample when it reaches the
server, counted from the moment in which the frame that holds it was due: a microphone that is called late is late.

The official plugin reads with aiohttp and waits for 100 ms of audio; what its age is without the flood stands beside.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

SESSIONS = 20
RATE, FRAME_MS = 24000, 50
FRAME = RATE * FRAME_MS // 1000
"""Samples."""
LIMIT = {"name": "tokens", "limit": 1_000_000, "remaining": 999_000, "reset_seconds": 0.06}
EVENT = {
    "type": "rate_limits.updated",
    "event_id": "event_flood",
    "rate_limits": [LIMIT, {**LIMIT, "name": "requests"}],
}


def ages_ms(firsts: list[float], stats: list[dict[str, Any]], since: float) -> list[float]:
    """How old messages that came after `since` were, in ms; `firsts` is when each microphone was called first."""
    ages = []
    for first, seen in zip(firsts, stats, strict=True):
        samples = 0
        for arrived, size in seen["appends"]:
            if arrived >= since:
                ages.append((arrived - first) * 1000 - samples // FRAME * FRAME_MS)
            samples += size // 2
    return ages


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import Microphones, mean_and_p99

    sessions = subject.count(SESSIONS)
    await subject.server.reset()
    talking = await subject.sessions(sessions, turn_detection=None)
    microphones = Microphones([session.push_audio for session in talking], rate=RATE, frame_ms=FRAME_MS)
    microphones.start()
    await subject.warm_up()
    numbers: dict[str, float] = {}
    for name in ("calm", "flooded"):
        if name == "flooded":
            await subject.server.send(EVENT, connection=0, times=10**8)
            await subject.warm_up()
        began = time.monotonic()
        await subject.cpu()
        stats = await subject.server.stats()
        ages = ages_ms([pushed[0] for pushed in microphones.pushed[1:]], stats[1:], began)
        numbers[name], numbers[f"{name}_p99"] = mean_and_p99(ages)
    microphones.stop()
    for session in talking:
        await session.aclose()
    return [{**numbers, "delay": max(0.01, numbers["flooded_p99"] - numbers["calm_p99"])}]


FIGURE = Figure(
    name="fairness",
    title="One of 20 sessions flooded, the audio of the others",
    measure=measure,
    seconds=2.0,
    rounds=3,
    rows=(
        Row("age without the flood, p99", "calm_p99", "ms"),
        Row("age beside the flood, p99", "flooded_p99", "ms"),
        Row("delay by the flood, p99", "delay", "ms", target=20.0, compare="ours"),
    ),
)
