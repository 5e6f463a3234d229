"""What still has to leave, and user audio that may have to leave again.

Two lanes. The control lane (configuration, items, cancels) leaves at once, also before the session is configured. The
turn lane keeps its order: user audio, commits, and the replies asked for behind them; it waits for the configuration.

Audio that was sent stays here until the server has put it into an item, so that it can be sent again after a
reconnect (`Kept`). What is kept is bounded in ms of audio; beyond the bound the oldest goes, and what is lost by that
is counted. Nothing is copied: what was put is what is kept, and base64 is made of it when it leaves. Sizes are counted
in bytes, which add up exactly. The server counts the audio of one connection; `session_ms` turns that into a place in
all the audio.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass

from ..wire.client_events import AUDIO_APPEND, Append, Event
from ..wire.session import BYTES_PER_MS
from .kept import Kept

WAIT_MS = 10_000.0
"""What may wait for a connection that works, at least: a slow line, or a loop that was held up."""

CLOSE_WAIT_MS = 120_000.0
"""What may wait while the server ends its session, as it was asked to, and until the next one is configured: it tells
all the rest first, and nothing is wrong."""

IDLE_KEEP_MS = 2_000
"""When speech is detected and nobody speaks, this much is kept: speech that nobody has told of yet."""

MAX_EVENTS = 1_000
"""Events of the application and commits that wait for a connection; beyond that the oldest go."""


@dataclass(slots=True)
class _Entry:
    """An event, or audio, whose event is made when it leaves and which begins at `at` in all the session's audio."""

    kind: str  # "audio", "commit", "clear", "reply", "close" or "event"
    event: Event | None = None
    audio: bytes = b""
    at: int = 0
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
        replayed: what left again, because the connection went before the server had put it into an item.
        dropped: what a reconnect could not bring back, or never left at all.
    """

    replayed: float = 0.0
    dropped: float = 0.0


class Outbox:
    """One session's outgoing events. `keep_ms` bounds the audio that is kept for a reconnect, `wait_ms` (or that, when
    it is more) what waits while there is a connection.

    `dead_for` (s) is how long a dead peer may go unnoticed: what is said in that time is told of by nobody, so it is
    kept although it seems that nobody speaks. `bytes_per_ms`: of user audio. `append` makes the events that carry it.

    Attributes:
        drained: Whether user audio may leave without being put here, in which case `kept` is told with `ahead`: the
            session is configured, and `next` has found nothing that waits. Not before it has looked.
        kept: What left on this connection and may have to leave again.
        ahead: Bytes of audio ever put here, less what left on this connection.
        head: As `append` has it.
    """

    __slots__ = (
        "_append",
        "_claimed",
        "_control",
        "_ending",
        "_idle_keep",
        "_keep",
        "_left",
        "_open",
        "_per_ms",
        "_turn",
        "_wait",
        "_waiting",
        "ahead",
        "audio",
        "drained",
        "events_dropped",
        "head",
        "kept",
    )

    def __init__(
        self,
        *,
        keep_ms: float = 30_000,
        wait_ms: float = WAIT_MS,
        dead_for: float = 0.0,
        bytes_per_ms: int = BYTES_PER_MS,
        append: Append = AUDIO_APPEND,
    ) -> None:
        self._per_ms = bytes_per_ms
        self.audio = AudioCount()
        self._append = append
        self.head = append.head
        self.events_dropped = 0
        self._keep = int(keep_ms * self._per_ms)
        self._wait = max(self._keep, int(wait_ms * self._per_ms))
        self._idle_keep = min(self._keep, int((IDLE_KEEP_MS + dead_for * 1000) * self._per_ms))
        self.kept = Kept(self._keep)
        # An empty deque would take 0.6 KiB in every idle session.
        self._control: deque[Event] | None = None  # None: nothing waits
        self._turn: list[_Entry] = []
        self._waiting = 0  # bytes of audio in the turn lane
        self.ahead = 0
        self._claimed = 0  # bytes of audio ever put here, before the last commit or clear
        self._left = 0  # bytes of audio that left on earlier connections
        self._open = self.drained = False
        self._ending = False  # the server was asked to end its session, and there is no other yet

    def put(self, event: Event, *, in_turn: bool = False) -> None:
        """Queue an event of the core. It is forgotten when the connection goes: the core makes it anew."""
        if in_turn:
            self._queue(_Entry("reply", event))
        else:
            self.drained = False
            if self._control is None:
                self._control = deque()
            self._control.append(event)

    def put_foreign(self, event: Event) -> None:
        """Queue an event of the application's own. It keeps its place behind earlier audio, until it has left.

        Raises TypeError or ValueError for what JSON cannot hold: here the caller sees it, later it would end the call.
        """
        json.dumps(event)
        self._queue(_Entry("event", event))
        self._bound_events()

    def put_audio(self, audio: bytes) -> None:
        """Queue user audio, in the format that the session was told to hear."""
        self._queue(_Entry("audio", audio=audio, at=self._put))
        self.ahead += len(audio)
        self._waiting += len(audio)
        self._bound_waiting()

    def put_commit(self, event: Event) -> None:
        """Queue a commit of the audio before it."""
        self._claimed = self._put
        self._queue(_Entry("commit", event))
        self._bound_events()

    def put_close(self, event: Event) -> None:
        """Queue the event that ends the server's session behind earlier audio. What comes later waits for the next
        connection."""
        self._queue(_Entry("close", event))

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
            audio = [_again(at, sent) for at, sent in self.kept.cleared()] + audio
        others = [entry for entry in unclaimed if entry.kind != "audio"]
        tail = _newest(audio, int(keep_ms * self._per_ms))
        self.drained = False
        self._turn[committed:] = [*others, _Entry("clear", event), *tail]
        self._claimed = self._put
        self._waiting = sum(entry.size for entry in self._turn)

    def _queue(self, entry: _Entry) -> None:
        self.drained = False
        self._turn.append(entry)

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
    def _put(self) -> int:
        """Bytes of audio ever put here."""
        return self.ahead + self.kept.position

    @property
    def put_ms(self) -> float:
        """User audio ever put here, in ms."""
        return (self.ahead + self.kept.position) / self._per_ms  # without `_put`: asked for each frame

    @property
    def uncommitted_ms(self) -> float:
        """User audio put here since the last commit or clear, in ms."""
        return (self._put - self._claimed) / self._per_ms

    @property
    def sent_ms(self) -> float:
        """User audio that left, over the whole life of the session, in ms; what left again is counted again."""
        return (self._left + self.kept.position) / self._per_ms

    @property
    def position_ms(self) -> float:
        """User audio sent on this connection, in ms."""
        return self.kept.position / self._per_ms

    @property
    def waiting_ms(self) -> float:
        """User audio that has not left yet, in ms."""
        return self._waiting / self._per_ms

    @property
    def kept_ms(self) -> float:
        """User audio that was sent on this connection and is in no item yet, in ms."""
        return self.kept.size / self._per_ms

    def next(self) -> Event | None:
        """The event that leaves now; None when there is none."""
        if self._control is not None:
            event = self._control.popleft()
            if not self._control:
                self._control = None
            return event
        if not self._open or not self._turn:
            self.drained = self._open
            return None
        entry = self._turn.pop(0)
        if entry.kind == "audio":
            self._waiting -= entry.size
            self.kept.sent(entry.audio, entry.at - self.kept.position)
            self.ahead -= entry.size
            if entry.again:
                self.audio.replayed += entry.size / self._per_ms
            return self._append.event(entry.audio)
        if entry.kind == "close":
            self._open, self._ending = False, True
        if entry.kind == "commit" and entry.event is not None:
            self.kept.committed(entry.event)
        return entry.event

    def listen(self, *, idle: bool) -> None:
        """Tell whether the server detects turns and nobody speaks right now."""
        self.kept.keep(self._idle_keep if idle else self._keep, idle=idle)

    def taken(self, until_ms: float | None, since_ms: float = 0) -> list[bytes]:
        """The server has put audio into an item: up to `until_ms`, or (None) up to the oldest commit on its way.

        Returns what was kept of it behind `since_ms`, as it was put.
        """
        until = self.kept.take_commit() if until_ms is None else self._sent(until_ms)
        return [] if until is None else self.kept.taken(until, self._sent(since_ms))

    def refused(self, event_id: str) -> None:
        """The server refused this commit: its audio stays unclaimed, and the commit is not sent again."""
        self.kept.refused(event_id)

    def session_ms(self, ms: float) -> float:
        """Where `ms` of this connection's audio is in all the audio that was put here, in ms."""
        return self.kept.place(self._sent(ms)) / self._per_ms

    def _sent(self, ms: float) -> int:
        """`ms` of this connection's audio in bytes: the server cannot speak of more than was sent."""
        size = max(ms, 0) * self._per_ms
        return self.kept.position if size >= self.kept.position else int(size)

    def configured(self) -> None:
        """The session is configured: the turn lane may leave."""
        self._open, self._ending = True, False

    def lost(self) -> None:
        """The connection is gone. Kept audio goes back to the front; what the core will make anew is forgotten."""
        self._open = self.drained = False
        self._control = None
        self._left += self.kept.position
        self.ahead += self.kept.position
        again, dropped = self.kept.lost()
        self.audio.dropped += dropped / self._per_ms
        back = [_Entry("commit", each) if isinstance(each, dict) else _again(*each) for each in again]
        self._turn = back + [entry for entry in self._turn if entry.kind not in ("reply", "clear", "close")]
        self._waiting += sum(entry.size for entry in back)
        self._bound_waiting()


def _again(at: int, audio: bytes) -> _Entry:
    return _Entry("audio", audio=audio, at=at, again=True)


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
