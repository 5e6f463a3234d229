"""`python -m livekit_plugins_openai_ga COMMAND`: the commands a user runs in a terminal, from one table."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..version import __version__
from . import listen

PROGRAM = "python -m livekit_plugins_openai_ga"


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: its name, one line of help, its arguments, and what it does (returns the exit code)."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = (Command("listen", "write down what a recording or the microphone hears", listen.add_arguments, listen.run),)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse exits with 2 by itself for bad arguments."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="OpenAI's GA Realtime API for LiveKit Agents.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        description = f"{command.help[0].upper()}{command.help[1:]}."
        subparser = commands.add_parser(command.name, help=command.help, description=description)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code
