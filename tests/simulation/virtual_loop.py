"""An event loop without a clock and without sockets: time jumps to the next timer, connections are made in memory.

Client and emulator run on it unchanged, down to their WebSocket library: `create_connection` and `create_server` are
the only things that are not real. What happens depends on nothing but the program and the `Network`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import websockets.asyncio.client

from .network import Network, connect

EPOCH_S = 1_800_000_000.0
"""What the clock on the wall shows when a run begins; unix seconds."""
MAX_TURNS = 400_000
"""Turns of the loop after which a run is taken to go round in circles."""


class Stuck(Exception):
    """Nothing will ever happen again, or the same for ever."""


class _Listener(asyncio.AbstractServer):
    """What `create_server` returns, with as much of asyncio's own as the WebSocket server asks of it."""

    family = socket.AF_INET

    def __init__(self, loop: VirtualLoop, port: int) -> None:
        self._loop = loop
        self._port = port

    @property
    def sockets(self) -> tuple[_Listener, ...]:
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self._port)

    def get_loop(self) -> VirtualLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._port in self._loop.listening

    def close(self) -> None:
        self._loop.listening.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """`now` is seconds since the run began; `problems` is what asyncio's exception handler was told.

    Its turns do what asyncio's do, without what only a real clock, threads or debugging need: that costs a tenth of a
    run. Timers for the same moment go off in the order in which they were made.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.now = 0.0
        self.network = network
        self.listening: dict[int, Callable[[], asyncio.Protocol]] = {}
        self.problems: list[str] = []
        self._soon: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._serial = 0
        self._turns = 0
        self.set_exception_handler(lambda loop, context: self.problems.append(_told(context)))

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._timers, (when, self._serial, handle))
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def timers_of(self, package: str) -> list[asyncio.TimerHandle]:
        """The timers that will go off in this package."""
        live = [timer for _, _, timer in self._timers if not timer.cancelled()]
        return [timer for timer in live if (getattr(timer._callback, "__module__", "") or "").startswith(package)]

    def _run_once(self) -> None:
        self._turns += 1
        soon, timers = self._soon, self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not soon and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Stuck("everybody waits, and no timer runs")
            self.now = max(self.now, timers[0][0])
        if self._turns > MAX_TURNS:
            raise Stuck(f"no end after {MAX_TURNS} turns of the loop")
        while timers and timers[0][0] <= self.now:
            soon.append(heapq.heappop(timers)[2])
        for _ in range(len(soon)):
            handle = soon.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        port = port or 40_000 + len(self.listening)
        self.listening[port] = protocol_factory
        return _Listener(self, port)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        wire = await self.network.dial(self)
        if (listener := self.listening.get(port)) is None:
            raise ConnectionRefusedError("nobody listens")
        client, server = protocol_factory(), listener()
        side = connect(self, wire, client, server)
        self.network.clients.append(side)
        return side, client


def _told(context: dict[str, Any]) -> str:
    exception = context.get("exception")
    return f"{context.get('message')}: {exception!r}"


@contextlib.contextmanager
def world_of(loop: VirtualLoop) -> Iterator[None]:
    """Every clock shows the loop's time: what measures seconds between two events must see those of the run. And the
    proxies of this machine are none of the run's."""

    def on_the_wall() -> float:
        return EPOCH_S + loop.now

    with (
        mock.patch.object(time, "time", on_the_wall),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "perf_counter", loop.time),
        mock.patch.object(websockets.asyncio.client, "get_proxy", return_value=None),
    ):
        yield
