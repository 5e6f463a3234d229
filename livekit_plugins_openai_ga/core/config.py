"""The session's configuration: what is wanted, what was sent, what the server confirmed.

`session.updated` does not say which update it answers, but the server answers in order, so updates wait in a queue. A
refusal names its update by event id (or, when a gateway lost the id, is taken for the oldest).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..wire import session


@dataclass(frozen=True, slots=True)
class Update:
    """One `session.update` on its way. `keys` are the requests that wait for it."""

    event_id: str
    change: session.Payload
    keys: tuple[str, ...]


class Config:
    """One owner for the configuration. Payloads are treated as frozen."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self.wanted: session.Payload = dict(wanted)
        self.confirmed: session.Payload | None = None
        self._waiting: list[str] = []  # requests made while there was no connection
        self._flying: deque[Update] = deque()

    @property
    def sent(self) -> session.Payload:
        """What the server will have once every update on its way is accepted."""
        sent = self.confirmed or {}
        for update in self._flying:
            sent = session.merge(sent, update.change)
        return sent

    def want(self, wanted: Mapping[str, Any]) -> None:
        """Ask for another configuration; `next_update` says what to send for it."""
        self.wanted = dict(wanted)

    def wait(self, key: str) -> None:
        """Remember a request that is done when the next connection is configured."""
        self._waiting.append(key)

    def opened(self, event_id: str) -> Update:
        """A new connection: the server has nothing of ours, so everything goes in one update."""
        keys = [key for update in self._flying for key in update.keys] + self._waiting
        self._waiting, self.confirmed = [], None
        self._flying.clear()
        update = Update(event_id, dict(self.wanted), tuple(keys))
        self._flying.append(update)
        return update

    def next_update(self, event_id: str, key: str | None) -> Update | None:
        """The update that brings the server to `wanted`; None when it has it, or will."""
        change = session.difference(self.sent, self.wanted)
        if not change:
            if key is not None and self._flying:
                last = self._flying.pop()
                self._flying.append(Update(last.event_id, last.change, (*last.keys, key)))
            return None
        update = Update(event_id, change, (key,) if key is not None else ())
        self._flying.append(update)
        return update

    def is_waited_for(self, key: str) -> bool:
        """Whether the request `key` is still open."""
        return key in self._waiting or any(key in update.keys for update in self._flying)

    def accepted(self) -> Update | None:
        """The server confirmed the oldest update; None when it confirms one that is not ours."""
        if not self._flying:
            return None
        update = self._flying.popleft()
        self.confirmed = session.merge(self.confirmed or {}, update.change)
        return update

    def refused(self, event_id: str | None, param: str | None) -> Update | None:
        """The server refused an update and dropped all of it: the wanted configuration falls back to what it has."""
        for update in self._flying:
            if update.event_id == event_id:
                break
        else:
            if event_id is not None or not self._flying or not (param or "").startswith("session"):
                return None
            update = self._flying[0]
        self._flying.remove(update)
        if self.confirmed is not None:
            self.wanted = self.sent
        return update

    def abandon(self) -> list[str]:
        """The session is over; returns the requests that will never be answered."""
        keys = [key for update in self._flying for key in update.keys] + self._waiting
        self._waiting = []
        self._flying.clear()
        return keys
