"""The emulator on a real WebSocket: `async with Emulator(script) as server`, then connect to `server.base_url`."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from ..log import socket_logger
from .actions import Action, Close, Drop, Event, Freeze, Send, SendRaw, Wait
from .faults import Fault, FaultPlan
from .front_door import Caller, FrontDoor, HttpRequest, HttpResponse
from .gate import (
    AZURE,
    POSTS,
    SOCKETS,
    TRANSLATIONS,
    Handshake,
    HttpRefused,
    Rejected,
    admit,
    admit_translation,
    check_azure,
    check_key,
    refused,
)
from .interpreter import Memory
from .knobs import Knobs
from .script import Claim, Script
from .session import EmulatorSession
from .translating import TranslationSession
from .uploads import Order, Upload, read

# A client under test may be the one that hangs; nobody wants to wait ten seconds for its close frame.
_CLOSE_TIMEOUT = 1.0

Session = EmulatorSession | TranslationSession


class Emulator:
    """A local GA server. One script and one fault plan serve all its sessions and uploads.

    `sessions` are all accepted so far, the newest last; `handshakes` all upgrade requests and `uploads` all requests
    for the transcript of a recording, refused ones too.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        knobs: Knobs | None = None,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.script = script or Script()
        self.knobs = knobs or Knobs()
        self.sessions: list[Session] = []
        self.handshakes: list[Handshake] = []
        self.uploads: list[Upload] = []
        self._host = host
        self._port = port
        self._faults = FaultPlan(faults)
        self._memory = Memory()
        self._server: Server | None = None
        self._door = FrontDoor(self._answer)
        self._lines: dict[ServerConnection, _Line] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Emulator:
        self._door = FrontDoor(self._answer)
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._process_request,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT,
            max_size=self.knobs.max_message_bytes,
            logger=socket_logger,
            create_connection=cast("type[ServerConnection]", self._door.connection),
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
        await self._door.aclose()
        await server.wait_closed()

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`; the port is known once the server runs."""
        return f"{self.azure_endpoint}/v1"

    @property
    def azure_endpoint(self) -> str:
        """What an Azure client takes as `azure_endpoint`; such clients append `/openai/v1`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

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

    def add_fault(self, fault: Fault) -> None:
        """Arm a fault now; it counts events from here on."""
        self._faults.add(fault)

    async def drop(self) -> None:
        """Break the TCP connection of every live session, without a close frame (the client sees 1006).

        Uploads not answered yet break off, too.
        """
        self._door.drop_requests()
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

    # Uploads.

    async def _answer(self, request: HttpRequest, caller: Caller) -> HttpResponse:
        try:
            response = await self._transcribe(request, caller)
        except HttpRefused as refusal:
            response = HttpResponse(refusal.status, json.dumps(refusal.body).encode())
        return dataclasses.replace(response, headers={**response.headers, "x-request-id": f"req_{len(self.uploads):x}"})

    async def _transcribe(self, request: HttpRequest, caller: Caller) -> HttpResponse:
        if request.method != "POST" or request.path not in POSTS:
            raise refused(404, None, f"Invalid URL ({request.method} {request.path})")
        upload = read(request)
        self.uploads.append(upload)
        self._changed.set()
        if fault := self._faults.handshake_refusal():
            retry = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            return HttpResponse(fault.status, fault.body.encode(), headers=retry)
        azure = request.path.startswith(AZURE)
        if azure:
            check_azure(request.query, request.headers, self.knobs)
        else:
            check_key(request.headers, self.knobs)
        order = Order(upload, deployments=self.knobs.deployments if azure else None)
        claim = self.script.claim(caller.is_live) if upload.has_speech else Claim()
        delay = self._faults.transcription_delay()
        await caller.wait(self.knobs.transcription_latency + (delay.seconds if delay else 0.0))
        claim.settle()
        return order.answer(claim.turn)

    # Connections.

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        handshake = _read(request)
        self.handshakes.append(handshake)
        self._changed.set()
        if fault := self._faults.handshake_refusal():
            response = connection.respond(HTTPStatus(fault.status), fault.body)
            if fault.retry_after is not None:
                response.headers["Retry-After"] = f"{fault.retry_after:g}"
            return response
        if handshake.path not in SOCKETS:
            return connection.respond(HTTPStatus.NOT_FOUND, f"Invalid URL ({handshake.path})\n")
        if handshake.is_azure:
            try:
                check_azure(handshake.query, handshake.headers, self.knobs)
            except HttpRefused as refusal:
                response = connection.respond(HTTPStatus(refusal.status), json.dumps(refusal.body))
                del response.headers["Content-Type"]
                response.headers["Content-Type"] = "application/json"
                return response
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        line = self._lines[connection] = _Line(connection)
        try:
            await self._serve_line(line, _read(connection.request))
        except ConnectionClosed:
            pass
        finally:
            del self._lines[connection]
            self._changed.set()

    async def _serve_line(self, line: _Line, handshake: Handshake) -> None:
        clock = asyncio.get_running_loop().time
        try:
            session = self._admit(handshake, clock())
        except Rejected as rejected:
            await line.perform([Send(rejected.event), Close(rejected.close_code, rejected.reason)])
            return
        self.sessions.append(session)
        line.session = session
        keepalive = asyncio.ensure_future(line.keep_alive(self.knobs.ping_interval, self.knobs.ping_timeout))
        try:
            await self._talk(line, session, clock)
        finally:
            keepalive.cancel()
            await asyncio.gather(keepalive, return_exceptions=True)
            await line.connection.wait_closed()
            ended = line.closed or Close(line.connection.close_code or 1006, line.connection.close_reason or "")
            session.connection_lost(ended.code, ended.reason)

    def _admit(self, handshake: Handshake, now: float) -> Session:
        if fault := self._faults.handshake_rejection():
            raise Rejected(fault.close_code, fault.code, fault.message, fault.error_type)
        shared: dict[str, Any] = {
            "knobs": self.knobs,
            "faults": self._faults,
            "now": now,
            "created_at": int(time.time()),
            "number": len(self.sessions) + 1,
        }
        if handshake.path == TRANSLATIONS:
            model = admit_translation(handshake, self.knobs)
            return TranslationSession(self.script, model=model, memory=self._memory, **shared)
        session_type, model = admit(handshake, self.knobs)
        deployments = self.knobs.deployments if handshake.is_azure else None
        return EmulatorSession(self.script, model=model, session_type=session_type, deployments=deployments, **shared)

    async def _talk(self, line: _Line, session: Session, clock: Callable[[], float]) -> None:
        await line.perform(session.start(clock()))
        self._changed.set()
        frames = _Frames(line.connection)
        try:
            # A frozen line is not even received from: with room for more, the library would begin to read again.
            while session.closed is None and not line.frozen:
                frame = await frames.next(session.next_deadline())
                actions = session.tick(clock()) if frame is None else session.receive(frame, clock())
                await line.perform(actions)
                self._changed.set()
        finally:
            await frames.aclose()


class _Frames:
    """What one connection receives, a frame at a time: the next one is not asked for before this one is taken.

    One task reads for as long as the connection lasts; a task for each frame would cost more than most frames do.
    """

    def __init__(self, connection: ServerConnection) -> None:
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


class _Line:
    """Carries a session's actions out on its connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.closed: Close | None = None
        self.session: Session | None = None
        self.frozen = False

    async def perform(self, actions: Sequence[Action]) -> None:
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


def _read(request: Request) -> Handshake:
    parts = urlsplit(request.path)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return Handshake(parts.path, query, {name.lower(): value for name, value in request.headers.raw_items()})
