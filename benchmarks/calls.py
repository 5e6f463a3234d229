"""Sessions that hear and speak in real time, and do neither between their turns."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Subject
from benchmarks.listeners import Listener, cpu_of, listening
from benchmarks.microphones import Microphones, alone

RATE, FRAME_MS = 24000, 50


@dataclass(frozen=True)
class Calls:
    """So many sessions of one model, each with a microphone.

    Attributes:
        subject: Whose.
        first: The place of the first one's connection in the server's `stats`.
        listeners: One for each session.
        microphones: Theirs.
    """

    subject: Subject
    first: int
    listeners: list[Listener]
    microphones: Microphones

    @classmethod
    async def opened(cls, subject: Subject, count: int, first: int = 0, **options: Any) -> Calls:
        """`first`: so many others are open on this server; `options`: of the model."""
        sessions = await subject.sessions(count, first=first, turn_detection=None, **options)
        pushes = [session.push_audio for session in sessions]
        return cls(subject, first, list(map(Listener, sessions)), Microphones(pushes, rate=RATE, frame_ms=FRAME_MS))

    async def floor_ms(self) -> float:
        """CPU ms per session and second that the microphones take by themselves."""
        return await alone(self.subject, len(self.listeners), rate=RATE, frame_ms=FRAME_MS)

    async def cpu_ms(self) -> float:
        """CPU ms per session and second while all of them hear and speak. That of the microphones is in it."""
        self.microphones.start()
        async with listening(self.subject, self.listeners):
            began = time.monotonic()
            cpu = await cpu_of(self.subject, self.listeners)
            ended = time.monotonic()
            self.microphones.stop()
        stats = await self.subject.server.stats()
        count = len(self.listeners)
        self.microphones.ages_ms(stats[self.first : self.first + count], began, ended)  # the audio came
        return cpu / count * 1000

    async def aclose(self) -> None:
        """Close the sessions."""
        for listener in self.listeners:
            await listener.session.aclose()
