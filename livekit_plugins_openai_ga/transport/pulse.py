"""Pings, and notices a peer that is dead. One timer for both: a task for each would weigh more than the link."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol


class Socket(Protocol):
    """What is asked of a socket; a `websockets` connection has all but `heard_at`."""

    heard_at: float
    """When there was the last sign of life, by `time.monotonic()`."""

    @property
    def transport(self) -> asyncio.Transport:
        """What it writes to."""

    async def ping(self) -> Awaitable[object]:
        """Send a ping; returns when it was written, with what comes when it was answered."""


class Pulse:
    """Tells `dead(why)` once, when there was no sign of life for twice the `heartbeat` (s), so a ping was not answered,
    or the send buffer holds up what is sent and does not move for one `heartbeat`.

    The library's own time limit takes only a pong for life, which has to wait behind a big frame, and waits for room in
    that buffer.
    """

    def __init__(self, socket: Socket, heartbeat: float, *, much: int, dead: Callable[[str], object]) -> None:
        """Begin. `much`: with more bytes than this in the send buffer, what is sent is held up."""
        self._socket = socket
        self._heartbeat = heartbeat
        self._much = much
        self._dead = dead
        self._waiting = 0
        self._moved_at = self._pinged_at = time.monotonic()
        self._ping: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle = self._loop.call_later(self._pause(self._moved_at), self._wake)

    def stop(self) -> None:
        """It is not of interest any more."""
        self._timer.cancel()
        if self._ping is not None:
            self._ping.cancel()

    def _pause(self, now: float) -> float:
        left = self._socket.heard_at + 2 * self._heartbeat - now
        # Not less than a clock can show: what is left may be the rounding of a sum.
        return min(self._heartbeat / 2, max(left, 0.001))

    def _wake(self) -> None:
        # A step of somebody's may have taken long; what came meanwhile is read first.
        self._timer = self._loop.call_soon(self._look)

    def _look(self) -> None:
        now, waiting = time.monotonic(), self._socket.transport.get_write_buffer_size()
        if waiting <= self._much or waiting != self._waiting:
            self._waiting, self._moved_at = waiting, now
        if now - self._moved_at >= self._heartbeat:
            self._dead(f"The peer took no data for {self._heartbeat:g} s.")
        elif now - self._socket.heard_at >= 2 * self._heartbeat:
            self._dead(f"The peer gave no sign of life for {2 * self._heartbeat:g} s and did not answer a ping.")
        else:
            if now - self._pinged_at >= self._heartbeat - 0.001:
                self._pinged_at = now
                self._send_ping()
            self._timer = self._loop.call_later(self._pause(now), self._wake)

    def _send_ping(self) -> None:
        if self._ping is None or self._ping.done():  # else it waits for room, or for its answer
            self._ping = asyncio.ensure_future(self._beat())
            self._ping.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _beat(self) -> None:
        await (await self._socket.ping())
        self._socket.heard_at = time.monotonic()
