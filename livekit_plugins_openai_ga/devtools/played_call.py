"""What `make demo` and `make room` have in common: the caller's recording, the script, what is printed, how it ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

from .. import models
from ..emulator import Emulator, Knobs, Script, ToolCall, Turn, speak
from .call import caller_pcm
from .minutes import Minutes
from .wav import SAMPLE_RATE, CallRecording

CALLER = Path(__file__).with_name("caller.wav")
"""The caller who comes with the package; caller.txt beside it says what is said when."""

VOICE = "marin"

GREETING = "Weather desk, good morning."
_LOOKING_UP = "One moment, I will look that up."
_NOW = (
    "Right now it is eighteen degrees and clear in Lisbon, with a light wind from the north west. This afternoon a few "
    "clouds move in from the sea, it stays dry, and tonight it cools down to twelve degrees."
)
_WEATHER = ToolCall("get_weather", {"city": "Lisbon"})
_UNKNOWN = "(the emulator does not understand speech)"

BUNDLED_SCRIPT = (
    Turn(say=GREETING),
    Turn(heard="Hello, who am I talking to?", say="I am Iris, the assistant of the weather desk. How can I help?"),
    Turn(heard="What is the weather in Lisbon right now?", say=_LOOKING_UP, tool=_WEATHER),
    Turn(say=_NOW),
    Turn(heard="Wait, stop. Tell me about tomorrow instead.", say="Tomorrow will be sunny, with twenty one degrees."),
    Turn(heard="Thank you, goodbye.", say="You are welcome. Goodbye!"),
)
"""What the emulator hears and answers to the bundled caller."""

_ANY_TURNS = (
    Turn(heard=_UNKNOWN, say=_LOOKING_UP, tool=_WEATHER),
    Turn(say=_NOW),
    Turn(heard=_UNKNOWN, say="I hear you. I am only an emulator, so I cannot tell what you say."),
)
ANY_SCRIPT = (Turn(say=GREETING), *_ANY_TURNS * 30)
"""What the emulator answers to a recording it knows nothing about."""

REPLY_LATENCY = 0.35
"""Seconds until the emulator begins a reply."""


def add_arguments(parser: argparse.ArgumentParser, *, out: str) -> None:
    """What can be said about every such call; `out` is the default of --out."""
    parser.add_argument("--wav", metavar="FILE", help="the caller, 16-bit PCM (default: the one in the package)")
    parser.add_argument("--live", action="store_true", help="talk to OpenAI instead of the emulator; costs some cents")
    parser.add_argument("--out", metavar="FILE", default=out, help=f"default: {out}")


def checked(options: argparse.Namespace) -> bytes:
    """The caller as 24 kHz int16 mono PCM. Raises ValueError, for a user, when an argument cannot be used."""
    pcm = caller_pcm(options.wav or CALLER)
    if options.live and not os.environ.get("OPENAI_API_KEY"):
        raise ValueError("OPENAI_API_KEY is not set: set it to your key to talk to OpenAI, or leave --live out.")
    path = Path(options.out)
    if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"--out {options.out} cannot be written: name a file in a folder that you can write to.")
    return pcm


@contextlib.asynccontextmanager
async def answering(*, live: bool, bundled: bool) -> AsyncIterator[dict[str, str]]:
    """Where the agent finds its model, as environment variables: OpenAI, or an emulator as long as the block lasts."""
    if live:
        yield {name: value for name, value in os.environ.items() if name.startswith("OPENAI_")}
        return
    script = Script(BUNDLED_SCRIPT if bundled else ANY_SCRIPT)
    for text in {text for turn in script.turns for text in turn.texts}:
        speak(text, VOICE, 1.0)  # kept by the voice, so that the call does not wait for it
    async with Emulator(script, knobs=Knobs(reply_latency=REPLY_LATENCY)) as server:
        yield {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "emulator"}


@contextlib.contextmanager
def hanging_up() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C sets, and whatever else asks the program to end; a second Ctrl-C ends it at once."""
    hang_up = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        hang_up.set()
        loop.remove_signal_handler(signal.SIGINT)

    # Neither on Windows nor outside the main thread.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
        loop.add_signal_handler(signal.SIGINT, interrupted)
        for other in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(other, hang_up.set)
    yield hang_up


async def first_of(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Run them until one ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def log_to_stderr() -> None:
    """Warnings and errors, each reason once."""
    handler = logging.StreamHandler()
    handler.addFilter(_OnceEach())
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", handlers=[handler])


class _OnceEach(logging.Filter):
    """The plugin and LiveKit each log the error that ends a session; once is enough."""

    def __init__(self) -> None:
        super().__init__()
        self._reasons: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to print it."""
        _, _, reason = record.getMessage().partition(": ")
        if record.levelno < logging.ERROR or not reason:
            return True
        known, self._reasons = reason in self._reasons, self._reasons | {reason}
        return not known


def announce(options: argparse.Namespace, pcm: bytes, *, round_trip: float = 0.0) -> None:
    """Say what is going to happen. `round_trip`: seconds that the line to the emulator is made long, there and back."""
    name, seconds = Path(options.wav or CALLER).name, len(pcm) / 2 / SAMPLE_RATE
    other = "OpenAI" if options.live else "the emulator"
    say(f"Playing {name} ({seconds:.0f} s) to {other}, in real time. Ctrl-C hangs up.")
    if not options.live:
        say_what_the_emulator_is(options)
        if round_trip:
            say(f"The line to it is made {round_trip * 1000:.0f} ms long, there and back, as to a server far away.")
    print(flush=True)


def say_what_the_emulator_is(options: argparse.Namespace) -> None:
    """What a newcomer must know to judge what is heard."""
    say("The emulator answers from a script and estimates its tokens: a real call costs something else.")
    if options.wav is not None or getattr(options, "open", False):
        say("It does not understand speech: it notices when you speak, and answers the same to everybody.")
    if importlib.util.find_spec("espeakng_loader") is None:
        say("Its voice is synthetic: pip install espeakng-loader to understand what it says.")


def say(line: str) -> None:
    """Print it in lines as long as the terminal is wide."""
    print(textwrap.fill(line, _width()), flush=True)


def follow(line: str) -> None:
    """Show that the call goes on. A pipe or a file gets the timeline only, which says the same and more."""
    if sys.stdout.isatty():
        print(f"  {line}", flush=True)


def report(recording: CallRecording, minutes: Minutes, out: str, *, interrupted: bool) -> int:
    """Write the recording to `out`, print the timeline; returns the program's exit code. Raises OSError."""
    if recording.seconds:
        recording.write(out)
    if sys.stdout.isatty():
        print()
    print(minutes.timeline.render(_width()))
    print(f"Prices: OpenAI's of {models.PRICES_DATE}.")
    if recording.seconds:
        print(f"\nThe call is in {out}: caller left, agent right, {recording.seconds:.1f} s.")
    if minutes.failure:
        print(f"The call failed: {minutes.failure}", file=sys.stderr)
        return 1
    return 130 if interrupted else 0


def _width() -> int:
    return min(shutil.get_terminal_size((100, 24)).columns, 160)
