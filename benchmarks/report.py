"""What the numbers of a figure come to: medians, paired ratios, their spread, and whether a target is met."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import Figure, Plugin, Row

Round = Mapping[Plugin, Mapping[str, float]]
"""What each plugin gave in one round."""


@dataclass(frozen=True)
class Spread:
    """The numbers of all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """None without numbers."""
        found = list(numbers)
        return cls(statistics.median(found), min(found), max(found)) if found else None


@dataclass(frozen=True)
class Result:
    """One line of the table. Ratios are of numbers measured in the same round."""

    figure: Figure
    row: Row
    ours: Spread
    official: Spread | None
    ratio: Spread | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None: there is none, or it lies within the spread."""
        judged = self.ours if self.row.compare == "ours" else self.ratio
        target = self.row.target
        if judged is None or target is None or judged.low <= target < judged.high:
            return None
        return judged.high <= target

    @property
    def verdict(self) -> str:
        """For people."""
        if self.row.target is None:
            return ""
        return {True: "met", False: "not met", None: "unclear"}[self.met]

    def as_json(self) -> dict[str, Any]:
        """For machines. The numbers are medians; the spreads have the least and the most as well."""
        return {
            "name": f"{self.figure.title}: {self.row.title}",
            "figure": self.figure.name,
            "plugin": self.row.plugin,
            "unit": self.row.unit,
            "ours": self.ours.median,
            "official": self.official and self.official.median,
            "ratio": self.ratio and self.ratio.median,
            "target": self.row.target,
            "target_of": self.row.compare,
            "met": self.met,
            "verdict": self.verdict,
            "rounds": self.figure.rounds,
            "spread": {name: s and asdict(s) for name, s in self._spreads()},
        }

    def _spreads(self) -> Iterable[tuple[str, Spread | None]]:
        return (("ours", self.ours), ("official", self.official), ("ratio", self.ratio))


def results(figure: Figure, rounds: Sequence[Round]) -> list[Result]:
    """The rows of a figure; one whose plugin was not measured is left out. Raises KeyError for a number that ours did
    not give; the official plugin need not be able to."""
    made = []
    for row in figure.rows:
        pairs = [(r[row.plugin][row.key], r.get("official", {}).get(row.key)) for r in rounds if row.plugin in r]
        ours = Spread.of(a for a, _ in pairs)
        if ours is not None:
            official = Spread.of(b for _, b in pairs if b is not None)
            ratio = Spread.of(a / b for a, b in pairs if b)
            made.append(Result(figure, row, ours, official, ratio))
    return made


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def cells(result: Result) -> tuple[str, ...]:
    """One line of the table, as texts."""
    row, ratio = result.row, result.ratio
    target = "" if row.target is None else number(row.target) + (" x official" if row.compare == "ratio" else "")
    return (
        f"{row.title} ({row.unit})",
        f"{number(result.ours.median)} ({number(result.ours.low)}..{number(result.ours.high)})",
        number(result.official.median) if result.official else "-",
        f"{ratio.median:.2f} ({ratio.low:.2f}..{ratio.high:.2f})" if ratio else "-",
        target,
        result.verdict,
    )


HEAD = ("", "ours (spread)", "official", "ratio (spread)", "target", "")


def table(found: Sequence[Result]) -> str:
    """All rows, with a heading for each figure."""
    lines = [(result, cells(result)) for result in found]
    widths = [max(len(texts[i]) for texts in [HEAD, *(texts for _, texts in lines)]) for i in range(len(HEAD))]
    laid = [aligned(HEAD, widths)]
    figure = None
    for result, texts in lines:
        if result.figure is not figure:
            figure = result.figure
            laid += ["", figure.title]
        laid.append(aligned(texts, widths))
    return "\n".join(laid)


def aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    """The first column to the left, numbers to the right."""
    first, *others = (
        text.ljust(w) if not i else text.rjust(w) for i, (text, w) in enumerate(zip(texts, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
