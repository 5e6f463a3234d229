"""Serves one link at a time: reads, writes, and knows when it is over. Whoever owns the line dials the next one.

An event leaves in the step that wakes the line: a task in between costs more than the event (about 20 us). The task
that writes is made when something has to wait for the peer to read, and ends with that.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from ..errors import Failure, Kind
from ..log import logger
from ..wire.client_events import APPEND_TAIL, Event
from ..wire.codec import b64encode
from ..wire.server_events import Malformed
from .framing import IN_A_ROW, FramedConnection
from .link import Link, LinkFailed, Payload
from .outbox import Outbox
from .term import Term


class Peer(Protocol):
    """Whoever a line works for. Called from the event loop; must not raise."""

    @property
    def watches_audio(self) -> bool:
        """Whether `link_sending` must be called for all user audio, else only for what had to wait."""

    def link_opened(self, link: Link) -> None:
        """A session is open; queue its configuration."""

    def link_received(self, payload: Payload | Malformed) -> None:
        """A frame came."""

    def link_sending(self, event: Event) -> bool:
        """An event is about to leave; returns whether it has to stay, and is forgotten."""

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone; None for a planned change."""


class Line:
    """Serves link after link for one peer; the outbox outlives them all."""

    __slots__ = (
        "_catching_up",
        "_hangup",
        "_line_peer",
        "_link",
        "_outbox",
        "_recycle_after",
        "_recycle_patience",
        "_sending",
        "_socket",
        "_term",
        "_told_dropped",
        "served",
    )

    def __init__(self, peer: Peer, outbox: Outbox, *, recycle_after: float | None, recycle_patience: float) -> None:
        """`recycle_after` (s): age at which a link is over, at a calm moment or `recycle_patience` (s) later."""
        self._line_peer = peer
        self._outbox = outbox
        self._recycle_after = recycle_after
        self._recycle_patience = recycle_patience
        self._term = Term(self._over)
        self._link: Link | None = None  # the one that may be written to
        self._socket: FramedConnection | None = None  # its connection, which user audio goes to past the link
        self._sending = False
        self._catching_up: asyncio.Task[None] | None = None  # something waits to leave
        self._hangup: asyncio.Future[None] | None = None
        self._told_dropped = 0.0
        self.served = 0
        """How many links were served so far, the current one included."""

    @property
    def flushed(self) -> bool:
        """Whether everything that may leave has left: nothing waits for the peer to read."""
        return self._catching_up is None and (self._link is None or not self._link.full)

    def put_audio(self, chunks: list[bytes]) -> None:
        """User audio, which leaves in this step unless it has to wait. A single chunk, which is what a room's frames
        make, goes past the outbox's lanes when nothing is in them."""
        outbox, socket = self._outbox, self._socket
        direct = len(chunks) == 1 and outbox.drained and not self._line_peer.watches_audio
        if direct and socket is not None and socket.writable:
            audio = chunks[0]
            outbox.kept.sent(audio, outbox.ahead)
            try:
                socket.send_text(outbox.head, b64encode(audio), APPEND_TAIL)
            except Exception as exc:
                self._over(exc)
        elif chunks:
            for audio in chunks:
                outbox.put_audio(audio)
            self.wake()

    def wake(self) -> None:
        """There is something in the outbox: it leaves now, or as soon as the peer has read."""
        link = self._link
        # The peer, or a listener of its, may put more into the outbox when it is told that an event leaves.
        if link is None or self._sending or self._catching_up is not None:
            return
        self._sending = True
        try:
            for _ in range(IN_A_ROW):
                if not link.ready:
                    break
                if (event := self._outbox.next()) is None:
                    return
                if not self._line_peer.link_sending(event):
                    link.write(event)
            self._catching_up = asyncio.ensure_future(self._catch_up(link))
        except Exception as exc:  # `serve` raises it: whoever put the event is not to blame
            self._over(exc)
        finally:
            self._sending = False

    def set_calm(self, calm: bool) -> None:
        """Tell whether this is a good moment to change links: nobody speaks, nothing is being made."""
        self._term.set_calm(calm)

    def renew(self, patience: float) -> None:
        """Give the current link up as planned, at the next calm moment or `patience` (s) from now."""
        self._term.expire(patience)

    def hang_up(self, failure: Failure | None) -> None:
        """Give the current link up: with this reason, or (None) as planned."""
        self._over(None if failure is None else LinkFailed(failure))

    def _over(self, reason: BaseException | None = None) -> None:
        if self._hangup is None or self._hangup.done():
            return
        if reason is None:
            self._hangup.set_result(None)
        else:
            self._hangup.set_exception(reason)

    async def serve(self, link: Link) -> Failure | None:
        """Read and write until the link fails (returns why) or is to be given up as planned (returns None)."""
        try:
            failure = await self._serve(link)
        finally:
            self._outbox.lost()
        self._line_peer.link_lost(failure)
        return failure

    async def _serve(self, link: Link) -> Failure | None:
        self._hangup = asyncio.get_running_loop().create_future()
        self._term.begin(self._recycle_after, self._recycle_patience)
        self.served += 1
        self._tell_dropped(link)
        tasks: list[asyncio.Task[None]] = []
        try:
            self._link = link
            self._socket = link.socket
            self._line_peer.link_opened(link)
            self.wake()
            tasks.append(asyncio.create_task(link.deliver(self._line_peer.link_received)))
            tasks[0].add_done_callback(self._read_ended)
            # Not `wait`: its coroutines, sets and futures would take 1.2 KiB in every idle session.
            with contextlib.suppress(LinkFailed):
                await self._hangup
            problems = [exc for end in (self._hangup, *tasks) if end.done() and (exc := end.exception()) is not None]
            for exc in problems:
                if not isinstance(exc, LinkFailed):
                    raise exc
            known = [exc.failure for exc in problems if isinstance(exc, LinkFailed)]
            return link.named(min(known, key=lambda failure: failure.kind is not Kind.FATAL)) if known else None
        finally:
            self._link = None
            self._socket = None
            self._term.end()
            if self._catching_up is not None:
                tasks.append(self._catching_up)
                self._catching_up = None
            for task in tasks:
                task.cancel()
            if self._hangup.done() and not self._hangup.cancelled():
                self._hangup.exception()
            self._hangup = None
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:  # a session that is closed right now must not leave its socket behind
                await link.close()

    def _read_ended(self, reading: asyncio.Task[None]) -> None:
        if not reading.cancelled():
            self._over(reading.exception())
        elif self._hangup is not None:  # by whoever ends all tasks of a loop
            self._hangup.cancel()

    def _tell_dropped(self, link: Link) -> None:
        dropped, self._told_dropped = self._outbox.audio.dropped - self._told_dropped, self._outbox.audio.dropped
        if dropped > 0:
            lost = "%.1f s of user audio were lost: more had to wait for a connection, or to leave, than is kept"
            logger.warning(lost, dropped / 1000, extra={"session_id": link.session_id})

    async def _catch_up(self, link: Link) -> None:
        """Go on with what `wake` had to leave."""
        await asyncio.sleep(0)
        await link.room()
        self._catching_up = None
        self.wake()


async def first_of(*events: asyncio.Event, timeout: float | None) -> None:
    """Wait for one of the events, `timeout` seconds at most.

    Not `wait_for`: before Python 3.12 it can swallow a cancellation.
    """
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
