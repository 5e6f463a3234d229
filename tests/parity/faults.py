"""`python -m tests.parity.faults [WORD ...]`: each fault through livekit-plugins-openai and through this plugin.

Prints what was measured, of the faults whose names have one of the words, as a table. Without words it also goes into
docs/reliability.md, a table for each group, and into README.md, those that matter most. What stands there is what
`test_faults.py` expects. Exit code 1 when something came out otherwise than that.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import connection_faults, reply_faults, stt_faults
from .fault_stage import Row, fault_stage
from .stage import PLUGINS
from .stt_stage import stt_stage

ROOT = Path(__file__).parents[2]
PAGE, README = ROOT / "docs" / "reliability.md", ROOT / "README.md"
HEAD = ("What happens", "livekit-plugins-openai 1.8.9", "this plugin")
ROWS: tuple[Row, ...] = (*connection_faults.ROWS.all, *reply_faults.ROWS.all, *stt_faults.ROWS.all)
AT_ONCE = 10
"""Rows that are played side by side: most of the time is spent waiting for what may never come."""


@dataclass(frozen=True)
class Outcome:
    """What comes of a fault in both plugins, in words."""

    official: str
    ours: str


async def outcome(row: Row, plugin: str) -> str:
    """What one plugin makes of one fault, measured."""
    stage = stt_stage if row in stt_faults.ROWS.all else fault_stage
    try:
        async with stage(row.of(plugin), plugin) as do:
            return "; ".join(await row.play(do))
    except (AssertionError, LookupError, TimeoutError, asyncio.TimeoutError) as exc:
        return f"not measured: {exc!r}"


async def measured(rows: Iterable[Row]) -> dict[str, Outcome]:
    """What comes of the rows, by name."""
    places = asyncio.Semaphore(AT_ONCE)

    async def measure(row: Row) -> tuple[str, Outcome]:
        async with places:
            made = await asyncio.gather(*(outcome(row, plugin) for plugin in PLUGINS))
        return row.name, Outcome(*made)

    return dict(await asyncio.gather(*map(measure, rows)))


def groups(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each table of the page, in order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.values())


def quoted(rows: Iterable[Row]) -> list[Row]:
    """The rows of the README."""
    return [row for row in rows if row.quoted]


def line(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def table(rows: Iterable[Row], outcomes: Mapping[str, Outcome]) -> list[str]:
    """The lines of a table."""
    made = [(row.name, outcomes[row.name]) for row in rows]
    return [line(HEAD), "|---|---|---|", *(line((name, each.official, each.ours)) for name, each in made)]


def told(page: str) -> dict[str, Outcome]:
    """What the tables of a page say, by the fault's name."""
    names = {row.name for row in ROWS}
    rows = [text[2:-2].split(" | ") for text in page.splitlines() if text.startswith("| ")]
    return {cells[0]: Outcome(*cells[1:]) for cells in rows if len(cells) == 3 and cells[0] in names}


def with_tables(page: str, tables: Sequence[list[str]]) -> str:
    """The page with its tables, which begin with `HEAD`, replaced by these. Raises ValueError if it has not as many."""
    left, lines, inside = list(tables), [], False
    for text in page.splitlines():
        if text == line(HEAD):
            if not left:
                raise ValueError("the page has more tables than there are groups of faults")
            lines += left.pop(0)
            inside = True
        inside = inside and text.startswith("|")
        if not inside:
            lines.append(text)
    if left:
        raise ValueError(f"the page has no place for {len(left)} tables")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, write."""
    logging.disable(logging.CRITICAL)
    words = sys.argv[1:]
    chosen = [row for row in ROWS if not words or any(word in row.name for word in words)]
    before = told(PAGE.read_text(encoding="utf-8"))
    made = asyncio.run(measured(chosen))
    print("\n".join(table(chosen, made)))
    for name in (other := [row.name for row in chosen if made[row.name] != before.get(row.name)]):
        print(f"not as docs/reliability.md had it: {name}", file=sys.stderr)
    if not words:
        for page, tables in (
            (PAGE, [table(rows, made) for rows in groups(ROWS)]),
            (README, [table(quoted(ROWS), made)]),
        ):
            page.write_text(with_tables(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return bool(other)


if __name__ == "__main__":
    sys.exit(main())
