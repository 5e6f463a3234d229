"""Many microphones in real time, and how old their audio is when it reaches the server."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from livekit import rtc

from benchmarks.figures import Subject, Turns

WIRE_RATE = 24000

Push = Callable[[rtc.AudioFrame], None]


class Microphones:
    """One for each session, `frame_ms` of audio at a time. They do not tick together, as those of a room do not.

    They may stop and start again: what a session still has of the audio from before is not taken for new.
    """

    def __init__(self, pushes: Sequence[Push], *, rate: int, frame_ms: int) -> None:
        """`pushes`: where the frames of each go; `rate`: Hz."""
        self._pushes = pushes
        self._period = frame_ms / 1000
        self._samples_on_wire = WIRE_RATE * frame_ms // 1000
        samples = rate * frame_ms // 1000
        self._frame = rtc.AudioFrame(self._sound(samples), rate, 1, samples)
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self.pushed: list[list[float]] = [[] for _ in pushes]

    def start(self) -> None:
        """The first frame of each is due within the first period."""
        now = self._loop.time()
        dues = [now + self._period * i / len(self._pushes) for i in range(len(self._pushes))]
        self._timers = [self._loop.call_at(due, self._tick, i, due) for i, due in enumerate(dues)]

    @staticmethod
    def _sound(samples: int) -> bytes:
        wave = (round(8000 * math.sin(2 * math.pi * 5 * i / samples)) for i in range(samples))
        return b"".join(value.to_bytes(2, "little", signed=True) for value in wave)

    def _tick(self, number: int, due: float) -> None:
        self._timers[number] = self._loop.call_at(due + self._period, self._tick, number, due + self._period)
        self.pushed[number].append(time.monotonic())
        self._pushes[number](self._frame)

    def stop(self) -> None:
        """No frames any more."""
        for timer in self._timers:
            timer.cancel()

    def ages_ms(self, stats: Iterable[dict[str, Any]], since: float, until: float) -> list[float]:
        """How old the oldest sample of each message was when the server had it, in ms since its frame was pushed.

        `stats`: of the server, in the order of the sessions; `since`, `until`: only messages that came between these.
        Raises RuntimeError when a lot of the audio of this time is missing, or all of one session's: who sends nothing
        needs no CPU.
        """
        ages = []
        came = due = 0
        silent = 0
        for pushed, seen in zip(self.pushed, stats, strict=True):
            samples = 0
            before = came
            for arrived, size in seen["appends"]:
                if since <= arrived < until:
                    ages.append((arrived - pushed[samples // self._samples_on_wire]) * 1000)
                    came += size // 2
                samples += size // 2
            due += sum(since <= at < until for at in pushed)
            silent += came == before
        if silent:
            raise RuntimeError(f"nothing came of {silent} of {len(stats)} sessions")
        if came < self._samples_on_wire * due / 2:
            raise RuntimeError("less than half of the audio came")
        return ages


async def alone(subject: Subject, count: int, *, rate: int, frame_ms: int) -> float:
    """CPU ms per second that each of so many microphones takes when nobody listens: up to 50 us a frame.

    Every frame wakes the loop. In a room it does so, too, but for the framework, whatever the plugin. Measured in each
    turn, because a shared machine is not equally fast all the time.
    """
    microphones = Microphones([lambda frame: None] * count, rate=rate, frame_ms=frame_ms)
    microphones.start()
    used = await subject.cpu(subject.seconds / 3)
    microphones.stop()
    return used / count * 1000


async def in_turns(subject: Subject, case: str, pushes: Sequence[Push], *, rate: int, frame_ms: int) -> Turns:
    """What speaking into all of these takes, with the case before the names: `age` and `p99` of what reaches the
    server, in ms; `cpu`, and `floor` of the microphones alone, in ms per second and session."""
    microphones = Microphones(pushes, rate=rate, frame_ms=frame_ms)
    spoken = []
    for _ in range(subject.turns):
        await subject.turn()
        floor = await alone(subject, len(pushes), rate=rate, frame_ms=frame_ms)
        microphones.start()
        await subject.settle()
        began = time.monotonic()
        cpu = await subject.cpu() / len(pushes) * 1000
        spoken.append((began, time.monotonic(), {f"{case}_cpu": cpu, f"{case}_floor": floor}))
        microphones.stop()
    stats = await subject.server.stats()
    found = []
    for began, ended, took in spoken:
        age, p99 = mean_and_p99(microphones.ages_ms(stats, began, ended))
        found.append({f"{case}_age": age, f"{case}_p99": p99, **took})
    return found


def mean_and_p99(numbers: list[float]) -> tuple[float, float]:
    """Of some numbers."""
    return statistics.fmean(numbers), statistics.quantiles(numbers, n=100)[98]
