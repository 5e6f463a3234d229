"""`livekit-openai-ga emulate`: a strict GA server on this machine, for a client in any language, until Ctrl-C.

Also `python -m livekit_plugins_openai_ga.emulator`. It tells what clients do, above all what was refused and why.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from typing import Any

from ..emulator import Emulator, Knobs, Script
from ..emulator.faults import Fault
from ..emulator.named_faults import as_json, duration, fault, table
from .emulate_page import JsonLines, Page, Quiet, Shown
from .output import Output

NAME = "emulate"

_EPILOG = """\
A script is a JSON list of turns. Each reply takes the next one; a turn with "heard" waits for the user:
  [{"say": "Hello, how can I help?"},
   {"heard": "What is the weather?", "tool": {"name": "get_weather", "arguments": {"city": "Rome"}}},
   {"say": "It is sunny in Rome."}]
A turn can also have "messages", "tools", "latency", "failure", "incomplete" and "stall", and for transcription
"languages" and "logprobs". For translation sessions there can be turns for each language that is translated into:
  {"turns": [], "translations": {"de": [{"heard": "Hello.", "say": "Hallo."}]}}

Exit codes: 0; 1 when it refused something that a client sent; 2 when it cannot start.
"""
_LAST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on, 0 for any (default 8765)")
    parser.add_argument("--script", metavar="FILE", help="JSON file with the turns of the conversation")
    parser.add_argument(
        "--fault", metavar="FAULT", action="append", default=[], help="let something go wrong: drop@3s; may be repeated"
    )
    parser.add_argument("--list-faults", action="store_true", help="show the faults that there are, and end")
    parser.add_argument("--latency", metavar="TIME", help="what a round trip takes: 80ms (default: no time)")
    parser.add_argument(
        "--tls",
        nargs=2,
        metavar=("CERT", "KEY"),
        help="PEM files: serve https:// and wss://, which some clients insist on",
    )
    parser.add_argument("--ring", metavar="URL", help="let a phone call come in: tell the webhook at URL of it, once")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--quiet", action="store_true", help="print nothing")
    shown.add_argument("--json", action="store_true", help="print one JSON line for each thing that happens")


def run(options: argparse.Namespace) -> int:
    """Serve until somebody ends it; see the epilog for the exit codes."""
    if options.list_faults:
        output = Output(sys.stdout)
        output.json(as_json()) if options.json else output.line(table())
        return 0
    try:
        if not 0 <= options.port <= _LAST_PORT:
            raise ValueError(f"--port {options.port} is no port: give one up to {_LAST_PORT}, or 0 for any free one.")
        script = Script.load(options.script) if options.script else Script()
        faults = [(fault(text), text) for text in options.fault]
        knobs = Knobs(network_latency=duration(options.latency) if options.latency else 0.0)
        secret = os.environ.get("OPENAI_WEBHOOK_SECRET", "")
        if options.ring and not secret:
            raise ValueError("--ring needs OPENAI_WEBHOOK_SECRET: 16 bytes or more, the same as the application has.")
        tls = _tls(*options.tls) if options.tls else None
        shown = _shown(options, faults)
        with contextlib.suppress(KeyboardInterrupt):
            served = {"script": script, "faults": [each for each, _ in faults], "knobs": knobs, "ssl": tls}
            asyncio.run(_serve(served, options, secret, shown))
    except (ValueError, OSError, RuntimeError) as exc:
        Output(sys.stderr).line(f"{NAME}: {exc}")
        return 2
    return shown.end()


def _shown(options: argparse.Namespace, faults: list[tuple[Fault, str]]) -> Shown:
    if options.quiet:
        return Quiet(faults)
    return (JsonLines if options.json else Page)(faults, Output(sys.stdout))


def _tls(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key)
    except OSError as exc:
        raise ValueError(
            f"--tls: {cert} and {key} are not a certificate and its key ({exc.strerror or exc})."
        ) from None
    return context


async def _serve(served: Mapping[str, Any], options: argparse.Namespace, secret: str, shown: Shown) -> None:
    ended = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; a thread that is not the main one
            asyncio.get_running_loop().add_signal_handler(sign, ended.set)
    server = Emulator(host=options.host, port=options.port, watch=shown.show, **served)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(server)
        except OSError as exc:
            raise ValueError(_no_place(options, exc)) from None
        shown.serving(server.base_url)
        if options.ring:
            shown.rang(await server.ring(options.ring, secret=secret))
        await ended.wait()


def _no_place(options: argparse.Namespace, error: OSError) -> str:
    place = f"--port {options.port} at --host {options.host}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is taken by another program: give another --port, or --port 0 for any free one."
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
    return f"{place} cannot be listened on ({reason}): give others, such as --port 0 and --host 127.0.0.1."
