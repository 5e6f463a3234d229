"""An hour of turns as fast as they go, in a conversation that is kept at 20 items: what is left behind in memory.

A turn: the user speaks and is transcribed, the agent answers with a second of speech, a message is added to the history
and the oldest ones are taken out. 400 turns are an hour of nine seconds each. Counted is what Python holds more at the
end than after a warm-up (`tracemalloc`). Time itself is played in `tests/simulation/test_hour.py`, with reconnects.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

TURNS = 400
WARM = 100
KEPT = 20
REPLY_S = 1.0
LEAST_BYTES = 100
"""What is less than this says nothing: it can be below zero, too."""


async def read(reply: Any) -> None:
    """Hear all of a reply."""
    async for message in reply.message_stream:
        async for _ in message.audio_stream:
            pass
        async for _ in message.text_stream:
            pass


async def turn(session: Any, frame: Any, number: int) -> None:
    """One turn."""
    session.push_audio(frame)
    session.commit_audio()
    await read(await session.generate_reply())
    context = session.chat_ctx.copy()
    context.add_message(role="system", content=f"It is minute {number}.")
    del context.items[: -KEPT or None]
    await session.update_chat_ctx(context)


async def measure(subject: Subject) -> Turns:
    from livekit import rtc

    await subject.server.behave(pace=0.0, reply_s=REPLY_S)
    session = subject.model(turn_detection=None).session()
    await session.update_instructions("Be brief.")
    frame = rtc.AudioFrame(bytes(48 * 500), 24000, 1, 24 * 500)
    for number in range(subject.count(WARM)):
        await turn(session, frame, number)
    gc.collect()
    tracemalloc.start()
    for number in range(subject.count(WARM)):  # what was there before is replaced by what is counted
        await turn(session, frame, number)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    turns = subject.count(TURNS)
    for number in range(turns):
        await turn(session, frame, number)
    await asyncio.sleep(0.1)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await session.aclose()
    return [{"grown": max(after - before, LEAST_BYTES) / 1024}]


FIGURE = Figure(
    name="hour",
    title="What an hour of turns leaves behind",
    measure=measure,
    rounds=3,
    rows=(Row("400 turns, conversation kept at 20 items", "grown", "KiB", target=64.0, compare="ours"),),
)
