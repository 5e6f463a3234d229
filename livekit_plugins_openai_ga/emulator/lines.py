"""One WebSocket of the emulator: frames in, one at a time, and a session's actions out."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from typing import Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from .actions import Action, Close, Drop, Freeze, Send, SendRaw, Wait
from .framing import FramedSession

_ON_THE_WAY = 1024
"""Frames that a slow way holds; behind them the client has to wait."""


class Source(Protocol):
    """Where frames come from: a connection, or one that is far away."""

    async def recv(self) -> str | bytes:
        """The next frame. Raises ConnectionClosed."""


class Late:
    """A connection whose frames take so many seconds longer to come, in their order."""

    def __init__(self, connection: ServerConnection, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._frames: asyncio.Queue[tuple[float, str | bytes | ConnectionClosed]] = asyncio.Queue(_ON_THE_WAY)
        self._pumping: asyncio.Task[None] | None = None

    async def recv(self) -> str | bytes:
        """The next frame, when it is due. Raises ConnectionClosed, behind the last one."""
        self._pumping = self._pumping or asyncio.ensure_future(self._pump())
        due, frame = await self._frames.get()
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        if isinstance(frame, ConnectionClosed):
            raise frame
        return frame

    async def _pump(self) -> None:
        frame: str | bytes | ConnectionClosed
        while True:
            try:
                frame = await self._connection.recv()
            except ConnectionClosed as closed:
                frame = closed
            await self._frames.put((asyncio.get_running_loop().time() + self._seconds, frame))
            if isinstance(frame, ConnectionClosed):
                return

    async def aclose(self) -> None:
        """Receive no more."""
        if self._pumping is not None:
            self._pumping.cancel()
            await asyncio.gather(self._pumping, return_exceptions=True)


class Frames:
    """What one connection receives, a frame at a time: the next one is not asked for before this one is taken.

    One task reads for as long as the connection lasts; a task for each frame would cost more than most frames do.
    """

    def __init__(self, connection: Source) -> None:
        self._connection = connection
        self._frame: str | bytes | None = None
        self._stirred = asyncio.Event()
        self._taken = asyncio.Event()
        self._reading = asyncio.ensure_future(self._read())
        self._reading.add_done_callback(lambda _: self._stirred.set())

    async def _read(self) -> None:
        while True:
            self._frame = await self._connection.recv()
            self._stirred.set()
            await self._taken.wait()
            self._taken.clear()

    async def next(self, deadline: float | None) -> str | bytes | None:
        """The next frame; None when the deadline comes first. Raises ConnectionClosed."""
        alarm = None if deadline is None else asyncio.get_running_loop().call_at(deadline, self._stirred.set)
        await self._stirred.wait()
        self._stirred.clear()
        if alarm is not None:
            alarm.cancel()
        frame, self._frame = self._frame, None
        if frame is not None:
            self._taken.set()
        elif self._reading.done():
            self._reading.result()
        return frame

    async def aclose(self) -> None:
        """Receive no more."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


class Line:
    """Carries a session's actions out on its connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.closed: Close | None = None
        self.session: FramedSession | None = None
        self.frozen = False

    async def perform(self, actions: Sequence[Action]) -> None:
        """Do them, one after another. Raises ConnectionClosed when the client has gone."""
        for action in actions:
            if self.frozen:
                return
            if self.connection.state is not State.OPEN:
                # To a client that has said goodbye, sending would wait until the line is down.
                self.connection.transport.abort()
            if isinstance(action, Send):
                await self.connection.send(json.dumps(action.event))
            elif isinstance(action, SendRaw):
                await self.connection.send(action.data)
            elif isinstance(action, Wait):
                # Not a plain sleep: whoever ends the connection need not wait for the end of it.
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.connection.wait_closed(), action.seconds)
            elif isinstance(action, Close):
                self.closed = action
                await self.connection.close(action.code, action.reason)
            elif isinstance(action, Drop):
                self.connection.transport.abort()
            elif isinstance(action, Freeze):
                self.frozen = True
                if self.session is not None:
                    self.session.connection_frozen()
                # Below the WebSocket layer: it would go on answering pings by itself.
                self.connection.transport.pause_reading()

    async def keep_alive(self, interval: float, timeout: float) -> None:
        """Ping as OpenAI does. The library's own keepalive would ping through a freeze."""
        while True:
            await asyncio.sleep(interval)
            if self.frozen:
                return
            try:
                await asyncio.wait_for(await self.connection.ping(), timeout)
            except asyncio.TimeoutError:
                await self.perform([Close(1011, "keepalive ping timeout")])
                return
