"""Many microphones in real time, and how old their audio is when it reaches the server."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from livekit import rtc

from benchmarks.figures import Subject, Turns

WIRE_RATE = 24000

LONG_MS = 100
"""A frame of what was spoken before, of as many whole frames. Both plugins send as much at a time."""
IN_A_STEP = 20
"""Sessions that are spoken to before the loop does anything else."""

BEHIND_A_PAUSE_S = 1.6
"""A call has no pauses. Linux acknowledges the first 16 messages after one at once, later ones after a while; at
once and on one machine it seems to be work of whoever sends: our first 16, 0.8 s of speech, take 5 us more each. The
official plugin's first 16 are 1.6 s."""

PATIENCE_S = 30.0
"""So long it may take until the server has it."""

Push = Callable[[rtc.AudioFrame], None]
Opening = Callable[[Subject, int], AbstractAsyncContextManager[list[Push]]]
"""Opens so many sessions; where the frames of each go."""


class Microphones:
    """One for each session, `frame_ms` of audio at a time. They do not tick together, as those of a room do not.

    They may stop and start again: what a session still has of the audio from before is not taken for new.
    """

    def __init__(self, pushes: Sequence[Push], *, rate: int, frame_ms: int) -> None:
        """`pushes`: where the frames of each go; `rate`: Hz."""
        self._pushes = pushes
        self._period = frame_ms / 1000
        self._samples_on_wire = WIRE_RATE * frame_ms // 1000
        self._frame = self._of(rate, frame_ms)
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self.pushed: list[list[float]] = [[] for _ in pushes]

    def start(self) -> None:
        """The first frame of each is due within the first period."""
        now = self._loop.time()
        dues = [now + self._period * i / len(self._pushes) for i in range(len(self._pushes))]
        self._timers = [self._loop.call_at(due, self._tick, i, due) for i, due in enumerate(dues)]

    @staticmethod
    def _of(rate: int, ms: int) -> rtc.AudioFrame:
        samples = rate * ms // 1000
        wave = (round(8000 * math.sin(2 * math.pi * 5 * i / samples)) for i in range(samples))
        sound = b"".join(value.to_bytes(2, "little", signed=True) for value in wave)
        return rtc.AudioFrame(sound, rate, 1, samples)

    async def have_spoken(self, seconds: float) -> None:
        """All of them speak for so long, in a fraction of that time."""
        long, frames = self._of(self._frame.sample_rate, LONG_MS), round(LONG_MS / 1000 / self._period)
        for _ in range(round(seconds * 1000 / LONG_MS)):
            for number, push in enumerate(self._pushes):
                self.pushed[number] += [time.monotonic()] * frames
                push(long)
                if (number + 1) % IN_A_STEP == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0.001)

    def _tick(self, number: int, due: float) -> None:
        self._timers[number] = self._loop.call_at(due + self._period, self._tick, number, due + self._period)
        self.pushed[number].append(time.monotonic())
        self._pushes[number](self._frame)

    def stop(self) -> None:
        """No frames any more."""
        for timer in self._timers:
            timer.cancel()

    def ages_ms(self, stats: Sequence[dict[str, Any]], since: float, until: float) -> list[float]:
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
    turn, because a shared machine is not equally fast all the time; and as late as what it is taken from: the first
    0.1 s take a little less.
    """
    microphones = Microphones([lambda frame: None] * count, rate=rate, frame_ms=frame_ms)
    microphones.start()
    await subject.settle()
    used = await subject.cpu(subject.seconds / 3)
    microphones.stop()
    return used / count * 1000


@asynccontextmanager
async def sessions(subject: Subject, count: int) -> AsyncIterator[list[Push]]:
    """Where the frames of so many realtime sessions go, which are open and configured, and hear everything."""
    await subject.server.reset()
    opened = await subject.sessions(subject.count(count), turn_detection=None)
    yield [session.push_audio for session in opened]
    for session in opened:
        await session.aclose()


async def ages(subject: Subject, case: str, open_all: Opening, count: int, *, rate: int, frame_ms: int) -> Turns:
    """How old it is what reaches the server, in ms, when somebody speaks into so many: `age` and `p99`, with the case
    before the names."""
    spoken = []
    async with open_all(subject, count) as pushes:
        microphones = Microphones(pushes, rate=rate, frame_ms=frame_ms)
        for _ in range(subject.turns):
            await subject.turn()
            microphones.start()
            await subject.settle()
            began = time.monotonic()
            await asyncio.sleep(subject.seconds)
            spoken.append((began, time.monotonic()))
            microphones.stop()
        stats = await subject.server.stats()
    found = [mean_and_p99(microphones.ages_ms(stats, began, ended)) for began, ended in spoken]
    return [{f"{case}_age": mean, f"{case}_p99": p99} for mean, p99 in found]


async def cpu(
    subject: Subject, case: str, open_all: Opening, count: int, *, rate: int, frame_ms: int, before_s: float = 0.0
) -> Turns:
    """CPU ms per second that speaking into each of so many takes, turn by turn, with no pause between the turns: for a
    figure whose plugins have them `together`. `before_s`: so long they have spoken before, faster than anybody does.

    It is `cpu`, with the case before the name; of `nobody`, who has microphones alone, `floor`. Raises RuntimeError
    when the audio does not come.
    """
    if subject.plugin == "nobody":
        alone = Microphones([lambda frame: None] * subject.count(count), rate=rate, frame_ms=frame_ms)
        _, took = await _turns(subject, alone)
        return [{f"{case}_floor": each} for each in took]
    async with open_all(subject, count) as pushes:
        microphones = Microphones(pushes, rate=rate, frame_ms=frame_ms)
        if before_s and not subject.quick:
            await microphones.have_spoken(before_s)
            await all_came(subject, round(WIRE_RATE * before_s) * len(pushes))
        began, took = await _turns(subject, microphones)
        microphones.ages_ms(await subject.server.stats(), began, time.monotonic())
    return [{f"{case}_cpu": each} for each in took]


async def _turns(subject: Subject, microphones: Microphones) -> tuple[float, list[float]]:
    """When the first turn began, and what each took of the CPU, in ms per second and microphone."""
    await subject.turn()
    microphones.start()
    await asyncio.sleep(0.1 if subject.quick else BEHIND_A_PAUSE_S)
    began, took = time.monotonic(), []
    for _ in range(subject.turns):
        await subject.turn()
        took.append(await subject.cpu() / len(microphones.pushed) * 1000)
    microphones.stop()
    return began, took


async def all_came(subject: Subject, samples: int) -> None:
    """Wait until the server has so many samples of user audio. Raises RuntimeError when they do not come."""
    until = time.monotonic() + PATIENCE_S
    while sum(size // 2 for seen in await subject.server.stats() for _, size in seen["appends"]) < samples:
        if time.monotonic() > until:
            raise RuntimeError("not all that was spoken before came")
        await asyncio.sleep(0.1)


def mean_and_p99(numbers: list[float]) -> tuple[float, float]:
    """Of some numbers."""
    return statistics.fmean(numbers), statistics.quantiles(numbers, n=100)[98]
