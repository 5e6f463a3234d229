"""`python -m tests.simulation SEED` replays one schedule; `--count N [--start M] [--jobs J]` plays many.
`--stt`: speech to text instead of a conversation.

Exit code 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from . import listening, run
from . import schedule as schedule_module
from .jobs import played
from .run import Outcome


def replay(seed: int, *, stt: bool, layers: int, verbose: bool) -> int:
    print((listening.schedule(seed) if stt else schedule_module.schedule(seed, layers=layers)).told())
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)d %(name)s %(levelname)s %(message)s")
    outcome = listening.play(seed, log=verbose) if stt else run.play(seed, layers=layers, log=verbose)
    print(f"{outcome.virtual_s:.1f} s, trace {outcome.trace}, {outcome.facts}")
    for violation in outcome.violations:
        print("VIOLATION", violation)
    return 1 if outcome.violations else 0


def many(start: int, count: int, jobs: int, *, stt: bool) -> int:
    began = time.perf_counter()
    facts: Counter[str] = Counter()
    bad: list[Outcome] = []
    gaps = 0
    for outcome, found in played(start, count, jobs, stt=stt):
        facts.update(outcome.facts)
        gaps += bool(outcome.violations) and not found
        if found:
            bad.append(outcome)
            print(f"seed {outcome.seed}: " + "; ".join(found)[:600], flush=True)
    took = time.perf_counter() - began
    print(f"{count} schedules in {took:.1f} s, {count / took:.0f} a second with {jobs} jobs")
    print(f"{len(bad)} of them broken, {gaps} more by known gaps")
    print(", ".join(f"{name}: {number}" for name, number in facts.items()))
    if bad:
        print(f"replay: python -m tests.simulation {'--stt ' if stt else ''}{bad[0].seed}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this schedule")
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stt", action="store_true", help="speech to text instead of a conversation")
    parser.add_argument("--layers", type=int, default=schedule_module.LAYERS, help="0: without what was added later")
    parser.add_argument("--verbose", action="store_true", help="with all log records")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed, stt=given.stt, layers=given.layers, verbose=given.verbose)
    return many(given.start, given.count, given.jobs, stt=given.stt)


if __name__ == "__main__":
    sys.exit(main())
