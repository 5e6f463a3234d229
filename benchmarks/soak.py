"""Many calls for a long time over a network that breaks every few seconds: nothing may be lost, nothing may be left.

    python benchmarks/soak.py [--minutes 10] [--sessions 20] [--seed 1]

Every call is a RealtimeSession with a microphone that never stops (20 ms frames in real time), spoken questions,
replies asked for, tools, and changes of the history. The servers (one emulator and one TCP proxy per call) run in a
process of their own. At the end comes a table. Exit code 1: a turn was lost, or something was left over.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import itertools
import json
import logging
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path as File
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import prometheus_client
import psutil
from livekit import rtc
from livekit.agents import APIConnectOptions, function_tool, llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, ToolCall, Turn, speak

sys.path.insert(0, str(File(__file__).resolve().parents[1] / "tests" / "faults"))
from proxy import Path, Plan, TcpProxy

QUESTION, ANSWER = "What is the weather in Rome?", "It is sunny in Rome, with a light wind from the sea."
HEARTBEAT_S = 3.0
ANSWER_S = 30.0
"""A turn without an answer after so long is lost. A dead peer may go unnoticed for two heartbeats."""
CALM_S = (4.0, 12.0)
"""Seconds between two faults of one call, at least and at most: all calls together have some every second."""
DEAD_S = 3 * HEARTBEAT_S
"""A half-open connection is given up by the network, too, after so long."""
KEPT_ITEMS = 12
SAMPLES = 40
"""How often memory is looked at."""
GROWTH = 0.05
PATIENT = APIConnectOptions(max_retry=1_000, retry_interval=0.2, timeout=5.0)
FRAME_BYTES = 960
THIS = File(__file__).resolve()


# -- the other side: servers and the network in front of them -----------------------------------------------------


def script() -> Script:
    """A conversation without end; every fourth reply calls a tool."""
    spoken = Turn(heard=QUESTION, say=ANSWER)
    tool = Turn(heard=QUESTION, tool=ToolCall("get_weather", {"city": "Rome"}))
    return Script([spoken, spoken, spoken, tool] * 5_000)


async def reset(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.cut("rst")


async def goodbye(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.cut("fin")


async def cut_in_what_comes(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.change(down=Path(end="rst", after=dice.randrange(40_000)))


async def cut_in_what_leaves(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.change(up=Path(end="rst", after=dice.randrange(40_000)))


async def half_open(proxy: TcpProxy, dice: random.Random) -> None:
    dead = proxy.live
    ends = [Path(end="swallow"), Path(end="stall"), None]
    up = dice.choice(ends)
    proxy.change(up=up, down=dice.choice(ends[:2] if up is None else ends))
    await asyncio.sleep(DEAD_S)
    for each in dead:
        each.cut("rst")


async def slow(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.change(up=Path(rate=50_000), down=Path(rate=50_000))
    await asyncio.sleep(2)
    proxy.change(up=Path(), down=Path())


async def small(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.change(up=Path(piece=500), down=Path(piece=500))
    await asyncio.sleep(2)
    proxy.change(up=Path(), down=Path())


async def refused(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.refuse()
    proxy.cut("rst")
    await asyncio.sleep(dice.uniform(0.2, 2.0))
    await proxy.accept()


async def breaks_again(proxy: TcpProxy, dice: random.Random) -> None:
    """The next two connections are cut, too, as early as in the upgrade."""
    proxy.plans += [Plan(down=Path(end="rst", after=dice.randrange(6_000))) for _ in range(2)]
    proxy.cut("rst")


FAULTS: tuple[Callable[[TcpProxy, random.Random], Awaitable[None]], ...] = (
    *(reset, goodbye, cut_in_what_comes, cut_in_what_leaves, half_open, slow, small, refused, breaks_again),
)


Struck = tuple[float, int, str]
"""When (unix seconds), which call, and how."""


def forget(server: Emulator) -> None:
    """Drop what an emulator remembers for tests; the number of its sessions makes its ids."""
    for place, session in enumerate(server.sessions):
        if getattr(session, "closed", None) is not None:
            server.sessions[place] = SimpleNamespace(received=[], sent=[])  # type: ignore[call-overload]
        else:
            session.received.clear()
            session.sent.clear()


async def trouble(number: int, server: Emulator, proxy: TcpProxy, dice: random.Random, done: list[Struck]) -> None:
    while True:
        await asyncio.sleep(dice.uniform(*CALM_S))
        fault = dice.choice(FAULTS)
        done.append((time.time(), number, fault.__name__.replace("_", " ")))
        await fault(proxy, dice)
        proxy.connections[:] = proxy.live
        forget(server)


async def serve(sessions: int, seed: int) -> None:
    """Print the base URLs; break things until a line comes in; print what was done."""
    struck: list[Struck] = []
    async with contextlib.AsyncExitStack() as stack:
        pairs: list[tuple[Emulator, TcpProxy]] = []
        for _ in range(sessions):
            server = await stack.enter_async_context(Emulator(script()))
            port = urlsplit(server.base_url).port or 0
            pairs.append((server, await stack.enter_async_context(TcpProxy(port))))
        print(json.dumps([proxy.base_url for _, proxy in pairs]), flush=True)
        order = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        troubles = [
            asyncio.create_task(trouble(number, server, proxy, random.Random(seed * 1000 + number), struck))
            for number, (server, proxy) in enumerate(pairs)
        ]
        await asyncio.wait([order, *troubles], return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in troubles if task.done()]
        for task in troubles:
            task.cancel()
        for task in ended:
            task.result()
        print(json.dumps(struck), flush=True)


# -- this side: the calls -----------------------------------------------------------------------------------------


@function_tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


Note = tuple[float, int, str]
"""When (unix seconds) what went wrong began, in which call, and what it is."""


class Call:
    """One call: speaks, asks, calls tools, and counts what comes of it."""

    def __init__(self, number: int, base_url: str, counts: Counter[str], kept: list[Note]) -> None:
        model = RealtimeModel(api_key="sk-any", base_url=base_url, conn_options=PATIENT, heartbeat=HEARTBEAT_S)
        self.session = model.session()
        self._number = number
        self._counts = counts
        self._notes = kept
        self._saying = b""
        self._unasked: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        self.session.on("generation_created", self._generation)
        self.session.on("error", self._failed)
        self.session.on("session_reconnected", lambda event: counts.update(reconnects=1))

    def _generation(self, event: llm.GenerationCreatedEvent) -> None:
        if not event.user_initiated:
            self._unasked.put_nowait(event)

    def _failed(self, event: llm.RealtimeModelError) -> None:
        self._counts["errors told"] += 1
        if not event.recoverable:
            self._counts["sessions that gave up"] += 1

    async def run(self, until: float) -> None:
        microphone = asyncio.create_task(self._microphone())
        try:
            await self.session._update_session(instructions="Be brief.", tools=[get_weather])
            for number in itertools.count():
                if time.monotonic() >= until:
                    return
                await (self._spoken, self._spoken, self._asked)[number % 3]()
                if number % 2:
                    await self._request("sync", self._tidy())
                if number % 5 == 4:
                    await self._request("instructions", self.session.update_instructions(f"Be brief ({number})."))
        finally:
            microphone.cancel()
            await asyncio.gather(microphone, return_exceptions=True)

    async def _microphone(self) -> None:
        due = time.monotonic()
        while True:
            frame, self._saying = self._saying[:FRAME_BYTES].ljust(FRAME_BYTES, b"\0"), self._saying[FRAME_BYTES:]
            self.session.push_audio(rtc.AudioFrame(frame, 24000, 1, FRAME_BYTES // 2))
            due += 0.02
            await asyncio.sleep(due - time.monotonic())

    async def _spoken(self) -> None:
        while not self._unasked.empty():
            self._counts["answers too many"] += 1
            await self._read(self._unasked.get_nowait())
        self._saying = speak(QUESTION, "alloy", 1.3)
        await self._answer("spoken", self._unasked.get())

    async def _asked(self) -> None:
        await self._answer("asked", self._ask())

    async def _ask(self) -> llm.GenerationCreatedEvent:
        return await self.session.generate_reply()

    async def _answer(self, kind: str, waiting: Awaitable[llm.GenerationCreatedEvent]) -> None:
        """Wait for the reply to one turn and judge it."""
        self._counts[f"{kind} turns"] += 1
        began = time.time()
        try:
            said, calls = await asyncio.wait_for(self._first_of(waiting), ANSWER_S)
        except (asyncio.TimeoutError, llm.RealtimeError) as exc:
            self._counts[f"{kind} lost"] += 1
            self._notes.append((began, self._number, f"{kind}: {type(exc).__name__} {exc}"))
            return
        for call in calls:
            await self._request("tool result", self._give(call))
            await self._answer("tool", self._ask())
        if calls or said == ANSWER:
            self._counts[f"{kind} answered"] += 1
        elif said and ANSWER.startswith(said):
            self._counts[f"{kind} broken off"] += 1
        else:
            self._counts[f"{kind} lost"] += 1
            self._notes.append((began, self._number, f"{kind}: the reply ended, and all that was heard is {said!r}"))

    async def _first_of(self, waiting: Awaitable[llm.GenerationCreatedEvent]) -> tuple[str, list[llm.FunctionCall]]:
        return await self._read(await waiting)

    async def _read(self, reply: llm.GenerationCreatedEvent) -> tuple[str, list[llm.FunctionCall]]:
        said = ""
        async for message in reply.message_stream:
            async for part in message.text_stream:
                said += part
            async for _ in message.audio_stream:
                pass
        return said, [call async for call in reply.function_stream]

    async def _give(self, call: llm.FunctionCall) -> None:
        context = self.session.chat_ctx.copy()
        result = llm.FunctionCallOutput(call_id=call.call_id, name=call.name, output="sunny", is_error=False)
        context.items.append(result)
        await self.session.update_chat_ctx(context)

    async def _tidy(self) -> None:
        """What an agent does between turns: a note is added, what is old is taken out."""
        context = self.session.chat_ctx.copy()
        context.add_message(role="user", content="By the way, my name is Ada.")
        await self.session.update_chat_ctx(context.truncate(max_items=KEPT_ITEMS))

    async def _request(self, name: str, waiting: Awaitable[None]) -> None:
        self._counts["requests"] += 1
        began = time.time()
        try:
            await asyncio.wait_for(waiting, ANSWER_S)
        except (asyncio.TimeoutError, llm.RealtimeError) as exc:
            self._counts["requests failed"] += 1
            self._notes.append((began, self._number, f"{name}: {type(exc).__name__} {exc}"))


def sockets(ports: set[int]) -> int:
    """This process's connections to the proxies."""
    return sum(bool(each.raddr) and each.raddr.port in ports for each in psutil.Process().net_connections("tcp"))


def counted(name: str) -> float:
    """The sum of one of the plugin's Prometheus metrics."""
    samples = (sample for metric in prometheus_client.REGISTRY.collect() for sample in metric.samples)
    return sum(sample.value for sample in samples if sample.name == f"livekit_openai_ga_{name}")


def memory() -> float:
    """MB that this process holds on to: without what the collector, or the C library, has not given back yet."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return float(psutil.Process().memory_info().rss / 1e6)


async def watch_memory(samples: list[float], every: float) -> None:
    """A call in the middle of a reply holds more than one that listens, so one look says little."""
    while True:
        await asyncio.sleep(every)
        samples.append(memory())


def growth(samples: list[float]) -> tuple[float, float]:
    """MB before and after: the medians of the second quarter of the samples, when all is warm, and of the last one."""
    quarter = max(1, len(samples) // 4)
    return statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])


@contextlib.asynccontextmanager
async def other_side(
    sessions: int, seed: int
) -> AsyncIterator[tuple[list[str], Callable[[], Awaitable[list[Struck]]]]]:
    """The servers' process: its base URLs, and what stops the trouble and says how much of it there was."""
    command = (THIS, "--serve", "--sessions", str(sessions), "--seed", str(seed))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, *map(str, command), stdin=pipe, stdout=pipe, limit=2**24
    )
    assert process.stdin is not None
    assert process.stdout is not None
    into, out = process.stdin, process.stdout

    async def stop() -> list[Struck]:
        into.write(b"enough\n")
        return [(at, number, name) for at, number, name in json.loads(await out.readline() or b"[]")]

    try:
        yield json.loads(await out.readline()), stop
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def soak(minutes: float, sessions: int, seed: int) -> int:
    counts: Counter[str] = Counter()
    notes: list[Note] = []
    began, length = time.monotonic(), minutes * 60
    tasks_before = len(asyncio.all_tasks())
    async with other_side(sessions, seed) as (urls, stop):
        ports = {urlsplit(url).port or 0 for url in urls}
        calls = [Call(number, url, counts, notes) for number, url in enumerate(urls)]
        talks = [asyncio.create_task(call.run(began + length)) for call in calls]
        samples: list[float] = []
        watching = asyncio.create_task(watch_memory(samples, length / SAMPLES))
        for number, result in enumerate(await asyncio.gather(*talks, return_exceptions=True)):
            if isinstance(result, BaseException):
                counts["calls that broke"] += 1
                notes.append((time.time(), number, f"a call broke: {result!r}"))
        watching.cancel()
        closing = time.monotonic()
        await asyncio.gather(*(call.session.aclose() for call in calls))
        counts["seconds to close all"] = round(time.monotonic() - closing, 2)  # type: ignore[assignment]
        faults = await stop()
        left = {"tasks left": len(asyncio.all_tasks()) - tasks_before, "sockets left": sockets(ports)}
    return report(counts, faults, left, *growth(samples), notes)


def report(
    counts: Counter[str], struck: list[Struck], left: dict[str, int], before: float, after: float, notes: list[Note]
) -> int:
    """Print the table; returns the exit code."""
    grown = after / before - 1
    faults = Counter(name for _, _, name in struck)
    rows: dict[str, Any] = {
        "faults": sum(faults.values()),
        **{f"  {name}": number for name, number in sorted(faults.items())},
        **{
            f"{kind} turns": " ".join(
                f"{counts[f'{kind} {what}']} {what}," for what in ("turns", "answered", "broken off", "lost")
            ).rstrip(",")
            for kind in ("spoken", "asked", "tool")
        },
        "answers too many": counts["answers too many"],
        "requests": f"{counts['requests']}, failed {counts['requests failed']}",
        "connections": f"{counted('connections_total'):.0f}",
        "reconnects": counts["reconnects"],
        "errors told": counts["errors told"],
        "sessions that gave up": counts["sessions that gave up"],
        "user audio lost (counted)": f"{counted('lost_audio_seconds_total'):.1f} s",
        "seconds to close all": counts["seconds to close all"],
        **left,
        "memory": f"{before:.1f} MB in the second quarter, {after:.1f} MB in the last ({grown:+.1%})",
    }
    for name, value in rows.items():
        print(f"{name:28} {value}")
    for began, call, note in sorted(notes):
        print(f"call {call}, {time.strftime('%H:%M:%S', time.localtime(began))} {note}")
        near = [(at, name) for at, number, name in struck if number == call and -15 < at - began < ANSWER_S]
        print("   ", ", ".join(f"{name} {at - began:+.1f} s" for at, name in near))
    lost = sum(counts[name] for name in counts if name.endswith("lost"))
    bad = lost or counts["requests failed"] or counts["sessions that gave up"] or counts["calls that broke"]
    return 1 if bad or any(left.values()) or grown > GROWTH else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("livekit.plugins.openai_ga").setLevel(logging.CRITICAL)
    if options.serve:
        asyncio.run(serve(options.sessions, options.seed))
        return 0
    return asyncio.run(soak(options.minutes, options.sessions, options.seed))


if __name__ == "__main__":
    sys.exit(main())
