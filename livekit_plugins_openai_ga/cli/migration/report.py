"""Findings as lines for a person, as JSON, as SARIF 2.1.0 and as a diff. Nothing here writes anywhere."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from ...version import __version__
from .rules import RULES, Effect, Finding

_PAGE = "https://developers.openai.com/api/docs/guides/realtime"
_LEVELS = {Effect.LOUD: "error", Effect.SILENT: "warning", Effect.LATER: "note"}


@dataclass(frozen=True, slots=True)
class Found:
    """What was found in one file: `text` as it was read."""

    path: str
    text: str
    findings: list[Finding]


class Lines:
    """Lines and columns, both from 1, of places in a text."""

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]

    def at(self, place: int) -> tuple[int, int]:
        """Line and column of a character; a column counts characters."""
        line = min(bisect_right(self._starts, place), len(self._lines))
        return line, place - self._starts[line - 1] + 1

    def text(self, line: int) -> str:
        """A line without its end."""
        return self._lines[line - 1].rstrip("\r")


def as_json(found: Iterable[Found], looked: int, troubles: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """One object: `files` (number looked at), `findings` and `unreadable`; keys are stable."""
    findings = []
    for one in found:
        lines = Lines(one.text)
        for finding in one.findings:
            line, column = lines.at(finding.start)
            findings.append(
                {
                    "file": one.path,
                    "line": line,
                    "column": column,
                    "rule": finding.rule.id,
                    "effect": finding.rule.effect.value,
                    "found": finding.found,
                    "why": finding.rule.why,
                    "instead": finding.instead,
                    "fixable": bool(finding.edits),
                }
            )
    unreadable = [{"file": path, "reason": reason} for path, reason in troubles]
    return {"files": looked, "findings": findings, "unreadable": unreadable}


def as_sarif(found: Iterable[Found]) -> dict[str, Any]:
    """SARIF 2.1.0, as GitHub's code scanning and others read it: one run, paths relative to the folder of the call."""
    results = []
    for one in found:
        lines = Lines(one.text)
        results += [_result(one.path, finding, lines) for finding in one.findings]
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.finds},
            "fullDescription": {"text": rule.why},
            "defaultConfiguration": {"level": _LEVELS[rule.effect]},
        }
        for rule in RULES.values()
    ]
    driver = {"name": "livekit-openai-ga migrate", "version": __version__, "informationUri": _PAGE, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _result(path: str, finding: Finding, lines: Lines) -> dict[str, Any]:
    line, column = lines.at(finding.start)
    end_line, end_column = lines.at(finding.end)
    pure = PurePath(path)
    uri = pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
    region = {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}
    return {
        "ruleId": finding.rule.id,
        "ruleIndex": list(RULES).index(finding.rule.id),
        "level": _LEVELS[finding.rule.effect],
        "message": {"text": f"{finding.found}: {finding.rule.why}. GA: {finding.instead}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
    }


def diff(path: str, before: str, after: str) -> Iterator[str]:
    """A unified diff, line by line, without line ends; `patch -p1` and `git apply` take it."""
    name = PurePath(path).as_posix().removeprefix("./").lstrip("/")
    rows = difflib.unified_diff(_rows(before), _rows(after), f"a/{name}", f"b/{name}", n=3)
    for row in rows:
        yield row.removesuffix("\n")
        if not row.endswith("\n"):
            yield "\\ No newline at end of file"


def _rows(text: str) -> list[str]:
    rows = text.split("\n")
    return [row + "\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
