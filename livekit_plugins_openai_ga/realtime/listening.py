"""Whoever listens to a session: one that raises neither ends the call nor keeps the others from hearing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from livekit.agents import llm

from ..log import logger
from .events import OwnEvents

Listener = Callable[..., Any]


class Listening(llm.RealtimeSession[OwnEvents]):
    """A session that is listened to. LiveKit logs what a listener raises, but lets a TypeError through: past the
    listeners behind it, and out of whatever told them."""

    def __init__(self, realtime_model: llm.RealtimeModel) -> None:
        super().__init__(realtime_model)
        self._guards: dict[tuple[Any, Listener], Listener] = {}
        self.watches_audio = False
        """Whether anybody listens to what leaves. Looked at for each piece of user audio."""
        self.watches_events = False
        """Whether anybody listens to what comes. Looked at for each event."""

    def is_heard(self, event: OwnEvents) -> bool:
        """Whether anybody listens to events of this name."""
        return any(name == event for name, _ in self._guards)

    def on(self, event: Any, callback: Listener | None = None) -> Listener:
        """Call `callback` at every event of this name; without one, returns a decorator. Raises ValueError for a
        coroutine function."""
        if callback is None:
            return lambda decorated: self.on(event, decorated)
        if inspect.iscoroutinefunction(callback):
            return super().on(event, callback)  # which says why that cannot be
        guard = self._guards.setdefault((event, callback), _guarded(event, callback))
        super().on(event, guard)
        self._look()
        return callback

    def off(self, event: Any, callback: Listener) -> None:
        """Do not call it any more."""
        super().off(event, self._guards.pop((event, callback), callback))
        self._look()

    def _look(self) -> None:
        self.watches_audio = self.is_heard("openai_client_event_queued")
        self.watches_events = self.is_heard("openai_server_event_received")


def _guarded(event: Any, listener: Listener) -> Listener:
    def guard(*args: Any) -> None:
        try:
            listener(*args)
        except TypeError:
            logger.exception("a listener of %s raised an error", event)

    guard.__wrapped__ = listener  # type: ignore[attr-defined]  # LiveKit counts the arguments that it takes
    return guard
