"""Many schedules, on several cores."""

from __future__ import annotations

import concurrent.futures
import gc
import multiprocessing
from collections.abc import Iterator
from typing import Literal

from . import interpreting, listening, run
from .gaps import unknown
from .run import Outcome
from .schedule import schedule

BATCH = 50

What = Literal["calls", "speeches", "translations"]
PLAYS = {"calls": run.play, "speeches": listening.play, "translations": interpreting.play}


def played(start: int, count: int, jobs: int, *, what: What = "calls") -> Iterator[tuple[Outcome, list[str]]]:
    """Play the schedules from `start` on; each outcome in their order, with what is broken and no known gap."""
    # Not forked: a test run has threads, and a child that begins in the middle of one can hang.
    fresh = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=fresh, initializer=_spare_the_collector) as pool:
        starts = range(start, start + count, BATCH)
        sizes = [min(BATCH, start + count - first) for first in starts]
        for outcomes in pool.map(_batch, starts, sizes, [what] * len(starts)):
            yield from outcomes


def _spare_the_collector() -> None:
    """What was imported is not looked through again, and a run's objects seldom: that takes a twentieth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _batch(start: int, count: int, what: What) -> list[tuple[Outcome, list[str]]]:
    results = []
    for seed in range(start, start + count):
        outcome = PLAYS[what](seed)
        results.append((outcome, unknown(schedule(seed) if what == "calls" else None, outcome.violations)))
    return results
