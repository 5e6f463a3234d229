"""Segments of speech on their way to a text: each has one item id, grows, and ends exactly once, in committed order.

Completions of different items arrive in any order (OpenAI says so), and some never arrive. A segment whose turn it is
is waited for, for a bounded time; those behind it are held back until it has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import errors
from ..errors import Failure
from ..wire.values import value
from . import effects as fx
from .effects import Effects
from .usage import TranscriptionUsage

INTERIM_EVERY_S = 0.1
"""Texts that grow faster than this are told at this pace; the last one is always told."""

FINAL_TIMEOUT_S = 15.0
"""How long the oldest committed segment may be silent before it counts as failed; a long one gets more."""

OVERTAKEN_TIMEOUT_S = 5.0
"""The same once a later segment has its text: what comes behind should not wait long for it."""


def patience(audio_ms: float) -> float:
    """Seconds to wait for the text of so much audio."""
    return FINAL_TIMEOUT_S + audio_ms / 4000


REMEMBERED = 64
"""Segments that have ended and are still known: what comes late for one of them must not begin it anew."""


@value
class Ending:
    """How a segment ended: with a text, or (`failure`) without, or with the part of it that came before the failure."""

    text: str = ""
    confidence: float | None = None
    languages: tuple[str, ...] = ()
    failure: Failure | None = None
    usage: TranscriptionUsage | None = None


@dataclass(slots=True)
class Commit:
    """A commit of ours, made at `at_ms`, of speech from `start_ms` to `end_ms`. `cut`: speech went on behind it.

    `sent_at` is None while it waits to leave.
    """

    event_id: str
    at_ms: float
    start_ms: float
    end_ms: float
    cut: bool
    sent_at: float | None = None


@dataclass(slots=True)
class Segment:
    """One segment. Speech goes from `start_ms` to `end_ms` of the stream's audio; up to `until_ms` the audio is in it.

    `about_ms` is where it begins as far as can be said before that is known.
    `taken_ms` is where it ends in the connection's audio, as the server's turn detection tells; None: `commit`, one of
    ours, ended it.
    """

    item_id: str
    start_ms: float | None = None
    about_ms: float | None = None
    end_ms: float | None = None
    until_ms: float = 0.0
    taken_ms: int | None = None
    commit: Commit | None = None
    text: str = ""
    told: str = ""
    news_at: float = float("-inf")
    stopped_at: float | None = None
    committed_at: float | None = None
    overtaken_at: float | None = None
    ending: Ending | None = None

    @property
    def length_ms(self) -> float:
        """How long it is; 0 when not known."""
        return 0.0 if self.start_ms is None or self.end_ms is None else max(0.0, self.end_ms - self.start_ms)


class Segments:
    """The segments of one connection that have not ended. Every method may be called with any id, in any order."""

    __slots__ = ("_open", "_order", "_over", "_released_at", "_told_at", "_unbilled", "told_ms", "until_ms")

    def __init__(self) -> None:
        self._open: dict[str, Segment] = {}
        self._order: list[str] = []  # committed ones, oldest first
        self._over: dict[str, None] = {}  # the newest of those that have ended
        self._unbilled: set[str] = set()  # given up; the server may still say what they cost
        self.told_ms = 0.0  # up to here the stream's audio has its text
        self.until_ms = 0.0  # up to here it is in segments
        self._told_at = float("-inf")
        self._released_at = float("-inf")

    def __bool__(self) -> bool:
        """Whether something was said whose text is still to come."""
        return bool(self._order) or bool(self._stopped())

    @property
    def whispering(self) -> bool:
        """Whether there is text of audio that was not committed yet."""
        return any(segment.text and segment.committed_at is None for segment in self._open.values())

    def get(self, item_id: str) -> Segment | None:
        """The segment; None when it has ended. One that was never heard of begins."""
        return None if item_id in self._over else self._open.setdefault(item_id, Segment(item_id))

    def stopped(self, segment: Segment, now: float) -> None:
        """The server's turn detection ended the segment; it will be committed."""
        self.until_ms = max(self.until_ms, segment.until_ms)
        if segment.item_id:  # some gateways leave the id out
            segment.stopped_at = now

    def committed(self, segment: Segment, now: float) -> Effects:
        """The server made an item of the segment's audio."""
        segment.committed_at = now
        self.until_ms = max(self.until_ms, segment.until_ms)
        self._order.append(segment.item_id)
        # LiveKit puts a preflight text behind every final one so far, so none may be missing in between.
        if not segment.text.strip() or self._order[0] != segment.item_id:
            return []
        segment.told = segment.text
        return [self._caption(segment, "preflight")]

    def grown(self, segment: Segment, delta: str, now: float) -> Effects:
        """More text came."""
        segment.text += delta
        segment.news_at = now
        return self._tell(now)

    def ended(self, segment: Segment, ending: Ending, now: float) -> Effects:
        """The text is complete, or failed. Tells all texts whose turn it is by that."""
        if segment.committed_at is None:
            self.committed(segment, now)  # a gateway that keeps the commit's answer to itself
        segment.ending = ending
        for item_id in self._order:
            if item_id == segment.item_id:
                break
            overtaken = self._open[item_id]
            overtaken.overtaken_at = now if overtaken.overtaken_at is None else overtaken.overtaken_at
        return self._release(now)

    def late_bill(self, item_id: str, usage: TranscriptionUsage | None) -> Effects:
        """A segment that was given up is complete after all: it is billed, though nobody waits for its text."""
        if item_id not in self._unbilled:
            return []
        self._unbilled.discard(item_id)
        return [fx.SegmentBilled(item_id, usage, 0.0)]

    def due(self) -> float | None:
        """When `tick` has something to do; None: never, as things are."""
        times = [self._told_at + INTERIM_EVERY_S] if self._untold() else []
        times += [self._never_at(segment) for segment in self._stopped()]
        return min([*times, *([self._overdue_at()] if self._order else [])], default=None)

    def tick(self, now: float) -> Effects:
        """Tell texts that were held back for a moment; give up a segment that is overdue."""
        effects = self._tell(now)
        for segment in self._stopped():
            if now >= self._never_at(segment):
                self.committed(segment, self._never_at(segment) - patience(segment.length_ms))
        while self._order and now >= self._overdue_at():
            segment = self._open[self._order[0]]
            self._unbilled.add(segment.item_id)
            segment.ending = Ending(failure=errors.from_server_error("transcription_overdue", None, None))
            effects += self._release(now)
        return effects

    def lost(self) -> tuple[list[Commit], Effects]:
        """The connection is gone. All audio that has no text yet will be sent again, and become other items.

        Returns the commits of ours in it as well, oldest first: they are sent again, too.
        """
        commits = [commit for item_id in self._order if (commit := self._open[item_id].commit) is not None]
        billed: Effects = [
            fx.SegmentBilled(segment.item_id, segment.ending.usage, 0.0)
            for segment in self._open.values()
            if segment.ending is not None and segment.ending.failure is None
        ]
        self.until_ms = self.told_ms
        self._open.clear()
        self._order.clear()
        self._over.clear()
        self._unbilled.clear()
        return commits, billed

    def _overdue_at(self) -> float:
        oldest = self._open[self._order[0]]
        if oldest.overtaken_at is not None:
            return oldest.overtaken_at + OVERTAKEN_TIMEOUT_S
        # They may be transcribed one after the other.
        return max(oldest.committed_at or 0.0, oldest.news_at, self._released_at) + patience(oldest.length_ms)

    def _stopped(self) -> list[Segment]:
        """Those that are about to be committed."""
        return [s for s in self._open.values() if s.stopped_at is not None and s.committed_at is None]

    @staticmethod
    def _never_at(segment: Segment) -> float:
        """When a segment that was to be committed counts as failed."""
        return (segment.stopped_at or 0.0) + patience(segment.length_ms)

    def _untold(self) -> list[Segment]:
        segments = (segment for segment in self._open.values() if segment.ending is None)
        return [segment for segment in segments if segment.text.strip() != segment.told.strip()]

    def _tell(self, now: float) -> Effects:
        if now < self._told_at + INTERIM_EVERY_S:
            return []
        effects: Effects = []
        for segment in self._untold():
            segment.told = segment.text
            self._told_at = now
            effects.append(self._caption(segment, "interim"))
        return effects

    def _caption(self, segment: Segment, stage: str) -> fx.Caption:
        start = segment.about_ms if segment.start_ms is None else segment.start_ms
        return fx.Caption(segment.item_id, segment.text.strip(), stage, start, segment.end_ms)

    def _release(self, now: float) -> Effects:
        effects: Effects = []
        while self._order and (ending := self._open[self._order[0]].ending) is not None:
            segment = self._open.pop(self._order.pop(0))
            self._over[segment.item_id] = None
            if len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]
            self._released_at = now
            self.told_ms = max(self.told_ms, segment.until_ms)
            effects.append(self._told_end(segment, ending))
            if segment.taken_ms is not None or segment.commit is not None:
                effects.append(fx.AudioTaken(segment.taken_ms))
            if ending.failure is None:
                effects.append(fx.SegmentBilled(segment.item_id, ending.usage, segment.length_ms))
        return effects

    def _told_end(self, segment: Segment, ending: Ending) -> fx.Effect:
        # Whoever shows the part that came waits for a final text: the part is better than nothing.
        text = (segment.text if ending.failure is not None else ending.text).strip()
        if ending.failure is not None and not text:
            return fx.SegmentFailed(segment.item_id, ending.failure)
        return fx.Caption(
            segment.item_id,
            text,
            "final",
            segment.start_ms,
            segment.end_ms,
            ending.confidence,
            ending.languages,
            ending.failure,
        )
