"""One port for WebSockets and for HTTP requests.

The WebSocket server takes only what begins with GET. So the first bytes of a connection decide who gets it: that
server, or a small HTTP/1.1 one that answers a single request and closes, which no client can tell from a server that
did not keep the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.message
import email.parser
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.server import ServerProtocol

_LONGEST_METHOD = 16
_TLS_HANDSHAKE = b"\x16\x03"
FOR_PAGES = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*, Authorization",
    "Access-Control-Expose-Headers": "Location",
}
"""What lets the pages of other sites ask, with a client secret, and read the answer."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it arrived. Header names are lower case; of a repeated query key the last value counts."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer; length and connection headers are added on the way out."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Caller:
    """Who waits for the answer to a request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def is_live(self) -> bool:
        """Whether the caller is still there."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def wait(self, seconds: float) -> None:
        """Let so much time pass, for ever with infinity. Raises ConnectionError as soon as the caller has gone."""
        reading = asyncio.ensure_future(self._reader.read(1))
        try:
            await asyncio.wait({reading}, timeout=seconds if math.isfinite(seconds) else None)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if not self.is_live():
            raise ConnectionError("The caller has gone.")


Answer = Callable[[HttpRequest, Caller], Awaitable[HttpResponse]]


class FrontDoor:
    """Makes the WebSocket server's connections and keeps those that are none. `answer` serves HTTP requests.

    `misled` is told of a client that speaks TLS where there is none; such a connection ends at once.
    """

    def __init__(self, answer: Answer, misled: Callable[[], None] = lambda: None) -> None:
        self.misled = misled
        self._answer = answer
        self._closed = False
        self._transports: set[asyncio.Transport] = set()
        self._requests: dict[asyncio.Task[None], asyncio.Transport] = {}

    def connection(self, protocol: ServerProtocol, server: Server, **options: Any) -> ServerConnection:
        """What the WebSocket server calls for every new connection (`create_connection`)."""
        return _Undecided(protocol, server, door=self, **options)

    def opened(self, transport: asyncio.Transport) -> None:
        """A connection came in."""
        if self._closed:
            transport.abort()
        self._transports.add(transport)

    def lost(self, transport: asyncio.Transport) -> None:
        """A connection ended."""
        self._transports.discard(transport)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, transport: asyncio.Transport) -> None:
        """Answer the request that begins on this connection."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._requests[task] = transport
        task.add_done_callback(self._served)

    def drop_requests(self) -> None:
        """Break the connections of the requests not answered yet."""
        for transport in self._requests.values():
            transport.abort()

    async def aclose(self) -> None:
        """Break every connection, WebSockets too, and those that may still come in."""
        self._closed = True
        for transport in list(self._transports):
            transport.abort()
        await asyncio.gather(*self._requests, return_exceptions=True)

    def _served(self, task: asyncio.Task[None]) -> None:
        self.lost(self._requests.pop(task))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            try:
                request = await _read_request(reader, writer)
            except (ValueError, asyncio.LimitOverrunError):
                response = HttpResponse(HTTPStatus.BAD_REQUEST, b"Malformed HTTP request\n", "text/plain")
            else:
                response = await self._answer(request, Caller(reader, writer))
            writer.write(_encoded(response))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Undecided(ServerConnection):
    """A connection that becomes a WebSocket, or is handed on, once its first bytes are in."""

    def __init__(self, protocol: ServerProtocol, server: Server, *, door: FrontDoor, **options: Any) -> None:
        super().__init__(protocol, server, **options)
        self._door = door
        self._wire: asyncio.Transport | None = None
        self._begun = False
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._door.opened(transport)

    def data_received(self, data: bytes) -> None:
        if self._begun:
            super().data_received(data)
            return
        self._first += data
        if self._first.startswith(_TLS_HANDSHAKE):
            assert self._wire is not None
            self._door.misled()
            self._wire.abort()
            return
        method, space, _ = self._first[: _LONGEST_METHOD + 1].partition(b" ")
        if not space and len(method) <= _LONGEST_METHOD:
            return
        assert self._wire is not None
        self._begun = True
        if method == b"GET":
            super().connection_made(self._wire)
            super().data_received(self._first)
        else:
            self._hand_on(self._wire)

    def _hand_on(self, wire: asyncio.Transport) -> None:
        def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._door.serve(reader, writer, wire)

        http = asyncio.StreamReaderProtocol(asyncio.StreamReader(), begin)
        wire.set_protocol(http)
        http.connection_made(wire)
        http.data_received(self._first)

    def eof_received(self) -> None:
        if self._begun:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._wire is not None:
            self._door.lost(self._wire)
        if self._begun:
            super().connection_lost(exc)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> HttpRequest:
    """Raises ValueError for what is no request, EOFError or OSError when the caller goes."""
    head = await reader.readuntil(b"\r\n\r\n")
    line, _, fields = head.partition(b"\r\n")
    method, target, _version = line.decode("ascii").split(" ")
    headers = {name.lower(): str(value) for name, value in parsed_headers(fields).items()}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    return HttpRequest(method, parts.path, query, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\r\n")) != b"\r\n":
        pass
    return bytes(body)


def parsed_headers(fields: bytes) -> email.message.Message:
    """Header fields, of a request or of a part of its body."""
    return email.parser.BytesParser().parsebytes(fields, headersonly=True)


def _encoded(response: HttpResponse) -> bytes:
    status = HTTPStatus(response.status)
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "close",
        **response.headers,
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body
