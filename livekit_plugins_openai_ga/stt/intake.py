"""Audio on its way into a session: how far it is ahead of a microphone's, when it was heard, how much of it may come.

Every frame of a call goes through `Intake.put`, so a microphone's takes the shortest way there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ..core.effects import Effects
from ..core.hearing import Hearing
from ..transport.line import Line, first_of
from ..transport.outbox import Outbox
from .clock import TOLERANCE_S, WallClock

AHEAD_MS = 10_000.0
"""Audio that comes faster than it can be sent (a file) waits outside beyond this."""

RUSH_S = 1.0
"""Audio that is so far ahead of a microphone's comes from a file: it can wait, and was not heard by the server yet."""

ROOM_CHECK_S = 0.5
"""How often a file that waits for room looks again, when nothing happens."""


class Intake:
    """Where a session's audio comes in.

    Attributes:
        clock: When the audio was heard.
        moved: To be set when there may be room.
        deaf: Nothing of what is put is heard any more.
    """

    # With a table for its attributes, as the session has, each of them would be two places to look at instead of one.
    __slots__ = (
        "_do",
        "_heard_by",
        "_hearing",
        "_keep_ms",
        "_line",
        "_now",
        "_outbox",
        "_per_ms",
        "_rushed",
        "clock",
        "deaf",
        "moved",
    )

    def __init__(
        self,
        line: Line,
        outbox: Outbox,
        hearing: Hearing,
        *,
        do: Callable[[Effects], None],
        now: Callable[[], float],
        keep_ms: float,
        bytes_per_ms: int,
    ) -> None:
        """`do` carries out what comes of audio; `now` (s) is any steady clock; `keep_ms` what the outbox keeps."""
        self._line = line
        self._outbox = outbox
        self._hearing = hearing
        self._do = do
        self._now = now
        self._keep_ms = keep_ms
        self._per_ms = bytes_per_ms
        self._heard_by = 0.0  # when a microphone would have heard all that was put in
        self._rushed = False  # whether it was too far ahead when the outbox was told what to keep
        self.clock = WallClock()
        self.moved = asyncio.Event()
        self.deaf = False

    @property
    def rushing(self) -> bool:
        """Whether audio comes faster than anybody speaks: a file."""
        return self._heard_by - self._now() >= RUSH_S

    @property
    def put_ms(self) -> float:
        """Audio put in so far, in ms."""
        return self._outbox.put_ms

    def put(self, audio: bytes) -> bool:
        """More audio, in the format of the session's options. Returns whether it is `rushing`."""
        if self.deaf:
            return False
        now, heard_by = self._now(), self._heard_by
        ms = len(audio) / self._per_ms
        self._heard_by = heard_by = (heard_by if heard_by > now else now) + ms / 1000
        if self._rushed is not (heard_by - now >= RUSH_S):
            self.listen()
        self._line.put_audio([audio])
        put_ms = self._outbox.put_ms
        began = time.time() - put_ms / 1000
        if abs(began - self.clock.began) > TOLERANCE_S:
            self.clock.note(put_ms - ms, began)
        if effects := self._hearing.put(put_ms, now):
            self._do(effects)
        return self._rushed

    def listen(self) -> None:
        """Tell the outbox what to keep: whether somebody speaks may have changed."""
        # Without a detector nobody knows that it is silent; and a file may be far ahead of what the server has heard.
        self._rushed = self.rushing
        self._outbox.listen(idle=self._hearing.detects and self._hearing.quiet and not self._rushed)

    async def room(self) -> None:
        """Wait until more of a file may come: what is kept for a reconnect has its bound. A microphone never waits."""
        while self.rushing and self._crowded():
            self.moved.clear()
            await first_of(self.moved, timeout=ROOM_CHECK_S)

    def _crowded(self) -> bool:
        waiting = self._outbox.waiting_ms
        return waiting > AHEAD_MS or (self._hearing.behind and waiting + self._outbox.kept_ms > self._keep_ms / 2)
