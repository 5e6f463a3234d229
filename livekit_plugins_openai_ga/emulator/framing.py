"""The half of an emulated session that is the same for every kind: frames in, actions out, errors, faults, expiry."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from . import schema
from .actions import Action, Close, Event
from .channel import Channel
from .conversation import Refused
from .watching import What

SESSION_EXPIRED = "Your session hit the maximum duration of 60 minutes."


class FramedSession:
    """A pure state machine: no socket, no clock, no task.

    Time comes in as `now` (seconds on any clock that only goes forward) and `next_deadline` says when `tick` has
    something to do, so the same object runs behind a real WebSocket and in a test with virtual time. A kind of session
    names its `handlers` by event type; `schema` refuses what is malformed or has no place in it.
    """

    def __init__(self, channel: Channel, handlers: dict[str, Callable[[Event], None]]) -> None:
        self.received: list[Event] = []
        self._channel = channel
        self._handlers = handlers

    # What there is to see.

    @property
    def config(self) -> Event:
        """The session object as the server keeps it."""
        return self._channel.config

    @property
    def id(self) -> str:
        """The `sess_...` id."""
        return str(self._channel.config["id"])

    @property
    def sent(self) -> list[Event]:
        """The server events sent so far, in order; the client's are `received`."""
        return self._channel.sent

    @property
    def closed(self) -> Close | None:
        """How the session ended, 1006 when the connection broke; None while it lives."""
        return self._channel.closed

    def watch(self, tell: Callable[[What, Event], None]) -> None:
        """Let `tell` know what happens from now on, see `watching.Happening`."""
        self._channel.tell = tell

    def tell(self, what: What, detail: Event) -> None:
        """This happened."""
        self._channel.tell(what, detail)

    # In and out.

    def start(self, now: float) -> list[Action]:
        """What a healthy handshake is followed by."""
        channel = self._channel
        channel.advance(now)
        channel.after(channel.faults.lifetime(channel.knobs.lifetime), self._expire)
        for seconds, strike in channel.faults.alarms():
            channel.after(seconds, functools.partial(self._strike, strike))
        channel.emit("session.created", session=channel.config)
        self._started()
        return channel.flush()

    def receive(self, frame: str | bytes, now: float) -> list[Action]:
        """Take one frame from the client."""
        self._channel.advance(now)
        if self._channel.closed is None:
            self._take(frame)
        return self._channel.flush()

    def tick(self, now: float) -> list[Action]:
        """Do what is due by `now`."""
        self._channel.advance(now)
        return self._channel.flush()

    def next_deadline(self) -> float | None:
        """When `tick` is next needed; None when nothing is pending."""
        return self._channel.next_deadline()

    def connection_lost(self, code: int, reason: str) -> None:
        """The connection is gone, by the client or by an accident; nothing is sent any more."""
        self._channel.do(Close(code, reason))
        self._channel.flush()

    def connection_frozen(self) -> None:
        """The connection is dead although it is up: nothing gets out any more."""
        self._channel.frozen = True

    @property
    def _takes(self) -> str:
        """Whose events it takes: the type of the session, as a rule."""
        return str(self.config["type"])

    def _started(self) -> None:
        """More to say right after `session.created`."""

    def _expire(self) -> None:
        self._error(Refused("session_expired", SESSION_EXPIRED), None)
        self._channel.do(Close(1001, SESSION_EXPIRED))

    def _strike(self, strike: Callable[[], list[Action]]) -> None:
        for action in strike():
            self._channel.do(action)

    def _take(self, frame: str | bytes) -> None:
        event = event_id = None
        faults = self._channel.faults
        try:
            event = _parse(frame)
            if isinstance(event, dict):
                self.received.append(event)
                self.tell("received", event)
                given = event.get("event_id")
                event_id = given if isinstance(given, str) else None
                actions, refusal, lost = faults.on_receive(event)
                for action in actions:
                    self._channel.do(action)
                if refusal:
                    raise refusal
                if lost or not self._channel.is_live():
                    return
            schema.check(event, self._takes)
            self._handlers[event["type"]](event)
        except Refused as refused:
            error = self._error(refused, event_id)
            self.tell("refused", {"event": event if isinstance(event, dict) else None, "error": error})

    def _error(self, refusal: Refused, event_id: str | None) -> Event:
        error = {
            "type": refusal.error_type,
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        }
        self._channel.emit("error", error=error)
        return error


def _parse(frame: str | bytes) -> Any:
    if isinstance(frame, bytes):
        raise Refused("invalid_event", "Expected a text WebSocket message; binary frames are not supported.")
    try:
        return json.loads(frame)
    except ValueError as exc:
        raise Refused("invalid_json", f"Invalid event: failed to parse JSON value. {exc}") from None
