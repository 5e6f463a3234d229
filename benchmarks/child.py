"""The process in which one plugin is measured: `python -m benchmarks.child PLUGIN URL [--quick]`.

Each line on its standard input, a figure's name and the seconds to take, makes it measure once; the numbers come as a
line of JSON on its standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys

from benchmarks import plugins


async def once(options: argparse.Namespace, name: str, seconds: float) -> dict[str, float]:
    """Measure."""
    # These import the framework, and some of it the plugin: not before the extra is out of the way.
    from livekit.agents.utils import http_context

    from benchmarks import figures
    from benchmarks.control import Server

    figure = figures.load(name)
    server = Server(options.url)
    subject = figures.Subject(options.plugin, options.url, seconds, options.quick, server)
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
    for line in sys.stdin:
        name, seconds = line.split()
        print(json.dumps(asyncio.run(once(options, name, float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
