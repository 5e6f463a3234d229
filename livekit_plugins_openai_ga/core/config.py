"""The session's configuration: what is wanted, what was sent, what the server confirmed.

`session.updated` does not say which update it answers, but the server answers in order, so updates wait in a queue. A
refusal names its update by event id (or, when a gateway lost the id, is taken for the oldest).

The server fixes the voice when the agent first spoke, and refuses an update that names another with all that is in it.
So from then on a new voice is held back until the next connection.

A connection may have been told a configuration ahead, before there was a session. That counts as the first update on
its way, and what is wanted beyond it as the second.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import Failure
from ..wire import session
from ..wire.values import value
from .repair import VOICE_IS_FIXED, Repair, without_voice

TOLD_AHEAD = "session_ahead"
"""Event id of the update that is sent before there is a session."""


@value
class Update:
    """One `session.update` on its way. `keys` are the requests that wait for it.

    `whole`: with it the server has all of the configuration. `ahead`: it was sent before there was a session.
    """

    event_id: str
    change: session.Payload
    keys: tuple[str, ...]
    whole: bool = False
    ahead: bool = False


class Config:
    """One owner for the configuration. Payloads are treated as frozen."""

    __slots__ = ("_flying", "_proven", "_waiting", "complete", "confirmed", "held", "voice_fixed", "wanted")

    def __init__(self, wanted: session.Payload) -> None:
        self.wanted = wanted
        self.confirmed: session.Payload | None = None
        self.complete = False  # the server confirmed the whole configuration on this connection
        self.voice_fixed = False
        self.held: session.Payload = {}  # the part of `wanted` that waits for the next connection
        self._proven: session.Payload | None = None  # the newest that a server confirmed, on any connection
        self._waiting: list[str] = []  # requests made while there was no connection
        self._flying: list[Update] = []  # oldest first

    @property
    def sent(self) -> session.Payload:
        """What the server will have once every update on its way is accepted."""
        return self._on_top_of(self.confirmed or {})

    @property
    def was_confirmed(self) -> bool:
        """Whether a server confirmed a whole configuration, on any connection."""
        return self._proven is not None

    def _on_top_of(self, base: session.Payload) -> session.Payload:
        for update in self._flying:
            base = session.merge(base, update.change)
        return base

    def want(self, wanted: session.Payload) -> None:
        """Ask for another configuration; `next_update` says what to send for it."""
        self.wanted = wanted

    def wait(self, key: str) -> None:
        """Remember a request that is done when the next connection is configured."""
        self._waiting.append(key)

    def opened(self, event_id: str, told: session.Payload | None = None) -> Update | None:
        """A new connection; returns what is to be sent now. The server has nothing of ours, so everything goes in one
        update; or it was `told` something ahead, and gets what differs from that, if anything does.
        """
        keys = [key for update in self._flying for key in update.keys] + self._waiting
        self._waiting, self.confirmed = [], None
        self.complete = self.voice_fixed = False
        self.held = {}
        self._flying.clear()
        everything = Update(event_id, self.wanted, tuple(keys), whole=True)
        if told is None:
            return self._fly(everything)
        rest = session.difference(told, self.wanted)
        ahead = Update(TOLD_AHEAD, told, () if rest else everything.keys, whole=not rest, ahead=True)
        self._fly(ahead)
        return self._fly(replace(everything, change=rest)) if rest else None

    def anew(self, refused: Update, event_id: str) -> Update:
        """What was told ahead was refused: everything is sent as on any other connection, and that is the whole."""
        self._flying = [replace(update, whole=False) for update in self._flying]
        return self._fly(Update(event_id, self.wanted, refused.keys, whole=True))

    def _fly(self, update: Update) -> Update:
        self._flying.append(update)
        return update

    def next_update(self, event_id: str, key: str | None) -> Update | None:
        """The update that brings the server to `wanted`; None when it has it, or will."""
        change = session.difference(self.sent, self.wanted)
        if self.voice_fixed:
            change, self.held = without_voice(change)
        if change:
            return self._fly(Update(event_id, change, (key,) if key is not None else ()))
        if key is not None and self._flying:
            last = self._flying.pop()
            self._flying.append(replace(last, keys=(*last.keys, key)))
        return None

    def is_waited_for(self, key: str) -> bool:
        """Whether the request `key` is still open."""
        return key in self._waiting or any(key in update.keys for update in self._flying)

    def accepted(self) -> Update | None:
        """The server confirmed the oldest update; None when it confirms one that is not ours."""
        if not self._flying:
            return None
        update = self._flying.pop(0)
        self.confirmed = update.change if self.confirmed is None else session.merge(self.confirmed, update.change)
        self.complete = self.complete or update.whole
        if self.complete:
            self._proven = self.confirmed
        return update

    def refused(self, failure: Failure) -> Update | None:
        """The update that the server refused, all of it; it is not on its way any more. None when it was none of ours.

        What is wanted stays as it was: `take_back` or `leave_out` says what becomes of that.
        """
        update = next((update for update in self._flying if update.event_id == failure.client_event_id), None)
        if update is None:
            ours = (failure.param or "").startswith("session") or failure.code == VOICE_IS_FIXED
            if failure.client_event_id is not None or not self._flying or not ours:
                return None
            update = self._flying[0]
        self._flying.remove(update)
        return update

    def take_back(self) -> None:
        """A refused update takes its wish with it: what is wanted is what the server will have, and what is held."""
        self.wanted = session.merge(self.sent, self.held)

    def leave_out(self, part: Repair) -> None:
        """Want no longer what made the server refuse an update. The voice is wanted on: it is only too late for it."""
        if part.tool is None:
            self.voice_fixed = True
        else:
            self.wanted = part.without(self.wanted)

    def again(self, update: Update, change: session.Payload, event_id: str) -> Update | None:
        """Send what is left of a refused update; None when that is nothing.

        It goes behind updates that were made later, so `next_update` has to be asked what it undoes of theirs.
        """
        return self._fly(replace(update, event_id=event_id, change=change)) if change else None

    def fall_back(self, update: Update, event_id: str) -> Update | None:
        """Begin this connection with the newest configuration that a server confirmed, in place of `update`, which was
        refused. None when there is no such, or when that is what was refused."""
        if self._proven is None or self._proven == update.change:
            return None
        self.wanted = self._on_top_of(self._proven)
        return self._fly(Update(event_id, self._proven, (), whole=True))

    def abandon(self) -> list[str]:
        """The session is over; returns the requests that will never be answered."""
        keys = [key for update in self._flying for key in update.keys] + self._waiting
        self._waiting = []
        self._flying.clear()
        return keys
