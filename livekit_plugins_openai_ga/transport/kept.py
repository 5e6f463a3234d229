"""User audio that was sent on one connection and is in no item yet, and the commits behind it.

The server counts the audio of one connection in bytes from 0; this also knows where that is in all the audio of the
session. Nothing is copied: what was sent is what is kept. There is no object for each message: it would cost more
than the message, and the garbage collector would look at them all.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from ..wire.client_events import Event

SLACK = 48_000
"""Bytes (a second of PCM, six of G.711) by which the bound may be passed until anybody looks: letting each piece go
when the next one comes takes as long as writing its JSON."""


class Kept:
    """What one connection was sent. All places and sizes are in bytes of audio.

    Attributes:
        position: What was sent on this connection.
    """

    __slots__ = (
        "_asked",
        "_audio",
        "_commits",
        "_counted",
        "_ends",
        "_gap",
        "_idle",
        "_limit",
        "_look_at",
        "_places",
        "_shift",
        "_size",
        "position",
    )

    def __init__(self, limit: int) -> None:
        """`limit`: as for `keep`."""
        self._limit = limit
        self._idle = False  # nothing is lost by what goes: nobody speaks
        self._forget()

    def _forget(self) -> None:
        self.position = 0
        self._look_at = self._limit + SLACK  # where the bound may have been passed
        # Lists: half a minute of audio is not long, and an empty deque would take 0.6 KiB in every idle session.
        self._audio: list[bytes] = []
        # Counted when somebody asks: most of the audio is let go, or taken, many frames at a time.
        self._ends: list[int] = []  # where each of them ends on this connection
        self._size = 0  # of all that have an end
        self._counted = 0  # where the next one begins that has none yet
        self._commits: list[tuple[int, Event]] = []  # where they were made
        self._asked: list[tuple[int, str]] = []  # the same of those on their way, with their ids
        self._gap = (0, 0)  # audio that was not kept, from and to; lost if this connection goes now
        self._places: list[tuple[int, int]] = []  # where this connection's audio begins, or jumps: its own place, ours
        self._shift: int | None = None  # how far ours is ahead since the last of them

    def sent(self, audio: bytes, shift: int) -> None:
        """Audio left, whose place in all the audio is `shift` ahead of its place here."""
        if shift != self._shift:
            self._shift = shift
            self._places.append((self.position, self.position + shift))
        self._audio.append(audio)
        self.position += len(audio)
        if self.position > self._look_at:
            self._bound()

    def _count(self) -> None:
        sizes = map(len, self._audio[len(self._ends) :])
        begin, *ends = accumulate(sizes, initial=self._counted)
        if ends:
            self._ends += ends
            self._counted = ends[-1]
            self._size += self._counted - begin

    def keep(self, limit: int, *, idle: bool) -> None:
        """From now on, keep no more than `limit`: the oldest goes, and nothing is lost by that when it is `idle`, which
        is when nobody speaks. Commits stay: whoever asked for one waits for its answer.
        """
        self._bound()
        self._limit, self._idle = limit, idle
        self._look_again()

    def _look_again(self) -> None:
        self._look_at = self.position + self._limit + SLACK - self._size

    def _too_much(self) -> tuple[int, int]:
        """How many pieces are to go, and what is kept without them."""
        self._count()
        count, size = 0, self._size
        while size > self._limit:
            size -= len(self._audio[count])
            count += 1
        return count, size

    def _bound(self) -> None:
        count, size = self._too_much()
        if count and not self._idle:
            start, until = self._gap
            self._gap = (start if start < until else self._ends[0] - len(self._audio[0]), self._ends[count - 1])
        del self._audio[:count], self._ends[:count]
        self._size = size
        self._look_again()

    @property
    def size(self) -> int:
        """What is kept. Only from the event loop: it counts."""
        return self._too_much()[1]

    def committed(self, event: Event) -> None:
        """A commit of all that was sent before left."""
        self._commits.append((self.position, event))
        self._asked.append((self.position, str(event.get("event_id"))))

    def refused(self, event_id: str) -> None:
        """The server refused this commit: its audio stays unclaimed."""
        self._asked = [(at, asked) for at, asked in self._asked if asked != event_id]
        self._commits = [(at, event) for at, event in self._commits if str(event.get("event_id")) != event_id]

    def take_commit(self) -> int | None:
        """The oldest commit on its way has arrived. Returns where it was made; None without one."""
        return self._asked.pop(0)[0] if self._asked else None

    def taken(self, until: int, since: int) -> list[bytes]:
        """The server has put all up to `until` into an item. Returns what was kept of it behind `since`."""
        # What is too much is not let go before: a turn is taken in the step in which its speaker stops, and with that
        # the limit sinks.
        self._count()
        count = bisect_right(self._ends, until)
        taken = self._audio[bisect_right(self._ends, since) : count]
        self._size -= sum(map(len, self._audio[:count]))
        del self._audio[:count], self._ends[:count]
        self._look_again()
        self._commits = [(at, event) for at, event in self._commits if at > until]
        start, end = self._gap
        self._gap = (min(max(start, until), end), end)
        return taken

    def cleared(self) -> list[tuple[int, bytes]]:
        """Forget what no commit has claimed. Returns it, with its places in all the audio."""
        self._bound()
        claimed = self._commits[-1][0] if self._commits else 0
        first = bisect_right(self._ends, claimed)
        unclaimed = [(self._at(index), self._audio[index]) for index in range(first, len(self._audio))]
        del self._audio[first:], self._ends[first:]
        self._size = sum(map(len, self._audio))
        self._look_again()
        if not self._audio and not self._commits:
            self._gap = (0, 0)
        return unclaimed

    def lost(self) -> tuple[list[tuple[int, bytes] | Event], int]:
        """The connection is gone. Returns what has to be sent again, in order: audio with its place in all the audio,
        and commits; and how much audio is lost.
        """
        self._bound()
        again: list[tuple[int, bytes] | Event] = []
        commits = list(self._commits)
        for index, (audio, end) in enumerate(zip(self._audio, self._ends, strict=True)):
            while commits and commits[0][0] < end:
                again.append(commits.pop(0)[1])
            again.append((self._at(index), audio))
        again += [event for _, event in commits]
        start, end = self._gap
        self._forget()
        return again, end - start

    def _at(self, index: int) -> int:
        return self.place(self._ends[index] - len(self._audio[index]))

    def place(self, own: int) -> int:
        """Where a place of this connection's audio is in all the audio."""
        return next((at + own - begins for begins, at in reversed(self._places) if begins <= own), own)
