"""How far a connection is, and the configuration it begins with. Conversations and transcriptions begin the same way.

A connection goes through three phases: CLOSED, CONFIGURING (the configuration was sent) and READY (the server confirmed
it).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .. import errors
from ..errors import Failure, Kind
from ..wire import client_events, session
from ..wire import server_events as ev
from . import effects as fx
from .config import Config
from .effects import Effects


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

    def __init__(self, wanted: Mapping[str, Any], event_id: Callable[[str], str]) -> None:
        self.config = Config(wanted)
        self.phase = Phase.CLOSED
        self._event_id = event_id
        self._was_ready = False

    def opened(self) -> Effects:
        """A new connection has a session: everything is sent in one update."""
        self.phase = Phase.CONFIGURING
        update = self.config.opened(self._event_id("session"))
        return [fx.Send(client_events.session_update(update.change, event_id=update.event_id))]

    def closed(self) -> None:
        """The connection is gone."""
        self.phase = Phase.CLOSED

    def configure(self, wanted: Mapping[str, Any], key: str | None = None) -> Effects:
        """Change the configuration; the request `key` is settled when the server answers."""
        self.config.want(wanted)
        if self.phase is Phase.CLOSED:
            if key is not None:
                self.config.wait(key)
            return []
        update = self.config.next_update(self._event_id("session"), key)
        if update is not None:
            return [fx.Send(client_events.session_update(update.change, event_id=update.event_id))]
        return [fx.Settled(key)] if key is not None and not self.config.is_waited_for(key) else []

    def updated(self, event: ev.SessionUpdated) -> Effects:
        """The server confirmed an update: the oldest of ours, if any is on its way."""
        update = self.config.accepted()
        if update is None:
            return []
        effects: Effects = []
        if differences := session.mismatches(update.change, event.session):
            effects.append(fx.ConfigDiffers(differences))
        effects += [fx.Settled(key) for key in update.keys]
        if self.phase is Phase.CONFIGURING:
            self.phase = Phase.READY
            effects.append(fx.Ready(again=self._was_ready))
            self._was_ready = True
        return effects

    def refused(self, failure: Failure) -> Effects | None:
        """The server refused something; None when it was no update of ours."""
        update = self.config.refused(failure.client_event_id, failure.param)
        if update is None:
            return None
        if self.phase is Phase.CONFIGURING:  # nothing is configured: the session would run on the server's defaults
            for key in update.keys:
                self.config.wait(key)  # answered when the session ends
            return [fx.Disconnect(replace(failure, kind=Kind.FATAL))]
        told: Effects = [fx.Settled(key, failure) for key in update.keys] or [fx.Report(failure)]
        return [fx.ConfigRefused(), *told]
