"""The connection: when there was one, when there was none, why, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .facts import Connection, Moment, Outage
from .told import Told


class Network:
    """Connections and the gaps between them."""

    def __init__(self, told: Told) -> None:
        self.connections: list[Connection] = []
        self.outages: list[Outage] = []
        self._told = told
        self._last_in: float | None = None
        self._configured = False

    def heard_of(self, at: int) -> None:
        """Any event of the server."""
        self._last_in = self._told.at_ms(at)

    def created(self, at: int, event: Mapping[str, Any]) -> None:
        """session.created, which is when a connection can be used; a note that it is open may have come before."""
        session = event.get("session")
        name = str(session.get("id", "")) if isinstance(session, Mapping) else ""
        self._open(at, name)
        self._configured = False

    def opened(self, at: int, note: Mapping[str, Any]) -> None:
        """The recorder's note."""
        self._open(at, str(note.get("session_id") or ""))

    def _open(self, at: int, session: str) -> None:
        now, link = self._told.at_ms(at), self._told.link(at)
        current = self.connections[-1] if self.connections else None
        if current is not None and current.end_ms is None:
            if current.link == link:
                current.events.append(at)
                current.session = current.session or session
                return
            # Nobody wrote down that the last one was lost.
            current.end_ms = now if self._last_in is None else self._last_in
            self.outages.append(Outage(current.end_ms, told=False, text="a new connection was made"))
        if self.outages and self.outages[-1].end_ms is None:
            self.outages[-1].end_ms = now
            self.outages[-1].events.append(at)
        self.connections.append(Connection(link, now, session, events=[at]))

    def updated(self, at: int, event: Mapping[str, Any]) -> None:
        """session.updated: the first on a connection begins it, others change it."""
        text = "Configuration changed" if self._configured else "Configured"
        self._configured = True
        self._told.moments.append(Moment(self._told.at_ms(at), "network", "configured", text, [at]))

    def lost(self, at: int, note: Mapping[str, Any]) -> None:
        """The connection is gone, or (`planned`) is left for another one."""
        now = self._told.at_ms(at)
        self._end(now)
        code, text = str(note.get("code") or ""), str(note.get("sentence") or "")
        self.outages.append(Outage(now, None, code, text, bool(note.get("planned")), events=[at]))

    def failed(self, at: int, note: Mapping[str, Any]) -> None:
        """A connection could not be made, or the session is over."""
        self._told.problem(at, "network", note)
        if self.outages and self.outages[-1].end_ms is None:
            self.outages[-1].events.append(at)

    def malformed(self, at: int, note: Mapping[str, Any]) -> None:
        """A frame came that is no event."""
        self._told.problem(at, "network", {"code": "malformed", "sentence": note.get("problem")})

    def closed(self, at: int, note: Mapping[str, Any]) -> None:
        """The session was closed by whoever opened it."""
        now = self._told.at_ms(at)
        self._end(now)
        if self.outages and self.outages[-1].end_ms is None and self.outages[-1].planned:
            del self.outages[-1]
        self._told.moments.append(Moment(now, "network", "closed", "Closed", [at]))

    def _end(self, at_ms: float) -> None:
        if self.connections and self.connections[-1].end_ms is None:
            self.connections[-1].end_ms = at_ms
