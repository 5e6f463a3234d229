"""What still has to leave, and user audio that may have to leave again.

Two lanes. The control lane (configuration, items, cancels) leaves at once, also before the session is configured. The
turn lane keeps its order: user audio, commits, and the replies asked for behind them; it waits for the configuration.

Audio that was sent stays here until the server has put it into an item, so that it can be sent again after a
reconnect. What is kept is bounded in ms of audio; beyond the bound the oldest goes, and is counted. Nothing is copied:
a chunk is encoded once and its event is what is kept.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from dataclasses import dataclass
from typing import Any

from ..wire import client_events

BYTES_PER_MS = 48
"""24 kHz, int16, mono."""

IDLE_KEEP_MS = 2_000
"""With server turn detection and nobody speaking, this much is kept: speech that the server has not told of yet."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Entry:
    """`ms` of audio (0 for anything else). `end_ms` is its end in this connection's audio, once sent."""

    event: Event
    ms: float = 0.0
    kind: str = "event"  # "audio", "commit", "clear", "reply" or "event"
    end_ms: float = 0.0


@dataclass(slots=True)
class AudioCount:
    """Milliseconds of user audio, over the whole life of the session."""

    sent: float = 0.0
    replayed: float = 0.0
    dropped: float = 0.0


class Outbox:
    """One session's outgoing events. `keep_ms` bounds the audio that is kept for a reconnect."""

    def __init__(self, *, keep_ms: float = 30_000) -> None:
        self.audio = AudioCount()
        self._keep_ms = keep_ms
        self._control: deque[Event] = deque()
        self._turn: deque[_Entry] = deque()
        self._waiting_ms = 0.0  # audio in the turn lane
        self._kept: deque[_Entry] = deque()  # sent on this connection, not in an item yet
        self._kept_ms = 0.0
        self._position_ms = 0.0  # audio sent on this connection
        self._commits: deque[float] = deque()  # where the commits on their way were made
        self._open = False
        self._idle = False  # the server detects turns, and nobody speaks

    def put(self, event: Event, *, in_turn: bool = False) -> None:
        """Queue an event of the core. It is forgotten when the connection goes: the core makes it anew."""
        if in_turn:
            self._turn.append(_Entry(event, kind="reply"))
        else:
            self._control.append(event)

    def put_foreign(self, event: Event) -> None:
        """Queue an event of the application's own. It keeps its place behind earlier audio and survives a reconnect."""
        self._turn.append(_Entry(event))

    def put_audio(self, pcm: bytes) -> None:
        """Queue user audio: int16 little-endian mono PCM at 24 kHz."""
        ms = len(pcm) / BYTES_PER_MS
        self._turn.append(_Entry(client_events.audio_append(b64encode(pcm).decode("ascii")), ms, "audio"))
        self._waiting_ms += ms
        while self._waiting_ms > self._keep_ms:
            self._drop_oldest_waiting()

    def put_commit(self, event: Event) -> None:
        """Queue a commit of the audio before it."""
        self._turn.append(_Entry(event, kind="commit"))

    def put_clear(self, event: Event) -> None:
        """Forget user audio that no item has: here at once, at the server when the event arrives."""
        self._turn = deque(entry for entry in self._turn if entry.kind not in ("audio", "commit"))
        self._waiting_ms = 0.0
        self._forget_kept()
        self._turn.append(_Entry(event, kind="clear"))

    def _drop_oldest_waiting(self) -> None:
        for index, entry in enumerate(self._turn):
            if entry.kind == "audio":
                del self._turn[index]
                self._waiting_ms -= entry.ms
                self.audio.dropped += entry.ms
                return

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._kept_ms = 0.0
        self._commits.clear()

    @property
    def waiting_ms(self) -> float:
        """User audio that has not left yet, in ms."""
        return self._waiting_ms

    def next(self) -> Event | None:
        """The event that leaves now; None when there is none."""
        if self._control:
            return self._control.popleft()
        if not self._open or not self._turn:
            return None
        entry = self._turn.popleft()
        if entry.kind == "audio":
            self._waiting_ms -= entry.ms
            self._position_ms += entry.ms
            self.audio.sent += entry.ms
            self._keep(_Entry(entry.event, entry.ms, entry.kind, self._position_ms))
        elif entry.kind == "commit":
            self._commits.append(self._position_ms)
            self._keep(_Entry(entry.event, 0.0, entry.kind, self._position_ms))
        return entry.event

    def _keep(self, entry: _Entry) -> None:
        self._kept.append(entry)
        self._kept_ms += entry.ms
        limit = min(IDLE_KEEP_MS, self._keep_ms) if self._idle else self._keep_ms
        while self._kept_ms > limit:
            oldest = self._kept.popleft()
            self._kept_ms -= oldest.ms
            # In silence nothing is lost; while someone speaks, this audio could not be brought back any more.
            self.audio.dropped += 0.0 if self._idle else oldest.ms

    def listen(self, *, idle: bool) -> None:
        """Tell whether the server detects turns and nobody speaks right now."""
        self._idle = idle

    def taken(self, until_ms: float | None) -> None:
        """The server has put audio into an item: up to `until_ms`, or (None) up to the oldest commit on its way."""
        if until_ms is None:
            if not self._commits:
                return
            until_ms = self._commits.popleft()
        while self._kept and self._kept[0].end_ms <= until_ms:
            self._kept_ms -= self._kept.popleft().ms

    def configured(self) -> None:
        """The session is configured: the turn lane may leave."""
        self._open = True

    def lost(self) -> None:
        """The connection is gone. Kept audio goes back to the front; what the core will make anew is forgotten."""
        self._open = False
        self._control.clear()
        self.audio.replayed += self._kept_ms
        self._turn = deque(entry for entry in (*self._kept, *self._turn) if entry.kind not in ("reply", "clear"))
        self._waiting_ms += self._kept_ms
        self._forget_kept()
        self._position_ms = 0.0
        while self._waiting_ms > self._keep_ms:
            self._drop_oldest_waiting()
