"""The command `timeline`: a recorded session as lines in a terminal, as data, or as a page for a browser.

Exit codes: 0; 1 with `--check` or `--max-wait` when something went wrong in the session; 2 when the file is no
recording or cannot be read, when the page cannot be written, and for arguments that cannot be used.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from ..devtools.display import clean
from ..recording.reader import read
from .output import Output, write_private
from .timelines.facts import Facts, as_json
from .timelines.page import page
from .timelines.story import tell
from .timelines.terminal import lines

NAME = "timeline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `timeline` takes."""
    parser.epilog = (
        "Exit codes: 0; 1 when --check or --max-wait finds something; 2 for wrong arguments, and when the file is no "
        "recording or the page cannot be written."
    )
    parser.add_argument("file", metavar="FILE", help="a recording, or raw events as JSON lines")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--html", nargs="?", const="", metavar="OUT", help="write a page (default: FILE with .html)")
    forms.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--force", action="store_true", help="overwrite what --html would write to")
    parser.add_argument("--check", action="store_true", help="exit with 1 after an error or a lost connection")
    parser.add_argument("--max-wait", type=float, metavar="MS", help="exit with 1 when a first sound took longer")


def run(options: argparse.Namespace) -> int:
    """Carry the command out. Returns the exit code; what went wrong is one sentence on stderr."""
    output, errors = Output(sys.stdout), Output(sys.stderr)
    try:
        facts = _show(options, output)
    except OSError as error:
        named = options.file if error.filename is None else error.filename
        errors.line(f"timeline: {clean(str(named))} cannot be read or written: {error.strerror}.")
        return 2
    except ValueError as error:
        errors.line(f"timeline: {clean(str(error))}")
        return 2
    except Exception as error:  # a file may hold anything: whatever nobody thought of is a sentence, too
        what = f"holds something that cannot be drawn ({type(error).__name__})"
        errors.line(f"timeline: {clean(options.file)} {what}: pass a recording as it was written.")
        return 2
    return _verdict(facts, options, errors)


def _show(options: argparse.Namespace, output: Output) -> Facts:
    recording = read(options.file)
    story = tell(recording)
    if options.json:
        output.json(as_json(story.facts))
    elif options.html is not None:
        path = Path(options.html or Path(options.file).with_suffix(".html"))
        text = page(story, name=Path(options.file).name, entries=recording.entries)
        _write(path, text, recording=options.file, force=options.force)
        output.line(f"Wrote {clean(str(path))}: open it in a browser.")
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in lines(story.facts, output, width):
            output.line(line)
    return story.facts


def _verdict(facts: Facts, options: argparse.Namespace, errors: Output) -> int:
    lost = sum(not outage.planned for outage in facts.outages)
    wrong = []
    if options.check and (facts.problems or lost):
        wrong.append(f"{len(facts.problems)} errors, {lost} lost connections")
    slow = [wait for wait in facts.waits if options.max_wait is not None and wait > options.max_wait]
    if slow:
        wrong.append(f"{len(slow)} of {len(facts.waits)} first sounds took longer than {options.max_wait:g} ms")
    if wrong:
        errors.line(f"timeline: {'; '.join(wrong)}.")
    return 1 if wrong else 0


def _write(path: Path, text: str, *, recording: str, force: bool) -> None:
    """Raises ValueError for a file that must not be overwritten, OSError for one that cannot be written."""
    if path.exists() and path.samefile(recording):
        raise ValueError(f"{path} is the recording itself: name another file for the page.")
    if path.exists() and not force:
        raise ValueError(f"{path} is there already: name another file, or pass --force.")
    write_private(path, text)
