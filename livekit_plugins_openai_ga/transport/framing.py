"""A WebSocket connection with a short way for what nearly everything is made of: whole text frames (RFC 6455, 5.2).

`websockets` does all the rest: handshake, proxies, TLS, control frames, messages in parts, limits, errors, the close. A
text frame of less than 64 KiB goes past its parser and its queue, and one that is sent past its serializer; both are
Python. Any other frame is handed to the library whole, so its parser is always between two frames, and refuses what it
always did.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # a wheel without its part in C
    from websockets.utils import apply_mask

T = TypeVar("T")

READ_BYTES = 64 * 1024
"""Read at once: a second of speech. asyncio's own 256 KiB may be thousands of frames, taken apart in one step:
many milliseconds in which nobody else on the loop is heard."""

SIGN_OF_LIFE_BYTES = 32
"""More than this is a sign of life, a pong is one anyway. A ping is not: it also comes from a peer that nothing
reaches, and what is said to it meanwhile would be lost."""

MAX_WAITING, FEW_WAITING = 16, 4
"""With more messages waiting to be taken, nothing is read until only a few wait. The library's own numbers. What one
read brought may wait beyond them."""

IN_A_ROW = 16
"""Messages that are taken before others on the loop get their turn: about 1 ms."""

MAX_SHORT_BYTES = 64 * 1024 - 1
"""Longer text frames, which are rare, go the library's way, so that no more than this is held here."""

_TEXT = 0x81  # the first byte of a text frame that is a whole message, with no extension
_FINAL, _OPCODE, _CONTROL = 0x80, 0x0F, 0x08
_MASKED, _IN_2_BYTES, _IN_8_BYTES = 0x80, 126, 127  # of the second byte, which else is the length
_SHORT, _MIDDLE, _LONG = struct.Struct("!BB4s"), struct.Struct("!BBH4s"), struct.Struct("!BBQ4s")

READS_SHARE_A_STEP = sys.version_info < (3, 11)
"""Whether several reads may come in one step of the loop: asyncio's TLS told of each record by itself."""


class _Room(threading.local):
    """Where a thread's connections read: what came is taken apart in the same step, so one place is enough for all."""

    read: memoryview | None = None  # a view, because asyncio's TLS reads record after record into slices of it


_room = _Room()

_MASKS_AT_ONCE = 256
_masks: list[bytes] = []
"""Not used yet. Each must be unpredictable (RFC 6455, 5.3), so it comes from the system, which takes longer to be asked
than to answer: 0.4 us warm, and a twelfth of the uplink's CPU in a busy process, for four bytes at a time."""

if sys.platform != "win32":
    os.register_at_fork(after_in_child=_masks.clear)  # or two processes would use the same


def _more_masks() -> bytes:
    """Ask for more; returns one of them."""
    fresh = os.urandom(4 * _MASKS_AT_ONCE)
    _masks.extend(fresh[at : at + 4] for at in range(4, len(fresh), 4))
    return fresh[:4]


class FramedConnection(ClientConnection, asyncio.BufferedProtocol):
    """A client's connection. Messages are taken with `message` or `deliver`, not with `recv`; text is sent with
    `send_text`.

    Attributes:
        heard_at: When bytes came that are a sign of life, by `time.monotonic()`: also those of a big frame, behind
            which a pong has to wait.
        room: None while more may be written; else set when it may. asyncio, which owns the buffer, tells both.
        writable: Whether it is open, and there is room. Looked at for each message, and the library's own state is two
            objects and a property away.
    """

    # The library fills the table that Python shares between objects of a class: more would cost each one its own.
    __slots__ = (
        "_answer",
        "_direct",
        "_foreign",
        "_heard",
        "_held",
        "_in_parts",
        "_lacking",
        "_lost",
        "_news",
        "_row",
        "_same_step",
        "_stopped",
        "_waiting",
        "heard_at",
        "room",
        "writable",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        """As the library's. `max_size` must be 64 KiB at least."""
        super().__init__(*args, **options)
        # The library has these from `connection_made` on. Python shares the names of a class's attributes only as long
        # as the first object has them all before many others are begun: else each has a table of 1.6 KiB.
        self.transport = self.recv_messages = None  # type: ignore[assignment]
        self.heard_at = 0.0
        self._heard = 0  # bytes since then
        self.room: asyncio.Event | None = None
        self.writable = False
        self._answer: bytes | None = b""  # the last bytes of the handshake's answer; None: it is behind us
        self._held = bytearray()  # the beginning of a frame
        self._lacking = 0  # bytes that it lacks, at least
        self._foreign = 0  # bytes to come of a frame that the library reads
        self._in_parts = False  # the library reads a message in parts, and has not all of them
        self._waiting: deque[str | None] | None = None  # messages in order; None: the next one of the library
        self._stopped = False  # nothing is read, because too many wait
        self._news: asyncio.Future[None] | None = None  # somebody waits for a message
        # How they are read and who takes them, as they come; none waits then.
        self._direct: tuple[Callable[[memoryview], Any], Callable[[Any], object]] | None = None
        self._row = 0  # messages taken so in this step
        self._same_step = False  # the next read may come in it, too
        self._lost = False

    # -- out -----------------------------------------------------------------------------------------------------

    def send_text(self, text: bytes, more: bytes = b"", rest: bytes = b"") -> None:
        """Send a message (UTF-8), which may come in three parts, in this step; it must be open. Its end says why when
        that fails."""
        # Any number of parts would cost a twentieth of what a frame of user audio takes.
        try:
            mask = _masks.pop()  # one step, so two threads never get the same
        except IndexError:
            mask = _more_masks()
        size = len(text) + len(more) + len(rest)
        if _IN_2_BYTES <= size < 1 << 16:  # nearly all
            header = _MIDDLE.pack(_TEXT, _MASKED | _IN_2_BYTES, size, mask)
            # Masked twice, a header of whole masks is what it was. So the frame is made in one piece: putting two
            # together takes four times as long as the mask when the machine has slept.
            frame = apply_mask(b"".join((apply_mask(header, mask), text, more, rest)), mask)
        else:
            if size < _IN_2_BYTES:
                header = _SHORT.pack(_TEXT, _MASKED | size, mask)
            else:
                header = _LONG.pack(_TEXT, _MASKED | _IN_8_BYTES, size, mask)
            frame = header + apply_mask(b"".join((text, more, rest)), mask)
        try:  # noqa: SIM105  # 0.3 us
            self.transport.write(frame)
        except RuntimeError:
            pass  # uvloop's, when the socket has just gone

    # -- in ------------------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if _room.read is None:
            _room.read = memoryview(bytearray(READ_BYTES))
        return _room.read

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        read, _room.read = _room.read, None  # whoever takes a message might run the loop, and with it other reads
        assert read is not None
        try:
            self.data_received(read[:nbytes])
        finally:
            _room.read = read

    def data_received(self, data: bytes | memoryview) -> None:
        """Bytes came."""
        self._heard += len(data)
        if self._heard > SIGN_OF_LIFE_BYTES:
            self.heard_at, self._heard = time.monotonic(), 0
        if not self._same_step:
            self._row = 0
            if READS_SHARE_A_STEP or len(data) >= READ_BYTES:  # there may be more, which uvloop reads in the same step
                self._same_step = True
                self.loop.call_soon(self._step_ends)
        view = memoryview(data)
        while 0 < self._lacking <= len(view):  # the rest of what was held
            begun, self._held = self._held, bytearray()
            begun += view[: self._lacking]
            view, self._lacking = view[self._lacking :], 0
            self._read(memoryview(begun))
        if self._lacking:  # looked at when it can be whole, or one in small pieces would be looked at often
            self._held += view
            self._lacking -= len(view)
        elif view:
            self._read(view)
        if self._waiting:
            self._tell()
            if len(self._waiting) > MAX_WAITING:
                self._stopped = True
                self.transport.pause_reading()

    def _step_ends(self) -> None:
        self._same_step = False

    def _read(self, data: memoryview) -> None:
        if self.protocol.state is not State.OPEN:
            data = memoryview(self._without_answer(bytes(data)))
        rest = self._take_apart(data)
        if rest < len(data):
            super().data_received(bytes(data[rest:]))

    def _without_answer(self, data: bytes) -> bytes:
        """What is left for us when there are no frames yet, or none that count any more: the library gets the rest."""
        begin = 0
        if self._answer is not None:
            seen = self._answer + data
            end = seen.find(b"\r\n\r\n")
            begin = len(data) if end < 0 else end + 4 - len(self._answer)
            self._answer = seen[-3:] if end < 0 else None
            super().data_received(data[:begin])
        if begin < len(data) and self.protocol.state is not State.OPEN:  # refused, or one side has said goodbye
            super().data_received(data[begin:])
            begin = len(data)
        return data[begin:]

    def _take_apart(self, data: memoryview) -> int:
        """Take the frames out of it, and hold what is not whole. Returns up to where somebody has it."""
        at, end = 0, len(data)
        while at < end:
            if self._foreign:
                stop = min(end, at + self._foreign)
                self._foreign -= stop - at
                super().data_received(bytes(data[at:stop]))
                at = stop
                if self.protocol.state is not State.OPEN:
                    return at
                continue
            if end - at < 2:
                return self._hold(data, at, 1)
            first, size, start = data[at], data[at + 1], at + 2
            if size >= _IN_2_BYTES:
                if size & _MASKED:
                    self._foreign = start - at  # the library refuses it
                    continue
                start += 2 if size == _IN_2_BYTES else 8
                if start > end:
                    return self._hold(data, at, start - end)
                wide = size == _IN_2_BYTES
                size = data[at + 2] << 8 | data[at + 3] if wide else int.from_bytes(data[at + 2 : start], "big")
            stop = start + size
            if first == _TEXT and size <= MAX_SHORT_BYTES and not self._in_parts:
                if stop > end:
                    return self._hold(data, at, stop - end)
                try:
                    self._came(data[start:stop])
                except UnicodeDecodeError:
                    pass  # the library says so to the peer
                else:
                    at = stop
                    continue
            if not first & _CONTROL:
                self._in_parts = not first & _FINAL
                if first & _OPCODE:
                    self._waits(None)
            self._foreign = stop - at
        return end

    def _hold(self, data: memoryview, at: int, lacking: int) -> int:
        self._held += data[at:]
        self._lacking = lacking
        return len(data)

    def _came(self, text: memoryview) -> None:
        """A whole text frame. Raises UnicodeDecodeError when it is no UTF-8."""
        direct, news = self._direct, self._news
        if direct is not None and news is not None and not news.done() and self._row < IN_A_ROW:
            self._row += 1
            read, take = direct
            message = read(text)
            try:
                take(message)
            except Exception as exc:
                news.set_exception(exc)
        else:
            self._waits(str(text, "utf-8"))

    def _waits(self, text: str | None) -> None:
        self._direct = None
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(text)

    def _tell(self) -> None:
        self._direct = None
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def message(self) -> str | bytes:
        """The next message, when it is there: text, or the bytes of a binary one. Raises `ConnectionClosed` when there
        will be none. May be cancelled; one at a time may wait.
        """
        while not self._waiting and not self._lost:
            await self._any_news()
        message: str | bytes | None = self._waiting[0] if self._waiting else None
        if message is None:
            message = await self.recv()
        if self._waiting:
            self._waiting.popleft()
            if self._stopped and len(self._waiting) <= FEW_WAITING:
                self._stopped = False
                self.transport.resume_reading()
            if not self._waiting:
                self._waiting = None  # 0.6 KiB
        return message

    async def _any_news(self) -> None:
        self._news = self.loop.create_future()
        self._row = 0
        try:
            await self._news
        finally:
            self._news = self._direct = None

    async def deliver(self, read: Callable[[str | bytes | memoryview], T], take: Callable[[T], object]) -> None:
        """Give what `read` makes of every message to `take` in the step in which it comes, unless that is a long row,
        in the context of this call. Raises `ConnectionClosed` when there will be none, and what `take` raises.

        `read` gets what `message` gives, or a text as the memory in which it came: that is there until `read` returns,
        and nobody has looked whether it is UTF-8. When it is not, `read` raises UnicodeDecodeError; it raises nothing
        else.
        """
        context = contextvars.copy_context()
        direct = read, partial(context.run, take)  # type: ignore[call-arg]  # the message
        while True:
            if not self._waiting and not self._lost:
                self._direct = direct
                await self._any_news()
                continue
            for _ in range(IN_A_ROW):
                context.run(take, read(await self.message()))
                if not self._waiting:
                    break
            await asyncio.sleep(0)

    def send_data(self) -> None:
        """The library has done something: this is how it sends what comes of it, a goodbye as well."""
        try:
            super().send_data()
        finally:  # uvloop raises when the socket has just gone
            self._look()

    def _look(self) -> None:
        self.writable = self.room is None and self.protocol.state is State.OPEN

    def pause_writing(self) -> None:
        """The buffer is full."""
        super().pause_writing()
        self.room = asyncio.Event()
        self._look()

    def resume_writing(self) -> None:
        """There is room again."""
        super().resume_writing()
        self._has_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        self._lost = True
        self._tell()
        self._has_room()

    def _has_room(self) -> None:
        if self.room is not None:
            self.room.set()
            self.room = None
        self._look()
