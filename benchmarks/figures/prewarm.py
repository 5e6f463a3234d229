"""The first event at the server, counted from `session()`, over a line with a round trip of 50 ms and TLS's handshake.

Ours is measured with `prewarm()` before and without it; the official plugin has no such thing, so both of its numbers
are of a connection dialled by the session.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject

ONE_WAY_MS = 25.0
TLS_TRIPS = 3.0
TIMES = 6


async def first_event(subject: Subject, model: Any) -> float:
    """Of a new session, in ms."""
    before = sum("session.update" in seen["counts"] for seen in await subject.server.stats())
    began = time.monotonic()
    session = model.session()
    await session._update_session(instructions="Be brief.")
    await subject.server.opened(before + 1)  # the official plugin does not wait for the answer
    seen = (await subject.server.stats())[-1]
    await session.aclose()
    at: float = seen["events"][0][0]
    return (at - began) * 1000


async def measure(subject: Subject) -> dict[str, float]:
    await subject.server.behave(delay_ms=ONE_WAY_MS, handshake_trips=TLS_TRIPS)
    model = subject.model()
    open_in = (2 * TLS_TRIPS + 4) * ONE_WAY_MS / 1000
    dialled, warm = [], []
    for _ in range(subject.count(TIMES)):
        dialled.append(await first_event(subject, model))
        if subject.plugin != "official":
            model.prewarm()
            await asyncio.sleep(open_in)
        warm.append(await first_event(subject, model))
    return {"dialled": statistics.median(dialled), "warm": statistics.median(warm)}


FIGURE = Figure(
    name="prewarm",
    title="First event at the server, 50 ms round trip, TLS",
    measure=measure,
    fresh=False,
    rounds=3,
    rows=(
        Row("prewarmed", "warm", "ms", target=ONE_WAY_MS + 5, compare="ours"),
        Row("dialled by the session", "dialled", "ms"),
    ),
)
