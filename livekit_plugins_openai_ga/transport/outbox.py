"""What still has to leave, and user audio that may have to leave again.

Two lanes. The control lane (configuration, items, cancels) leaves at once, also before the session is configured. The
turn lane keeps its order: user audio, commits, and the replies asked for behind them; it waits for the configuration.

Audio that was sent stays here until the server has put it into an item, so that it can be sent again after a
reconnect. What is kept is bounded in ms of audio; beyond the bound the oldest goes, and what is lost by that is
counted. Nothing is copied: what was put is what is kept, and base64 is made of it when it leaves. Sizes are counted in
bytes, which add up exactly. The server counts the audio of one connection; `session_ms` turns that into a place in all
the audio.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..wire import client_events
from ..wire.codec import b64encode
from ..wire.session import BYTES_PER_MS

WAIT_MS = 10_000.0
"""What may wait for a connection that works, at least: a slow line, or a loop that was held up."""

CLOSE_WAIT_MS = 120_000.0
"""What may wait while the server ends its session, as it was asked to, and until the next one is configured: it tells
all the rest first, and nothing is wrong."""

IDLE_KEEP_MS = 2_000
"""When speech is detected and nobody speaks, this much is kept: speech that nobody has told of yet."""

MAX_EVENTS = 1_000
"""Events of the application and commits that wait for a connection; beyond that the oldest go."""

Event = dict[str, Any]


@dataclass(slots=True)
class _Entry:
    """An event, or `audio`, whose event is made when it leaves.

    Audio begins at `at` in all the audio of the session; `end` is where it ends in this connection's audio, once sent.
    """

    kind: str  # "audio", "commit", "clear", "reply", "close" or "event"
    event: Event | None = None
    audio: bytes = b""
    at: int = 0
    end: int = 0
    again: bool = False  # was sent before

    @property
    def size(self) -> int:
        """Bytes of audio; 0 for anything else."""
        return len(self.audio)

    @property
    def event_id(self) -> str:
        return "" if self.event is None else str(self.event.get("event_id"))


@dataclass(slots=True)
class AudioCount:
    """Milliseconds of user audio, over the whole life of the session.

    Attributes:
        sent: what left, `replayed` included.
        replayed: what left again, because the connection went before the server had put it into an item.
        dropped: what a reconnect could not bring back, or never left at all.
    """

    sent: float = 0.0
    replayed: float = 0.0
    dropped: float = 0.0


class Outbox:
    """One session's outgoing events. `keep_ms` bounds the audio that is kept for a reconnect, `wait_ms` (or that, when
    it is more) what waits while there is a connection.

    `dead_for` (s) is how long a dead peer may go unnoticed: what is said in that time is told of by nobody, so it is
    kept although it seems that nobody speaks. `bytes_per_ms`: of user audio. `append` makes the event that carries
    audio (base64).
    """

    def __init__(
        self,
        *,
        keep_ms: float = 30_000,
        wait_ms: float = WAIT_MS,
        dead_for: float = 0.0,
        bytes_per_ms: int = BYTES_PER_MS,
        append: Callable[[str], Event] = client_events.audio_append,
    ) -> None:
        self._per_ms = bytes_per_ms
        self.audio = AudioCount()
        self._append = append
        self.events_dropped = 0
        self._keep = int(keep_ms * self._per_ms)
        self._wait = max(self._keep, int(wait_ms * self._per_ms))
        self._idle_keep = min(self._keep, int((IDLE_KEEP_MS + dead_for * 1000) * self._per_ms))
        # An empty deque would take 0.6 KiB in every idle session.
        self._control: deque[Event] | None = None  # None: nothing waits
        # A list: half a minute of audio is not long.
        self._turn: list[_Entry] = []
        self._waiting = 0  # bytes of audio in the turn lane
        self._kept: list[_Entry] = []  # sent on this connection, not in an item yet
        self._kept_size = 0
        self._gap = (0, 0)  # audio that fell out of `_kept`, from and to; lost if this connection goes now
        self._put = 0  # bytes of audio ever put here
        self._position = 0  # bytes of audio sent on this connection
        self._places: list[tuple[int, int]] = []  # where this connection's audio begins, or jumps: its own place, ours
        self._commits: list[tuple[str, int]] = []  # the commits on their way, and where they were made
        self._open = False
        self._ending = False  # the server was asked to end its session, and there is no other yet
        self._idle = False  # the server detects turns, and nobody speaks

    def put(self, event: Event, *, in_turn: bool = False) -> None:
        """Queue an event of the core. It is forgotten when the connection goes: the core makes it anew."""
        if in_turn:
            self._turn.append(_Entry("reply", event))
        else:
            if self._control is None:
                self._control = deque()
            self._control.append(event)

    def put_foreign(self, event: Event) -> None:
        """Queue an event of the application's own. It keeps its place behind earlier audio, until it has left.

        Raises TypeError or ValueError for what JSON cannot hold: here the caller sees it, later it would end the call.
        """
        json.dumps(event)
        self._turn.append(_Entry("event", event))
        self._bound_events()

    def put_audio(self, audio: bytes) -> None:
        """Queue user audio, in the format that the session was told to hear."""
        self._turn.append(_Entry("audio", audio=audio, at=self._put))
        self._put += len(audio)
        self._waiting += len(audio)
        self._bound_waiting()

    def put_commit(self, event: Event) -> None:
        """Queue a commit of the audio before it."""
        self._turn.append(_Entry("commit", event))
        self._bound_events()

    def put_close(self, event: Event) -> None:
        """Queue the event that ends the server's session behind earlier audio. What comes later waits for the next
        connection."""
        self._turn.append(_Entry("close", event))

    def withdraw(self, event_id: str) -> bool:
        """Take back an event of the core that waits behind audio; returns whether it had not left yet."""
        for index, entry in enumerate(self._turn):
            if entry.kind == "reply" and entry.event_id == event_id:
                del self._turn[index]
                return True
        return False

    def put_clear(self, event: Event, *, keep_ms: float = 0) -> None:
        """Forget user audio that no commit has claimed: here at once, at the server when the event arrives.

        The newest `keep_ms` of it are sent again behind the clear.
        """
        committed = _last_commit(self._turn)
        unclaimed = self._turn[committed:]
        audio = [entry for entry in unclaimed if entry.kind == "audio"]
        if not committed:  # else everything sent so far belongs to the commit that still waits
            claimed = _last_commit(self._kept)
            audio = [entry for entry in self._kept[claimed:] if entry.kind == "audio"] + audio
            del self._kept[claimed:]
            self._kept_size = sum(entry.size for entry in self._kept)
            if not self._kept:
                self._gap = (0, 0)
        others = [entry for entry in unclaimed if entry.kind != "audio"]
        tail = _newest(audio, int(keep_ms * self._per_ms))
        self._turn[committed:] = [*others, _Entry("clear", event), *tail]
        self._waiting = sum(entry.size for entry in self._turn)

    def _bound_waiting(self) -> None:
        limit = self._wait if self._open else self._keep
        if self._ending:
            limit = max(limit, int(CLOSE_WAIT_MS * self._per_ms))
        while self._waiting > limit:
            index = next(index for index, entry in enumerate(self._turn) if entry.kind == "audio")
            size = self._turn[index].size
            del self._turn[index]
            self._waiting -= size
            self.audio.dropped += size / self._per_ms

    def _bound_events(self) -> None:
        kinds = [entry.kind in ("event", "commit") for entry in self._turn] if len(self._turn) > MAX_EVENTS else []
        if sum(kinds) > MAX_EVENTS:
            del self._turn[kinds.index(True)]
            self.events_dropped += 1

    @property
    def put_ms(self) -> float:
        """User audio ever put here, in ms."""
        return self._put / self._per_ms

    @property
    def position_ms(self) -> float:
        """User audio sent on this connection, in ms."""
        return self._position / self._per_ms

    @property
    def waiting_ms(self) -> float:
        """User audio that has not left yet, in ms."""
        return self._waiting / self._per_ms

    @property
    def kept_ms(self) -> float:
        """User audio that was sent on this connection and is in no item yet, in ms."""
        return self._kept_size / self._per_ms

    def next(self) -> Event | None:
        """The event that leaves now; None when there is none."""
        if self._control is not None:
            event = self._control.popleft()
            if not self._control:
                self._control = None
            return event
        if not self._open or not self._turn:
            return None
        entry = self._turn.pop(0)
        if entry.kind == "audio":
            self._audio_leaves(entry)
            return self._append(b64encode(entry.audio))
        if entry.kind == "close":
            self._open, self._ending = False, True
        if entry.kind == "commit":
            self._commits.append((entry.event_id, self._position))
            entry.end = self._position
            self._kept.append(entry)
        return entry.event

    def _audio_leaves(self, entry: _Entry) -> None:
        size = entry.size
        self._waiting -= size
        if not self._places or self._places[-1][1] - self._places[-1][0] != entry.at - self._position:
            self._places.append((self._position, entry.at))
        self._position += size
        self.audio.sent += size / self._per_ms
        if entry.again:
            self.audio.replayed += size / self._per_ms
        entry.end, entry.again = self._position, True
        self._kept.append(entry)
        self._kept_size += size
        limit = self._idle_keep if self._idle else self._keep
        while self._kept_size > limit:
            # A commit stays although its audio goes: whoever asked for it waits for its answer.
            index = 0
            while not self._kept[index].audio:
                index += 1
            oldest = self._kept[index]
            del self._kept[index]
            self._kept_size -= oldest.size
            if not self._idle:  # in silence nothing is lost by this
                start, end = self._gap
                self._gap = (start if start < end else oldest.end - oldest.size, oldest.end)

    def listen(self, *, idle: bool) -> None:
        """Tell whether the server detects turns and nobody speaks right now."""
        self._idle = idle

    def taken(self, until_ms: float | None, since_ms: float = 0) -> list[bytes]:
        """The server has put audio into an item: up to `until_ms`, or (None) up to the oldest commit on its way.

        Returns what was kept of it behind `since_ms`, as it was put.
        """
        if until_ms is not None:
            until = self._sent(until_ms)
        elif self._commits:
            _, until = self._commits.pop(0)
        else:
            return []
        since = self._sent(since_ms)
        taken: list[bytes] = []
        while self._kept and self._kept[0].end <= until:
            entry = self._kept.pop(0)
            self._kept_size -= entry.size
            if entry.size and entry.end > since:
                taken.append(entry.audio)
        start, end = self._gap
        self._gap = (min(max(start, until), end), end)
        return taken

    def refused(self, event_id: str) -> None:
        """The server refused this commit: its audio stays unclaimed, and the commit is not sent again."""
        self._commits = [commit for commit in self._commits if commit[0] != event_id]
        self._kept = [e for e in self._kept if e.kind != "commit" or e.event_id != event_id]

    def session_ms(self, ms: float) -> float:
        """Where `ms` of this connection's audio is in all the audio that was put here, in ms."""
        place = self._sent(ms)
        ours = next((at + place - own for own, at in reversed(self._places) if own <= place), place)
        return ours / self._per_ms

    def _sent(self, ms: float) -> int:
        """`ms` of this connection's audio in bytes: the server cannot speak of more than was sent."""
        size = max(ms, 0) * self._per_ms
        return self._position if size >= self._position else int(size)

    def configured(self) -> None:
        """The session is configured: the turn lane may leave."""
        self._open, self._ending = True, False

    def lost(self) -> None:
        """The connection is gone. Kept audio goes back to the front; what the core will make anew is forgotten."""
        self._open = False
        self._control = None
        self.audio.dropped += (self._gap[1] - self._gap[0]) / self._per_ms
        self._turn = [entry for entry in (*self._kept, *self._turn) if entry.kind not in ("reply", "clear", "close")]
        self._waiting += self._kept_size
        self._kept.clear()
        self._kept_size = self._position = 0
        self._places.clear()
        self._gap = (0, 0)
        self._commits.clear()
        self._bound_waiting()


def _last_commit(entries: list[_Entry]) -> int:
    """How many entries there are up to the last commit, that one included."""
    return max((index + 1 for index, entry in enumerate(entries) if entry.kind == "commit"), default=0)


def _newest(audio: list[_Entry], size: int) -> list[_Entry]:
    """The newest entries that hold at least `size` bytes together; all when there are fewer."""
    start, held = len(audio), 0
    while start and held < size:
        start -= 1
        held += audio[start].size
    return audio[start:]
