"""The first words of a new session at the server, counted from `session()`, over a line with a round trip of 50 ms and
TLS's handshake: its first event, and its request for a first reply, which waits for the configuration.

Ours is measured with `prewarm()` before, with and without the agent's instructions, and without it. The official plugin
has no such thing, so all of its numbers are of a connection dialled by the session; and it does not wait for the answer
to its configuration.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

ONE_WAY_MS = 25.0
TLS_TRIPS = 3.0
TIMES = 3
INSTRUCTIONS = "Be brief."


async def first_words(subject: Subject, model: Any) -> tuple[float, float]:
    """Of a new session: its first event and its first `response.create`, in ms."""
    began = time.monotonic()
    session = model.session()
    await session._update_session(instructions=INSTRUCTIONS)
    reply = session.generate_reply()
    seen: list[tuple[float, str]] = []
    while "response.create" not in [kind for _, kind in seen]:
        await asyncio.sleep(0.01)
        connections = await subject.server.stats()
        seen = [(at, kind) for connection in connections for at, kind in connection["events"] if at >= began]
    await asyncio.wait({reply}, timeout=2.0)
    await session.aclose()
    asked = next(at for at, kind in seen if kind == "response.create")
    return (seen[0][0] - began) * 1000, (asked - began) * 1000


async def measure(subject: Subject) -> Turns:
    await subject.server.behave(delay_ms=ONE_WAY_MS, handshake_trips=TLS_TRIPS)
    model = subject.model()
    open_in = (2 * TLS_TRIPS + 6) * ONE_WAY_MS / 1000
    ways: dict[str, dict[str, Any] | None] = {"dialled": None, "warm": {}, "whole": {"instructions": INSTRUCTIONS}}
    found: dict[str, list[float]] = {f"{way}_{what}": [] for way in ways for what in ("event", "reply")}
    for _ in range(subject.count(TIMES)):
        for way, known in ways.items():
            if known is not None and subject.plugin != "official":
                model.prewarm(**known)
                await asyncio.sleep(open_in)
            event, reply = await first_words(subject, model)
            found[f"{way}_event"].append(event)
            found[f"{way}_reply"].append(reply)
    return [{name: statistics.median(times) for name, times in found.items()}]


FIGURE = Figure(
    name="prewarm",
    title="First words at the server, 50 ms round trip, TLS",
    measure=measure,
    fresh=False,
    rounds=3,
    rows=(
        Row("first event, prewarmed", "warm_event", "ms", target=ONE_WAY_MS + 5, compare="ours"),
        Row("first event, dialled by the session", "dialled_event", "ms"),
        Row("reply, prewarmed with instructions", "whole_reply", "ms", target=ONE_WAY_MS + 5, compare="ours"),
        Row("reply, prewarmed", "warm_reply", "ms"),
        Row("reply, dialled by the session", "dialled_reply", "ms"),
    ),
)
