"""The emulator on a real WebSocket: `async with Emulator(script) as server`, then connect to `server.base_url`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ..log import socket_logger
from .actions import Action, Close, Drop, Event, Freeze, Send, SendRaw, Wait
from .faults import FaultPlan
from .gate import Rejected, admit
from .knobs import Knobs
from .script import Script
from .session import EmulatorSession

PATHS = ("/v1/realtime",)


@dataclass(frozen=True, slots=True)
class Handshake:
    """One upgrade request as it arrived, accepted or not. Header names are lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)


class Emulator:
    """A local GA server. One script and one fault plan serve all its sessions.

    `sessions` are all accepted so far, the newest last; `handshakes` all upgrade requests, refused ones too.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        options: Knobs | None = None,
    ) -> None:
        self.script = script or Script()
        self.knobs = options or Knobs()
        self.sessions: list[EmulatorSession] = []
        self.handshakes: list[Handshake] = []
        self._host = host
        self._port = port
        self._faults = FaultPlan()
        self._server: Server | None = None
        self._lines: dict[ServerConnection, _Line] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Emulator:
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._process_request,
            ping_interval=self.knobs.ping_interval,
            ping_timeout=self.knobs.ping_timeout,
            max_size=self.knobs.max_message_bytes,
            logger=socket_logger,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop listening and break every connection that is still up."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close(close_connections=False)
        for connection in list(self._lines):
            connection.transport.abort()
        await server.wait_closed()

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`; the port is known once the server runs."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    # What a test waits for and does.

    async def wait_until(self, condition: Callable[[], bool], *, timeout: float = 5.0) -> None:
        """Return once `condition` holds; it is asked again after every frame. Raises TimeoutError."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not condition():
            self._changed.clear()
            left = deadline - asyncio.get_running_loop().time()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except asyncio.TimeoutError:
                raise TimeoutError("The emulator waited in vain for what the test expects.") from None

    def received(self, event_type: str) -> list[Event]:
        """The client events of this type, over all sessions, in order."""
        return [event for session in self.sessions for event in session.received if event.get("type") == event_type]

    def sent(self, event_type: str) -> list[Event]:
        """The server events of this type, over all sessions, in order."""
        return [event for session in self.sessions for event in session.sent if event.get("type") == event_type]

    async def wait_received(self, event_type: str, *, count: int = 1, timeout: float = 5.0) -> list[Event]:
        """Wait for the client's `count`-th event of this type; returns all of them. Raises TimeoutError."""
        await self.wait_until(lambda: len(self.received(event_type)) >= count, timeout=timeout)
        return self.received(event_type)

    async def wait_sent(self, event_type: str, *, count: int = 1, timeout: float = 5.0) -> list[Event]:
        """Wait until `count` events of this type were sent; returns all of them. Raises TimeoutError."""
        await self.wait_until(lambda: len(self.sent(event_type)) >= count, timeout=timeout)
        return self.sent(event_type)

    async def drop(self) -> None:
        """Break the TCP connection of every live session, without a close frame (the client sees 1006)."""
        await self._all(Drop())

    async def freeze(self) -> None:
        """Leave every live session connected and dead: nothing is read or written, pings neither."""
        await self._all(Freeze())

    async def close_sessions(self, code: int, reason: str = "") -> None:
        """Close every live session with this code and reason."""
        await self._all(Close(code, reason))

    async def _all(self, action: Action) -> None:
        for line in list(self._lines.values()):
            await line.perform([action])

    # Connections.

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        parts = urlsplit(request.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.handshakes.append(Handshake(parts.path, query, headers))
        self._changed.set()
        if parts.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, f"Invalid URL ({parts.path})\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        parts = urlsplit(connection.request.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        clock = asyncio.get_running_loop().time
        line = _Line(connection, None)
        try:
            session_type, model = admit(query, connection.request.headers, self.knobs)
        except Rejected as rejected:
            await line.perform([Send(rejected.event), Close(rejected.close_code, rejected.reason)])
            return
        session = EmulatorSession(
            self.script,
            model=model,
            session_type=session_type,
            knobs=self.knobs,
            faults=self._faults,
            now=clock(),
            created_at=int(time.time()),
        )
        self.sessions.append(session)
        line = self._lines[connection] = _Line(connection, session)
        try:
            await self._talk(line, session, clock)
        except ConnectionClosed:
            pass
        finally:
            del self._lines[connection]
            self._changed.set()

    async def _talk(self, line: _Line, session: EmulatorSession, clock: Callable[[], float]) -> None:
        await line.perform(session.start(clock()))
        self._changed.set()
        incoming = asyncio.ensure_future(line.connection.recv())
        try:
            while session.closed is None:
                deadline = session.next_deadline()
                timeout = None if deadline is None else max(0.0, deadline - clock())
                await asyncio.wait({incoming}, timeout=timeout)
                if incoming.done():
                    actions = session.receive(incoming.result(), clock())
                    incoming = asyncio.ensure_future(line.connection.recv())
                else:
                    actions = session.tick(clock())
                await line.perform(actions)
                self._changed.set()
        finally:
            incoming.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                await incoming


class _Line:
    """Carries a session's actions out on its connection."""

    def __init__(self, connection: ServerConnection, session: EmulatorSession | None) -> None:
        self.connection = connection
        self.session = session
        self._frozen = False

    async def perform(self, actions: list[Action]) -> None:
        for action in actions:
            if self._frozen:
                return
            if isinstance(action, Send):
                await self.connection.send(json.dumps(action.event))
            elif isinstance(action, SendRaw):
                await self.connection.send(action.data)
            elif isinstance(action, Wait):
                await asyncio.sleep(action.seconds)
            elif isinstance(action, Close):
                await self.connection.close(action.code, action.reason)
            elif isinstance(action, Drop):
                self.connection.transport.abort()
            elif isinstance(action, Freeze):
                self._frozen = True
                self.connection.transport.pause_reading()  # type: ignore[attr-defined]
