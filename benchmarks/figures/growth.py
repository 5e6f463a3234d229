"""A turn with a function call, in conversations of 10 to 10,000 items: `chat_ctx`, LiveKit's copy of it, one item more,
`update_chat_ctx`, until the server has answered. CPU per turn, median; what LiveKit's own copy takes of it is shown.

And a long history at once, as a call that is taken over brings it: CPU until the last answer, and the longest time for
which nothing else ran in the event loop, audio included.

The official plugin compares all items of both sides in each turn, and looks each new item up in a list.

Each round has new processes: in kept ones the same turn took up to three times as long in one round as in another, in
either plugin, and not in both at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

SIZES = (10, 100, 1_000, 10_000)
STEP = 200
"""So many items are added at a time while a conversation is brought to its size."""
TURNS = 25
WARM_TURNS = 3
BULK = 3_000
TICK_S = 0.001
LEAST_MS = 0.001
"""What is less than this is not known."""


def sentences(start: int, stop: int) -> list[Any]:
    """What was said."""
    from livekit.agents import llm

    return [
        llm.ChatMessage(
            id=f"item_{number}", role="assistant" if number % 2 else "user", content=[f"Sentence {number}."]
        )
        for number in range(start, stop)
    ]


async def turn(session: Any, number: int) -> tuple[float, float]:
    """CPU seconds of a turn, and of LiveKit's copy in it."""
    from livekit.agents import llm

    began = time.process_time()
    context = session.chat_ctx
    before = time.process_time()
    context = context.copy()
    copied = time.process_time() - before
    context.items.append(
        llm.FunctionCallOutput(id=f"output_{number}", call_id=f"call_{number}", name="f", output="ok", is_error=False)
    )
    await session.update_chat_ctx(context)
    return time.process_time() - began, copied


async def turns(subject: Subject, size: int) -> tuple[float, float]:
    """ms of CPU per turn in a conversation of so many items, and of LiveKit's copy in it."""
    session = subject.model().session()
    for start in range(0, size, STEP):
        context = session.chat_ctx.copy()
        context.items.extend(sentences(start, min(size, start + STEP)))
        await session.update_chat_ctx(context)
    spent = [await turn(session, number) for number in range(WARM_TURNS + subject.count(TURNS))][WARM_TURNS:]
    await session.aclose()
    whole, copied = zip(*spent, strict=True)
    return statistics.median(whole) * 1000, statistics.median(copied) * 1000


async def longest_step(into: list[float]) -> None:
    """Note how much later than it asked for this runs, in seconds."""
    while True:
        asked = time.monotonic()
        await asyncio.sleep(TICK_S)
        into.append(time.monotonic() - asked - TICK_S)


async def bulk(subject: Subject, size: int) -> tuple[float, float]:
    """CPU ms of a history that is sent at once, and ms for which the loop was held."""
    from livekit.agents import llm

    session = subject.model().session()
    await session.update_instructions("Be brief.")
    context = llm.ChatContext(sentences(0, size))
    gc.collect()  # one that is due anyway takes 0.1 s here, and fell into some rounds and not into others
    held: list[float] = []
    watch = asyncio.create_task(longest_step(held))
    await asyncio.sleep(0.05)
    began = time.process_time()
    with contextlib.suppress(llm.RealtimeError):  # the official plugin waits 5 s
        await session.update_chat_ctx(context)
    spent = time.process_time() - began
    await asyncio.sleep(0.05)
    watch.cancel()
    await session.aclose()
    return spent * 1000, max(held) * 1000


async def measure(subject: Subject) -> Turns:
    found: dict[str, float] = {}
    for size in SIZES:
        found[f"turn_{size}"], found["copy"] = await turns(subject, min(size, 20) if subject.quick else size)
    found["grown"] = max(found[f"turn_{SIZES[-1]}"] - found[f"turn_{SIZES[0]}"], LEAST_MS)
    found["beyond"] = max(found["grown"] - found["copy"], LEAST_MS) / found["copy"]
    found["bulk"], found["held"] = await bulk(subject, 30 if subject.quick else BULK)
    return [found]


FIGURE = Figure(
    name="growth",
    title="A turn in a long conversation",
    measure=measure,
    rounds=5,
    rows=(
        *(Row(f"{size:,} items", f"turn_{size}", "ms CPU") for size in SIZES),
        Row("10,000 items, LiveKit's own copy in it", "copy", "ms CPU"),
        Row("what 9,990 items add to a turn", "grown", "ms CPU", target=0.25),
        Row("the same without LiveKit's copy, in copies", "beyond", "copies", target=2.5, compare="ours"),
        Row(f"{BULK:,} items at once", "bulk", "ms CPU", target=1.0),
        Row(f"{BULK:,} items at once, the loop is held", "held", "ms", target=1.0),
    ),
)
