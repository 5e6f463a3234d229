"""What the parts of one emulated session share: its events out, its timers, its ids, its configuration.

No socket, no clock, no task: time comes in as an argument, events go out as actions that somebody else performs.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

from .actions import Action, Close, Drop, Event, Freeze, Postpone, Send
from .conversation import Conversation
from .faults import FaultPlan
from .knobs import Knobs
from .script import Script
from .watching import What

_NESTED = (dict, list, tuple)
_POSTPONED_S = 0.2
"""An event that waits for the next one to go first waits no longer."""


class Channel:
    """The shared ground of a session. `config` is the session object as the server keeps it."""

    def __init__(self, script: Script, knobs: Knobs, faults: FaultPlan, now: float, number: int) -> None:
        self.script = script
        self.knobs = knobs
        self.faults = faults
        self.now = now
        self.sent: list[Event] = []
        self.closed: Close | None = None
        self.frozen = False
        """Whether the connection is up and dead: what happens still happens, but nothing of it gets out."""
        self.config: Event = {}
        self.deployments: Mapping[str, str] | None = None
        """What is behind which name, where models go by the names of their deployments (Azure); else None."""
        self.tell: Callable[[What, Event], None] = lambda what, detail: None
        """Told what happens, see `watching.Happening`."""
        self.user_was_heard = False
        """Whether user input arrived that no response has taken up."""
        self._number = number
        self._ids = itertools.count(1)
        self._actions: list[Action] = []
        self._postponed: list[Event] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self.conversation = Conversation("")
        self.conversation.id = self.new_id("conv")

    @property
    def is_transcription(self) -> bool:
        """Whether the session only transcribes."""
        return bool(self.config["type"] == "transcription")

    @property
    def turn_detection(self) -> Event:
        """The turn detection in force; empty when it is off."""
        settings: Event | None = self.config["audio"]["input"]["turn_detection"]
        return settings or {}

    def new_id(self, prefix: str) -> str:
        """An id as short as the server's; sessions with different numbers share none, nor do items a client named."""
        ids = (f"{prefix}_{self._number:06x}{number:010x}" for number in self._ids)
        return next(new for new in ids if self.conversation.find(new) is None)

    def is_live(self) -> bool:
        """Whether anything still gets out."""
        return self.closed is None and not self.frozen

    def emit(self, event_type: str, **fields: Any) -> bool:
        """Send a server event, or what the fault plan makes of it. Returns whether it went out."""
        if not self.is_live():
            return False
        event = {"type": event_type, "event_id": self.new_id("event"), **fields}
        actions = self.faults.on_send(_snapshot(event))
        for action in actions:
            self.do(action)
        return any(
            isinstance(action, (Send, Postpone)) and action.event.get("type") == event_type for action in actions
        )

    def do(self, action: Action) -> None:
        """Ask for an action; the last one is a close or a drop."""
        if self.closed is not None:
            return
        if isinstance(action, Postpone):
            self._postponed.append(action.event)
            self.after(_POSTPONED_S, self._send_postponed)
            return
        if isinstance(action, Send):
            self.sent.append(action.event)
            self.tell("sent", action.event)
        elif isinstance(action, Close):
            self.closed = action
        elif isinstance(action, Drop):
            self.closed = Close(1006, "")
        elif isinstance(action, Freeze):
            self.frozen = True
        self._actions.append(action)
        if isinstance(action, Send):
            self._send_postponed()

    def _send_postponed(self) -> None:
        late, self._postponed = self._postponed, []
        for event in late:
            self.do(Send(event))

    def flush(self) -> list[Action]:
        """The actions asked for since the last call."""
        actions, self._actions = self._actions, []
        return actions

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` so many seconds from now; infinity means never."""
        if math.isfinite(seconds):
            heapq.heappush(self._timers, (self.now + seconds, next(self._timer_numbers), do))

    def advance(self, now: float) -> None:
        """Move the time forward and call what is due, each at its own time."""
        while self._timers and self._timers[0][0] <= now and self.closed is None:
            due, _, do = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            do()
        self.now = max(self.now, now)

    def next_deadline(self) -> float | None:
        """When the next timer is due; None without one, and after the end."""
        return self._timers[0][0] if self._timers and self.closed is None else None


def _snapshot(value: Any) -> Any:
    """A copy of what goes into JSON: the configuration and the items in an event go on changing after it."""
    if isinstance(value, dict):
        return {name: _snapshot(each) if isinstance(each, _NESTED) else each for name, each in value.items()}
    return [_snapshot(each) if isinstance(each, _NESTED) else each for each in value]
