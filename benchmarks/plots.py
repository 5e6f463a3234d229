"""One picture for each figure: a panel for each thing that is measured, bars with how sure they are, and the target as
a line."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Result, Spread, number

COLOURS = {"ours": "#2a6fdb", "ours_fast": "#7fb2ff", "official": "#9a9a9a"}
NAMES = {"ours": "ours", "ours_fast": "ours, fast", "official": "official"}
MAX_COLUMNS = 4


def draw(results: Sequence[Result], out: Path) -> None:
    """Write `<figure>.png` into `out`. Without matplotlib (extra `bench`) there is no picture."""
    if not results or importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    panels: dict[str, list[Result]] = {}
    for result in results:
        panels.setdefault(result.row.key, []).append(result)
    rows = -(-len(panels) // MAX_COLUMNS)
    columns = -(-len(panels) // rows)
    picture = Figure(figsize=(max(4.0, 3.2 * columns), 3.4 * rows + 0.5), dpi=110, layout="constrained")
    picture.suptitle(f"{results[0].figure.title}\n", fontsize=13)
    picture.text(
        0.5,
        0.995,
        "\n\nmedians, and the intervals they are in; red: target",
        ha="center",
        va="top",
        fontsize=8,
    )
    for place, of_key in enumerate(panels.values(), 1):
        panel(picture.add_subplot(rows, columns, place), of_key)
    picture.savefig(out / f"{results[0].figure.name}.png")


def panel(axes: Any, results: Sequence[Result]) -> None:
    """Bars of all plugins for one key."""
    bars: dict[str, Spread] = {result.row.plugin: result.ours for result in results}
    if (official := results[0].official) is not None:
        bars["official"] = official
    for place, (plugin, spread) in enumerate(bars.items()):
        error = [[spread.median - spread.low], [spread.high - spread.median]]
        axes.bar(place, spread.median, width=0.65, color=COLOURS[plugin], yerr=error, capsize=4)
        above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "zorder": 5}
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        axes.annotate(number(spread.median), (place, spread.high), bbox=box, **above)
    for result in results:
        if (goal := target(result)) is not None:
            place = list(bars).index(result.row.plugin)
            axes.hlines(goal, place - 0.45, place + 0.45, colors="#d62728", linewidth=2)
    first = results[0].row
    axes.set_title(first.title, fontsize=9)
    axes.set_ylabel(first.unit, fontsize=8)
    axes.set_xticks(range(len(bars)), [NAMES[plugin] for plugin in bars], fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.spines[["top", "right"]].set_visible(False)


def target(result: Result) -> float | None:
    """The target in the row's unit."""
    goal = result.row.target
    if goal is None or result.row.compare == "ours":
        return goal
    return None if result.official is None else goal * result.official.median
