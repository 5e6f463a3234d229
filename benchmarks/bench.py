"""Measures this plugin and the official one, in turn, and prints one table.

    python -m benchmarks.bench [--only NAME ...] [--quick] [--out DIR]

Each plugin is measured in a process of its own, against a server in another one. A round measures every plugin once, so
what else the machine does meets all of them, and the ratio of two numbers of one round travels better than the numbers.
The table shows medians of all rounds and, in brackets, the least and the most. A target that lies between them is
neither met nor missed: `unclear`.

Writes `results.json` and a plot for each figure into DIR (default: `benchmarks`). Exit code 1: a figure could not be
measured.
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
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import figures, plots, plugins, report
from benchmarks.figures import Figure, Plugin

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 120.0
"""A measurement that takes longer, beyond its `seconds`, has failed."""
QUICK_S = 1.0
QUICK_JOBS = 2
"""A trial measures nothing, so figures may disturb each other."""
LIBRARIES = ("livekit", "livekit-agents", "livekit-plugins-openai", "websockets", "aiohttp", "numpy")


class Failed(Exception):
    """A figure could not be measured."""


@contextlib.asynccontextmanager
async def process(module: str, *arguments: str) -> AsyncIterator[Process]:
    """A process that ends when its input does, or else is ended."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert started.stdin is not None
    try:
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

    def __init__(self, child: Process, figure: Figure, plugin: Plugin) -> None:
        self.child, self.figure, self.plugin = child, figure, plugin

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, figure: Figure, plugin: Plugin, *, quick: bool) -> AsyncIterator[Measured]:
        """Ready to measure."""
        async with process("benchmarks.server") as server:
            assert server.stdout is not None
            url = f"ws://127.0.0.1:{int(await server.stdout.readline())}/v1"
            seconds = QUICK_S if quick else figure.seconds
            arguments = [figure.name, plugin, url, str(seconds), *(["--quick"] if quick else [])]
            async with process("benchmarks.child", *arguments) as child:
                yield cls(child, figure, plugin)

    async def measure(self) -> dict[str, float]:
        """Once. Raises `Failed`."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(b"\n")
        try:
            line = await asyncio.wait_for(self.child.stdout.readline(), LIMIT_S + self.figure.seconds)
        except asyncio.TimeoutError:
            self.child.kill()
            raise Failed(f"{self.figure.name}, {self.plugin}: no answer") from None
        if not line:
            raise Failed(f"{self.figure.name}, {self.plugin}: it ended; see above")
        numbers: dict[str, float] = json.loads(line)
        return numbers


async def measure(figure: Figure, *, quick: bool) -> list[report.Round]:
    """All rounds of a figure. Raises `Failed`."""
    rounds: list[report.Round] = []
    async with contextlib.AsyncExitStack() as kept:
        running: dict[Plugin, Measured] = {}
        for _ in range(1 if quick else figure.rounds):
            numbers: dict[Plugin, dict[str, float]] = {}
            for plugin in figure.plugins:
                if figure.fresh:
                    async with Measured.running(figure, plugin, quick=quick) as once:
                        numbers[plugin] = await once.measure()
                    continue
                if plugin not in running:
                    running[plugin] = await kept.enter_async_context(Measured.running(figure, plugin, quick=quick))
                numbers[plugin] = await running[plugin].measure()
            rounds.append(numbers)
    return rounds


def where() -> dict[str, Any]:
    """What the numbers were measured with."""
    fast = {name: importlib.metadata.version(name) for name in plugins.FAST_MODULES if importlib.util.find_spec(name)}
    libraries = {name: importlib.metadata.version(name) for name in LIBRARIES}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
    return {"python": platform.python_version(), **machine, "libraries": libraries, "fast": fast}


async def run(names: Sequence[str], out: Path, *, quick: bool) -> bool:
    """Measure, print, write; returns whether all went well."""
    limit = asyncio.Semaphore(QUICK_JOBS if quick else 1)
    found: list[report.Result] = []
    failed: list[str] = []

    async def one(name: str) -> None:
        async with limit:
            figure = figures.load(name)
            print(f"measuring: {figure.title}", file=sys.stderr, flush=True)
            try:
                rounds = await measure(figure, quick=quick)
            except Failed as problem:
                failed.append(str(problem))
                return
            results = report.results(figure, rounds)
            found.extend(results)
            plots.draw(results, out)

    await asyncio.gather(*map(one, names))
    found.sort(key=lambda result: names.index(result.figure.name))
    print(report.table(found))
    made = {"measured_with": where(), "quick": quick, "rows": [result.as_json() for result in found]}
    (out / "results.json").write_text(json.dumps(made, indent=1) + "\n")
    for problem in failed:
        print(f"failed: {problem}", file=sys.stderr)
    return not failed


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = figures.names()
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--quick", action="store_true", help="a trial: 1 s each, one round; its numbers mean nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", metavar="DIR", help="where results go")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sys.exit(not asyncio.run(run(options.only, options.out, quick=options.quick)))


if __name__ == "__main__":
    main()
