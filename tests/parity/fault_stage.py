"""Where a fault is played: a plugin's session on an emulator behind a TCP proxy, and the words for what came of it.

Words are computed from what was observed, and there are few of them, so that two plugins can be put side by side.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
from livekit import rtc
from livekit.agents import APIStatusError, llm

from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.realtime import shell

from ..faults.proxy import TcpProxy
from .stage import OPTIONS, PLUGINS, TIMEOUT_S, Scene, SessionStage, frames

FOREVER = 1000
MANY = 10
"""Connections in a row after which it is clear that there will always be another."""
WATCH_S = 4.0
"""How long something that may never come is waited for."""
LOUD = 8000
"""Samples from this on count frames; it is loud enough to be speech."""
BEGINS = "begins"
REPLY_LIMIT_S = 12.0
"""A little longer than either plugin gives a reply to begin."""
PATIENCE_S = 0.5
"""How long ours waits for a calm moment before a planned change of connection; 30 s unless a row is to be quick."""


@dataclass(frozen=True, eq=False)
class Row(Scene):
    """A fault. `play` returns the words for what came of it; `name` is what the table calls it.

    Attributes:
        group: the part of docs/reliability.md it belongs to.
        quoted: whether the README shows it, too.
        ours: options that only this plugin has.
    """

    group: str = ""
    quoted: bool = False
    ours: dict[str, Any] = field(default_factory=dict)

    def of(self, plugin: str) -> Row:
        """The row as one plugin plays it."""
        return replace(self, options={**self.options, **self.ours}) if plugin == "ours" else self


Play = Callable[[Any], Awaitable[Iterable[str]]]


class Rows:
    """Collects the rows of a module; `rows(group, name, ...)` decorates what is played."""

    def __init__(self) -> None:
        self.all: list[Row] = []

    def __call__(self, group: str, name: str, **how: Any) -> Callable[[Play], None]:
        def keep(play: Play) -> None:
            self.all.append(Row(name, play, group=group, **how))

        return keep


@dataclass
class Reply:
    """What was read of one reply."""

    text: str = ""
    audio_s: float = 0.0
    calls: list[llm.FunctionCall] = field(default_factory=list)


class FaultStage(SessionStage):
    """A bare session, the words for what happens to it, and audio whose every 20 ms can be told apart."""

    def __init__(self, server: Emulator, proxy: TcpProxy, model: Any, session: Any) -> None:
        super().__init__(server, model, session)
        self.proxy = proxy
        self.heard: list[Reply] = []
        self.pushed: list[int] = []
        session.on("response_incomplete", lambda event: self.note("response_incomplete", event))

    async def _read(self, reply: llm.GenerationCreatedEvent) -> list[str]:
        self.heard.append(read := Reply())
        async for message in reply.message_stream:
            async for piece in message.text_stream:
                read.text += str(piece)
            async for frame in message.audio_stream:
                read.audio_s += frame.duration
                self.stir()
        async for call in reply.function_stream:
            read.calls.append(call)
        self.stir()
        return []

    # What is waited for.

    async def within(self, seconds: float, condition: Callable[[], object]) -> bool:
        """Whether it comes true in time. Asked every 10 ms: it may be about the server, the proxy or the plugin."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not condition():
            if loop.time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    async def configured(self) -> None:
        """The first connection has its configuration."""
        await self.server.wait_sent("session.updated", timeout=TIMEOUT_S)

    def said(self, text: str) -> int:
        """How many replies have said all of it."""
        return sum(text in reply.text for reply in self.heard)

    async def says(self, text: str) -> bool:
        """Whether a reply says all of it before every reply has ended, or soon after that."""
        await self.within(TIMEOUT_S, lambda: self.said(text) or (self.reading and self.all_read()))
        return await self.within(1.0, lambda: self.said(text))

    def all_read(self) -> bool:
        """Whether every reply that began has ended."""
        return all(task.done() for task in self.reading)

    async def read(self) -> None:
        """Wait until a reply has begun and ended."""
        await self.until(lambda: self.reading and self.all_read())

    def cut(self) -> None:
        """The connection breaks."""
        self.proxy.cut("rst")

    # Audio.

    def push(self, seconds: float) -> None:
        """The user speaks for so long."""
        for number, frame in marked(len(self.pushed), seconds):
            self.session.push_audio(frame)
            self.pushed.append(number)

    def pause(self, seconds: float) -> None:
        """The user is silent for so long."""
        for frame in frames(bytes(round(seconds * 48_000))):
            self.session.push_audio(frame)

    def audio(self, session: Any) -> str:
        """How much of what was pushed one of the server's sessions has."""
        return audio(self.pushed, arrived(session))

    # Words.

    @property
    def final(self) -> Any:
        """The error that ended the session."""
        return next((event.error for event in self.events("error") if not event.recoverable), None)

    @property
    def connections(self) -> int:
        """How often the plugin has connected."""
        return len(self.server.handshakes)

    async def ending(self) -> str:
        """How the session ends, or that it does not."""
        await self.within(TIMEOUT_S, lambda: self.final or self.connections > MANY)
        if self.final:
            return f"over after {counted(self.connections, 'connection')}, error {code(self.final)}"
        if self.connections > MANY:
            return f"connects again and again (more than {MANY} times), no final error"
        return "no final error"

    async def becomes(self, future: asyncio.Future[Any]) -> str:
        """What becomes of a reply that was asked for."""
        began = asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({future}, timeout=REPLY_LIMIT_S)
        if not done:
            return "hangs"
        if (exc := future.exception()) is None:
            return BEGINS
        if asyncio.get_running_loop().time() - began > 9.0:
            return "fails after 10 s"
        return f"fails {code(exc)}"

    async def goes_on(self, connection: int = 2) -> str:
        """Whether the session comes back, on this connection or a later one."""
        await self.within(WATCH_S, lambda: self.final or self._confirmed(connection))
        if self._confirmed(connection):
            return "a new connection"
        return "the session is over" if self.final else f"no new connection within {WATCH_S:g} s"

    async def connects(self, connection: int = 1) -> str:
        """Whether there is a connection that works, this one or a later one."""
        await self.within(WATCH_S, lambda: self.final or self._confirmed(connection))
        return "connects" if self._confirmed(connection) else "does not connect"

    def _confirmed(self, connection: int) -> bool:
        sessions: list[Any] = self.server.sessions[connection - 1 :]
        return any(event["type"] == "session.updated" for session in sessions for event in session.sent)


def marked(first: int, seconds: float) -> Iterator[tuple[int, rtc.AudioFrame]]:
    """So much loud audio in frames of 20 ms, each with a number that can be read from it."""
    for number in range(first, first + round(seconds * 50)):
        yield number, rtc.AudioFrame(np.full(480, LOUD + number, "<i2").tobytes(), 24000, 1, 480)


def arrived(session: Any) -> list[int]:
    """The numbers of the frames that one of the server's sessions got, in its order."""
    appends = (event["audio"] for event in session.received if event["type"] == "input_audio_buffer.append")
    samples = np.frombuffer(b"".join(base64.b64decode(audio) for audio in appends), "<i2")
    first = samples[: len(samples) // 480 * 480 : 480].astype(int) - LOUD
    return [int(number) for number in first if number >= 0]


def audio(pushed: list[int], there: list[int]) -> str:
    """How much of what was pushed has arrived."""
    if there == pushed:
        return "no user audio lost"
    if missing := set(pushed) - set(there):
        return f"user audio lost: {len(missing) / 50:.1f} s"
    return "user audio repeated or out of order"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def code(exc: Any) -> str:
    """What an exception says about its cause."""
    if isinstance(exc, APIStatusError) and 0 < exc.status_code < 1000:  # else a close code
        return f"with HTTP {exc.status_code}"
    found = exc.code if isinstance(exc, llm.RealtimeError) else getattr(getattr(exc, "body", None), "code", None)
    return f"with `{found}`" if found else "without a code"


@asynccontextmanager
async def fault_stage(scene: Scene, plugin: str) -> AsyncIterator[FaultStage]:
    """A session of one plugin on an emulator of its own, with a proxy in between."""
    options = {**OPTIONS, **scene.options}
    async with scene.server() as server, TcpProxy(urlsplit(server.base_url).port or 0) as proxy:
        model = PLUGINS[plugin].realtime.RealtimeModel(**{**options, "base_url": proxy.base_url})
        with mock.patch.object(shell, "RECYCLE_PATIENCE_S", PATIENCE_S):
            session = model.session()
        try:
            yield FaultStage(server, proxy, model, session)
        finally:
            closing = asyncio.ensure_future(session.aclose())
            await asyncio.wait({closing}, timeout=1.0)
            await server.aclose()  # the official one waits for the answer of a peer that is dead
            with suppress(Exception):  # and raises what ended the session
                await closing
            await model.aclose()
