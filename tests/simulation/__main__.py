"""`python -m tests.simulation SEED` replays one schedule; `--count N [--start M] [--jobs J]` plays many.
`--stt`: speech to text instead of a conversation; `--translation`: translation.

Exit code 1 when something did not hold.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter

from . import interpreting, listening, run
from . import schedule as schedule_module
from .jobs import PLAYS, What, played
from .run import Outcome

OPTIONS: dict[What, str] = {"calls": "", "speeches": "--stt ", "translations": "--translation "}
SCHEDULES = {"speeches": listening.schedule, "translations": interpreting.schedule}


def replay(seed: int, *, what: What, layers: int, verbose: bool) -> int:
    calls = what == "calls"
    print((schedule_module.schedule(seed, layers=layers) if calls else SCHEDULES[what](seed)).told())
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)d %(name)s %(levelname)s %(message)s")
    outcome = run.play(seed, layers=layers, log=verbose) if calls else PLAYS[what](seed, log=verbose)
    print(f"{outcome.virtual_s:.1f} s, trace {outcome.trace}, {outcome.facts}")
    for violation in outcome.violations:
        print("VIOLATION", violation)
    return 1 if outcome.violations else 0


def many(start: int, count: int, jobs: int, *, what: What) -> int:
    began = time.perf_counter()
    facts: Counter[str] = Counter()
    bad: list[Outcome] = []
    gaps = 0
    for outcome, found in played(start, count, jobs, what=what):
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
        print(f"replay: python -m tests.simulation {OPTIONS[what]}{bad[0].seed}")
    return 1 if bad else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this schedule")
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.set_defaults(what="calls")
    for what, option in (("speeches", "--stt"), ("translations", "--translation")):
        parser.add_argument(option, action="store_const", dest="what", const=what, help="instead of a conversation")
    parser.add_argument("--layers", type=int, default=schedule_module.LAYERS, help="0: without what was added later")
    parser.add_argument("--verbose", action="store_true", help="with all log records")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed, what=given.what, layers=given.layers, verbose=given.verbose)
    return many(given.start, given.count, given.jobs, what=given.what)


if __name__ == "__main__":
    sys.exit(main())
