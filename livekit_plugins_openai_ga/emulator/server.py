"""The emulator on a real WebSocket: `async with Emulator(script) as server`, then connect to `server.base_url`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ssl import SSLContext
from types import TracebackType
from typing import Any, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ..log import socket_logger
from .actions import Action, Close, Drop, Event, Freeze, Send
from .call_session import CallSession
from .calling import Calling
from .calls import Call, Calls, no_such_call
from .faults import Fault, FaultPlan
from .front_door import FOR_PAGES, Caller, FrontDoor, HttpRequest, HttpResponse
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
    bearer,
    check_azure,
    check_key,
    minted_for,
    subprotocol,
)
from .interpreter import Memory
from .knobs import Knobs
from .lines import Frames, Late, Line
from .refusing import fail, failed, not_here, refuse, why
from .ringing import incoming
from .script import Claim, Script
from .secrets import Secrets
from .session import EmulatorSession
from .translating import TranslationSession
from .uploads import Order, Upload, read
from .watching import Happening, Watch, What

# A client under test may be the one that hangs; nobody wants to wait ten seconds for its close frame.
_CLOSE_TIMEOUT = 1.0

Session = EmulatorSession | TranslationSession


class Emulator:
    """A local GA server. One script and one fault plan serve all its sessions and uploads.

    `sessions` are all accepted so far, the newest last; `handshakes` all upgrade requests, `requests` all HTTP requests
    and `uploads` those for the transcript of a recording, refused ones too. `secrets` are the keys it has given out,
    `calls` the calls that came in or were made. `watch` is called with each `Happening`, as it happens.
    `ssl`: serve https:// and wss:// with it; without it http:// and ws://.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        knobs: Knobs | None = None,
        faults: Sequence[Fault] = (),
        watch: Watch | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        self.script = script or Script()
        self.knobs = knobs or Knobs()
        self.sessions: list[Session] = []
        self.handshakes: list[Handshake] = []
        self.requests: list[HttpRequest] = []
        self.uploads: list[Upload] = []
        self.secrets = Secrets(self.knobs)
        self.calls = Calls(self.knobs)
        self._calling = Calling(
            self.calls, self.secrets, self.knobs, begin=self._begin_call, changed=lambda: self._changed.set()
        )
        self._host = host
        self._port = port
        self._ssl = ssl
        self._watch = watch
        self._faults = FaultPlan(faults, struck=lambda fault: self._tell("fault", 0, {"fault": fault}))
        self._memory = Memory()
        self._server: Server | None = None
        self._door = FrontDoor(self._answer, self._misled)
        self._lines: dict[ServerConnection, Line] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Emulator:
        self._door = FrontDoor(self._answer, self._misled)
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            ssl=self._ssl,
            process_request=self._process_request,
            select_subprotocol=subprotocol,
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
        await self._calling.aclose()
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
        return f"{'https' if self._ssl else 'http'}://{host}:{self._port}"

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

    def hear(self, call: Call, pcm: bytes) -> None:
        """What the caller of a live call says, where there is no peer to say it (SIP): 24 kHz int16 mono PCM."""
        if running := self._calling.find(call.id):
            running.hear(pcm)

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

    async def ring(
        self,
        url: str,
        *,
        secret: str,
        sip_headers: Sequence[tuple[str, str]] = (("From", "<sip:+15550100@example.com>"),),
        media_security: str = "srtp",
    ) -> Call:
        """Let a phone call come in: POST the webhook that tells of it, signed with `secret`, to `url`.

        Returns the call, which may be accepted or rejected by then. Raises RuntimeError when the answer is none of the
        2xx kind; the call is over then, and it is not told of again.
        """
        call = self.calls.ring(sip_headers)
        status = await incoming(call, url, secret, media_security=media_security).send()
        if status // 100 != 2:
            self.calls.end(call, "nobody answered")
            raise RuntimeError(f"The webhook at {url} was answered with {status}.")
        return call

    async def _all(self, action: Action) -> None:
        for line in list(self._lines.values()):
            await line.perform([action])

    # Requests.

    async def _answer(self, request: HttpRequest, caller: Caller) -> HttpResponse:
        self.requests.append(request)
        number = len(self.requests)
        if self.knobs.network_latency:
            await caller.wait(self.knobs.network_latency)
        try:
            if request.method == "OPTIONS":
                response = HttpResponse(HTTPStatus.NO_CONTENT, b"")
            elif request.method != "POST":
                raise not_here(request)
            else:
                serve = self._transcribe if request.path in POSTS else self._api
                response = await serve(request, caller)
        except HttpRefused as refusal:
            response = HttpResponse(refusal.status, json.dumps(refusal.body).encode())
        asked = {"method": request.method, "path": request.path, "status": int(response.status)}
        self._tell("request", 0, {**asked, **why(response)})
        self._changed.set()
        pages = FOR_PAGES if "origin" in request.headers else {}
        return dataclasses.replace(response, headers={**response.headers, **pages, "x-request-id": f"req_{number:x}"})

    async def _api(self, request: HttpRequest, _caller: Caller) -> HttpResponse:
        if fault := self._faults.handshake_refusal():
            return failed(fault)
        answer = self.secrets.answer(request) or self.calls.answer(request) or await self._calling.answer(request)
        if answer is None:
            raise not_here(request)
        return answer

    async def _transcribe(self, request: HttpRequest, caller: Caller) -> HttpResponse:
        upload = read(request)
        self.uploads.append(upload)
        self._changed.set()
        if fault := self._faults.handshake_refusal():
            return failed(fault)
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
        handshake = Handshake.read(request)
        self.handshakes.append(handshake)
        self._changed.set()
        if fault := self._faults.handshake_refusal():
            self._turned_away(handshake, fault.status, fault.body)
            return fail(connection, fault)
        if handshake.path not in SOCKETS:
            self._turned_away(handshake, 404, f"Invalid URL ({handshake.path})")
            return connection.respond(HTTPStatus.NOT_FOUND, f"Invalid URL ({handshake.path})\n")
        call_id = handshake.query.get("call_id")
        if call_id is not None and self._calling.find(call_id) is None:
            return self._refuse(connection, handshake, no_such_call(call_id))
        if handshake.is_azure:
            try:
                check_azure(handshake.query, handshake.headers, self.knobs, minted=self._minted(handshake) is not None)
            except HttpRefused as refusal:
                return self._refuse(connection, handshake, refusal)
        return None

    def _refuse(self, connection: ServerConnection, handshake: Handshake, refusal: HttpRefused) -> Response:
        self._turned_away(handshake, refusal.status, str(refusal))
        return refuse(connection, refusal)

    def _turned_away(self, handshake: Handshake, code: object, message: str) -> None:
        self._tell("turned_away", 0, {"path": handshake.path, "code": code, "message": message})

    def _misled(self) -> None:
        message = "the client speaks TLS (https:// or wss://), and there is none here."
        self._tell("turned_away", 0, {"path": "", "code": "tls", "message": message})

    def _tell(self, what: What, session: int, detail: Event) -> None:
        if self._watch is not None:
            self._watch(Happening(what, session, detail))

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        line = self._lines[connection] = Line(connection)
        try:
            await self._serve_line(line, Handshake.read(connection.request))
        except ConnectionClosed:
            pass
        finally:
            del self._lines[connection]
            self._changed.set()

    async def _serve_line(self, line: Line, handshake: Handshake) -> None:
        clock = asyncio.get_running_loop().time
        try:
            session = self._admit(handshake)
        except Rejected as rejected:
            self._turned_away(handshake, rejected.event["error"]["code"], str(rejected))
            await line.perform([Send(rejected.event), Close(rejected.close_code, rejected.reason)])
            return
        running = self._calling.find(handshake.query.get("call_id", ""))
        if running is None:
            self._begin(session)
            line.session = session
        keepalive = asyncio.ensure_future(line.keep_alive(self.knobs.ping_interval, self.knobs.ping_timeout))
        try:
            await (self._talk(line, session, clock) if running is None else running.attach(line))
        finally:
            keepalive.cancel()
            await asyncio.gather(keepalive, return_exceptions=True)
            await line.connection.wait_closed()
            if running is None:  # else the call goes on without it
                ended = line.closed or Close(line.connection.close_code or 1006, line.connection.close_reason or "")
                session.connection_lost(ended.code, ended.reason)
                session.tell("ended", {"code": ended.code, "reason": ended.reason})

    def _begin_call(self, config: Event) -> CallSession:
        session = CallSession(self.script, config, **self._shared())
        self._begin(session)
        return session

    def _begin(self, session: Session) -> None:
        self.sessions.append(session)
        if self._watch is not None:
            number = len(self.sessions)
            session.watch(lambda what, detail: self._tell(what, number, detail))
            session.tell("connected", {key: session.config.get(key) for key in ("id", "type", "model")})

    def _shared(self) -> dict[str, Any]:
        return {
            "knobs": self.knobs,
            "faults": self._faults,
            "now": asyncio.get_running_loop().time(),
            "created_at": int(time.time()),
            "number": len(self.sessions) + 1,
        }

    def _admit(self, handshake: Handshake) -> Session:
        if fault := self._faults.handshake_rejection():
            raise Rejected(fault.close_code, fault.code, fault.message, fault.error_type)
        shared = self._shared()
        minted = self._minted(handshake)
        if handshake.path == TRANSLATIONS:
            model = admit_translation(handshake, self.knobs, minted)
            shared["minted"] = minted_for("translation", minted)
            return TranslationSession(self.script, model=model, memory=self._memory, **shared)
        session_type, model = admit(handshake, self.knobs, minted)
        shared["minted"] = minted_for(session_type, minted)
        deployments = self.knobs.deployments if handshake.is_azure else None
        return EmulatorSession(self.script, model=model, session_type=session_type, deployments=deployments, **shared)

    def _minted(self, handshake: Handshake) -> Event | None:
        """The session that the client secret in the handshake was made for; None when it carries none that is valid."""
        secret = self.secrets.find(bearer(handshake.headers))
        return secret.config if secret else None

    async def _talk(self, line: Line, session: Session, clock: Callable[[], float]) -> None:
        late = Late(line.connection, self.knobs.network_latency)
        await asyncio.sleep(self.knobs.network_latency)
        await line.perform(session.start(clock()))
        self._changed.set()
        frames = Frames(late if self.knobs.network_latency else line.connection)
        try:
            # A frozen line is not even received from: with room for more, the library would begin to read again.
            while session.closed is None and not line.frozen:
                frame = await frames.next(session.next_deadline())
                actions = session.tick(clock()) if frame is None else session.receive(frame, clock())
                await line.perform(actions)
                self._changed.set()
        finally:
            await frames.aclose()
            await late.aclose()
