"""What `doctor` shows: one line for each step as it ends, and a last one; or all of it as JSON."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..version import __version__
from . import doctor_steps as steps
from .doctor_steps import Outcome, Status
from .output import Output

_STYLES: Mapping[Status, tuple[str, ...]] = {
    Status.OK: ("green",),
    Status.WARNING: ("yellow",),
    Status.FAILED: ("red", "bold"),
    Status.SKIPPED: ("dim",),
}
_INDENT = 33
_NARROWEST = 60


class Page:
    """Lines for people. `width` is that of the terminal; None: lines are not broken."""

    def __init__(self, output: Output, width: int | None) -> None:
        self._output = output
        self._width = None if width is None or width < _NARROWEST else width

    def head(self, kind: str, model: str, address: str) -> None:
        """What is examined."""
        self._write(self._output.paint(f"A {kind} with {model} at {address}", "bold"))
        self._write("")

    def show(self, outcome: Outcome) -> None:
        """One step."""
        verdict = outcome.verdict
        took = "" if outcome.ms is None else f"{outcome.ms:,.0f} ms"
        status = self._output.paint(f"{verdict.status.value:8}", *_STYLES[verdict.status])
        code = f"{verdict.code}: " if verdict.code else ""
        first, *rest = self._broken(f"{code}{verdict.summary}") or [""]
        self._write(f"{status} {outcome.step.name:13} {took:>8}  {first}".rstrip())
        for line in rest:
            self._write(f"{'':{_INDENT}}{line}")
        for number, line in enumerate(self._broken(verdict.remedy)):
            self._write(f"{'':{_INDENT}}{'-> ' if number == 0 else '   '}{line}")

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """How it went."""
        failed = [o.step.name for o in outcomes if o.verdict.status is Status.FAILED]
        warnings = sum(o.verdict.status is Status.WARNING for o in outcomes)
        status, text = Status.OK, "All is well."
        if failed:
            status, text = Status.FAILED, f"{len(failed)} failed, first `{failed[0]}`: begin there."
        elif warnings:
            status, text = Status.WARNING, f"It works, with {warnings} warning{'s' * (warnings > 1)}."
        self._write("")
        self._write(self._output.paint(text, *_STYLES[status]))

    def _broken(self, text: str) -> list[str]:
        if self._width is None:
            return [text] if text else []
        return textwrap.wrap(text, self._width - _INDENT - 3, break_long_words=False, break_on_hyphens=False)

    def _write(self, text: str) -> None:
        self._output.line(text)
        sys.stdout.flush()


def terminal_width() -> int | None:
    """Columns of the terminal that is written to; None when it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_json(kind: str, model: str, address: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The whole examination as one value; docs/doctor.md describes its keys."""
    code = steps.exit_code(outcomes)
    return {
        "version": __version__,
        "session": kind,
        "model": model,
        "address": address,
        "ok": code == 0,
        "steps": [outcome.as_json() for outcome in outcomes],
    }
