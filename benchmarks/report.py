"""What the numbers of a figure come to: medians, paired ratios, how sure they are, and whether a target is met."""

from __future__ import annotations

import bisect
import functools
import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import Figure, Plugin, Row

Round = Mapping[Plugin, Mapping[str, float]]
"""What each plugin gave in one round."""


RISK = 0.025
"""How likely the median may be below what is said of it; and above."""


@functools.cache
def left_out(count: int) -> int:
    """How many of the means of all pairs of so many numbers lie at each end outside the interval of their median.

    Wilcoxon's signed ranks: if the numbers lie as far above their median as below it, each of the ranks of their
    distances, 1 to `count`, is of one above as likely as of one below. As many means are below the median as those
    of the ones below add up to.
    """
    ways = [1]  # in how many ways ranks add up to 0, 1, ...
    for rank in range(1, count + 1):
        none = [0] * rank
        ways = [without + with_it for without, with_it in zip(ways + none, none + ways, strict=True)]
    return max(0, bisect.bisect_right(list(itertools.accumulate(ways)), RISK * 2**count) - 1)


def interval(numbers: Sequence[float]) -> tuple[float, float]:
    """Where the median of what these come of is, with 95 % confidence from 6 numbers on if they lie as far above it as
    below; the least and the most of 5 (94 %), or fewer. If they lie farther above it, as times do a little, it is less
    sure and mostly too high. One that supposes nothing would be a third wider.
    """
    means = sorted((a + b) / 2 for a, b in itertools.combinations_with_replacement(numbers, 2))
    out = left_out(len(numbers))
    return means[out], means[-1 - out]


@dataclass(frozen=True)
class Spread:
    """The numbers of all rounds. `low` and `high`: their `interval`."""

    rounds: int
    median: float
    low: float
    high: float
    least: float
    most: float

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """None without numbers."""
        found = sorted(numbers)
        if not found:
            return None
        median, (low, high) = statistics.median(found), interval(found)
        # Of numbers that lie farther above their median than below it, the means may all be above it.
        return cls(len(found), median, min(low, median), max(median, high), found[0], found[-1])


@dataclass(frozen=True)
class Result:
    """One line of the table. Ratios are of numbers measured in the same round."""

    figure: Figure
    row: Row
    ours: Spread
    official: Spread | None
    ratio: Spread | None
    with_floor: Mapping[str, float] | None = None
    """Medians before the floor was subtracted, by plugin, and of the `floor`; None: there is none."""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None: there is none, or the median may be on either side of it."""
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
        """For machines. The numbers are medians; the spreads have the interval, the least and the most as well."""
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
            "rounds": self.ours.rounds,
            "spread": {**{name: s and asdict(s) for name, s in self._spreads()}, "with_floor": self.with_floor},
        }

    def _spreads(self) -> Iterable[tuple[str, Spread | None]]:
        return (("ours", self.ours), ("official", self.official), ("ratio", self.ratio))


def floor(row: Row, of_round: Round) -> float:
    """What the benchmark took for itself in a round, on the average of those who tell. Raises KeyError."""
    if row.floor is None:
        return 0.0
    told = [each[row.floor] for each in of_round.values() if row.floor in each]
    if not told:
        raise KeyError(row.floor)
    return statistics.fmean(told)


def taken(row: Row, of_round: Round, plugin: Plugin) -> float:
    """A row's number of one plugin, without the floor. Raises KeyError."""
    return of_round[plugin][row.key] - floor(row, of_round)


def with_floor(row: Row, rounds: Sequence[Round]) -> dict[str, float] | None:
    """Medians of what was measured, by plugin, with the floor in it, and of the `floor`; None: a row without one."""
    if row.floor is None:
        return None
    plugins: dict[str, Plugin] = {"ours": row.plugin, "official": "official"}
    found = {
        name: [r[plugin][row.key] for r in rounds if row.key in r.get(plugin, {})] for name, plugin in plugins.items()
    }
    found["floor"] = [floor(row, r) for r in rounds]
    return {name: statistics.median(numbers) for name, numbers in found.items() if numbers}


def results(figure: Figure, rounds: Sequence[Round]) -> list[Result]:
    """The rows of a figure; one whose plugin was not measured is left out. Raises KeyError for a number that ours did
    not give; the official plugin need not be able to."""
    made = []
    for row in figure.rows:
        there = [r for r in rounds if row.plugin in r]
        measured = [r for r in there if any(row.key in each for each in r.values())]  # a case may have fewer turns
        if there and not measured:
            raise KeyError(row.key)
        ours = Spread.of(taken(row, r, row.plugin) for r in measured)
        if ours is not None:
            paired = [r for r in measured if row.key in r.get("official", {})]
            pairs = [(taken(row, r, row.plugin), taken(row, r, "official")) for r in paired]
            official = Spread.of(b for _, b in pairs)
            ratio = Spread.of(a / b for a, b in pairs if b)
            made.append(Result(figure, row, ours, official, ratio, with_floor(row, measured)))
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


HEAD = ("", "ours (interval)", "official", "ratio (interval)", "target", "")


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
