"""One socket against a small server: what opens, what fails and how it is told, and how fast it is over."""

from __future__ import annotations

import asyncio
import json
import logging
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from livekit_plugins_openai_ga.core.config import TOLD_AHEAD
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.transport.framing import READ_BYTES
from livekit_plugins_openai_ga.transport.link import CLOSE_TIMEOUT_S, Link, LinkFailed
from livekit_plugins_openai_ga.wire import endpoint
from livekit_plugins_openai_ga.wire.endpoint import Endpoint, Service
from livekit_plugins_openai_ga.wire.server_events import Malformed

KEY = "sk-proj-abcdefghijklmnop1234567890"
CREATED = {"type": "session.created", "event_id": "event_1", "session": {"id": "sess_1", "type": "realtime"}}
SILENT = logging.getLogger("tests.server")  # a server in this process would print the handshake itself
SILENT.propagate = False
SILENT.setLevel(logging.CRITICAL)

Handler = Callable[[ServerConnection], Awaitable[None]]
Answer = Callable[[ServerConnection, Request], Response | None]


class Server:
    """Where a small server listens, and the upgrade requests it saw."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[Request] = []

    @property
    def endpoint(self) -> Endpoint:
        return endpoint.build(
            f"http://127.0.0.1:{self.port}/v1",
            Service.REALTIME,
            model="gpt-realtime-2.1",
            api_key=KEY,
            extra_headers={"OpenAI-Project": "proj_1"},
        )


@asynccontextmanager
async def served(
    handler: Handler, answer: Answer | None = None, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    server: Server

    def process(connection: ServerConnection, request: Request) -> Response | None:
        server.requests.append(request)
        return answer(connection, request) if answer is not None else None

    def dress(connection: ServerConnection, request: Request, response: Response) -> None:
        response.headers.update(headers or {})

    async with serve(
        handler,
        "127.0.0.1",
        0,
        process_request=process,
        process_response=dress,
        logger=SILENT,
        ping_interval=None,
        close_timeout=0.1,
    ) as running:
        server = Server(running.sockets[0].getsockname()[1])
        try:
            yield server
        finally:
            for connection in running.connections:
                connection.transport.abort()


async def created_then(connection: ServerConnection, *frames: Any) -> None:
    """Begin a session, send these frames, stay."""
    await connection.send(json.dumps(CREATED))
    for frame in frames:
        await connection.send(frame if isinstance(frame, (str, bytes)) else json.dumps(frame))
    await connection.wait_closed()


def error(code: str | None, message: str, error_type: str = "invalid_request_error") -> dict[str, Any]:
    body = {"type": error_type, "code": code, "message": message, "param": None, "event_id": None}
    return {"type": "error", "event_id": "event_2", "error": body}


async def failure_of(server: Server, *, timeout: float = 3.0) -> Failure:
    """Why the link could not be opened."""
    with pytest.raises(LinkFailed) as caught:
        await Link.open(server.endpoint, timeout=timeout, heartbeat=None)
    return caught.value.failure


async def opened(server: Server, *, heartbeat: float | None = None) -> Link:
    return await Link.open(server.endpoint, timeout=3.0, heartbeat=heartbeat)


# -- opening -------------------------------------------------------------------------------------------------------


async def test_the_upgrade_and_the_session_can_be_waited_for_one_after_the_other() -> None:
    begin = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await begin.wait()
        await created_then(connection)

    async with served(handler) as server:
        link = await Link.dial(server.endpoint, timeout=3.0)
        assert link.alive
        assert link.session_id == ""
        begin.set()
        await link.begin(timeout=3.0, heartbeat=None)
        assert link.session_id == "sess_1"
        await link.close()


async def test_a_link_whose_session_does_not_begin_is_closed() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with served(handler) as server:
        link = await Link.dial(server.endpoint, timeout=3.0)
        with pytest.raises(LinkFailed) as caught:
            await link.begin(timeout=0.1, heartbeat=None)
        assert caught.value.failure.code == "timeout"
        assert not link.alive


async def test_a_link_is_open_when_the_session_was_created() -> None:
    async with served(lambda connection: created_then(connection, {"type": "rate_limits.updated"})) as server:
        link = await opened(server)
        assert link.session_id == "sess_1"
        assert await link.receive() == CREATED  # the core sees it, too
        assert await link.receive() == {"type": "rate_limits.updated"}
        await link.close()


async def test_a_failure_says_which_connection_it_was() -> None:
    async def expire(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        await connection.close(1011, "not well")

    async with served(expire, headers={"x-request-id": "req_1"}) as server:
        link = await opened(server)
        assert (link.session_id, link.request_id) == ("sess_1", "req_1")
        failure = await read_to_the_end(link)
    assert (failure.session_id, failure.request_id) == ("sess_1", "req_1")
    assert (failure.close_code, failure.close_reason) == (1011, "not well")


@pytest.mark.parametrize("closes", [True, False])
async def test_a_session_that_never_began_is_found_by_its_request(closes: bool) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.send(json.dumps(error("invalid_model", "No such model.")))
        if closes:
            await connection.close(4000, "invalid_request_error.invalid_model")
        await connection.wait_closed()

    async with served(refuse, headers={"x-request-id": "req_1"}) as server:
        failure = await failure_of(server)
    assert (failure.code, failure.session_id, failure.request_id) == ("invalid_model", "", "req_1")


async def test_a_key_that_a_server_takes_for_an_id_is_hidden() -> None:
    created = {**CREATED, "session": {"id": f"sess_{KEY}"}}

    async def create(connection: ServerConnection) -> None:
        await connection.send(json.dumps(created))
        await connection.close(1011, KEY)

    async with served(create, headers={"x-request-id": KEY}) as server:
        failure = await read_to_the_end(await opened(server))
    assert KEY not in f"{failure!r} {failure} {failure.fields()}"
    async with served(create, refuse_with(HTTPStatus.FORBIDDEN, "", x_request_id=KEY)) as server:
        failure = await failure_of(server)
    assert (failure.http_status, failure.request_id) == (403, "[redacted]")


async def test_a_key_in_an_error_reaches_nobody_who_is_given_each_frame() -> None:
    refused = error("invalid_value", f"Incorrect API key provided: {KEY}.")
    failed = {"type": "response.done", "response": {"status_details": {"error": {"message": f"{KEY} has no quota."}}}}
    frames: asyncio.Queue[Any] = asyncio.Queue()
    async with served(lambda connection: created_then(connection, refused, failed)) as server:
        link = await opened(server)
        delivering = asyncio.create_task(link.deliver(frames.put_nowait))
        given = [await asyncio.wait_for(frames.get(), 5) for _ in range(3)]
        delivering.cancel()
        await link.close()
    assert [event["type"] for event in given] == ["session.created", "error", "response.done"]
    assert KEY not in json.dumps(given)


async def test_what_an_error_answers_is_read_also_when_a_header_says_the_same() -> None:
    wrong = error("invalid_value", "session_1 in session_1 is wrong.")
    wrong["error"].update(event_id="session_1", type=KEY)

    async with served(lambda connection: created_then(connection, wrong)) as server:
        where = server.endpoint
        where = replace(where, headers={**where.headers, "X-Tenant": "session_1"})
        link = await Link.open(where, timeout=3.0, heartbeat=None)
        await link.receive()
        told = await link.receive()
        await link.close()
    assert (told["error"]["event_id"], told["error"]["type"]) == ("session_1", "[redacted]")
    assert told["error"]["message"] == "[redacted] in [redacted] is wrong."


async def test_ids_of_any_length_are_kept_short() -> None:
    async def create(connection: ServerConnection) -> None:
        await created_then(connection)

    async with served(create, headers={"x-request-id": "r" * 1000}) as server:
        assert (await opened(server)).request_id == "r" * 100


async def test_the_handshake_carries_key_and_own_headers_and_never_the_beta_header() -> None:
    async with served(created_then) as server:
        await (await opened(server)).close()
    (request,) = server.requests
    assert request.path == "/v1/realtime?model=gpt-realtime-2.1"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["OpenAI-Project"] == "proj_1"
    assert request.headers["User-Agent"].startswith("livekit-plugins-openai-ga/")
    assert "OpenAI-Beta" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers  # compression costs more than it saves


async def test_what_comes_before_the_session_is_not_lost() -> None:
    async def early(connection: ServerConnection) -> None:
        await connection.send("not json")
        await connection.send(json.dumps({"type": "gateway.hello"}))
        await created_then(connection)

    async with served(early) as server:
        link = await opened(server)
        assert isinstance(await link.receive(), Malformed)
        assert await link.receive() == {"type": "gateway.hello"}
        assert await link.receive() == CREATED
        await link.close()


async def test_the_answer_to_what_is_told_ahead_waits_for_whoever_takes_the_link() -> None:
    heard: list[dict[str, Any]] = []

    async def answer(socket: ServerConnection) -> None:
        await socket.send(json.dumps(CREATED))
        heard.append(json.loads(await socket.recv()))
        await socket.send(json.dumps({"type": "session.updated", "session": {}}))
        await socket.wait_closed()

    async with served(answer) as server:
        link = await Link.open(server.endpoint, timeout=2, heartbeat=None)
        assert link.told is None
        link.tell({"type": "realtime", "instructions": "Be brief."})
        assert link.told == {"type": "realtime", "instructions": "Be brief."}
        types = [(await link.receive())["type"] for _ in range(2)]
        assert types == ["session.created", "session.updated"]
        (update,) = heard
        assert (update["type"], update["event_id"], update["session"]) == ("session.update", TOLD_AHEAD, link.told)
        await link.close()
        link.tell({})  # nobody is there any more
        assert link.told != {}


async def test_events_arrive_as_json_text() -> None:
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    async def listen(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        async for message in connection:
            arrived.put_nowait(message)

    async with served(listen) as server:
        link = await opened(server)
        link.write({"type": "x", "text": "größer"})
        message = await asyncio.wait_for(arrived.get(), 3)
        assert isinstance(message, str)
        assert json.loads(message) == {"type": "x", "text": "größer"}
        await link.close()


# -- refusals after the 101 ----------------------------------------------------------------------------------------

REFUSALS = [
    ("invalid_api_key", "Incorrect API key provided: sk-proj-abc*******7890.", 3000),
    (None, "Missing bearer or basic authentication in header", 3000),
    ("invalid_model", 'Model "x" is not supported in realtime mode.', 4000),
    ("missing_model", "You must provide a model parameter.", 4000),
    ("beta_api_shape_disabled", "The Realtime Beta API is no longer supported.", 4000),
]


@pytest.mark.parametrize(("code", "message", "close"), REFUSALS)
async def test_an_error_and_the_close_behind_it_are_one_fatal_failure(
    code: str | None, message: str, close: int
) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.send(json.dumps(error(code, message)))
        await connection.close(close, "invalid_request_error" + (f".{code}" if code else ""))

    async with served(refuse) as server:
        failure = await failure_of(server)
    assert failure.kind is Kind.FATAL
    assert failure.close_code == close
    assert failure.code == (code or "close_3000")
    assert failure.meaning
    assert failure.remedy
    assert "abc*" not in failure.sentence()


@pytest.mark.parametrize(
    ("frame", "kind", "code"),
    [
        (error("invalid_model", "No."), Kind.FATAL, "invalid_model"),
        (error("server_error", "Sorry.", "server_error"), Kind.RECONNECT, "server_error"),
    ],
)
async def test_an_error_without_a_close_is_told_soon_and_by_its_code(
    frame: dict[str, Any], kind: Kind, code: str
) -> None:
    async def sulk(connection: ServerConnection) -> None:
        await connection.send(json.dumps(frame))
        await connection.wait_closed()

    async with served(sulk) as server:
        started = time.monotonic()
        failure = await failure_of(server, timeout=20)
        assert time.monotonic() - started < 3
    assert (failure.kind, failure.code) == (kind, code)


async def test_an_error_that_ends_in_a_session_does_not_matter() -> None:
    async def recover(connection: ServerConnection) -> None:
        await connection.send(json.dumps(error("server_error", "One moment.")))
        await created_then(connection)

    async with served(recover) as server:
        link = await opened(server)
        assert (await link.receive())["type"] == "error"
        await link.close()


async def test_a_server_that_says_nothing_is_given_up_in_time_and_tried_again() -> None:
    async def mute(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with served(mute) as server:
        started = time.monotonic()
        failure = await failure_of(server, timeout=0.3)
        assert time.monotonic() - started < 0.3 + CLOSE_TIMEOUT_S + 0.5
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "timeout")


async def test_a_clean_close_before_the_session_is_a_failure() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.close()

    async with served(leave) as server:
        failure = await failure_of(server)
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "close_1000")


async def test_cancelling_an_opening_closes_the_socket() -> None:
    reached, left = asyncio.Event(), asyncio.Event()

    async def mute(connection: ServerConnection) -> None:
        reached.set()
        await connection.wait_closed()
        left.set()

    async with served(mute) as server:
        task = asyncio.create_task(opened(server))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 3)


# -- refusals before the 101 ---------------------------------------------------------------------------------------


def refuse_with(status: HTTPStatus, body: str = "", **headers: str) -> Answer:
    def answer(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, body)
        for name, value in headers.items():
            response.headers[name.replace("_", "-")] = value
        return response

    return answer


BODY = json.dumps({"error": {"message": "You may not.", "type": "invalid_request_error", "code": "some_code"}})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (HTTPStatus.UNAUTHORIZED, Kind.FATAL),
        (HTTPStatus.FORBIDDEN, Kind.FATAL),
        (HTTPStatus.NOT_FOUND, Kind.FATAL),
        (HTTPStatus.TOO_MANY_REQUESTS, Kind.RECONNECT),
        (HTTPStatus.SERVICE_UNAVAILABLE, Kind.RECONNECT),
        (HTTPStatus.OK, Kind.FATAL),
    ],
)
async def test_an_http_refusal_carries_status_body_and_request_id(status: HTTPStatus, kind: Kind) -> None:
    async with served(created_then, refuse_with(status, BODY, x_request_id="req_1")) as server:
        failure = await failure_of(server)
    assert (failure.kind, failure.http_status) == (kind, status)
    assert (failure.code, failure.message, failure.request_id) == ("some_code", "You may not.", "req_1")
    assert len(server.requests) == 1  # the library's own retries would hide it


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("0.5", 0.5, 0.5),
        ("-3", 0, 0),
        (3600, 3500, 3601),
        (-60, 0, 0),
    ],
)
async def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | int, low: float, high: float) -> None:
    if isinstance(value, int):  # a date this far from now; not from when the tests were collected
        value = formatdate(time.time() + value, usegmt=True)
    async with served(created_then, refuse_with(HTTPStatus.TOO_MANY_REQUESTS, Retry_After=value)) as server:
        failure = await failure_of(server)
    assert failure.retry_after is not None
    assert low <= failure.retry_after <= high


@pytest.mark.parametrize("value", ["soon", "inf", "nan", "1e999"])
async def test_a_retry_after_that_is_no_time_is_ignored(value: str) -> None:
    async with served(created_then, refuse_with(HTTPStatus.SERVICE_UNAVAILABLE, Retry_After=value)) as server:
        assert (await failure_of(server)).retry_after is None


@pytest.mark.parametrize("status", [HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT])
async def test_a_redirect_is_not_followed_so_the_key_goes_nowhere_else(status: HTTPStatus) -> None:
    async with served(created_then) as elsewhere:
        target = f"ws://127.0.0.1:{elsewhere.port}/v1/realtime"
        async with served(created_then, refuse_with(status, Location=target)) as server:
            failure = await failure_of(server)
            here = f"ws://127.0.0.1:{server.port}/other"
        async with served(created_then, refuse_with(status, Location=here)) as server:
            assert (await failure_of(server)).http_status == status
    assert failure.kind is Kind.FATAL
    assert failure.http_status == status
    assert elsewhere.requests == []


async def test_nobody_listening_is_tried_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure = await failure_of(Server(taken.getsockname()[1]))
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "connection_refused")


async def test_a_server_that_hangs_up_in_the_handshake_is_tried_again() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as raw:
        failure = await failure_of(Server(raw.sockets[0].getsockname()[1]))
    assert failure.kind is Kind.RECONNECT


async def test_a_server_that_never_answers_the_handshake_is_given_up_in_time() -> None:
    async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0) as raw:
        failure = await failure_of(Server(raw.sockets[0].getsockname()[1]), timeout=0.2)
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "timeout")


@pytest.mark.parametrize(("status", "kind"), [(407, Kind.FATAL), (502, Kind.RECONNECT)])
async def test_a_proxy_that_refuses_is_named_as_the_proxy(
    status: int, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as raw:
        port = raw.sockets[0].getsockname()[1]
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        target = endpoint.build("https://gateway.example/v1", Service.REALTIME, model="m", api_key=KEY)
        with pytest.raises(LinkFailed) as caught:
            await Link.open(target, timeout=3.0, heartbeat=None)
    failure = caught.value.failure
    assert (failure.kind, failure.code) == (kind, f"proxy_{status}")
    assert "proxy" in failure.sentence()


async def test_tls_to_a_server_without_it_is_no_crash() -> None:
    async with served(created_then) as server:
        target = endpoint.build(f"https://127.0.0.1:{server.port}/v1", Service.REALTIME, model="m", api_key=KEY)
        with pytest.raises(LinkFailed) as caught:
            await Link.open(target, timeout=3.0, heartbeat=None)
    assert caught.value.failure.kind in (Kind.RECONNECT, Kind.FATAL)
    assert server.requests == []


# -- while it is open ----------------------------------------------------------------------------------------------


async def read_to_the_end(link: Link) -> Failure:
    try:
        while True:
            await asyncio.wait_for(link.receive(), 5)
    except LinkFailed as exc:
        return exc.failure


async def test_an_expired_session_is_told_as_such_and_followed_by_another() -> None:
    sentence = "Your session hit the maximum duration of 60 minutes."

    async def expire(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        await connection.send(json.dumps(error("session_expired", sentence)))
        await connection.close(1001, sentence)

    async with served(expire) as server:
        failure = await read_to_the_end(await opened(server))
    assert (failure.kind, failure.code, failure.close_code) == (Kind.RECONNECT, "session_expired", 1001)


async def test_an_old_error_is_not_blamed_for_a_later_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livekit_plugins_openai_ga.transport.link.ERROR_CLOSE_GAP_S", 0.0)

    async def later(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        await connection.send(json.dumps(error("unknown_parameter", "Unknown parameter: 'x'.")))
        await asyncio.sleep(0.01)
        connection.transport.abort()

    async with served(later) as server:
        failure = await read_to_the_end(await opened(server))
    assert (failure.kind, failure.code) == (Kind.RECONNECT, "close_1006")


async def test_a_refused_request_before_a_lost_connection_does_not_make_it_fatal() -> None:
    async def drop(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        await connection.send(json.dumps(error("unknown_parameter", "Unknown parameter: 'x'.")))
        await connection.close(1011)

    async with served(drop) as server:
        assert (await read_to_the_end(await opened(server))).kind is Kind.RECONNECT


@pytest.mark.parametrize("frame", [b"\x00\x01", "", "{", "[]", "null", "{}}", "NaN", "\ud7ff" * 10])
async def test_garbage_is_a_value_and_the_link_stays(frame: str | bytes) -> None:
    async with served(lambda connection: created_then(connection, frame, {"type": "after"})) as server:
        link = await opened(server)
        await link.receive()
        assert isinstance(await link.receive(), Malformed)
        assert await link.receive() == {"type": "after"}
        await link.close()


async def test_text_that_is_not_utf8_ends_the_link_as_a_failure() -> None:
    async def broken(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        await connection.send(b"\xff\xfe", text=True)
        await connection.wait_closed()

    async with served(broken) as server:
        failure = await read_to_the_end(await opened(server))
    assert (failure.kind, failure.close_code) == (Kind.RECONNECT, 1007)


async def test_a_frame_of_ten_megabytes_is_read() -> None:
    """The server echoes images and audio items (BerriAI/litellm#15747)."""
    big = {"type": "conversation.item.added", "data": "a" * 10_000_000}
    async with served(lambda connection: created_then(connection, big)) as server:
        link = await opened(server)
        await link.receive()
        assert await link.receive() == big
        await link.close()


# -- sending -------------------------------------------------------------------------------------------------------


async def test_an_event_is_on_the_socket_in_the_step_that_writes_it() -> None:
    connections: list[ServerConnection] = []

    async def deaf(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.send(json.dumps(CREATED))
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with served(deaf) as server:
        link = await opened(server)
        socket = connections[0].transport.get_extra_info("socket")
        assert select.select([socket], [], [], 0)[0] == []
        link.write({"type": "x"})
        assert select.select([socket], [], [], 3)[0] == [socket]  # nothing else ran
        await link.close()


async def test_a_flood_is_read_in_pieces_and_others_get_their_turn() -> None:
    """What comes between two turns of the loop is one read; asyncio's own reads may be a thousand frames."""
    frame = json.dumps({"type": "x", "data": "a" * 1000})

    async def flood(connection: ServerConnection) -> None:
        await created_then(connection, *[frame] * 200)

    async with served(flood) as server:
        link = await opened(server)
        await link.receive()
        in_a_row, most = 0, 0

        def others() -> None:
            nonlocal in_a_row
            in_a_row = 0
            asyncio.get_running_loop().call_soon(others)

        others()
        for _ in range(200):
            await link.receive()
            in_a_row += 1
            most = max(most, in_a_row)
        await link.close()
    assert most * len(frame) <= 2 * READ_BYTES


async def test_a_link_is_ready_again_when_the_peer_has_read() -> None:
    connections: list[ServerConnection] = []

    async def read_later(connection: ServerConnection) -> None:
        connections.append(connection)
        await connection.send(json.dumps(CREATED))
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with served(read_later) as server:
        link = await opened(server)
        await link.room()
        while link.ready:
            link.write({"type": "x", "data": "a" * 500_000})
        room = asyncio.create_task(link.room())
        done, _ = await asyncio.wait({room}, timeout=0.1)
        assert not done
        connections[0].transport.resume_reading()
        await asyncio.wait_for(room, 5)
        assert link.ready
        await link.close()


async def test_a_peer_that_says_goodbye_and_stays_is_ended_when_there_is_something_to_send() -> None:
    async def linger(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        connection.transport.write(bytes([0x88, 2]) + (1012).to_bytes(2, "big"))
        connection.transport.pause_reading()
        await connection.wait_closed()

    async with served(linger) as server:
        link = await opened(server)
        reading = asyncio.create_task(read_to_the_end(link))
        done, _ = await asyncio.wait({reading}, timeout=0.1)
        assert not done
        assert not link.ready
        room = asyncio.create_task(link.room())
        failure = await asyncio.wait_for(reading, 3)
        assert (failure.close_code, failure.code) == (1012, "close_1012")
        assert not room.done()
        room.cancel()


# -- a peer that is dead -------------------------------------------------------------------------------------------


async def frozen(connection: ServerConnection) -> None:
    """Begin a session, then neither read nor write, with TCP left open."""
    await connection.send(json.dumps(CREATED))
    connection.transport.pause_reading()
    await connection.wait_closed()


async def test_a_peer_that_stops_answering_pings_is_noticed() -> None:
    async with served(frozen) as server:
        link = await opened(server, heartbeat=0.2)
        started = time.monotonic()
        failure = await read_to_the_end(link)
        assert time.monotonic() - started < 1.5
        assert (failure.kind, failure.code) == (Kind.RECONNECT, "timeout")
        assert "gave no sign of life for 0.4 s and did not answer a ping" in failure.sentence()


async def test_pings_of_a_peer_that_nothing_reaches_are_no_sign_of_life() -> None:
    """What is said to it meanwhile would be lost: it seems that nobody speaks."""

    async def deaf(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        connection.transport.pause_reading()
        while True:
            await connection.ping()
            await asyncio.sleep(0.3)

    async with served(deaf) as server:
        link = await opened(server, heartbeat=0.5)
        failure = await asyncio.wait_for(read_to_the_end(link), 3.0)
        assert "did not answer a ping" in failure.sentence()


async def test_bytes_are_a_sign_of_life_also_of_a_frame_that_takes_long_to_arrive() -> None:
    """A pong would have to wait behind the frame."""

    async def drip(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        connection.transport.pause_reading()  # no pong ever
        frame = json.dumps({"type": "x", "data": "a" * 200}).encode()
        header = bytes([0x81, 126]) + len(frame).to_bytes(2, "big")
        for byte in header + frame[:-1]:
            connection.transport.write(bytes([byte]))
            await asyncio.sleep(0.005)
        connection.transport.write(frame[-1:])
        await connection.wait_closed()

    async with served(drip) as server:
        link = await opened(server, heartbeat=0.2)
        await link.receive()
        started = time.monotonic()
        frame = await link.receive()
        assert time.monotonic() - started > 2 * 0.2
        assert isinstance(frame, dict)
        assert frame["type"] == "x"
        assert "no sign of life" in (await read_to_the_end(link)).sentence()


async def test_a_peer_that_answers_pings_may_be_silent_for_long() -> None:
    async with served(created_then) as server:
        link = await opened(server, heartbeat=0.05)
        await link.receive()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(link.receive(), 0.5)
        await link.close()


@pytest.mark.parametrize("stuffed", [False, True], ids=["idle", "with a full send buffer"])
async def test_closing_takes_less_than_a_second_when_the_peer_is_frozen(stuffed: bool) -> None:
    async with served(frozen) as server:
        link = await opened(server)
        if stuffed:
            link.write({"type": "x", "data": "a" * 30_000_000})
            assert not link.ready
        started = time.monotonic()
        await link.close()
        assert time.monotonic() - started < 1.0
        await read_to_the_end(link)


async def test_a_stuck_send_ends_when_the_heartbeat_gives_up() -> None:
    async def deaf(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))
        connection.transport.pause_reading()
        while True:
            await connection.send(json.dumps({"type": "x"}))
            await asyncio.sleep(0.02)

    async with served(deaf) as server:
        link = await opened(server, heartbeat=0.5)
        link.write({"type": "x", "data": "a" * 12_000_000})
        failure = await read_to_the_end(link)
        assert (failure.kind, failure.code) == (Kind.RECONNECT, "timeout")
        assert "took no data for 0.5 s" in failure.sentence()
        await link.close()


async def test_closing_twice_and_after_a_loss_is_fine() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send(json.dumps(CREATED))

    async with served(leave) as server:
        link = await opened(server)
        await read_to_the_end(link)
        await link.close()
        await link.close()


# -- logs ----------------------------------------------------------------------------------------------------------


async def test_no_key_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "websockets", "websockets.client", "asyncio", "livekit", "livekit.plugins.openai_ga.socket"):
        caplog.set_level(logging.DEBUG, logger=name)

    async def refuse(connection: ServerConnection) -> None:
        await connection.send(json.dumps(error("invalid_api_key", f"Incorrect API key provided: {KEY}.")))
        await connection.close(3000)

    for handler in (created_then, refuse):
        async with served(handler) as server:
            try:
                link = await opened(server)
                link.write({"type": "x"})
                await link.close()
            except LinkFailed as exc:
                logging.getLogger().error("%s %r", exc, exc.failure)
    assert caplog.records  # the refusal, at least
    for record in caplog.records:
        assert KEY not in record.getMessage()
        assert KEY not in repr(record.__dict__)


def test_headers_are_compared_without_case_by_the_server_used_here() -> None:
    assert "openai-beta" in Headers({"OpenAI-Beta": "x"})
