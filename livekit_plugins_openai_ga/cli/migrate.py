"""The command `migrate`: what the retired beta API left in your files, what breaks by it, and what GA has instead.

Exit codes: 0; 1 with `--check` when something was found that breaks, or when a file could not be read or written; 2 for
arguments that cannot be used.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from dataclasses import dataclass, field

from ..devtools.display import clean
from .migration.files import File, walk, write
from .migration.report import Found, Lines, as_json, as_sarif, diff
from .migration.rules import Effect, Finding, apply
from .migration.scan import scan
from .output import Output

NAME = "migrate"

_COLOURS = {Effect.LOUD: "red", Effect.SILENT: "yellow", Effect.LATER: "blue"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `migrate` takes."""
    parser.epilog = (
        "loud: refused with an error. silent: nothing is reported. later: works until a date. Exit codes: 0; 1 with "
        "--check when something is loud or silent, or when a file cannot be read or written; 2 for wrong arguments."
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders to look through")
    parser.add_argument("--check", action="store_true", help="exit with 1 when something was found that breaks")
    parser.add_argument("--fix", action="store_true", help="rewrite what has one GA form without a doubt")
    parser.add_argument("--diff", action="store_true", help="show what --fix changes; without --fix, change nothing")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="one JSON object")
    forms.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanning")


@dataclass(slots=True)
class _Search:
    """What came of looking through all files."""

    looked: int = 0
    found: list[Found] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def through(self, paths: list[str]) -> None:
        """Look through them."""
        for file in walk(paths):
            if file.trouble:
                self.troubles.append((file.path, file.trouble))
                continue
            self.looked += file.looked
            if not file.text:
                continue
            findings, note = scan(file.text, file.language)
            if note:
                self.notes.append((file.path, note))
            if findings:
                self.found.append(Found(file.path, file.text, findings))
                self.files.append(file)


def run(options: argparse.Namespace) -> int:
    """Carry the command out. Returns the exit code; files that cannot be read are named on stderr."""
    output, errors = Output(sys.stdout), Output(sys.stderr)
    missing = [path for path in options.paths if not os.path.exists(path)]
    if missing:
        errors.line(f"migrate: there is no file or folder {missing[0]!r}: give one that exists.")
        return 2
    if options.diff and (options.json or options.sarif):
        errors.line("migrate: --diff has a form of its own: leave it out, or leave out --json and --sarif.")
        return 2
    search = _Search()
    search.through(options.paths)
    if options.json:
        output.json(as_json(search.found, search.looked, search.troubles))
    elif options.sarif:
        output.json(as_sarif(search.found))
    elif not options.diff:
        _show(search, output)
    _rewrite(search, options, output)
    for path, reason in search.troubles:
        errors.line(f"migrate: {clean(path)} was not looked through: {reason}.")
    broken = any(finding.rule.effect is not Effect.LATER for one in search.found for finding in one.findings)
    return 1 if search.troubles or (options.check and broken) else 0


def _rewrite(search: _Search, options: argparse.Namespace, output: Output) -> None:
    """Show and make the changes that were asked for."""
    written = 0
    for file, one in zip(search.files, search.found, strict=True):
        after = apply(one.text, one.findings)
        if after == one.text:
            continue
        if options.diff:
            for row in diff(one.path, one.text, after):
                colour = {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")
                output.line(output.paint(row, colour) if colour else row)
        if options.fix:
            try:
                write(file, after)
                written += 1
            except OSError as error:
                search.troubles.append((one.path, f"it could not be written: {error.strerror}"))
    if options.fix and not (options.diff or options.json or options.sarif):
        output.line(f"{_count(written, 'file')} rewritten. Run it again to see what is left for you.")


def _show(search: _Search, output: Output) -> None:
    notes = dict(search.notes)
    for one in search.found:
        lines = Lines(one.text)
        if one.path in notes:
            output.line(output.paint(f"{clean(one.path)}: {notes[one.path]}", "dim"))
        before = ""
        for finding in one.findings:
            _show_one(one.path, finding, lines, output, reason=finding.rule.id != before)
            before = finding.rule.id
    counts = Counter(finding.rule.effect for one in search.found for finding in one.findings)
    parts = [f"{counts[effect]} {effect.value}" for effect in Effect if counts[effect]]
    fixable = sum(1 for one in search.found for finding in one.findings if finding.edits)
    summary = f"{_count(search.looked, 'file')} looked through: {', '.join(parts) or 'nothing of the beta found'}."
    if fixable:
        summary += f" --fix rewrites {fixable} of them, --diff shows how."
    output.line(output.paint(summary, "bold"))


def _show_one(path: str, finding: Finding, lines: Lines, output: Output, *, reason: bool) -> None:
    line, column = lines.at(finding.start)
    effect = finding.rule.effect
    where = output.paint(f"{clean(path)}:{line}:{column}", "bold")
    kind = output.paint(effect.value, _COLOURS[effect])
    output.line(f"{where}: {kind} {output.paint(finding.rule.id, 'cyan')}: {clean(finding.found)}")
    if reason:
        output.line(f"    {finding.rule.why[0].upper()}{finding.rule.why[1:]}.")
    output.line(f"    GA: {output.paint(clean(finding.instead), 'green')}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
