"""Frames on the short way. The library's own parser is the second reader: same bytes, same messages, same end."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import os
import random
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.uri import parse_uri
from websockets.utils import accept_key

from livekit_plugins_openai_ga.transport.framing import (
    IN_A_ROW,
    MAX_SHORT_BYTES,
    MAX_WAITING,
    READ_BYTES,
    FramedConnection,
)

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MAX_SIZE = 300_000
RUNS = int(os.environ.get("FRAMING_RUNS", "300"))


def frame(
    opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0, wide: int = 0, masked: bool = False
) -> bytes:
    """A frame as a server sends it. `wide`: bytes of its length, when more than are needed."""
    size = len(payload)
    first = final << 7 | reserved << 4 | opcode
    if wide == 8 or size >= 1 << 16:
        header = bytes([first, 127]) + size.to_bytes(8, "big")
    elif wide == 2 or size >= 126:
        header = bytes([first, 126]) + size.to_bytes(2, "big")
    else:
        header = bytes([first, size])
    return bytes([header[0], header[1] | masked << 7]) + header[2:] + (b"\0\0\0\0" if masked else b"") + payload


def sent_frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """What a client has sent: first byte and payload of each frame, without its mask."""
    at = 0
    while at < len(data):
        first, size, at = data[at], data[at + 1] & 0x7F, at + 2
        wide = {126: 2, 127: 8}.get(size, 0)
        size = int.from_bytes(data[at : at + wide], "big") if wide else size
        mask, at = data[at + wide : at + wide + 4], at + wide + 4
        yield first, bytes(byte ^ mask[i % 4] for i, byte in enumerate(data[at : at + size]))
        at += size


class Transport(asyncio.Transport):
    """Keeps what is written; knows whether somebody wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def as_it_came(message: str | bytes | memoryview) -> str | bytes:
    """The least that whoever reads messages as they come has to do."""
    return str(message, "utf-8") if isinstance(message, memoryview) else message


class Read:
    """One reader and its transport, before the answer to the handshake came."""

    def __init__(self, kind: type[ClientConnection]) -> None:
        protocol = ClientProtocol(parse_uri("ws://server/"), max_size=MAX_SIZE)
        protocol.send_request(protocol.connect())
        protocol.data_to_send()
        self.answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(protocol.key)}\r\n\r\n"
        ).encode()
        self.transport = Transport()
        self.connection = kind(protocol)
        self.connection.connection_made(self.transport)
        self.messages: list[str | bytes] = []

    def feed(self, data: bytes, cuts: list[int]) -> None:
        for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
            self.connection.data_received(data[start:stop])

    def end(self) -> None:
        self.connection.eof_received()
        self.connection.connection_lost(None)

    async def message(self) -> str | bytes:
        c = self.connection
        return await (c.message() if isinstance(c, FramedConnection) else c.recv())

    async def all(self, *, delivered: bool = False) -> tuple[Any, ...]:
        """Everything that a reader can know of what came, and what was answered."""
        try:
            while True:
                if delivered and isinstance(self.connection, FramedConnection):
                    await self.connection.deliver(as_it_came, self.messages.append)
                self.messages.append(await self.message())
        except ConnectionClosed as exc:
            return self.messages, exc.rcvd, exc.sent, list(sent_frames(self.transport.written))


async def both(make: Callable[[bytes], tuple[bytes, list[int]]]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What ours reads of it, and what the library's reads."""
    found = []
    for kind in (FramedConnection, ClientConnection):
        read = Read(kind)
        read.feed(*make(read.answer))
        reading = asyncio.ensure_future(read.all())
        for _ in range(100):  # all that came is read, and what is wrong with it told, before the end
            await asyncio.sleep(0)
        read.end()
        found.append(await asyncio.wait_for(reading, 10))
    return found[0], found[1]


SIZES = (0, 1, 3, 100, 125, 126, 127, 1000, 6500, MAX_SHORT_BYTES - 1, MAX_SHORT_BYTES, MAX_SHORT_BYTES + 1, 200_000)


def a_text(dice: random.Random) -> bytes:
    size = dice.choice(SIZES)
    text = ("a" * size if dice.random() < 0.6 else "\u00e4\u20ac\U0001f600" * (size // 9)).encode()
    return text + b"\xed\xa0\x80" if dice.random() < 0.02 else text  # not UTF-8


def some_frames(dice: random.Random) -> Iterator[bytes]:
    """Mostly what a server sends; now and then what none may send."""
    for _ in range(dice.randint(1, 30)):
        kind = dice.random()
        if kind < 0.65:
            yield frame(TEXT, a_text(dice), wide=dice.choice((0, 0, 0, 2, 8)))
        elif kind < 0.75:
            yield frame(dice.choice((PING, PONG)), b"p" * dice.randint(0, 125))
        elif kind < 0.8:
            yield frame(BINARY, b"\x81\x01\xff")
        elif kind < 0.92:
            text = a_text(dice)
            parts = sorted(dice.randint(0, len(text)) for _ in range(dice.randint(0, 4)))
            edges = [0, *parts, len(text)]
            for i in range(len(edges) - 1):
                if dice.random() < 0.3:
                    yield frame(PING)
                yield frame(CONTINUED if i else TEXT, text[edges[i] : edges[i + 1]], final=i == len(edges) - 2)
        elif kind < 0.97:
            yield frame(
                dice.randint(0, 15),
                b"x" * dice.choice((0, 5, 126)),
                final=dice.random() < 0.7,
                reserved=dice.choice((0, 0, 0, 4, 1)),
                masked=dice.random() < 0.3,
            )
        elif kind < 0.98:
            yield frame(TEXT, b"x" * (MAX_SIZE + 1))
        else:
            yield frame(CLOSE, dice.choice((b"", b"\x03\xe8bye", b"\x0b\xb8", b"\x00\x01", b"x")))


def a_stream(seed: int) -> Callable[[bytes], tuple[bytes, list[int]]]:
    dice = random.Random(seed)
    frames = b"".join(some_frames(dice))
    if dice.random() < 0.3:
        frames = frames[: dice.randint(0, len(frames))]
    cuts = dice.choice((0, 3, 40, 400))

    def make(answer: bytes) -> tuple[bytes, list[int]]:
        data, again = answer + frames, random.Random(seed)
        return data, sorted(again.randint(0, len(data)) for _ in range(cuts))

    return make


@pytest.mark.parametrize("part", range(4))
async def test_the_librarys_parser_reads_the_same(part: int) -> None:
    for seed in range(part, RUNS, 4):
        ours, theirs = await both(a_stream(seed))
        assert ours == theirs, f"seed {seed}"


@pytest.mark.parametrize(
    "frames",
    [
        frame(TEXT, b"a"),
        frame(TEXT, b"a" * 126) + frame(TEXT) + frame(TEXT, "\u00e4".encode()),
        frame(TEXT, b"a", final=False) + frame(PING, b"x") + frame(CONTINUED, b"b") + frame(TEXT, b"c"),
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8bye") + frame(TEXT, b"too late"),
        frame(TEXT, b"a") + frame(TEXT, b"b", reserved=4) + frame(TEXT, b"c"),
        frame(TEXT, b"a") + frame(TEXT, b"b", masked=True) + frame(TEXT, b"c"),
        frame(TEXT, b"\xff") + frame(TEXT, b"c"),
        frame(PING, b"p" * 126),
        frame(3, b"a"),
    ],
    ids=[
        "one",
        "lengths",
        "in parts",
        "inside parts",
        "goodbye",
        "reserved",
        "masked",
        "not UTF-8",
        "long ping",
        "odd",
    ],
)
async def test_frames_cut_at_every_byte_are_read_as_the_library_reads_them(frames: bytes) -> None:
    whole = await both(lambda answer: (answer + frames, []))
    assert whole[0] == whole[1]
    cut = await both(lambda answer: (answer + frames, list(range(len(answer + frames)))))
    assert cut[0] == cut[1] == whole[0]


async def read_as_it_comes(kind: type[ClientConnection], seed: int) -> tuple[Any, ...]:
    read, dice = Read(kind), random.Random(seed)
    reading = asyncio.ensure_future(read.all(delivered=True))
    data, cuts = a_stream(seed)(read.answer)
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        for _ in range(100):  # not for ever: who has refused what came reads no more
            if not read.transport.reading:
                await asyncio.sleep(0)
        read.connection.data_received(data[start:stop])
        for _ in range(dice.choice((0, 1, 20))):
            await asyncio.sleep(0)
    for _ in range(200):
        await asyncio.sleep(0)
    read.end()
    return await asyncio.wait_for(reading, 10)


async def test_what_is_delivered_as_it_comes_is_what_the_library_reads() -> None:
    for seed in range(RUNS // 3):
        ours = await read_as_it_comes(FramedConnection, seed)
        theirs = await read_as_it_comes(ClientConnection, seed)
        assert ours[:2] == theirs[:2], f"seed {seed}"


async def test_a_refused_handshake_is_the_librarys_whatever_follows() -> None:
    for kind in (FramedConnection, ClientConnection):
        read = Read(kind)
        refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 6\r\n\r\n\x81\x01a\r\n\r\n"
        read.feed(refusal, list(range(len(refusal))))
        assert read.connection.response is not None
        assert (read.connection.response.status_code, read.connection.response.body) == (401, b"\x81\x01a\r\n\r")


async def test_frames_begin_behind_the_answer_however_that_comes() -> None:
    for cut in range(1, 6):
        read = Read(FramedConnection)
        read.feed(read.answer + frame(TEXT, b"a"), [len(read.answer) - cut])
        assert await asyncio.wait_for(read.message(), 1) == "a"


async def test_nothing_is_read_while_too_many_messages_wait() -> None:
    read = Read(FramedConnection)
    read.feed(read.answer, [])
    for _ in range(MAX_WAITING):
        read.connection.data_received(frame(TEXT, b"a"))
    assert read.transport.reading
    read.connection.data_received(frame(TEXT, b"b") + frame(TEXT, b"c", final=False))
    assert not read.transport.reading
    for _ in range(MAX_WAITING):
        await read.message()
    assert read.transport.reading
    assert await read.message() == "b"


@pytest.mark.parametrize("full", [False, True])
async def test_nothing_is_written_to_a_connection_that_was_reset_and_nobody_waits_for_room(full: bool) -> None:
    """A reset comes without a goodbye, so nothing else says that it is over."""
    read = Read(FramedConnection)
    connection = read.connection
    assert isinstance(connection, FramedConnection)
    read.feed(read.answer, [])
    assert connection.writable
    if full:
        connection.pause_writing()
    room = connection.room
    connection.connection_lost(ConnectionResetError())
    assert not connection.writable
    assert connection.room is None
    assert room is None or room.is_set()


async def test_a_wait_that_is_cancelled_loses_no_message() -> None:
    read = Read(FramedConnection)
    read.feed(read.answer + frame(TEXT, b"a", final=False), [])
    for more in (frame(CONTINUED, b"b") + frame(TEXT, b"c"), frame(TEXT, b"d")):
        waiting = asyncio.ensure_future(read.message())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        read.connection.data_received(more)
        if more.endswith(b"c"):
            assert [await read.message(), await read.message()] == ["ab", "c"]
    assert await read.message() == "d"


async def test_a_frame_in_single_bytes_is_not_copied_for_each() -> None:
    """What is held is looked at again when it can be whole."""
    read = Read(FramedConnection)
    data = read.answer + frame(TEXT, b"a" * MAX_SHORT_BYTES)
    read.feed(data, list(range(1, len(data))))
    assert await read.message() == "a" * MAX_SHORT_BYTES


@pytest.mark.parametrize("cuts", [(), (1,), (0, 1), (3, 70)])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1000, 65535, 65536, 200_000])
async def test_what_is_sent_is_a_masked_text_frame_in_how_many_parts_it_may_come(
    size: int, cuts: tuple[int, ...]
) -> None:
    read = Read(FramedConnection)
    read.feed(read.answer, [])
    assert isinstance(read.connection, FramedConnection)
    text = ("\u00e4" * size)[: size // 2] + "a" * (size % 2)
    written = text.encode()
    edges = [0, *cuts, len(written)]
    read.connection.send_text(*(written[start:end] for start, end in itertools.pairwise(edges)))
    assert read.transport.written[1] & 0x80
    assert list(sent_frames(read.transport.written)) == [(0x81, text.encode())]


async def test_masks_differ() -> None:
    read = Read(FramedConnection)
    read.feed(read.answer, [])
    assert isinstance(read.connection, FramedConnection)
    for _ in range(2000):
        read.connection.send_text(b"")
    masks = [read.transport.written[at + 2 : at + 6] for at in range(0, len(read.transport.written), 6)]
    assert len(set(masks)) > 1990


class Delivered:
    """Messages as they are delivered."""

    def __init__(self) -> None:
        self.read = Read(FramedConnection)
        self.read.feed(self.read.answer, [])
        self.got: list[str | bytes] = []
        self.task: asyncio.Future[None] | None = None

    async def begin(self, take: Callable[[str | bytes], object] | None = None) -> None:
        assert isinstance(self.read.connection, FramedConnection)
        self.task = asyncio.ensure_future(self.read.connection.deliver(as_it_came, take or self.got.append))
        for _ in range(5):
            await asyncio.sleep(0)

    def feed(self, *texts: str) -> None:
        self.read.connection.data_received(b"".join(frame(TEXT, text.encode()) for text in texts))


async def test_a_message_is_delivered_in_the_step_in_which_it_comes() -> None:
    to = Delivered()
    await to.begin()
    to.feed("a", "b")
    assert to.got == ["a", "b"]


async def test_after_a_long_row_others_get_their_turn() -> None:
    to = Delivered()
    await to.begin()
    many = [str(number) for number in range(5 * IN_A_ROW)]
    to.feed(*many)
    rows = []
    while len(to.got) < len(many):
        rows.append(len(to.got))
        await asyncio.sleep(0)
    assert to.got == many
    assert len(rows) >= 4
    assert max(later - sooner for sooner, later in itertools.pairwise(rows)) <= IN_A_ROW
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    to.feed("a")
    assert to.got[-1] == "a"


async def test_reads_that_come_in_one_step_are_not_all_taken_in_it() -> None:
    """uvloop reads 32 times in a row when each fills the buffer."""
    to = Delivered()
    await to.begin()
    for _ in range(50):
        to.feed(*["a" * (READ_BYTES // 2)] * 2)
    assert len(to.got) <= IN_A_ROW
    assert not to.read.transport.reading


async def test_full_reads_that_come_step_by_step_wait_for_nobody() -> None:
    to = Delivered()
    await to.begin()
    for number in range(1, 50):
        to.feed(*["a" * (READ_BYTES // 2)] * 2)
        assert len(to.got) == 2 * number
        await asyncio.sleep(0)


def came(connection: ClientConnection, data: bytes) -> None:
    """As asyncio and uvloop tell of a read."""
    assert isinstance(connection, FramedConnection)
    connection.get_buffer(-1)[: len(data)] = data
    connection.buffer_updated(len(data))


async def test_connections_that_are_read_in_turn_keep_what_is_theirs() -> None:
    """All of a thread's are read into one place."""
    many = [Delivered() for _ in range(3)]
    for each in many:
        await each.begin()
    texts = [[f"{number} " * 500, f"{number} " * 700] for number in range(3)]
    frames = [b"".join(frame(TEXT, text.encode()) for text in own) for own in texts]
    for cut in range(0, len(frames[0]), 97):
        for each, data in zip(many, frames, strict=True):
            came(each.read.connection, data[cut : cut + 97])
    assert [each.got for each in many] == texts


async def test_a_taker_may_run_the_loop_and_with_it_other_reads() -> None:
    """`nest_asyncio`, as notebooks have it, does."""
    outer, inner = Delivered(), Delivered()

    def take(text: str | bytes) -> None:
        outer.got.append(text)
        came(inner.read.connection, frame(TEXT, b"in between" * 20))

    await outer.begin(take)
    await inner.begin()
    came(outer.read.connection, frame(TEXT, b"a" * 50) + frame(TEXT, b"b" * 50))
    assert outer.got == ["a" * 50, "b" * 50]
    assert inner.got == ["in between" * 20] * 2


async def test_each_thread_reads_into_its_own_buffer() -> None:
    """Or what one has been told of might be another's by the time that it is read."""
    one, other = Delivered(), Delivered()
    await one.begin()
    await other.begin()
    assert isinstance(one.read.connection, FramedConnection)
    data = frame(TEXT, b"one" * 20)
    one.read.connection.get_buffer(-1)[: len(data)] = data
    await asyncio.to_thread(came, other.read.connection, frame(TEXT, b"other" * 20))
    one.read.connection.buffer_updated(len(data))
    assert (one.got, other.got) == (["one" * 20], ["other" * 20])


@pytest.mark.parametrize("fails", [False, True])
async def test_the_next_read_goes_to_the_same_place_whatever_became_of_the_last(fails: bool) -> None:
    to = Delivered()

    def take(text: str | bytes) -> None:
        if fails:
            raise SystemExit(text)

    await to.begin(take)
    assert isinstance(to.read.connection, FramedConnection)
    before = to.read.connection.get_buffer(-1)
    with pytest.raises(SystemExit) if fails else contextlib.nullcontext():
        came(to.read.connection, frame(TEXT, b"a"))
    assert to.read.connection.get_buffer(-1) is before


async def test_order_holds_when_the_library_reads_a_message() -> None:
    to = Delivered()
    await to.begin()
    to.feed("a", "b" * (MAX_SHORT_BYTES + 1), "c")
    assert to.got == ["a"]
    await asyncio.sleep(0)
    to.feed("d")
    for _ in range(5):
        await asyncio.sleep(0)
    to.feed("e")
    assert [text[:1] for text in to.got] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("problem", [KeyError("a"), UnicodeDecodeError("utf-8", b"a", 0, 1, "its own")], ids=repr)
async def test_what_a_taker_raises_ends_the_delivery(problem: Exception) -> None:
    to = Delivered()

    def take(text: str | bytes) -> None:
        to.got.append(text)
        raise problem

    await to.begin(take)
    to.feed("a", "b")
    assert to.task is not None
    with pytest.raises(type(problem)) as raised:
        await to.task
    assert raised.value is problem
    assert to.got == ["a"]
    assert await to.read.message() == "b"


async def test_a_text_that_cannot_be_read_is_the_librarys_to_refuse() -> None:
    to = Delivered()
    await to.begin()
    to.read.connection.data_received(frame(TEXT, b"a") + frame(TEXT, b"\xed\xa0\x80") + frame(TEXT, b"b"))
    assert to.got == ["a"]
    for _ in range(20):  # the library looks at it
        await asyncio.sleep(0)
    to.read.end()
    assert to.task is not None
    with pytest.raises(ConnectionClosed) as closed:
        await to.task
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1007


async def test_nothing_is_delivered_to_who_does_not_want_it_any_more() -> None:
    to = Delivered()
    await to.begin()
    assert to.task is not None
    to.task.cancel()
    to.feed("a")
    await asyncio.wait({to.task})
    to.feed("b")
    assert to.got == []
    assert [await to.read.message(), await to.read.message()] == ["a", "b"]


async def test_messages_are_delivered_in_the_context_of_who_asked() -> None:
    """A link that was made ahead was made in another; LiveKit finds the job in it."""
    job: contextvars.ContextVar[str] = contextvars.ContextVar("job", default="none")
    to, seen = Delivered(), list[str]()
    job.set("mine")
    await to.begin(lambda text: seen.append(job.get()))
    job.set("another")
    to.feed("a")
    assert seen == ["mine"]


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_a_burst_arrives_whole_and_in_turns(kind: str, certificates: dict[str, Path]) -> None:
    """Over TLS asyncio reads record after record into one buffer."""
    proof, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificates["localhost"])
    proof.load_cert_chain(certificates["localhost"])
    texts = [f"{number} " + "x" * (37 * number % 5000) for number in range(400)]

    async def answer(socket: ServerConnection) -> None:
        for text in texts:
            await socket.send(text)

    took, got, step = [], [], 0

    def take(text: str | bytes) -> None:
        got.append(text)
        took.append(step)

    async with serve(answer, "localhost", 0, ssl=proof if kind == "wss" else None, compression=None) as server:
        url = f"{kind}://localhost:{server.sockets[0].getsockname()[1]}"
        options: dict[str, Any] = {"ssl": trust} if kind == "wss" else {}
        async with connect(url, compression=None, create_connection=FramedConnection, **options) as connection:
            assert isinstance(connection, FramedConnection)
            delivering = asyncio.ensure_future(connection.deliver(as_it_came, take))
            while not delivering.done():
                step += 1
                await asyncio.sleep(0)
            with pytest.raises(ConnectionClosed, match="1000"):
                delivering.result()
    assert got == texts
    assert max(took.count(each) for each in set(took)) <= 2 * IN_A_ROW
