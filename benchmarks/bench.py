"""Measures this plugin and the official one, side by side, and prints one table.

    python -m benchmarks.bench [--only NAME ...] [--quick] [--out DIR]

Each plugin is measured in a process of its own, against a server in another one. A round measures every plugin once, so
what else the machine does meets all of them, and the ratio of two numbers of one round travels better than the numbers.
The table shows medians of all rounds and, in brackets, where the median is with 95 % confidence, which supposes that
rounds lie as far above it as below (`report.interval`); of 3 rounds that is the least and the most. A target in
there is neither met nor missed: `unclear`.

Figures of CPU have many short rounds with the same sessions, because a shared machine is not as fast in one second as
in the next: every plugin opens its sessions first, and then they work in turn, from round to round another one first.
Turns of 0.3 s differ from each other no more than those of 1.2 s, so there are many of the short ones. What a
process has by chance must not decide, so figures that are close to their target begin anew with others. Those that need
it most are measured in all plugins at the same time (`Figure.together`).

Writes `results.json` and, with the extra `bench`, a plot for each figure into DIR; default: `benchmarks`, and nowhere
with `--quick`. Exit code 1: a figure could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, plots, plugins, report
from benchmarks.child import GO, READY
from benchmarks.figures import Figure, Plugin, Turns

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120.0
"""A measurement that takes longer, beyond its `seconds`, has failed."""
QUICK_S, QUICK_TURNS = 0.3, 2
LIBRARIES = ("livekit", "livekit-agents", "livekit-plugins-openai", "websockets", "aiohttp", "numpy")


Rounds = dict[str, list[report.Round]]
"""By figure."""


class Failed(Exception):
    """A figure could not be measured."""


def apart() -> tuple[set[int], set[int]]:
    """CPUs for a server, and for its plugin; none: any. Else the system may put both on one CPU or not, and
    waking a process on another one takes longer."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (set(cpus[:1]), set(cpus[1:])) if len(cpus) > 1 else (set(), set())


@contextlib.asynccontextmanager
async def process(module: str, *arguments: str, cpus: set[int]) -> AsyncIterator[Process]:
    """A process that ends when its input does, or else is ended."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "no_proxy": "*"}  # all servers are here
    command = (sys.executable, "-m", module, *arguments)
    started = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment)
    assert started.stdin is not None
    try:
        if cpus:
            os.sched_setaffinity(started.pid, cpus)  # of its first thread, from which the others have it
        yield started
    finally:
        started.stdin.close()
        try:
            await asyncio.wait_for(started.wait(), 10)
        except asyncio.TimeoutError:
            started.kill()
            await started.wait()


class Measured:
    """One plugin's process, and its server's."""

    def __init__(self, child: Process, plugin: Plugin, *, quick: bool) -> None:
        self.child, self.plugin, self.quick = child, plugin, quick

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, plugin: Plugin, *, quick: bool) -> AsyncIterator[Measured]:
        """Ready to measure."""
        of_server, of_plugin = apart()
        async with process("benchmarks.server", cpus=of_server) as server:
            assert server.stdout is not None
            url = f"ws://127.0.0.1:{int(await server.stdout.readline())}/v1"
            arguments = [plugin, url, *(["--quick"] if quick else [])]
            async with process("benchmarks.child", *arguments, cpus=of_plugin) as child:
                yield cls(child, plugin, quick=quick)

    async def begin(self, figure: Figure) -> Turns | None:
        """The numbers of all turns of a figure; None: it waits for a turn. Raises `Failed`."""
        seconds, turns = (QUICK_S, min(figure.turns, QUICK_TURNS)) if self.quick else (figure.seconds, figure.turns)
        return await self._do(figure, f"{figure.name} {seconds} {turns}\n")

    async def go(self, figure: Figure) -> Turns | None:
        """Give it a turn. The numbers of all of them, if it was the last one. Raises `Failed`."""
        return await self._do(figure, GO)

    async def _do(self, figure: Figure, line: str) -> Turns | None:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(line.encode())
        try:
            answer = (await asyncio.wait_for(self.child.stdout.readline(), LIMIT_S + figure.seconds)).decode()
        except asyncio.TimeoutError:
            self.child.kill()
            raise Failed(f"{figure.name}, {self.plugin}: no answer") from None
        if not answer:
            raise Failed(f"{figure.name}, {self.plugin}: its process ended; its last words are above")
        turns: Turns | None = None if answer == READY else json.loads(answer)
        return turns


async def in_turns(figure: Figure, running: Mapping[Plugin, Measured]) -> dict[Plugin, Turns]:
    """What one call of a figure's `measure` gives for each of these, in turns: ABC, BCA, CAB; or all `together`. Raises
    `Failed`."""
    order = list(running)
    found = {plugin: await running[plugin].begin(figure) for plugin in order}
    while None in found.values():
        if figure.together:
            turns = await asyncio.gather(*(running[plugin].go(figure) for plugin in order))
            found = dict(zip(order, turns, strict=True))
        else:
            for plugin in order:
                found[plugin] = await running[plugin].go(figure)
            order = figures.rotated(order, 1)
    return {plugin: turns for plugin, turns in found.items() if turns is not None}


def as_rounds(found: Mapping[Plugin, Turns]) -> list[report.Round]:
    """Round by round, instead of plugin by plugin."""
    return [dict(zip(found, of_round, strict=True)) for of_round in zip(*found.values(), strict=True)]


async def measure(figure: Figure, who: Sequence[Plugin]) -> list[report.Round]:
    """All rounds of a figure. Raises `Failed`."""
    rounds: list[report.Round] = []
    async with contextlib.AsyncExitStack() as kept:
        running: dict[Plugin, Measured] = {}
        for number in range(figure.rounds // figure.turns):
            if figure.fresh:
                await kept.aclose()
                running.clear()
            for plugin in who:
                if plugin not in running:
                    running[plugin] = await kept.enter_async_context(Measured.running(plugin, quick=False))
            rounds += as_rounds(
                await in_turns(figure, {plugin: running[plugin] for plugin in figures.rotated(who, number)})
            )
    return rounds


async def measure_all(chosen: Sequence[Figure], there: Sequence[Plugin]) -> tuple[Rounds, list[str]]:
    """Every figure's rounds, and what failed."""
    rounds: Rounds = {}
    failed = []
    for figure in chosen:
        print(f"measuring: {figure.title}", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            rounds[figure.name] = await measure(figure, [plugin for plugin in figure.plugins if plugin in there])
        except Failed as problem:
            failed.append(str(problem))
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rounds, failed


async def try_all(chosen: Sequence[Figure], there: Sequence[Plugin]) -> tuple[Rounds, list[str]]:
    """The same with one or two short rounds, each plugin for itself and all at once: whether everything works."""
    found: dict[str, dict[Plugin, Turns]] = {figure.name: {} for figure in chosen}

    async def one(plugin: Plugin) -> None:
        async with Measured.running(plugin, quick=True) as measured:
            for figure in chosen:
                if plugin in figure.plugins:
                    found[figure.name] |= await in_turns(figure, {plugin: measured})

    ends = await asyncio.gather(*map(one, there), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, Failed):
            raise end
    rounds = {name: as_rounds(each) for name, each in found.items()}
    return rounds, [str(end) for end in ends if end is not None]


def who_is_there() -> list[Plugin]:
    """`ours_fast` is left out when the extra is not installed: it would be `ours` under another name."""
    fast: list[Plugin] = ["ours_fast"] if fast_versions() else []
    return ["ours", *fast, "official", "nobody"]


def fast_versions() -> dict[str, str]:
    """What is installed of the extra `fast`."""
    return {name: importlib.metadata.version(name) for name in plugins.FAST_MODULES if importlib.util.find_spec(name)}


def where() -> dict[str, Any]:
    """What the numbers were measured with."""
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    return {"python": platform.python_version(), **machine, "libraries": libraries, "fast": fast_versions()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = figures.names()
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="a trial, 0.3 s each: its numbers mean nothing")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where results go")
    options = parser.parse_args()
    chosen, there = [figures.load(name) for name in options.only], who_is_there()
    if "ours_fast" not in there:
        print("without the extra `fast`: its rows are left out", file=sys.stderr)
    rounds, failed = asyncio.run((try_all if options.quick else measure_all)(chosen, there))
    found: dict[str, list[report.Result]] = {}
    for figure in chosen:
        try:
            found[figure.name] = report.results(figure, rounds.get(figure.name, []))
        except KeyError as missing:
            failed.append(f"{figure.name}: no number {missing}")
    rows = [result for results in found.values() for result in results]
    print(report.table(rows))
    if (out := options.out or (None if options.quick else ROOT / "benchmarks")) is not None:
        out.mkdir(parents=True, exist_ok=True)
        made = {"measured_with": where(), "quick": options.quick, "rows": [result.as_json() for result in rows]}
        (out / "results.json").write_text(json.dumps(made, indent=1) + "\n")
        for results in found.values():
            plots.draw(results, out)
    for problem in failed:
        print(f"failed: {problem}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
