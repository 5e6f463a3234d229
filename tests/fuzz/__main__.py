"""`python -m tests.fuzz SEED` replays one frame; `--count N [--start M] [--jobs J]` decodes many, each from its seed.

Exit code 1 when one raised, or came out as something that it is not.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
import traceback
from collections import Counter

from livekit_plugins_openai_ga.wire import server_events as ev

from .decoding import decode, shown
from .frames import frame

BATCH = 10_000
OTHERS = ("Ignored", "Unknown", "Malformed")


def replay(seed: int) -> int:
    made = frame(seed)
    print(shown(made))
    try:
        print(decode(made))
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def batch(start: int, count: int) -> tuple[Counter[str], list[tuple[int, str]], float]:
    """What came of some seeds, those that broke, and the seconds that decoding alone took."""
    results: Counter[str] = Counter()
    broken = []
    spent = 0.0
    for seed in range(start, start + count):
        made = frame(seed)
        began = time.perf_counter()
        try:
            event = decode(made)
        except Exception as exc:
            broken.append((seed, f"{type(exc).__name__}: {exc}"[:300]))
            continue
        finally:
            spent += time.perf_counter() - began
        results[type(event).__name__] += 1
        if isinstance(event, ev.Malformed):
            results[f"Malformed {event.name}"] += 1
    return results, broken, spent


def many(start: int, count: int, jobs: int) -> int:
    began = time.perf_counter()
    results: Counter[str] = Counter()
    broken: list[tuple[int, str]] = []
    spent = 0.0
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        starts = range(start, start + count, BATCH)
        sizes = [min(BATCH, start + count - first) for first in starts]
        for counted, found, seconds in pool.map(batch, starts, sizes):
            results += counted
            broken += found
            spent += seconds
            for seed, problem in found[:5]:
                print(f"seed {seed}: {problem}", flush=True)
    took = time.perf_counter() - began
    kinds = {name: results[name] for name in (*(cls.__name__ for cls in ev.EVENTS.values()), *OTHERS)}
    whole = sum(kinds[cls.__name__] > 0 for cls in ev.EVENTS.values())
    refused = sum(results[f"Malformed {name}"] > 0 for name in ev.EVENTS)
    print(f"{count} frames in {took:.1f} s with {jobs} jobs, {count / took:.0f} a second")
    print(f"decoding and checking one: {1e6 * spent / count:.1f} us on average")
    print(f"{whole} of {len(ev.EVENTS)} events came out whole, {refused} of them also malformed")
    print(", ".join(f"{name}: {number}" for name, number in kinds.items()))
    print(f"{len(broken)} broken")
    if broken:
        print(f"replay: python -m tests.fuzz {broken[0][0]}")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this frame")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    return replay(given.seed) if given.seed is not None else many(given.start, given.count, given.jobs)


if __name__ == "__main__":
    sys.exit(main())
