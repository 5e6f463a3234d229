"""The recorded server, event for event, on a real WebSocket: `async with Replay("call.jsonl") as server`.

It understands nothing: it says what the server said then, each event when all that came before it in the recording has
come, or when the client had its time for that. So races, unknown events, refusals and lost connections come back in
their order. A client that goes another way is told on, in `differences`, and the performance goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from os import PathLike
from types import TracebackType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import EXTERNAL_CLOSE_CODES
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from ..failures import EXCEPTIONS, FAILURES
from ..log import socket_logger
from ..recording.entries import Recording
from ..recording.reader import read
from .tape import Attempt, Difference, Tape

PATIENCE_S = 5.0
"""How long the server waits for a client that does not do what it did then, beyond the recorded time."""

_RECONNECT_S = 60.0
"""A client that tries again may take so much longer than it took then: it waits for times of its own."""

_NOW_S = 1e-6
"""What is left of a wait when it is over: a timer goes off as soon as its loop cannot tell the difference."""

_CLOSE_TIMEOUT_S = 1.0
_MAX_FRAME_BYTES = 64 * 1024 * 1024
_PROTOCOL = "realtime"
_CLOSE = re.compile(r"close_(\d{4})")
_HTTP = re.compile(r"http_(\d{3})")
_STATUSES = frozenset(HTTPStatus)
_AUTH, _SHAPE, _BROKEN = 3000, 4000, 1011
_SILENT = "timeout"
NETWORK = frozenset(code for _, code, _ in EXCEPTIONS) - {_SILENT}
"""Failures that no server makes."""

_REASON_BYTES = 123
"""Of a reason that a close frame has room for."""

_MALFORMED = "what stood here was no event"


class Replay:
    """A server that plays one recording once, to one client.

    Any key is taken, and any path. `differences` are complete after the `async with`.
    """

    def __init__(
        self,
        recording: str | PathLike[str] | Recording,
        *,
        speed: float = 1.0,
        patience: float = PATIENCE_S,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Read the recording.

        Args:
            recording: a file, or what `recording.reader.read` gave.
            speed: 1.0 keeps the recorded time between events; 10 plays ten times as fast.
            patience: seconds that a client may be late before the server goes on without it.
            host: address to listen on.
            port: port to listen on; 0 for any.

        Raises:
            ValueError: the file is no recording, cannot be played, or has no connection in it; `speed` or
                `patience` is not above 0.
            OSError: it cannot be opened.
        """
        for name, value in (("speed", speed), ("patience", patience)):
            if not value > 0:
                raise ValueError(f"{name}={value!r} is not above 0: use a number such as 1.0.")
        self.recording = recording if isinstance(recording, Recording) else read(recording)
        self.tape = Tape(self.recording, speed=speed)
        if not self.tape.attempts:
            raise ValueError("The recording has no connection in it, so there is nothing to play: record a session.")
        self._patience = patience
        self._host = host
        self._port = port
        self._next = 0
        self._server: Server | None = None
        self._chosen: dict[ServerConnection, Attempt] = {}
        self._changed = asyncio.Event()

    @classmethod
    def of(cls, tape: Tape, *, patience: float) -> Replay:
        """A server for a performance that somebody else leads."""
        server = cls(tape.recording, patience=patience)
        server.tape = tape
        return server

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What the client did another way than recorded, in the order in which it was noticed."""
        return tuple(self.tape.differences)

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`; the port is known once the server runs."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    async def __aenter__(self) -> Replay:
        self._server = await serve(
            self._serve,
            self._host,
            self._port,
            process_request=self._admit,
            select_subprotocol=lambda _, offered: Subprotocol(_PROTOCOL) if _PROTOCOL in offered else None,
            compression=None,
            ping_interval=None,
            close_timeout=_CLOSE_TIMEOUT_S,
            max_size=_MAX_FRAME_BYTES,
            logger=socket_logger,
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server is not None:
            for connection in list(self._chosen):
                connection.transport.abort()
            self._server.close(close_connections=False)
            await self._server.wait_closed()
            self.tape.finish()

    # -- connections ---------------------------------------------------------------------------------------------

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._next >= len(self.tape.attempts):
            link = max((attempt.link for attempt in self.tape.attempts), default=0)
            self.tape.differ(self._last_ms, link, "the client made one more connection than was recorded.")
            return connection.respond(HTTPStatus.BAD_REQUEST, "The recording has no further connection.\n")
        attempt = self._chosen[connection] = self.tape.attempts[self._next]
        self._next += 1
        if attempt.refused is not None and attempt.end is not None:
            self.tape.mark(attempt.end, self._now())
            self.stir()
        if attempt.refused is not None and attempt.refused.get("code") in NETWORK:
            del self._chosen[connection]
            return _unreachable(connection, attempt.refused)
        status = _status(attempt.refused) if attempt.refused is not None else None
        if attempt.refused is None or status is None:
            return None
        del self._chosen[connection]
        return _refusal(connection, status, attempt.refused)

    @property
    def _last_ms(self) -> float:
        return self.tape.entries[-1].t_ms if self.tape.entries else 0.0

    async def _serve(self, connection: ServerConnection) -> None:
        attempt = self._chosen[connection]
        self.tape.connected(attempt.link, self._now())
        reading = asyncio.ensure_future(self._read(connection, attempt))
        try:
            if attempt.refused is not None:
                await self._reject(connection, attempt.refused)
            else:
                await self._play(connection, attempt)
                await connection.wait_closed()
        except ConnectionClosed:
            self._left_early(attempt)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self.tape.forget(attempt.link)
            del self._chosen[connection]
            self.stir()

    def _left_early(self, attempt: Attempt) -> None:
        unsaid = [n for n in attempt.entries if self.tape.entries[n].direction == "in" and not self.tape.done(n)]
        planned = attempt.end is not None and self.tape.entries[attempt.end].event.get("planned")
        if unsaid and not planned:
            at = self.tape.entries[unsaid[0]]
            self.tape.differ(at.t_ms, at.link, f"the client left before {at.event['type']} came.")

    async def _read(self, connection: ServerConnection, attempt: Attempt) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in connection:
                event = json.loads(frame)
                if isinstance(event, dict):
                    self.tape.hear(attempt.link, event, self._now())
                    self.stir()

    async def _play(self, connection: ServerConnection, attempt: Attempt) -> None:
        closed = asyncio.ensure_future(connection.wait_closed())
        for number in attempt.entries:
            entry = self.tape.entries[number]
            if entry.direction == "in":
                await self.turn(number, closed)
                await connection.send(json.dumps(self.tape.event(number)))
                self.tape.mark(number, self._now())
                self.stir()
            elif entry.event["type"] == "malformed":
                await self.turn(number, closed)
                await connection.send(_MALFORMED)
            elif number == attempt.end and entry.event.get("code") == _SILENT:
                self.tape.swallow(attempt)
                self.stir()
                await _end(connection, entry.event, final=False)
            elif number == attempt.end and not _is_the_clients(entry.event):
                await self.turn(number, closed)
                self.tape.mark(number, self._now())
                self.stir()
                await _end(connection, entry.event, final=self.tape.is_final(number))
        if attempt.end is None and attempt is not self.tape.attempts[-1]:
            connection.transport.abort()  # raw events of a tap do not tell how a connection was lost

    async def turn(self, number: int, closed: asyncio.Future[Any] | None = None, *, ending: bool = False) -> bool:
        """Wait until it is time for this entry, or `closed` is done. Returns whether all before it came by itself.

        `ending`: the number is that of no entry; wait for the last one.
        """
        tape, came = self.tape, True
        closed = closed or asyncio.get_running_loop().create_future()
        while not tape.reached(number) and not closed.done():
            changed = self._changed
            patience = self._patience + (_RECONNECT_S if tape.connecting else 0.0)
            left = tape.due(number - 1 if ending else number, self._now()) + patience - self._now()
            if left <= _NOW_S:
                tape.pass_over(number)
                self.stir()
                came = False
                break
            stirred = asyncio.ensure_future(changed.wait())
            await asyncio.wait({stirred, closed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            stirred.cancel()
        if not ending and (wait := tape.due(number, self._now()) - self._now()) > 0:
            await asyncio.wait({closed}, timeout=wait)
        return came

    async def _reject(self, connection: ServerConnection, note: Mapping[str, Any]) -> None:
        """Refuse as GA does: an `error` right after the upgrade, and a close."""
        code = str(note.get("code") or "")
        if code in FAILURES:
            error = {"type": "invalid_request_error", "code": code, "message": _message(note), "param": None}
            await connection.send(json.dumps({"type": "error", "event_id": "event_refused", "error": error}))
            close_code = note.get("close_code") or (_AUTH if "key" in code else _SHAPE)
            await connection.close(int(close_code), f"invalid_request_error.{code}"[:120])
            return
        await _end(connection, note, final=True)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def stir(self) -> None:
        """Something was marked."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _is_the_clients(note: Mapping[str, Any]) -> bool:
    """Whether it was the client that ended the connection."""
    return note.get("type") == "closed" or bool(note.get("planned"))


def _status(note: Mapping[str, Any]) -> int | None:
    told = note.get("http_status")
    found = _HTTP.fullmatch(str(note.get("code") or ""))
    status = told if isinstance(told, int) else int(found[1]) if found else 0
    return status if 200 <= status <= 599 else None


def _unreachable(connection: ServerConnection, note: Mapping[str, Any]) -> Response:
    """The nearest thing to a network that failed: it broke. A certificate that was not trusted was no use to try again,
    as a refused request is."""
    if note.get("kind") != "fatal":
        connection.transport.abort()
    return connection.respond(HTTPStatus.BAD_REQUEST, "The network failed in the recording.\n")


def _refusal(connection: ServerConnection, status: int, note: Mapping[str, Any]) -> Response:
    code = str(note.get("code") or "")
    error = {"message": _message(note), "type": "invalid_request_error", "param": None, "code": None}
    if code in FAILURES:
        error["code"] = code
    response = connection.respond(HTTPStatus.BAD_GATEWAY, json.dumps({"error": error}))
    response.status_code = status  # proxies have some that Python has no name for
    response.reason_phrase = HTTPStatus(status).phrase if status in _STATUSES else "Refused"
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    if isinstance(note.get("retry_after"), (int, float)):
        response.headers["Retry-After"] = f"{note['retry_after']:g}"
    return response


def _message(note: Mapping[str, Any]) -> str:
    """What the server said, out of the sentence that the plugin made of it."""
    code, sentence = str(note.get("code") or ""), str(note.get("sentence") or "")
    text = sentence.removeprefix(f"{code}: ")
    row = FAILURES.get(code)
    return text.partition(row.meaning)[0].strip() if row is not None else text


async def _end(connection: ServerConnection, note: Mapping[str, Any], *, final: bool) -> None:
    """End the connection as it ended then: with its code, as a peer that fell silent, or without a word.

    `final`: the client did not try again.
    """
    code = str(note.get("code") or "")
    found = _CLOSE.fullmatch(code)
    number = note.get("close_code") if isinstance(note.get("close_code"), int) else int(found[1]) if found else None
    if code == _SILENT:
        connection.transport.pause_reading()  # no pongs either: the client finds out by itself
        await connection.wait_closed()
    elif number is not None and (number in EXTERNAL_CLOSE_CODES or 3000 <= number <= 4999):
        reason = str(note.get("close_reason") or "").encode(errors="replace")[:_REASON_BYTES]
        await connection.close(number, reason.decode(errors="ignore"))
    elif number is None and code in FAILURES:  # an `error` that the server closed upon
        await connection.close(_SHAPE if final else _BROKEN, f"invalid_request_error.{code}"[:120])
    else:
        connection.transport.abort()
