"""`livekit-openai-ga replay FILE`: a recorded session once more, here and now, and whether it goes the same way.

Needs no key and no network. Exit codes: 0 when it went as recorded, or a file was written; 1 when it went another way;
2 for a file that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from ..devtools.display import clean
from ..log import logger
from ..recording.entries import Recording
from ..recording.reader import read
from ..replay import pytest_file
from ..replay.rerun import Run, rerun
from ..replay.script import to_script
from ..replay.server import PATIENCE_S
from .output import Output, write_private

NAME = "replay"

_SHOWN = 5
"""Differences that are shown; the first one is what matters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = "Exit codes: 0 as recorded, or written; 1 it went another way; 2 a file that cannot be used."
    parser.add_argument("file", metavar="FILE", help="a recording, or raw events as JSON lines")
    parser.add_argument("--script", metavar="OUT.json", help="write it as a script of the emulator")
    parser.add_argument("--pytest", metavar="OUT.py", help="write a test that runs it again")
    parser.add_argument("--force", action="store_true", help="overwrite what --script and --pytest would write to")
    parser.add_argument("--real-time", action="store_true", help="let every second take a second")
    parser.add_argument(
        "--patience", type=_seconds, default=PATIENCE_S, metavar="S", help="how late the client may be (default 5)"
    )
    parser.add_argument(
        "--all", action="store_true", help=f"show texts as they grew, and more differences than {_SHOWN}"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON value instead of lines")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds: use one from 0.1 to 3600")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Carry it out. Returns the exit code; what is wrong with a file is one sentence on stderr."""
    output, errors = Output(sys.stdout), Output(sys.stderr)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # what it would say is among what the application is told
    try:
        recording = read(options.file)
        for path in filter(None, (options.script, options.pytest)):
            if os.path.exists(path) and not options.force:
                raise FileExistsError(f"{path} is there already: name another file, or pass --force.")
        written = _write_script(recording, options.script) if options.script else {}
        if options.script and not options.pytest:
            _tell_written(output, written, options)
            return 0
        went = rerun(recording, real_time=options.real_time, patience=options.patience)
        if options.pytest:
            written |= _write_pytest(recording, went, options)
            _tell_written(output, {**written, "as_recorded": went.as_recorded}, options)
            return 0
    except (ValueError, OSError) as problem:
        told = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        about = str(getattr(problem, "filename", None) or options.file)  # what cannot be written is another file
        named = "" if about in told else f"{about}: "
        errors.line(f"replay: {clean(named + told)}")
        return 2
    finally:
        logger.setLevel(level)
    if options.json:
        output.json(_as_json(recording, went))
    else:
        _show(output, recording, went, most=None if options.all else _SHOWN)
    return 0 if went.as_recorded else 1


def _write_script(recording: Recording, path: str) -> dict[str, Any]:
    script, left_out = to_script(recording)
    write_private(path, json.dumps(script, indent=2, ensure_ascii=False) + "\n")
    return {"script": path, "turns": len(script["turns"]), "left_out": left_out}


def _write_pytest(recording: Recording, went: Run, options: argparse.Namespace) -> dict[str, Any]:
    test = Path(options.pytest)
    there = pytest_file.beside(Path(options.file), test)
    write_private(test, pytest_file.page(there.name, went, f"{_title(recording)}, again."))
    return {"pytest": str(test), "recording": str(there), "notes": list(went.notes)}


def _tell_written(output: Output, written: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        output.json(written)
        return
    if "script" in written:
        command = f"livekit-openai-ga emulate --script {clean(written['script'])}"
        turns = f"{written['turns']} turn{'' if written['turns'] == 1 else 's'}"
        output.line(f"{clean(written['script'])}: a script of {turns}. Serve it with: {command}")
        for note in written["left_out"]:
            output.line(output.paint(f"  not in it: {clean(note)}", "yellow"))
    if "pytest" in written:
        output.line(f"{clean(written['pytest'])}: run it with: python -m pytest {clean(written['pytest'])}")
        output.line(f"{clean(written['recording'])}: the recording it plays; it holds what was said in the session.")
        if not written["as_recorded"]:
            output.line(output.paint("The session goes another way today, so the first test fails.", "yellow"))


def _title(recording: Recording) -> str:
    header = recording.header
    kind = {"realtime": "realtime", "stt": "speech-to-text", "translation": "translation"}[header.kind]
    at = time.strftime(", recorded %Y-%m-%d %H:%M:%S UTC", time.gmtime(header.at)) if header.at else ""
    by = f" by version {clean(header.plugin)}" if header.plugin else ""
    return f"A {kind} session with {clean(header.model) or 'a model unknown'}{at}{by}"


def _show(output: Output, recording: Recording, went: Run, *, most: int | None) -> None:
    entries = recording.entries
    links = max((entry.link for entry in entries), default=0)
    seconds = entries[-1].t_ms / 1000 if entries else 0.0
    output.line(output.paint(_title(recording), "bold"))
    count = f"{links or 'no'} connection{'' if links == 1 else 's'}"
    output.line(f"{seconds:.1f} s, {count}, {len(entries):,} lines. Nothing is sent to OpenAI.")
    for note in went.notes:
        output.line(output.paint(note, "yellow"))
    output.line()
    output.line("What the application is told:")
    for line in [line for line in went.told if most is None or ", so far: " not in line] or ["nothing"]:
        output.line(f"  {output.paint(clean(line), 'red') if line.startswith('error') else clean(line)}")
    output.line()
    if went.as_recorded:
        output.line(output.paint("It went as recorded.", "green"))
        return
    found = len(went.differences)
    output.line(output.paint("It went another way. First difference:" if found > 1 else "It went another way:", "red"))
    for number, difference in enumerate(went.differences[:most]):
        line = f"  {clean(str(difference))}"
        output.line(output.paint(line, "bold") if number == 0 else output.paint(line, "dim"))
    if most is not None and found > most:
        output.line(output.paint(f"  and {found - most} more, which --all shows", "dim"))


def _as_json(recording: Recording, went: Run) -> dict[str, Any]:
    header = recording.header
    return {
        "as_recorded": went.as_recorded,
        "kind": header.kind,
        "model": header.model,
        "plugin": header.plugin,
        "connections": max((entry.link for entry in recording.entries), default=0),
        "events": len(recording.entries),
        "differences": [{"t_ms": one.t_ms, "connection": one.link, "what": one.what} for one in went.differences],
        "told": list(went.told),
        "asked": list(went.asked),
        "notes": list(went.notes),
    }
