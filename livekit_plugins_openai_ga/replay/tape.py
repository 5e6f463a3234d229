"""A recording on its way through a second performance: what comes next, what was done, what went another way.

The server waits with each of its events for all that came before it in the file, and for the time between. What the
client sends is looked for among what it sent then. Ids that it makes anew each time are learned from that, and stand in
the server's events from then on. Pure: time comes in, in seconds.
"""

from __future__ import annotations

import time as _time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..recording.entries import Entry, Recording, audio_ms
from . import fit
from .filling import filled, first_difference, is_gap, shown

APPENDS = frozenset({"input_audio_buffer.append", "session.input_audio_buffer.append"})
"""Client events that carry user audio. Their number is nobody's business, only their sum."""

ENDINGS = frozenset({"lost", "failed", "closed"})
"""Notes with which a connection is over, or did not come about."""

AUDIO_TOLERANCE_MS = 150.0
"""User audio that may be on its way when a connection ends."""

_OWN = frozenset({"event_id"})
_ALIKE = {
    "conversation.item.create": ("item.type", "item.role", "item.call_id"),
    "conversation.item.delete": ("item_id",),
    "conversation.item.truncate": ("item_id",),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that did not go as recorded. `t_ms` is its place in the recording; `link` the connection, from 1."""

    t_ms: float
    link: int
    what: str

    def __str__(self) -> str:
        return f"{self.t_ms / 1000:.3f} s, connection {self.link}: {self.what}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One connection that the client made: the numbers of its entries, and of the note with which it ended (None: there
    is none). `refused`: that note, of one that never became a session."""

    link: int
    entries: tuple[int, ...]
    end: int | None = None
    refused: Mapping[str, Any] | None = None


class Tape:
    """One performance of a recording. `differences` are in the order in which they were noticed."""

    def __init__(self, recording: Recording, *, waits_for_audio: bool = False, speed: float = 1.0) -> None:
        """`waits_for_audio`: whoever plays the user calls `mark` for each piece. `speed`: 2.0 takes half the time.

        Raises ValueError for what cannot be played.
        """
        fit.check(recording.entries)
        self.recording = recording
        self.entries = tuple(_in_order(recording.entries))
        self.attempts = tuple(_attempts(self.entries, streams=recording.header.kind == "stt"))
        self.differences: list[Difference] = []
        self._speed = speed
        self._ids: dict[str, str] = {}
        self._connected: set[int] = set()
        self._dead: set[int] = set()
        self._metadata: list[Any] = []  # of replies that were asked for, where the recording does not tell it
        self._told_metadata: dict[str, Any] = {}  # by response id
        self._heard_ms: dict[int, float] = {}
        self._awaited: dict[int, list[int]] = {}
        for number, entry in enumerate(self.entries):
            if entry.direction == "out" and entry.event["type"] not in APPENDS:
                self._awaited.setdefault(entry.link, []).append(number)
        self._appended_ms = self._sums()
        self._ends = {attempt.end for attempt in self.attempts if attempt.end is not None}
        self._done = [self._needs_nobody(number, waits_for_audio) for number in range(len(self.entries))]
        self._first = 0
        self._anchor: tuple[float, float] | None = None
        self._later_s = _time.time() - recording.header.at if recording.header.at else None
        self._advance()

    def _sums(self) -> dict[int, float]:
        """User audio on a connection up to each entry that carries some, in ms."""
        sums: dict[int, float] = {}
        links: dict[int, float] = {}
        for number, entry in enumerate(self.entries):
            if entry.direction == "out" and entry.event["type"] in APPENDS:
                ms = audio_ms(entry.event.get("audio"), self.recording.header.input_format)
                sums[number] = links[entry.link] = links.get(entry.link, 0.0) + ms
        return sums

    def _needs_nobody(self, number: int, waits_for_audio: bool) -> bool:
        entry = self.entries[number]
        if entry.direction == "out":
            return entry.event["type"] in APPENDS and not waits_for_audio
        return entry.direction == "note" and (number not in self._ends or entry.event["type"] == "closed")

    # -- how far it is -------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether all was done or given up."""
        return self._first >= len(self.entries)

    def done(self, number: int) -> bool:
        """Whether this entry happened, or was given up."""
        return self._done[number]

    def reached(self, number: int) -> bool:
        """Whether all that comes before this entry is done."""
        return self._first >= number

    def due(self, number: int, now: float) -> float:
        """When it is time for this entry, as far as that is known; `now` when nothing happened yet."""
        if self._anchor is None:
            return now
        then, at = self._anchor
        return at + max(0.0, self.entries[number].t_ms - then) / 1000 / self._speed

    def mark(self, number: int, now: float) -> None:
        """This entry happened now."""
        self._done[number] = True
        then = self.entries[number].t_ms
        if self._anchor is None or then >= self._anchor[0]:
            self._anchor = then, now
        self._advance()

    def heard(self, number: int) -> bool:
        """Whether the client sent as much user audio on this connection as it had with this entry."""
        link = self.entries[number].link
        return self._heard_ms.get(link, 0.0) + 0.5 >= self._appended_ms[number]

    @property
    def connecting(self) -> bool:
        """Whether a connection is what all wait for."""
        if self.over:
            return False
        refusals = (attempt.end for attempt in self.attempts if attempt.refused is not None)
        return self._first in refusals or self.entries[self._first].link not in self._connected

    def connected(self, link: int, now: float) -> None:
        """The client has this connection: from here on, times count from its beginning."""
        self._connected.add(link)
        begin = next((entry.t_ms for entry in self.entries if entry.link == link), 0.0)
        if self._anchor is None or begin >= self._anchor[0]:
            self._anchor = begin, now

    def pass_over(self, number: int) -> None:
        """Whoever should have done what comes before this entry does not: go on without it."""
        for missing in range(self._first, number):
            if not self._done[missing]:
                self._done[missing] = True
                entry = self.entries[missing]
                if entry.direction == "out" and entry.event["type"] not in APPENDS:
                    self.differ(entry.t_ms, entry.link, f"the client did not send {_named(entry.event)}.")
        self._advance()

    def swallow(self, attempt: Attempt) -> None:
        """The server is silent from here on, and what the client sends on this connection gets nowhere."""
        self._dead.add(attempt.link)
        for number in attempt.entries:
            if self.entries[number].direction == "out" and not self._done[number]:
                self._done[number] = self.entries[number].event["type"] not in APPENDS
        self._advance()

    def forget(self, link: int) -> None:
        """The connection is gone before its time: what the server had to say on it is not waited for."""
        for number, entry in enumerate(self.entries):
            if entry.link == link and entry.direction != "out":
                self._done[number] = True
        self._advance()

    def differ(self, t_ms: float, link: int, what: str) -> None:
        """Note a difference."""
        self.differences.append(Difference(t_ms, link, what))

    def _advance(self) -> None:
        while self._first < len(self._done) and self._done[self._first]:
            self._first += 1

    def is_final(self, number: int) -> bool:
        """Whether the client did not try again after this end."""
        later = (entry.event["type"] for entry in self.entries[number + 1 :])
        return not any(kind in ("retry", "opened", "session.created") for kind in later)

    # -- what is said --------------------------------------------------------------------------------------------

    def known(self, recorded: str) -> str | None:
        """What an id of the recording is called now; None when the client has not told."""
        return self._ids.get(recorded)

    def event(self, number: int) -> dict[str, Any]:
        """A server event as it is sent now: gaps filled, ids those of today, and times, too."""
        recorded = self.entries[number].event
        event: dict[str, Any] = self._renamed(filled(recorded))
        if is_gap(_at(recorded, "response.metadata")):
            response = event["response"]
            if recorded["type"] == "response.created":
                self._told_metadata[str(response.get("id"))] = self._metadata.pop(0) if self._metadata else {}
            response["metadata"] = self._told_metadata.get(str(response.get("id")), {})
        return event

    def _renamed(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            return self._ids.get(value, value)
        if isinstance(value, Mapping):
            return {key: self._renamed(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._renamed(item) for item in value]
        if name == "expires_at" and self._later_s is not None and isinstance(value, (int, float)):
            return int(value + self._later_s)
        return value

    def hear(self, link: int, event: Mapping[str, Any], now: float) -> None:
        """The client sent this."""
        if event.get("type") in APPENDS:
            form = self.recording.header.input_format
            self._heard_ms[link] = self._heard_ms.get(link, 0.0) + audio_ms(event.get("audio"), form)
            return
        awaited = self._awaited.get(link, [])
        number = next((n for n in awaited if self._alike(self.entries[n].event, event)), None)
        if number is None:
            self.differ(self._place(), link, f"the client sent {_named(event)}, which is not in the recording.")
            return
        entry = self.entries[number]
        if number != awaited[0] and not self._done[awaited[0]]:
            before = _named(self.entries[awaited[0]].event)
            self.differ(entry.t_ms, link, f"the client sent {_named(event)} before {before}, not after it.")
        awaited.remove(number)
        if self._done[number]:  # too late to be waited for
            late = f"the client did not send {_named(entry.event)}."
            self.differences = [one for one in self.differences if (one.t_ms, one.what) != (entry.t_ms, late)]
            self.differ(entry.t_ms, link, f"the client sent {_named(event)} later than recorded.")
        self._learn(entry.event, event)
        self._compare(entry, event)
        if is_gap(_at(entry.event, "response.metadata")):
            self._metadata.append(_at(event, "response.metadata"))
        self.mark(number, now)

    def _place(self) -> float:
        place = min(self._first, len(self.entries) - 1)
        return self.entries[place].t_ms if self.entries else 0.0

    def _alike(self, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        if recorded["type"] != now.get("type"):
            return False
        pairs = ((_at(recorded, path), _at(now, path)) for path in _ALIKE.get(recorded["type"], ()))
        return all(then == today or self._ids.get(str(then)) == today for then, today in pairs)

    def _learn(self, recorded: Any, now: Any, name: str = "", *, inside: bool = False) -> None:
        if isinstance(recorded, Mapping) and isinstance(now, Mapping):
            for key in recorded.keys() & now.keys():
                self._learn(recorded[key], now[key], key, inside=inside or name == "metadata")
        elif isinstance(recorded, list) and isinstance(now, list):
            for pair in zip(recorded, now, strict=False):
                self._learn(*pair)
        elif isinstance(recorded, str) and isinstance(now, str) and recorded != now:
            is_id = inside or name == "id" or name.endswith("_id")
            self._ids.update({recorded: now} if is_id else {})

    def _compare(self, entry: Entry, event: Mapping[str, Any]) -> None:
        then = {key: value for key, value in entry.event.items() if key not in _OWN}
        today = {key: value for key, value in event.items() if key not in _OWN}
        found = first_difference(then, today, self.known)
        if found is not None:
            path, was, is_now = found
            told = f"{_named(event)} differs in {path}: {shown(was)} was recorded, {shown(is_now)} is sent now."
            self.differ(entry.t_ms, entry.link, told)

    def finish(self) -> None:
        """The performance is over: what is missing is missing."""
        self.pass_over(len(self.entries))
        if not all(entry.link for entry in self.entries if entry.direction == "out"):
            return
        for attempt in self.attempts:
            appended = [n for n in attempt.entries if n in self._appended_ms]
            was = self._appended_ms[appended[-1]] if appended else 0.0
            now = self._heard_ms.get(attempt.link, 0.0)
            if attempt.link not in self._dead and abs(was - now) > AUDIO_TOLERANCE_MS:
                at = self.entries[appended[-1]].t_ms if appended else self._place()
                told = (
                    f"{now / 1000:.2f} s of user audio were sent on this connection, {was / 1000:.2f} s were recorded."
                )
                self.differ(at, attempt.link, told)


def _in_order(entries: tuple[Entry, ...]) -> list[Entry]:
    """The entries, with each `session.created` in front of all that its connection carried: the server does not wait
    for anything before it, and the client may have told of it after its own first words."""
    ordered: list[Entry] = []
    first: dict[int, int] = {}
    for entry in _of_their_connections(entries):
        place = first.setdefault(entry.link, len(ordered))
        if entry.direction == "in" and entry.event.get("type") == "session.created" and place < len(ordered):
            ordered.insert(place, replace(entry, t_ms=ordered[place].t_ms))
            first = {link: at + (at > place) for link, at in first.items()}
        else:
            ordered.append(entry)
    return ordered


def _of_their_connections(entries: tuple[Entry, ...]) -> list[Entry]:
    """The entries; raw events of a tap do not tell of which connection they are: a configuration that left right before
    `session.created` came is of the new one, and so is what followed it."""
    told = list(entries)
    if any(entry.direction == "note" for entry in entries):
        return told
    for place, created in enumerate(told):
        if created.event.get("type") != "session.created":
            continue
        begin = place
        while begin and told[begin - 1].direction == "out":
            begin -= 1
        updates = (n for n in range(begin, place) if told[n].event.get("type") == "session.update")
        for number in range(next(updates, place), place):
            told[number] = replace(told[number], link=created.link)
    return told


def _attempts(entries: tuple[Entry, ...], *, streams: bool) -> Iterator[Attempt]:
    """The connections of a recording in their order. `streams`: it is one of speech to text."""
    links: dict[int, list[int]] = {}
    ends: dict[int, int] = {}
    order: list[tuple[int, int]] = []  # link, and the number of the note of one that was refused
    for number, entry in enumerate(entries):
        kind = entry.event.get("type")
        is_end = entry.direction == "note" and kind in ENDINGS
        if is_end and (entry.link in ends or entry.link not in links):
            # Nothing was open: it is one that was refused, or the last word on one that was lost. A stream of speech
            # has no last words.
            if kind == "failed" and (streams or not _repeats(entries, number)):
                order.append((0, number))
            continue
        if entry.link == 0:
            continue
        if entry.link not in links:
            links[entry.link] = []
            order.append((entry.link, 0))
        links[entry.link].append(number)
        if is_end:
            ends[entry.link] = number
    for link, refusal in order:
        if link:
            yield Attempt(link, tuple(links[link]), ends.get(link))
        else:
            yield Attempt(0, (), refusal, entries[refusal].event)


def _repeats(entries: tuple[Entry, ...], number: int) -> bool:
    """Whether a note says for good what the last one has said of a connection that was lost."""
    last = next((entry for entry in reversed(entries[:number]) if entry.direction == "note"), None)
    if last is None or last.event.get("type") != "lost":
        return False
    return bool(last.event.get("code") == entries[number].event.get("code"))


def _at(event: Any, path: str) -> Any:
    for name in path.split("."):
        event = event.get(name) if isinstance(event, Mapping) else None
    return event


def _named(event: Mapping[str, Any]) -> str:
    item = event.get("item")
    what = item.get("type") if isinstance(item, Mapping) else None
    return f"{event.get('type')} ({what})" if what else str(event.get("type"))
