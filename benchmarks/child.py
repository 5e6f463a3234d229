"""The process in which one plugin is measured: `python -m benchmarks.child PLUGIN URL [--quick]`.

Each line on its standard input, a figure's name, the seconds and the number of turns, makes it measure that figure. It
says `ready` whenever it could begin with a turn, and works on when the next line, `go`, has come. The numbers of all
turns come at the end, as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys

from benchmarks import plugins

READY, GO = "ready\n", "go\n"


async def turn() -> None:
    """Say that a turn can begin, and wait for it. Raises EOFError when nobody wants it any more."""
    print(READY, end="", flush=True)
    if await asyncio.to_thread(sys.stdin.readline) != GO:
        raise EOFError("no turn came")


async def measured(options: argparse.Namespace, name: str, seconds: float, turns: int) -> list[dict[str, float]]:
    """Measure a figure."""
    # These import the framework, and some of it the plugin: not before the extra is out of the way.
    from livekit.agents.utils import http_context

    from benchmarks import figures
    from benchmarks.control import Server

    figure = figures.load(name)
    server = Server(options.url)
    subject = figures.Subject(options.plugin, options.url, seconds, turns, turn, options.quick, server)
    await server.reset()
    async with http_context.open():  # as in a job
        try:
            return await figure.measure(subject)
        finally:
            await subject.closing.aclose()
            await server.aclose()


def main() -> None:
    """Measure as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plugin")
    parser.add_argument("url")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    if options.plugin == "ours":
        plugins.block_fast()
    for line in iter(sys.stdin.readline, ""):
        name, seconds, turns = line.split()
        print(json.dumps(asyncio.run(measured(options, name, float(seconds), int(turns)))), flush=True)


if __name__ == "__main__":
    main()
