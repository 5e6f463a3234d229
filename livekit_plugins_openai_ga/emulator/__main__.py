"""`python -m livekit_plugins_openai_ga.emulator`: the emulator on a port of its own, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

from .script import Script
from .server import Emulator

_SCRIPT_HELP = """\
A script is a JSON list of turns. Each reply takes the next one; a turn with "heard" waits for the user:
  [{"say": "Hello, how can I help?"},
   {"heard": "What is the weather?", "tool": {"name": "get_weather", "arguments": {"city": "Rome"}}},
   {"say": "It is sunny in Rome."}]
A turn can also have "messages", "tools", "latency", "failure", "incomplete" and "stall", and for transcription
"languages" and "logprobs". For translation sessions there can be turns for each language that is translated into:
  {"turns": [], "translations": {"de": [{"heard": "Hello.", "say": "Hallo."}]}}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Returns 2 when the script file is unusable or the address is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m livekit_plugins_openai_ga.emulator",
        description="Serve OpenAI's GA Realtime API on this machine, from a script, until Ctrl-C.",
        epilog=_SCRIPT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, help="port to listen on, 0 for any (default 8765)")
    parser.add_argument("--script", metavar="FILE", help="JSON file with the turns of the conversation")
    parser.add_argument("--ring", metavar="URL", help="let a phone call come in: tell the webhook at URL of it, once")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    options = parser.parse_args(arguments)
    try:
        script = Script.load(options.script) if options.script else Script()
        secret = os.environ.get("OPENAI_WEBHOOK_SECRET", "")
        if options.ring and not secret:
            raise ValueError("--ring needs OPENAI_WEBHOOK_SECRET: any text, the same as the application has.")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(script, options, secret))
    except (ValueError, OSError, OverflowError, RuntimeError) as exc:
        print(exc, file=sys.stderr)
        return 2
    return 0


async def _serve(script: Script, options: argparse.Namespace, secret: str) -> None:
    async with Emulator(script, host=options.host, port=options.port) as server:
        if not options.quiet:
            print(f"Serving the GA Realtime API and POST /audio/transcriptions at {server.base_url}", flush=True)
            print("It does not understand speech: what is heard and said comes from the script.", flush=True)
            print(f"For agents on this machine to use it: export OPENAI_BASE_URL={server.base_url}", flush=True)
        if options.ring:
            call = await server.ring(options.ring, secret=secret)
            if not options.quiet:
                print(f"The call {call.id} came in and is {call.state} {call.outcome}".rstrip(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
