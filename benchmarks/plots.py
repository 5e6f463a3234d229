"""One picture for each figure: a panel for each row, bars with the spread of the rounds, the target as a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Result


def draw(results: Sequence[Result], out: Path) -> Path | None:
    """Write `<figure>.png` into `out`. Without matplotlib (extra `bench`) there is no picture."""
    return None
