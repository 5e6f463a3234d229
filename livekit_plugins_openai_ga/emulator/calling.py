"""Runs the calls: their sessions at the pace of sound, the caller's peer, and the sockets that attach to them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed

from . import asked
from .actions import Action, Close, Event, Send
from .call_session import FRAME_MS, CallSession
from .calls import PATH, Call, Calls
from .front_door import HttpRequest, HttpResponse
from .gate import bearer, check_key, refused
from .knobs import Knobs
from .lines import Frames, Line
from .secrets import Secrets
from .uploads import parts

_SDP = "application/sdp"


class Peer(Protocol):
    """The caller's end of a call."""

    def send(self, event: Event) -> None:
        """Tell the caller of an event."""

    def play(self, pcm: bytes) -> None:
        """Let the caller hear 24 kHz int16 mono PCM."""

    async def aclose(self) -> None:
        """Hang up."""


class RunningCall:
    """A call that is live. Whoever has something for its session says so here; what comes of it leaves in order."""

    def __init__(
        self,
        session: CallSession,
        knobs: Knobs,
        *,
        has_peer: bool,
        changed: Callable[[], None],
        over: Callable[[str], None],
    ) -> None:
        self.session = session
        self.has_peer = has_peer  # the caller's end is a `Peer`: nothing is told or played before that is there
        self._peer: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self._hears = asyncio.Event()
        self._knobs = knobs
        self._changed = changed
        self._over = over
        self._lines: list[Line] = []
        self._leaving: asyncio.Queue[Action] = asyncio.Queue()
        self._clock = asyncio.get_running_loop().time
        if not has_peer:
            self._hears.set()
        self.do(session.start(self._clock()))
        self._tasks = [asyncio.ensure_future(self._play()), asyncio.ensure_future(self._leave())]

    def join(self, peer: Peer) -> None:
        """This is the caller's end."""
        self._peer.set_result(peer)

    def connected(self) -> None:
        """The caller can hear."""
        self._hears.set()

    def do(self, actions: Sequence[Action]) -> None:
        """Let this leave, in its turn."""
        for action in actions:
            self._leaving.put_nowait(action)

    def receive(self, frame: str | bytes) -> None:
        """An event of the caller's, or of a socket's."""
        self.do(self.session.receive(frame, self._clock()))
        self._changed()

    def hear(self, pcm: bytes) -> None:
        """The caller's sound: 24 kHz int16 mono PCM."""
        self.do(self.session.hear(pcm, self._clock()))

    async def attach(self, line: Line) -> None:
        """Serve a socket for as long as it and the call last."""
        await line.perform([Send(self.session.welcome())])
        self._lines.append(line)
        self._changed()
        frames = Frames(line.connection)
        try:
            while line.closed is None and not line.frozen:
                if (frame := await frames.next(None)) is not None:
                    self.receive(frame)
        finally:
            self._lines.remove(line)
            await frames.aclose()

    async def _play(self) -> None:
        due = self._clock()
        while self.session.closed is None:
            if self._hears.is_set():
                pcm, actions = self.session.play(self._clock())
                if self._peer.done():
                    self._peer.result().play(pcm)
            else:
                actions = self.session.tick(self._clock())
            self.do(actions)
            due = max(due + FRAME_MS / 1000, self._clock() - 1.0)
            await asyncio.sleep(due - self._clock())

    async def _leave(self) -> None:
        peer = await self._peer if self.has_peer else None
        while True:
            action = await self._leaving.get()
            told = action.event["type"] if isinstance(action, Send) else ""
            if peer is not None and isinstance(action, Send):
                peer.send(action.event)
            if self._knobs.sideband_input_events or not told.startswith("input_audio_buffer."):
                for line in list(self._lines):
                    with contextlib.suppress(ConnectionClosed):
                        await line.perform([action])
            self._changed()
            if self.session.closed is not None and self._leaving.empty():
                self._over("the session ended")

    async def aclose(self) -> None:
        """The call is over: everybody is told, and leaves."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        code = self._knobs.call_close_code
        self.session.connection_lost(code, "")
        for line in list(self._lines):
            with contextlib.suppress(ConnectionClosed):
                await line.perform([Close(code, "")])
        if self._peer.done():
            await self._peer.result().aclose()
        self._changed()


class Calling:
    """Every live call of the emulator. `begin(config)` makes the session of one; `changed` hears of every change."""

    def __init__(
        self,
        calls: Calls,
        secrets: Secrets,
        knobs: Knobs,
        *,
        begin: Callable[[Event], CallSession],
        changed: Callable[[], None],
    ) -> None:
        self._calls = calls
        self._secrets = secrets
        self._knobs = knobs
        self._begin = begin
        self._changed = changed
        self._running: dict[str, RunningCall] = {}
        self._ending: set[asyncio.Task[None]] = set()
        calls.watchers.append(self._follow)

    def find(self, call_id: str) -> RunningCall | None:
        """The call of this id, if it goes on."""
        return self._running.get(call_id)

    def _follow(self, call: Call) -> None:
        if call.state == "live":
            self._running[call.id] = RunningCall(
                self._begin(call.config),
                self._knobs,
                has_peer=call.kind == "webrtc",
                changed=self._changed,
                over=functools.partial(self._calls.end, call),
            )
        elif running := self._running.pop(call.id, None):
            task = asyncio.ensure_future(running.aclose())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def answer(self, request: HttpRequest) -> HttpResponse | None:
        """The answer to `POST .../calls`; None when it is something else. Raises `HttpRefused`."""
        if request.path != PATH:
            return None
        sdp, config = self._offer(request)
        if config["type"] != "realtime":
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_value", "The emulator has calls for realtime sessions only.")
        try:
            from .webrtc import WebRtcPeer  # takes half a second, which few need
        except ImportError:
            missing = (
                "The emulator has no WebRTC here: install livekit-plugins-openai-ga[emulator], which brings aiortc."
            )
            raise refused(HTTPStatus.NOT_IMPLEMENTED, None, missing) from None
        call = self._calls.create(config)
        running = self._running[call.id]
        peer = WebRtcPeer(
            hear=running.hear,
            receive=running.receive,
            connected=running.connected,
            gone=lambda: self._calls.end(call, "the caller left"),
        )
        running.join(peer)
        try:
            answer = await peer.answer(sdp)
        except Exception as exc:
            self._calls.end(call, "no media")
            raise refused(HTTPStatus.BAD_REQUEST, "invalid_offer", f"The SDP offer cannot be answered: {exc}") from None
        return HttpResponse(HTTPStatus.CREATED, answer.encode(), _SDP, {"Location": f"{PATH}/{call.id}"})

    def _offer(self, request: HttpRequest) -> tuple[str, Event]:
        kind = request.headers.get("content-type", "")
        secret = self._secrets.find(bearer(request.headers))
        if kind.startswith(_SDP):
            if secret is None:
                check_key(request.headers, self._knobs)
                raise refused(
                    HTTPStatus.BAD_REQUEST, None, "Raw SDP needs a client secret; send a form with a session."
                )
            return request.body.decode("utf-8", "replace"), secret.config
        if secret is None:  # gateways send a form with one, too
            check_key(request.headers, self._knobs)
        form = {name: data.decode("utf-8", "replace") for name, _, data in parts(request)}
        if "sdp" not in form:
            raise refused(
                HTTPStatus.BAD_REQUEST, "missing_required_parameter", "Missing required parameter: 'sdp'.", "sdp"
            )
        given: Any = None
        with contextlib.suppress(ValueError):
            given = json.loads(form.get("session", "{}"))
        return form["sdp"], asked.session(given, self._knobs)

    async def aclose(self) -> None:
        """End every call."""
        for call in list(self._calls):
            self._calls.end(call, "the emulator closed")
        await asyncio.gather(*self._ending, return_exceptions=True)
