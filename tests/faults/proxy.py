"""A TCP proxy on loopback that does to connections what networks do: cut, stall, throttle, delay, split, refuse.

It knows nothing of WebSocket, so a fault may strike anywhere: in the middle of the HTTP upgrade or of a frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal

End = Literal["rst", "fin", "stall", "swallow"]
"""rst and fin: both sides are cut off. stall: nothing is read any more, so the sender's buffers fill. swallow:
everything is read and nothing forwarded, as when packets vanish."""

_READ = 64 * 1024


@dataclass(frozen=True, slots=True)
class Path:
    """How one direction of a connection is carried.

    Attributes:
        end: what happens once `after` bytes were forwarded; None: nothing.
        after: bytes, counted from the beginning of the connection.
        rate: bytes per second at most; None: as fast as it comes.
        delay: seconds each piece is held.
        piece: bytes forwarded at a time at most, each in a segment of its own; None: as they come.
    """

    end: End | None = None
    after: int = 0
    rate: float | None = None
    delay: float = 0.0
    piece: int | None = None


CLEAR = Path()


@dataclass(frozen=True, slots=True)
class Plan:
    """Both directions of one connection: `up` to the server, `down` to the client."""

    up: Path = CLEAR
    down: Path = CLEAR


class Pipe:
    """One direction of a live connection. `passed` and `swallowed` count bytes."""

    def __init__(
        self,
        owner: Carried,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        path: Path,
        told: asyncio.Event,
    ) -> None:
        self.passed = 0
        self.swallowed = 0
        self.struck = False
        self._owner = owner
        self._reader = reader
        self._writer = writer
        self._path = path
        self._changed = asyncio.Event()
        self._told = told

    def change(self, path: Path) -> None:
        """Carry what comes from now on in this way. `path.after` counts from now."""
        self._path = replace(path, after=self.passed + path.after)
        self.struck = False
        self._changed.set()

    async def carry(self) -> None:
        """Until the sender has no more."""
        while data := await self._reader.read(_READ):
            await self._pass_on(data)
        if not self._writer.is_closing():
            self._writer.write_eof()

    async def _pass_on(self, data: bytes) -> None:
        while True:
            path = self._path
            if path.end is not None and self.passed >= path.after:
                self._strike()
                if path.end == "swallow":
                    self.swallowed += len(data)
                    return
                if path.end == "stall":
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                self._owner.cut(path.end)
                return
            if not data:
                return
            size = len(data) if path.end is None else path.after - self.passed
            if path.piece is not None:
                size = min(size, path.piece)
            if path.rate is not None:
                size = min(size, max(1, int(path.rate * 0.02)))
            head, data = data[:size], data[size:]
            pause = path.delay + (len(head) / path.rate if path.rate is not None else 0.0)
            if pause or path.piece is not None:
                await asyncio.sleep(pause)
            self._writer.write(head)
            self.passed += len(head)
            await self._writer.drain()
            self._told.set()

    def _strike(self) -> None:
        self.struck = True
        self._told.set()


class Carried:
    """One connection through the proxy."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        plan: Plan,
        told: asyncio.Event,
    ) -> None:
        self._writers = (client[1], server[1])
        self._over = asyncio.Event()
        self._told = told
        self.up = Pipe(self, client[0], server[1], plan.up, told)
        self.down = Pipe(self, server[0], client[1], plan.down, told)
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def live(self) -> bool:
        """Whether it was neither cut nor closed by both sides."""
        return not self._over.is_set()

    def change(self, *, up: Path | None = None, down: Path | None = None) -> None:
        """Carry what comes from now on in another way; None leaves a direction as it is."""
        if up is not None:
            self.up.change(up)
        if down is not None:
            self.down.change(down)

    def cut(self, how: End) -> None:
        """Cut both sides off now: with a reset, or in order."""
        for writer in self._writers:
            if how == "rst":
                reset(writer)
            elif not writer.is_closing():
                writer.close()
        self._over.set()
        self._told.set()

    async def carry(self) -> None:
        """Until both directions are at their end, or it was cut."""
        parts = [asyncio.ensure_future(pipe.carry()) for pipe in (self.up, self.down)]
        over = asyncio.ensure_future(self._over.wait())
        both = asyncio.gather(*parts)
        try:
            # A side that vanishes ends the connection at once; one that has only said all it had to say does not.
            ends: set[asyncio.Future[Any]] = {both, over}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._over.set()
            both.cancel()
            over.cancel()
            await asyncio.gather(both, *parts, over, return_exceptions=True)
            for writer in self._writers:
                writer.close()
            self._told.set()


class TcpProxy:
    """`async with TcpProxy(port) as proxy`: what connects to `proxy.base_url` is carried to `port` on this machine.

    The first connections take the `plans`, one each; those after them are carried as if there was no proxy.
    """

    def __init__(self, port: int, plans: Iterable[Plan] = ()) -> None:
        self.plans = list(plans)
        self.connections: list[Carried] = []
        self._target = port
        self._port = 0
        self._place: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._told = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> TcpProxy:
        # Holds the port while connections are refused: it is bound, and does not listen.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self._port = self._place.getsockname()[1]
        await self.accept()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.refuse()
        if self._place is not None:
            self._place.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def live(self) -> list[Carried]:
        """The connections that are up."""
        return [each for each in self.connections if each.live]

    def refuse(self) -> None:
        """Refuse connections from now on; those that are up stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accepted, "127.0.0.1", self._port, reuse_port=True, limit=_READ
            )

    def change(self, *, up: Path | None = None, down: Path | None = None) -> None:
        """Carry everything that is up in another way."""
        for each in self.live:
            each.change(up=up, down=down)

    def cut(self, how: End = "rst") -> None:
        """Cut everything that is up."""
        for each in self.live:
            each.cut(how)

    async def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until `condition` holds; it is asked again whenever bytes were forwarded or a fault struck."""

        async def wait() -> None:
            while not condition():
                self._told.clear()
                await self._told.wait()

        await asyncio.wait_for(wait(), timeout)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        plan = self.plans.pop(0) if self.plans else Plan()
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target, limit=_READ)
        except OSError:
            reset(writer)
            return
        carried = Carried((reader, writer), there, plan, self._told)
        self.connections.append(carried)
        self._told.set()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await carried.carry()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
