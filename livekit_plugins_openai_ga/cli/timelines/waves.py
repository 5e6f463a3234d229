"""Waveforms: the levels of a whole lane in as many steps as are worth drawing, and the outline of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .sound import STEP_MS, Levels

STEPS = 30_000
"""Of a lane, at most: more than a screen has at any zoom that is looked at."""

HEIGHT = 200
"""Of the outline; the middle is at half of it."""

_SILENT = 2


@dataclass(frozen=True, slots=True)
class Wave:
    """One lane: an SVG path, `HEIGHT` high, and how many units of it the whole lane is wide."""

    path: str
    units: float


def wave(pieces: Iterable[tuple[float, float, Levels | None]], duration_ms: float) -> Wave | None:
    """The outline of a lane; None when there is nothing to be seen.

    `pieces`: from, to (ms of the recording), levels (None: not kept).
    """
    step_ms = max(float(STEP_MS), duration_ms / STEPS)
    drawn: Levels = np.zeros(int(duration_ms / step_ms) + 1, np.uint8)
    for start, end, levels in pieces:
        if levels is None or not len(levels):
            continue
        # What was cut has more levels than time; what left in a burst has less time than levels.
        places = np.arange(len(levels)) * STEP_MS + start
        inside = places <= end
        steps = np.minimum((places[inside] / step_ms).astype(np.intp), len(drawn) - 1)
        np.maximum.at(drawn, steps, levels[inside])
    path = outline(drawn)
    return Wave(path, duration_ms / step_ms) if path else None


def outline(levels: Levels) -> str:
    """An SVG path around the levels, one unit for each, `HEIGHT` high; "" when all is silent."""
    heights = np.rint(np.sqrt(levels / 255.0) * (HEIGHT / 2 - 4)).astype(int)
    loud = np.flatnonzero(levels > _SILENT)
    if not len(loud):
        return ""
    runs = np.split(loud, np.flatnonzero(np.diff(loud) > 1) + 1)
    return "".join(_around(int(run[0]), heights[run].tolist()) for run in runs)


def _around(first: int, heights: list[int]) -> str:
    """There along the top, back along the bottom."""
    middle = HEIGHT // 2
    top = [f"M{first} {middle - heights[0]}h1"]
    for before, height in itertools.pairwise(heights):
        top.append(f"v{before - height}h1" if height != before else "h1")
    bottom = [f"V{middle + heights[-1]}h-1"]
    for before, height in itertools.pairwise(reversed(heights)):
        bottom.append(f"v{height - before}h-1" if height != before else "h-1")
    return "".join([*top, *bottom, "z"])
