"""How far a connection is, and the configuration it begins with. Conversations and transcriptions begin the same way.

A connection goes through three phases: CLOSED, CONFIGURING (the configuration was sent) and READY (the server confirmed
it).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import replace

from .. import errors
from ..errors import Failure, Kind
from ..wire import client_events, session
from ..wire import server_events as ev
from . import effects as fx
from .config import Config, Update
from .effects import Effects
from .repair import VOICE_DEFERRED, Repair, repair

FORMATS = frozenset({"audio.input.format.type", "audio.output.format.type"})
"""What no session can go on without: the other side would hear noise, as loud as can be."""


class Phase(enum.Enum):
    """How far the current connection is."""

    CLOSED = "closed"
    CONFIGURING = "configuring"
    READY = "ready"


def failure_of(detail: ev.ErrorDetail) -> Failure:
    """What an error of the server means."""
    return errors.from_server_error(
        detail.code, detail.type, detail.message, param=detail.param, client_event_id=detail.client_event_id
    )


class Setup:
    """Owns the phase and the configuration. `wanted` is the first `session` payload; `event_id` makes ids of a kind."""

    __slots__ = ("_event_id", "_was_ready", "config", "phase")

    def __init__(self, wanted: session.Payload, event_id: Callable[[str], str]) -> None:
        self.config = Config(wanted)
        self.phase = Phase.CLOSED
        self._event_id = event_id
        self._was_ready = False

    def opened(self, told: session.Payload | None = None) -> Effects:
        """A new connection has a session: everything is sent in one update, or what it was not `told` ahead."""
        self.phase = Phase.CONFIGURING
        return self._send(self.config.opened(self._event_id("session"), told))

    def _send(self, update: Update | None) -> Effects:
        if update is None:
            return []
        # A copy: whoever listens to client events may change what it is shown.
        return [fx.Send(client_events.session_update(dict(update.change), event_id=update.event_id))]

    def _send_what_is_missing(self, key: str | None = None) -> Effects:
        held = self.config.held
        sent = self._send(self.config.next_update(self._event_id("session"), key))
        return [*sent, VOICE_DEFERRED] if self.config.held not in ({}, held) else sent

    def spoke(self) -> None:
        """The agent spoke on this connection: the server has fixed its voice."""
        self.config.voice_fixed = True

    def closed(self) -> None:
        """The connection is gone."""
        self.phase = Phase.CLOSED

    def configure(self, wanted: session.Payload, key: str | None = None) -> Effects:
        """Change the configuration; the request `key` is settled when the server answers."""
        self.config.want(wanted)
        if self.phase is Phase.CLOSED:
            if key is not None:
                self.config.wait(key)
            return []
        effects = self._send_what_is_missing(key)
        done = key is not None and not self.config.is_waited_for(key)
        return [*effects, fx.Settled(key)] if key is not None and done else effects

    def updated(self, event: ev.SessionUpdated) -> Effects:
        """The server confirmed an update: the oldest of ours, if any is on its way."""
        update = self.config.accepted()
        if update is None:
            return []
        effects: Effects = []
        if differences := session.mismatches(update.change, event.session):
            effects.append(fx.ConfigDiffers(differences))
            if FORMATS & differences.keys():
                return [*effects, self._ends(update, errors.from_server_error("format_not_kept", None, None))]
        effects += [fx.Settled(key) for key in update.keys]
        if self.phase is Phase.CONFIGURING and self.config.complete:
            self.phase = Phase.READY
            effects.append(fx.Ready(again=self._was_ready))
            self._was_ready = True
        return effects

    def refused(self, failure: Failure) -> Effects | None:
        """The server refused something; None when it was no update of ours."""
        update = self.config.refused(failure)
        if update is None:
            return None
        if update.ahead:  # nobody asked for it in this session; when it is asked for now, the answer tells
            return self._send(self.config.anew(update, self._event_id("session")))
        if (part := repair(update.change, failure)) is not None:
            return self._repaired(update, part, failure)
        if update.whole:
            return self._refused_whole(update, failure)
        self.config.take_back()
        return [fx.ConfigRefused(), *self._told(update, failure)]

    def _told(self, update: Update, failure: Failure) -> Effects:
        return [fx.Settled(key, failure) for key in update.keys] or [fx.Report(failure)]

    def _repaired(self, update: Update, part: Repair, failure: Failure) -> Effects:
        """Say what is left out and send the rest again. Each time something is left out, so it comes to an end."""
        self.config.leave_out(part)
        again = self.config.again(update, part.without(update.change), self._event_id("session"))
        done: Effects = [] if again is not None else [fx.Settled(key) for key in update.keys]
        sent = [*self._send(again), *self._send_what_is_missing()]
        return [fx.ConfigRefused(), *part.told(failure), *sent, *done]

    def _ends(self, update: Update, failure: Failure) -> fx.Disconnect:
        """The session is over because of this update; whoever waits for it is told then."""
        for key in update.keys:
            self.config.wait(key)
        return fx.Disconnect(failure)

    def _refused_whole(self, update: Update, failure: Failure) -> Effects:
        if (again := self.config.fall_back(update, self._event_id("session"))) is None:
            # Nothing is configured: the session would run on the server's defaults.
            return [self._ends(update, replace(failure, kind=Kind.FATAL))]
        return [fx.ConfigRefused(), *self._told(update, failure), *self._send(again), *self._send_what_is_missing()]
