"""`livekit-openai-ga COMMAND`: the commands a user runs in a terminal, from one table.

A command is a module with `NAME`, `add_arguments(parser)` and `run(options)`, which returns the exit code. It is
imported when it is the one that was asked for, so no command waits for what another one needs.

Exit codes: 0 when all is well; 1 when something failed or was found; 2 for arguments that cannot be used; 130 after
Ctrl-C; 141 when the reader of the output went away.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

from ..devtools.ending import end
from ..version import __version__

PROGRAM = "livekit-openai-ga"

_INTERRUPTED = 130
_READER_LEFT = 141


class Command(Protocol):
    """What the module of a command has."""

    NAME: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the command takes."""

    def run(self, options: argparse.Namespace) -> int:
        """Carry it out. Returns the exit code; what went wrong is one sentence on stderr."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: the command's name, one line of help, and its module, relative to this package."""

    name: str
    help: str
    module: str

    def load(self) -> Command:
        """Import the module of the command."""
        return cast(Command, importlib.import_module(self.module, __package__))


COMMANDS = (
    Entry("doctor", "try a session step by step, and say what is wrong and what to do", ".doctor"),
    Entry("migrate", "find what the retired beta API left in your code", ".migrate"),
    Entry("emulate", "serve strict GA on this machine, for a client in any language", ".emulate"),
    Entry("replay", "run a recorded session again: does it go the same way", ".replay"),
    Entry("timeline", "draw a recorded session: who spoke when, what took long", ".timeline"),
    Entry("listen", "write down what a recording or the microphone hears", "..devtools.listen"),
)


def console(*, program: str = PROGRAM) -> NoReturn:
    """Run the command of this process's arguments, and end the process with its exit code."""
    end(main(program=program))


def main(arguments: Sequence[str] | None = None, *, program: str = PROGRAM) -> int:
    """Run one command and return its exit code; argparse exits with 2 by itself for bad arguments."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    _open_what_is_closed()
    parser = argparse.ArgumentParser(prog=program, description="OpenAI's GA Realtime API for LiveKit Agents.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    for entry in COMMANDS:
        description = f"{entry.help[0].upper()}{entry.help[1:]}."
        subparser = commands.add_parser(entry.name, help=entry.help, description=description)
        if entry.name == chosen:
            command = entry.load()
            command.add_arguments(subparser)
            subparser.set_defaults(run=command.run)
    return _run(parser.parse_args(arguments))


def _open_what_is_closed() -> None:
    """Python has no stream at all where the caller has closed it (`>&-`): what is written there goes nowhere then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _run(options: argparse.Namespace) -> int:
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more on its way out; there it must not find the same broken pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_LEFT
    return code
