"""What a call costs a worker: CPU and memory, of this plugin and of the official one, side by side.

    python benchmarks/rooms.py [--calls 1 5 10] [--seconds 32] [--executors process thread] [--rounds 1]

A livekit-server, the emulator and the callers run in other processes than the worker; only the worker's are measured.
Every caller asks for two seconds and listens for four, over and over, so each call is heard and spoken all the time.
Absolute numbers are this machine's; the ratio of the two plugins, measured in turn, travels better.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from livekit import rtc

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer, find, livekit_server
from livekit_plugins_openai_ga.devtools.worker import running_worker
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak

WORKER = Path(__file__).with_name("rooms_worker.py")
PLUGINS = ("openai_ga", "openai")
RATE = 24000
CYCLE_S = 8.0
QUESTION = "What is the weather going to be like in Rome tomorrow?"
ANSWER = "It will be sunny in Rome tomorrow, with a light wind from the sea, and about twenty degrees."
LOAD = 0.7
"""Above this load a worker takes no more calls by default."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A worker with so many calls: CPU seconds per second, MB (PSS) of all its processes, answers that were given."""

    calls: int
    cpu: float
    memory: float
    answers: int


async def speech(start: float) -> AsyncIterator[rtc.AudioFrame]:
    """20 ms frames: the question at the beginning of each cycle, silence after it."""
    asked = speak(QUESTION, "alloy", 1.3)
    said = asked.ljust(round(CYCLE_S * RATE) * 2, b"\0")
    size = RATE // 50 * 2
    place = 0
    while True:
        yield rtc.AudioFrame(said[place : place + size], RATE, 1, size // 2)
        place = (place + size) % len(said)
        start += 0.02
        await asyncio.sleep(max(0.0, start - asyncio.get_running_loop().time()))


@contextlib.asynccontextmanager
async def caller(livekit: LiveKitServer, name: str) -> AsyncIterator[None]:
    """Somebody who talks and does not listen: what the agent says is sent to the server all the same."""
    room, source = rtc.Room(), rtc.AudioSource(RATE, 1, queue_size_ms=200)
    await room.connect(livekit.url, livekit.token("caller", name), rtc.RoomOptions(auto_subscribe=False))
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    await room.local_participant.publish_track(track, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))

    async def talk() -> None:
        async for frame in speech(asyncio.get_running_loop().time()):
            await source.capture_frame(frame)

    talking = asyncio.create_task(talk())
    try:
        yield
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        await room.disconnect()


@contextlib.asynccontextmanager
async def worker(livekit: LiveKitServer, base_url: str, plugin: str, executor: str) -> AsyncIterator[psutil.Process]:
    """The worker's main process, registered."""
    own = {"PLUGIN": plugin, "THREADS": "yes" if executor == "thread" else "", "OPENAI_BASE_URL": base_url}
    environment = {**livekit.environment, **own, "OPENAI_API_KEY": "sk-any"}
    async with running_worker(WORKER, "start", environment) as running:
        yield psutil.Process(running.pid)


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system time of all."""
    times = [each.cpu_times() for each in processes]
    return float(sum(each.user + each.system for each in times))


async def measure(server: Emulator, main: psutil.Process, calls: int, seconds: float) -> Measured:
    """Look at a worker that has these calls for a while."""
    processes = [main, *main.children(recursive=True)]
    before, answered, began = cpu_seconds(processes), len(server.sent("response.done")), time.monotonic()
    await asyncio.sleep(seconds)
    took, after = time.monotonic() - began, cpu_seconds(processes)
    # What processes share with each other counts once.
    memory = sum(each.memory_full_info().pss for each in processes) / 1e6
    return Measured(
        calls=calls,
        cpu=(after - before) / took,
        memory=memory,
        answers=len(server.sent("response.done")) - answered,
    )


async def run(livekit: LiveKitServer, plugin: str, executor: str, calls: int, seconds: float) -> Measured:
    """A fresh worker with so many calls."""
    turns = [Turn(heard=QUESTION, say=ANSWER)] * 10_000
    async with (
        Emulator(Script(turns)) as server,
        worker(livekit, server.base_url, plugin, executor) as main,
        contextlib.AsyncExitStack() as stack,
    ):
        for number in range(calls):
            name = f"{plugin}-{executor}-{calls}-{number}-{time.monotonic()}"
            await stack.enter_async_context(caller(livekit, name))
            await asyncio.sleep(CYCLE_S / calls % 1.0)  # not all in step
        await server.wait_until(lambda: len(server.sent("response.done")) >= calls, timeout=60)
        return await measure(server, main, calls, seconds)


def line(plugin: str, executor: str, found: list[Measured]) -> str:
    """One plugin's row: by what one more call adds."""
    first, last = found[0], found[-1]
    more = last.calls - first.calls
    cpu, memory = (last.cpu - first.cpu) / more, (last.memory - first.memory) / more
    return (
        f"| {plugin} | {executor} | {', '.join(f'{each.calls}: {each.cpu:.3f}' for each in found)} | {cpu:.3f} | "
        f"{LOAD / cpu:.0f} | {first.memory:.0f} | {memory:.0f} |"
    )


def mean(found: list[Measured]) -> Measured:
    """Of several rounds."""
    cpu, memory = (statistics.mean(getattr(each, name) for each in found) for name in ("cpu", "memory"))
    return Measured(found[0].calls, cpu, memory, sum(each.answers for each in found))


async def main(options: argparse.Namespace) -> None:
    """Measure, print."""
    program = find()
    if program is None:
        raise SystemExit("There is no livekit-server here: make livekit-server installs one.")
    found: dict[tuple[str, str, int], list[Measured]] = {}
    with livekit_server(program) as livekit:
        for executor in options.executors:
            for calls in options.calls:
                for number in range(options.rounds):
                    for plugin in PLUGINS if number % 2 == 0 else PLUGINS[::-1]:
                        got = await run(livekit, plugin, executor, calls, options.seconds)
                        found.setdefault((plugin, executor, calls), []).append(got)
                        print(plugin, executor, got, flush=True)
    print("\n| plugin | jobs in | CPU by calls | CPU per call | calls per core | MB, first call | MB per call |")
    print("|---|---|---|---|---|---|---|")
    for executor in options.executors:
        for plugin in PLUGINS:
            print(line(plugin, executor, [mean(found[plugin, executor, calls]) for calls in options.calls]))


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 5, 10], help="calls at once, fewest first")
    parser.add_argument("--seconds", type=float, default=4 * CYCLE_S, help="how long each is looked at")
    parser.add_argument("--executors", nargs="+", default=["process", "thread"], choices=["process", "thread"])
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(options()))
