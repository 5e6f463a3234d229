"""Memory of an idle session: open and configured, nobody speaks, no TLS. 300 of them in one process.

Twice: what the process took from the system for them (RSS), which is what a machine needs; and, for as many others,
what Python allocated (`tracemalloc`), without the buffers of libraries in C, which the official plugin's HTTP library
has.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

SESSIONS = 300
WARM = 50
PAGE_BYTES = 4096


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


async def idle(subject: Subject, model: Any, count: int, before: int) -> list[Any]:
    """So many sessions, each open and configured; `before`: those that are open already."""
    sessions = []
    for _ in range(count):
        sessions.append(model.session())
        await sessions[-1]._update_session(instructions="You are a friendly voice assistant. Be brief.")
    await subject.server.opened(before + count)
    await subject.warm_up()
    gc.collect()
    return sessions


async def measure(subject: Subject) -> Turns:
    model, count = subject.model(), subject.count(SESSIONS)
    await subject.server.reset()
    sessions = await idle(subject, model, WARM, 0)  # what is made once
    before = resident()
    sessions += await idle(subject, model, count, len(sessions))
    rss = resident() - before
    tracemalloc.start()
    sessions += await idle(subject, model, count, len(sessions))
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for start in range(0, len(sessions), 20):
        await asyncio.gather(*(session.aclose() for session in sessions[start : start + 20]))
    return [{"traced": traced / count / 1024, "rss": rss / count / 1024}]


FIGURE = Figure(
    name="memory",
    title="Memory of an idle session, no TLS",
    measure=measure,
    rounds=3,
    rows=(
        Row("resident", "rss", "KiB", target=0.7),
        Row("allocated by Python", "traced", "KiB"),
    ),
)
