"""TCP in memory between a client and a server, and what can go wrong with it: cut or silent after any byte, slow."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

KERNEL_BYTES = 48 * 1024
"""What the operating systems on both ends take before a write has to wait."""
MIN_LATENCY_S = 0.0005
SAME_S = 2e-6
"""Times closer than this are the same: the loop calls a timer up to its resolution early."""


@dataclass(slots=True)
class Path:
    """What happens to one connection attempt and to what is sent on it.

    Attributes:
        latency: seconds one way, the longest; each piece takes between half of it and all of it.
        refused: no connection is made.
        lost: no answer comes to the attempt, ever.
        cut_after: the connection is reset once the client has been sent so many bytes; None: never.
        cut_sending: the same for bytes that the client sends.
        silent_after: nothing gets through in either direction any more, after so many bytes to the client.
        silent_for: seconds until it does again; None: never.
        bytes_per_s: how fast bytes move in either direction; None: at once.
    """

    latency: float = 0.002
    refused: bool = False
    lost: bool = False
    cut_after: int | None = None
    cut_sending: int | None = None
    silent_after: int | None = None
    silent_for: float | None = None
    bytes_per_s: float | None = None


@dataclass(slots=True)
class Network:
    """`paths` are used in order, one for each attempt; then the network is healthy.

    `dials` are the times of all attempts, `clients` the client's ends of those that were made.
    """

    seed: int = 0
    paths: Sequence[Path] = ()
    dials: list[float] = field(default_factory=list)
    clients: list[Side] = field(default_factory=list)

    @property
    def longest_hold(self) -> float:
        """The longest time in seconds that a write of the client had to wait for its peer."""
        return max((side.longest_hold for side in self.clients), default=0.0)

    async def dial(self, loop: asyncio.AbstractEventLoop) -> Wire:
        number = len(self.dials)
        self.dials.append(loop.time())
        path = self.paths[number] if number < len(self.paths) else Path()
        if path.lost:
            await loop.create_future()
        await asyncio.sleep(path.latency)
        if path.refused:
            raise ConnectionRefusedError("refused by the network")
        return Wire(path, random.Random(self.seed * 1000 + number))


class Wire:
    """The state both sides of one connection share."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self.dice = dice
        self.silent = False

    def hush(self, loop: asyncio.AbstractEventLoop, again: Iterable[Callable[[], None]]) -> None:
        self.silent = True
        if self.path.silent_for is not None:

            def speak() -> None:
                self.silent = False
                for deliver in again:
                    deliver()

            loop.call_later(self.path.silent_for, speak)


class Side(asyncio.Transport):
    """One end: what is written here arrives at `peer`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wire: Wire, protocol: asyncio.Protocol, budget: int | None
    ) -> None:
        super().__init__()
        self.peer: Side = self
        self.hush_after: int | None = None
        self._loop = loop
        self._wire = wire
        self._protocol = protocol
        self._budget = budget  # bytes from here until the connection is reset
        self._high, self._low = 64 * 1024, 16 * 1024
        self._under_way = 0  # bytes written here and not taken there
        self._last_arrival = 0.0
        self._arrived: deque[bytes | None] = deque()  # from the peer, not taken yet; None is the end
        self._sent_to_me = 0
        self._reading = True
        self._paused_writer = False
        self._paused_at = self._held = 0.0
        self._ending = False  # no more is written
        self._lost = False
        self._closing = False  # and nothing is wanted any more
        self._parcels: deque[tuple[float, bytes | None]] = deque()  # written here, with the time they arrive

    @property
    def longest_hold(self) -> float:
        """The longest time in seconds that the protocol had to wait with its writes."""
        return max(self._held, self._loop.time() - self._paused_at) if self._paused_writer else self._held

    @property
    def is_closed(self) -> bool:
        """Whether nothing goes in or out here any more."""
        return self._lost

    # What a protocol asks of a transport.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._ending or self._lost

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._take)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        return max(0, self._under_way - KERNEL_BYTES)

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        if self._lost or not data:
            return
        self._under_way += len(data)
        self._post(bytes(data))
        if not self._paused_writer and self.get_write_buffer_size() > self._high:
            self._paused_writer, self._paused_at = True, self._loop.time()
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        if not self.is_closing():
            self._ending = True
            self._post(None)

    def close(self) -> None:
        self.write_eof()
        self._closing = True
        self._arrived.clear()
        self._end_when_written()

    def abort(self) -> None:
        self._parcels.clear()
        self._lose(None)
        self._reset(self.peer)

    # On the way.

    def _delay(self) -> float:
        return max(MIN_LATENCY_S, self._wire.path.latency * (0.5 + 0.5 * self._wire.dice.random()))

    def _post(self, parcel: bytes | None) -> None:
        speed = self._wire.path.bytes_per_s
        pace = len(parcel) / speed if speed and parcel else 0.0
        self._last_arrival = max(self._last_arrival + pace, self._loop.time() + self._delay() + pace)
        self._parcels.append((self._last_arrival, parcel))
        self._loop.call_at(self._last_arrival, self.arrive)

    def arrive(self) -> None:
        """Deliver what is due; nothing while the line is silent."""
        while self._parcels and not self._wire.silent and self._parcels[0][0] <= self._loop.time() + SAME_S:
            _, parcel = self._parcels.popleft()
            if self.peer._lost:
                self._parcels.clear()
                self._reset(self)
                return
            if parcel is not None and self._budget is not None:
                if len(parcel) >= self._budget:
                    self.peer._receive(parcel[: self._budget])
                    self._loop.call_soon(self.peer._lose, ConnectionResetError("cut by the network"))
                    self._loop.call_soon(self._lose, ConnectionResetError("cut by the network"))
                    return
                self._budget -= len(parcel)
            self.peer._receive(parcel)

    def _reset(self, side: Side) -> None:
        if not self._wire.silent:
            self._loop.call_later(self._delay(), side._lose, ConnectionResetError("reset by peer"))

    def _receive(self, parcel: bytes | None) -> None:
        self._arrived.append(parcel)
        self._sent_to_me += len(parcel or b"")
        if self.hush_after is not None and self._sent_to_me > self.hush_after:
            self.hush_after = None
            self._wire.hush(self._loop, (self.arrive, self.peer.arrive))
        self._take()

    def _take(self) -> None:
        while self._arrived and self._reading and not self._lost:
            parcel = self._arrived.popleft()
            if parcel is None:
                if not self._protocol.eof_received():
                    self.close()
            else:
                self.peer._taken(len(parcel))
                self._protocol.data_received(parcel)

    def _taken(self, size: int) -> None:
        self._under_way -= size
        if self._paused_writer and not self._lost and self.get_write_buffer_size() <= self._low:
            self._held, self._paused_writer = self.longest_hold, False
            self._protocol.resume_writing()
        self._end_when_written()

    def _end_when_written(self) -> None:
        if self._closing and self.get_write_buffer_size() == 0:
            self._lose(None)

    def _lose(self, reason: Exception | None) -> None:
        if self._lost:
            return
        self._held, self._paused_writer = self.longest_hold, False
        self._lost = True
        self._arrived.clear()
        self._loop.call_soon(self._protocol.connection_lost, reason)


def connect(loop: asyncio.AbstractEventLoop, wire: Wire, client: asyncio.Protocol, server: asyncio.Protocol) -> Side:
    """Join two protocols; returns the client's transport."""
    path = wire.path
    here, there = Side(loop, wire, client, path.cut_sending), Side(loop, wire, server, path.cut_after)
    here.peer, there.peer = there, here
    here.hush_after = path.silent_after
    server.connection_made(there)
    client.connection_made(here)
    return here
