"""How a conversation ends that has cost what `max_cost` allows: politely.

At the limit the server answers no turn by itself any more, and the application is told. What is under way is heard out,
and replies that are asked for are made, until the grace time is over; then none is made any more, and the session ends
when the last of them was heard. When nobody listens, there is no grace time.
"""

from __future__ import annotations

import time

from ..core.bill import Reached
from ..core.setup import Phase
from ..spending import GRACE_S, LIMIT_REACHED
from .shell import Shell

LOOK_S = 0.5
"""How often it is looked whether all was heard."""

_TIMER = "cost_limit"


class Limited(Shell):
    """A session that ends when it has cost what it may."""

    def _reached(self, reached: Reached) -> None:
        if self._over is not None:
            return
        if reached == "limit":
            grace = GRACE_S if self.is_heard("cost_limit_reached") else 0.0
            self._spending.begin_to_end(time.time(), grace)
            self._timers.start(_TIMER, grace, self._grace_is_over)
            if not grace:
                self._refuse()
            self._do(self._conversation.configure(self._payload()))
        self._spending.announce(reached)

    def _refuse(self) -> None:
        """No replies are made any more, also of those that were asked for and had to wait."""
        self._spending.refuse(LIMIT_REACHED)
        self._do(self._conversation.answers.refuse(LIMIT_REACHED, time.time()))

    def _grace_is_over(self, _: str) -> None:
        if self._spending.refusing is None:
            self._refuse()
        if not self._spending.is_heard_out(time.time(), busy=self._streams.active):
            self._timers.start(_TIMER, LOOK_S, self._grace_is_over)
        elif self._conversation.phase is Phase.CLOSED:  # the next connection is on its way, and not wanted any more
            self.gave_up(LIMIT_REACHED)
            self._main.cancel()
        else:
            self._supervisor.hang_up(LIMIT_REACHED)
            # A connection that was given up for another reason does not hear of this one, and the next one would live.
            self._timers.start(_TIMER, LOOK_S, self._grace_is_over)
