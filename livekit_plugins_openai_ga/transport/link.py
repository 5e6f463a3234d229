"""One WebSocket, from handshake to close. It opens or fails, and says why in one `Failure`.

GA checks the key, the model and the retired beta header after the HTTP upgrade: the socket opens, the first frame is
an `error`, and the close (3000 or 4000) follows at once. So a link counts as open only when `session.created` came.
"""

from __future__ import annotations

import asyncio
import functools
import math
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any, cast

import websockets
import websockets.version
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus
from websockets.protocol import State

from .. import errors
from ..core.config import TOLD_AHEAD
from ..errors import Failure, Kind
from ..log import socket_logger
from ..redaction import hide, redact, secrets_in, traces
from ..version import __version__
from ..wire import client_events, server_events
from ..wire.client_events import Event
from ..wire.endpoint import Endpoint
from ..wire.server_events import Malformed
from .framing import FramedConnection
from .pulse import Pulse

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Larger frames close the socket with 1009. The server echoes images and audio items (BerriAI/litellm#15747)."""

CLOSE_TIMEOUT_S = 0.4
"""How long a close waits for the peer's answer. A frozen peer must not hold up the end of a call."""

WRITE_LIMIT_BYTES = 32 * 1024
"""With more than this in the send buffer, sending waits for the peer to read; asyncio lets it go on at a quarter."""

ERROR_CLOSE_GAP_S = 1.0
"""An error and the close it announces arrive in the same millisecond; within this time they belong together."""

MAX_ID = 100
"""Characters of an id that are kept; the server, or whoever is in between, could send any number."""

_USER_AGENT = f"livekit-plugins-openai-ga/{__version__} websockets/{websockets.version.version}"

Payload = dict[str, Any]


class LinkFailed(Exception):
    """The link could not be opened, or is gone."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence())
        self.failure = failure


class _Connect(connect):
    """Follows no redirect: the next host would get the key (the library strips `Authorization`, not `api-key`)."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@functools.cache
def _tls() -> ssl.SSLContext:
    """One verified TLS context per process: making one costs about 18 ms of CPU."""
    return ssl.create_default_context()


def retry_after(value: str | None) -> float | None:
    """`Retry-After` in seconds, given as a number or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _failure(exc: BaseException, endpoint: Endpoint) -> Failure:
    secrets = endpoint.secrets
    if isinstance(exc, InvalidProxyStatus):
        status = exc.response.status_code
        text = ("A proxy on the way refused the connection.", "Check the proxy settings (https_proxy, no_proxy).")
        refused = Kind.RECONNECT if status in (408, 429) or status >= 500 else Kind.FATAL
        return Failure(refused, f"proxy_{status}", "", *text)
    if isinstance(exc, InvalidStatus):
        response = exc.response
        failure = errors.from_http(
            response.status_code,
            body=hide((response.body or b"").decode("utf-8", "replace"), secrets),
            retry_after=retry_after(response.headers.get("Retry-After")),
            request_id=response.headers.get("x-request-id", ""),
            of_call=endpoint.is_call,
        )
        return failure.hiding(secrets)
    return errors.from_exception(exc).hiding(secrets)


_WITH_TOOLS = frozenset({"session.update", "response.create"})
_NAMES = frozenset({"type", "code", "event_id"})
"""What an error is known by, and what it answers: no texts. A word of theirs that is also in a header stays."""


def _hide_in_errors(payload: Payload, secrets: Iterable[str]) -> None:
    """Take keys out of the error in an event. Servers quote them; applications log what the raw event tap gives."""
    response = payload.get("response")
    details = response.get("status_details") if isinstance(response, dict) else None
    for holder in (payload, details):
        error = holder.get("error") if isinstance(holder, dict) else None
        if isinstance(error, dict):
            texts = {name: value for name, value in error.items() if isinstance(value, str)}
            for name, text in texts.items():
                error[name] = redact(text if name in _NAMES else hide(text, secrets))


class Link:
    """An open session socket.

    Attributes:
        session_id: OpenAI's id of the session; "" before it began.
        request_id: The `x-request-id` of the handshake; "" when there was none.
        told: The configuration it was sent before anybody took it; None: none.
        expires_at: When the server ends the session, in s since 1970; None when it did not say.
        socket: What it is made of. When it is `writable`, text that is JSON already may be sent there if it holds no
            keys: none are looked for.
    """

    def __init__(self, socket: FramedConnection, secrets: Iterable[str] = (), *, of_call: bool = False) -> None:
        self.socket = socket
        self._of_call = of_call
        self._secrets = tuple(secrets)
        self._early: list[Payload | Malformed] = []
        self._last_error: tuple[float, Failure] | None = None
        self._dead: Failure | None = None
        self._pulse: Pulse | None = None
        self._began = False
        self.session_id = ""
        self.expires_at: float | None = None
        self.request_id = ""
        self.told: Payload | None = None
        if socket.response is not None:
            self.request_id = hide(socket.response.headers.get("x-request-id", ""), self._secrets)[:MAX_ID]
            socket.response.headers.clear()  # nobody reads the handshake any more: 3 KiB, and the key is in the request
        socket.request = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys in use, as `redaction.traces` gives them, with those of MCP servers that it was told."""
        return self._secrets

    def named(self, failure: Failure) -> Failure:
        """The failure, with the ids by which OpenAI or a gateway finds this connection."""
        return replace(failure, session_id=self.session_id, request_id=failure.request_id or self.request_id)

    @classmethod
    async def open(cls, endpoint: Endpoint, *, timeout: float, heartbeat: float | None) -> Link:
        """Dial, upgrade, and wait for `session.created`; all of it within `timeout` seconds.

        `heartbeat` (s) is the time between pings; a peer without a sign of life for twice that is dead. None: no pings,
        and a dead peer goes unnoticed.
        Raises `LinkFailed`.
        """
        started = time.monotonic()
        link = await cls.dial(endpoint, timeout=timeout)
        await link.begin(timeout=max(0.1, timeout - (time.monotonic() - started)), heartbeat=heartbeat)
        return link

    @classmethod
    async def dial(cls, endpoint: Endpoint, *, timeout: float) -> Link:
        """The first half of `open`: dial and upgrade within `timeout` seconds. Raises `LinkFailed`."""
        try:
            socket = await _Connect(
                endpoint.url,
                additional_headers=dict(endpoint.headers),
                user_agent_header=_USER_AGENT,
                compression=None,  # 65 us per 100 ms of audio for a ratio of 0.77
                max_size=MAX_FRAME_BYTES,
                open_timeout=timeout,
                ping_interval=None,  # `Pulse` does it
                close_timeout=CLOSE_TIMEOUT_S,
                write_limit=WRITE_LIMIT_BYTES,
                logger=socket_logger,
                create_connection=FramedConnection,
                ssl=_tls() if endpoint.url.startswith("wss:") else None,
            )
        except (OSError, ValueError, EOFError, asyncio.TimeoutError, websockets.WebSocketException) as exc:
            # No cause: it holds the request, and the frames of the library hold its headers.
            raise LinkFailed(_failure(exc, endpoint)) from None
        return cls(cast(FramedConnection, socket), endpoint.secrets, of_call=endpoint.is_call)

    async def begin(self, *, timeout: float, heartbeat: float | None) -> None:
        """The other half of `open`: wait for `session.created` within `timeout` seconds.

        Raises `LinkFailed`; the link is closed then.
        """
        # Not `wait_for`: before Python 3.12 it can swallow the cancellation that ends a session.
        opening = asyncio.ensure_future(self._handshake())
        try:
            done, _ = await asyncio.wait({opening}, timeout=timeout)
            if not done:
                raise LinkFailed(self._unanswered())
            opening.result()
        except BaseException:
            opening.cancel()
            await self.close()
            raise
        if heartbeat is not None:
            much = WRITE_LIMIT_BYTES // 4
            self._pulse = Pulse(self.socket, heartbeat, much=much, dead=self._peer_is_dead)

    @property
    def alive(self) -> bool:
        """Whether the socket is still open, as far as is known here."""
        return self.socket.state is State.OPEN

    async def _handshake(self) -> None:
        """Wait for `session.created`. What came before it stays in line for `receive`."""
        waiting: list[Payload | Malformed] = []
        while True:
            try:
                # The close that says how bad an error is comes right behind it. A server that refuses to begin and
                # leaves the socket open is given up all the same.
                gap = ERROR_CLOSE_GAP_S if self._last_error is not None else None
                payload = await asyncio.wait_for(self.receive(), gap)
            except asyncio.TimeoutError:
                raise LinkFailed(self._unanswered()) from None
            waiting.append(payload)
            if not isinstance(payload, Malformed) and payload.get("type") == "session.created":
                self._begin(payload.get("session"))
                self._early = waiting
                return

    def _begin(self, session: Any) -> None:
        """There is a session. Its payload says what it is set to, which is changed at once: not worth keeping."""
        told = session if isinstance(session, dict) else {}
        session_id, expires_at = told.get("id"), told.get("expires_at")
        self._began = True
        self.session_id = hide(session_id, self._secrets)[:MAX_ID] if isinstance(session_id, str) else ""
        self.expires_at = float(expires_at) if isinstance(expires_at, (int, float)) and expires_at > 0 else None

    def _unanswered(self) -> Failure:
        """Why a session did not begin on an open socket: the server's error if it sent one."""
        if self._last_error is None:
            return self.named(errors.from_exception(TimeoutError("no session.created came")))
        return self.named(errors.from_close(None, "", last_error=self._last_error[1], connecting=True))

    async def receive(self) -> Payload | Malformed:
        """The next frame, parsed. Raises `LinkFailed` when the socket is gone, also after a clean close."""
        if self._early:
            return self._early.pop(0)
        try:
            payload = server_events.parse(await self.socket.message())
        except ConnectionClosed as exc:
            raise LinkFailed(self._closed(exc)) from None
        if isinstance(payload, dict):
            self._look(payload)
        return payload

    async def deliver(self, to: Callable[[Payload | Malformed], object]) -> None:
        """Give every frame, parsed, to `to`, in the step in which it comes if nobody has to wait for that: a task that
        wakes up for it would cost more than reading it. Raises as `receive`, and what `to` raises.
        """
        while self._early:
            to(self._early.pop(0))

        def take(payload: Payload | Malformed) -> None:
            if isinstance(payload, dict) and ("error" in payload or "response" in payload):
                self._look(payload)
            to(payload)

        try:
            await self.socket.deliver(server_events.parse, take)
        except ConnectionClosed as exc:
            raise LinkFailed(self._closed(exc)) from None

    def _look(self, payload: Payload) -> None:
        """Take keys out of an error in it, and remember what may say why the socket closes."""
        _hide_in_errors(payload, self._secrets)
        if payload.get("type") == "error":
            self._remember(payload)

    def _remember(self, payload: Payload) -> None:
        event = server_events.from_payload(payload)
        if isinstance(event, server_events.Error):
            e = event.error
            failure = errors.from_server_error(e.code, e.type, e.message, param=e.param)
            self._last_error = (time.monotonic(), failure)

    def _closed(self, exc: ConnectionClosed) -> Failure:
        if self._dead is not None:
            return self._dead
        close = exc.rcvd or exc.sent
        recent = self._last_error
        if recent is not None and time.monotonic() - recent[0] > ERROR_CLOSE_GAP_S:
            recent = None
        failure = errors.from_close(
            close.code if close is not None else None,
            hide(close.reason, self._secrets) if close is not None else "",
            last_error=recent[1] if recent is not None else None,
            connecting=not self._began,
            of_call=self._of_call,
        )
        return self.named(failure)

    @property
    def full(self) -> bool:
        """Whether the send buffer is full: the peer has to read first."""
        return self.socket.room is not None

    @property
    def ready(self) -> bool:
        """Whether the socket is open and its send buffer has room."""
        return self.socket.writable

    def write(self, event: Event) -> None:
        """Send one client event, in this step. The link must be `ready`."""
        if event.get("type") in _WITH_TOOLS:  # credentials of MCP servers, which the server may quote
            known = dict.fromkeys((*self._secrets, *traces(secrets_in(event))))
            self._secrets = tuple(sorted(known, key=len, reverse=True))
        self.socket.send_text(client_events.text(event))

    def tell(self, session: Payload) -> None:
        """Send the configuration ahead of whoever takes the link. Its answer stays in line for `receive`."""
        if self.ready:
            self.write(client_events.session_update(session, event_id=TOLD_AHEAD))
            self.told = session

    async def room(self) -> None:
        """Wait until the link is `ready`. It never is again when the socket is gone: `receive` says why, once all that
        came before has been read.
        """
        if self.socket.room is not None:
            await self.socket.room.wait()
        if not self.alive:
            await self.socket.close()  # a peer that has said goodbye may keep the connection open
            await asyncio.get_running_loop().create_future()

    def _peer_is_dead(self, why: str) -> None:
        self._dead = errors.from_exception(TimeoutError(why))
        self.socket.transport.abort()

    async def close(self) -> None:
        """Close the socket; returns within about a second even when the peer is frozen."""
        if self._pulse is not None:
            self._pulse.stop()
        closing = asyncio.ensure_future(self.socket.close())
        try:
            await asyncio.wait({closing}, timeout=1.5 * CLOSE_TIMEOUT_S)
        finally:
            # With a full send buffer the library waits for the peer to read, whatever its close timeout.
            self.socket.transport.abort()
        await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)


async def discard(opening: asyncio.Future[Link]) -> None:
    """Nobody wants this link any more: stop opening it, or close it."""
    opening.cancel()
    await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().close()
