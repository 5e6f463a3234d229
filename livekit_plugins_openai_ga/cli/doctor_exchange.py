"""Client events out, the server's answers in, on one link: what it refuses and what breaks is a `LinkFailed`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..core.setup import failure_of
from ..errors import Kind, from_exception, from_server_error
from ..transport.link import Link, LinkFailed, Payload
from ..wire import renames
from ..wire import server_events as ev
from ..wire.client_events import Event
from ..wire.server_events import Malformed
from ..wire.values import ServerEvent

_CLOSE_GAP_S = 0.2
"""How long a close may be behind the error that it belongs to."""


class Exchange:
    """Asks and waits for answers; what comes in between is looked at and let go."""

    def __init__(self, link: Link, decode: Callable[[Any], ServerEvent], timeout: float) -> None:
        """`timeout`: seconds that one answer may take."""
        self._link = link
        self._decode = decode
        self._timeout = timeout
        self._ahead: list[Payload | Malformed] = []
        self._malformed: list[str] = []
        self._names: list[str] = []

    def oddities(self) -> tuple[list[str], list[str]]:
        """What was no event, and the names of all that came, since the last call."""
        found = self._malformed, self._names
        self._malformed, self._names = [], []
        return found

    async def say(self, event: Event) -> None:
        """Send one event. On a link that is gone nothing happens: the answer that is waited for tells."""
        if not self._link.ready and self._link.alive:
            await asyncio.wait({room := asyncio.ensure_future(self._link.room())}, timeout=self._timeout)
            room.cancel()
        if self._link.ready:
            self._link.write(event)

    async def until(self, *wanted: str) -> ServerEvent:
        """The next event with one of these names (GA's). Raises `LinkFailed`: a refusal, a lost link, or no answer."""
        try:
            return await asyncio.wait_for(self._search(wanted), self._timeout)
        except asyncio.TimeoutError:
            overdue = from_exception(TimeoutError(f"no {' or '.join(wanted)} within {self._timeout:g} s"))
            raise LinkFailed(self._link.named(overdue)) from None

    async def _search(self, wanted: tuple[str, ...]) -> ServerEvent:
        while True:
            payload = self._ahead.pop(0) if self._ahead else await self._link.receive()
            if isinstance(payload, Malformed):
                self._malformed.append(payload.problem)
                continue
            name = str(payload.get("type"))
            self._names.append(name)
            event = self._decode(payload)
            if isinstance(event, ev.Error):
                await self._refused(event)
            elif renames.SERVER_EVENTS.get(name, name) in wanted:
                if isinstance(event, Malformed):
                    unusable = from_server_error("unexpected_answer", None, f"{name}: {event.problem}")
                    raise LinkFailed(self._link.named(unusable))
                return event
            elif isinstance(event, Malformed):
                self._malformed.append(f"{name}: {event.problem}")

    async def _refused(self, event: ev.Error) -> None:
        failure = failure_of(event.error)
        if failure.kind is Kind.BENIGN:
            return
        with contextlib.suppress(asyncio.TimeoutError):  # the close that may come with it says more
            self._ahead.append(await asyncio.wait_for(self._link.receive(), _CLOSE_GAP_S))
        raise LinkFailed(replace(self._link.named(failure), client_event_id=None))
