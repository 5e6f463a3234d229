"""From `session()` to a configured session, with instructions, two tools and a history of 20 items, 50 ms round trip.

Configured is when the answer to the last of these reaches the client: one way after the server has it. Counted in round
trips after the upgrade, which takes as long for both plugins; and in ms from `session()` on.

The official plugin sends the instructions as soon as the socket is open, waits for the history, and sends the tools
then.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

ONE_WAY_MS = 25.0
SETUP = ("session.update", "conversation.item.create")
ITEMS = 20
TIMES = 5


def agent() -> dict[str, Any]:
    """What an agent starts with."""
    from livekit.agents import function_tool, llm

    @function_tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        return city

    @function_tool
    async def book_table(people: int, time: str) -> str:
        """Book a table."""
        return f"{people} {time}"

    history = llm.ChatContext()
    for number in range(ITEMS):
        history.add_message(role="assistant" if number % 2 else "user", content=f"This is sentence {number}.")
    return {"instructions": "Be brief.", "chat_ctx": history, "tools": [get_weather, book_table]}


async def measure(subject: Subject) -> Turns:
    await subject.server.behave(delay_ms=ONE_WAY_MS)
    model = subject.model()
    trips, ms = [], []
    for number in range(1 + subject.count(TIMES)):
        began = time.monotonic()
        session = model.session()
        await session._update_session(**agent())
        await asyncio.sleep(4 * ONE_WAY_MS / 1000)  # what is sent and not waited for
        seen = (await subject.server.stats())[-1]
        await session.aclose()
        if number:  # the first one warms up
            configured = max(at for at, kind in seen["events"] if kind in SETUP) + ONE_WAY_MS / 1000
            trips.append((configured - seen["opened"]) * 1000 / (2 * ONE_WAY_MS))
            ms.append((configured - began) * 1000)
    return [{"trips": statistics.median(trips), "ms": statistics.median(ms)}]


FIGURE = Figure(
    name="ready",
    title="Ready, `session()` to configured, 50 ms round trip",
    measure=measure,
    fresh=False,
    rounds=3,
    rows=(
        Row("after the upgrade", "trips", "round trips", target=2.0, compare="ours"),
        Row("from `session()` on", "ms", "ms"),
    ),
)
