"""The tables of docs/performance.md, from results.json: `python -m benchmarks.page`. A test holds them together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.report import number

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured -->", "<!-- /measured -->"


def lines(made: Mapping[str, Any]) -> Iterator[str]:
    """Markdown of a `results.json`: a table for each figure, with its plot."""
    for figure, group in groupby(made["rows"], key=lambda row: row["figure"]):
        rows = list(group)
        yield f"\n**{rows[0]['name'].partition(': ')[0]}** ([plot](../benchmarks/{figure}.png))\n"
        yield "| | ours | official | ratio (interval) | target | |\n|---|---|---|---|---|---|"
        for row in rows:
            yield line(row)


def line(row: Mapping[str, Any]) -> str:
    """One row: medians, and of the ratio the interval in which its median is."""
    official = "-" if row["official"] is None else number(row["official"])
    spread, ratio = row["spread"]["ratio"], "-"
    if spread is not None:
        ratio = f"{spread['median']:.2f} ({spread['low']:.2f} to {spread['high']:.2f})"
    of = " x official" if row["target_of"] == "ratio" else ""
    target = "" if row["target"] is None else f"{number(row['target'])}{of}"
    name = f"{row['name'].partition(': ')[2]} ({row['unit']})"
    return f"| {name} | {number(row['ours'])} | {official} | {ratio} | {target} | {row['verdict']} |"


def with_table(page: str, made: Mapping[str, Any]) -> str:
    """The page with this table in it. Raises ValueError when it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no place for the table: {BEGIN} ... {END}.")
    return "\n".join([before + begin, *lines(made), "", end + after])


def main() -> None:
    """Write the page anew."""
    made = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
