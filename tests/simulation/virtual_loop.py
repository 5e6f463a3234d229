"""An event loop without a clock and without sockets: time jumps to the next timer, connections are made in memory.

Client and emulator run on it unchanged, down to their WebSocket library: `create_connection` and `create_server` are
the only things that are not real. What happens depends on nothing but the program and the `Network`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from .network import Network, connect

EPOCH_S = 1_800_000_000.0
"""What the clock on the wall shows when a run begins; unix seconds."""
MAX_TURNS = 400_000
"""Turns of the loop after which a run is taken to go round in circles."""


class Stuck(Exception):
    """Nothing will ever happen again, or the same for ever."""


class _Jump:
    """What the loop takes for its selector: waiting is moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> list[Any]:
        self._turns += 1
        if timeout is None:
            raise Stuck("everybody waits, and no timer runs")
        if self._turns > MAX_TURNS:
            raise Stuck(f"no end after {MAX_TURNS} turns of the loop")
        if timeout > 0:
            self._loop.now += timeout
        return []

    def close(self) -> None:
        pass


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
    """`now` is seconds since the run began; `problems` is what asyncio's exception handler was told."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.now = 0.0
        self.network = network
        self.listening: dict[int, Callable[[], asyncio.Protocol]] = {}
        self.problems: list[str] = []
        self._clock_resolution = 1e-6
        self._selector = _Jump(self)
        self.set_exception_handler(lambda loop, context: self.problems.append(_told(context)))

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
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
def clocks_of(loop: VirtualLoop) -> Iterator[None]:
    """Every clock shows the loop's time: what measures seconds between two events must see those of the run."""

    def on_the_wall() -> float:
        return EPOCH_S + loop.now

    with (
        mock.patch.object(time, "time", on_the_wall),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "perf_counter", loop.time),
    ):
        yield
