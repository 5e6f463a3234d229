"""The caller begins to speak while the agent does: from the server's `input_audio_buffer.speech_started` to the event
on which LiveKit stops the agent's track, in its own process.

10 sessions in real time, each with a microphone (24 kHz, frames of 50 ms) and a reply that is being read. One after the
other is interrupted, as LiveKit does it, and asked for the next reply. Both clocks are this machine's.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from benchmarks.figures import Figure, Row, Subject, Turns

SESSIONS = 10
REPLY_S = 600.0
LIMIT_S = 10.0


class Call:
    """A session that speaks, until it is interrupted."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.interrupted: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._reading: list[asyncio.Task[None]] = []
        session.on("input_speech_started", self._speech_started)

    def _speech_started(self, _: Any) -> None:
        if not self.interrupted.done():
            self.interrupted.set_result(time.monotonic())
            self.session.interrupt()

    async def speak(self) -> None:
        """Ask for a reply, and wait until it is heard."""
        for reading in self._reading:
            reading.cancel()
        reply = await self.session.generate_reply()
        heard = asyncio.Event()
        message = await anext(aiter(reply.message_stream))
        self._reading = [
            asyncio.create_task(read(message.audio_stream, heard)),
            asyncio.create_task(read(message.text_stream, heard)),
        ]
        await heard.wait()
        self.interrupted = asyncio.get_running_loop().create_future()


async def read(stream: Any, heard: asyncio.Event) -> None:
    """As LiveKit does."""
    async for _ in stream:
        heard.set()


async def measure(subject: Subject) -> Turns:
    from benchmarks.microphones import Microphones, mean_and_p99

    count = subject.count(SESSIONS)
    await subject.server.behave(reply_s=REPLY_S)
    calls = list(map(Call, await subject.sessions(count)))
    for call in calls:
        await call.speak()
    microphones = Microphones([call.session.push_audio for call in calls], rate=24000, frame_ms=50)
    microphones.start()
    await subject.warm_up()
    delays: list[float] = []
    ending = time.monotonic() + subject.seconds
    for turn in itertools.count():
        if time.monotonic() > ending and len(delays) >= 2:
            break
        place = turn % count
        begun = {"item_id": f"item_turn{turn}", "audio_start_ms": 0, "event_id": f"event_turn{turn}"}
        sent = await subject.server.send({"type": "input_audio_buffer.speech_started", **begun}, connection=place)
        delays.append((await asyncio.wait_for(calls[place].interrupted, LIMIT_S) - sent) * 1000)
        stopped = {"item_id": begun["item_id"], "audio_end_ms": 500, "event_id": f"event_end{turn}"}
        await subject.server.send({"type": "input_audio_buffer.speech_stopped", **stopped}, connection=place)
        await calls[place].speak()
    microphones.stop()
    for call in calls:
        await call.session.aclose()
    mean, p99 = mean_and_p99(delays)
    return [{"mean": mean, "p99": p99}]


FIGURE = Figure(
    name="barge_in",
    title="Barge-in, `speech_started` sent to LiveKit told, 10 sessions",
    measure=measure,
    fresh=False,
    seconds=3.0,
    rounds=3,
    rows=(
        Row("mean", "mean", "ms", target=5.0, compare="ours"),
        Row("p99", "p99", "ms"),
    ),
)
