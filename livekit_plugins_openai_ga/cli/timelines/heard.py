"""The user's side: which of the audio that was sent is when, what was said in it, and what was written instead.

Audio is drawn when it left. A server counts places in the audio of one connection; `Sent` turns them into times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import models
from ...core.usage import transcription_usage
from .facts import Moment, Utterance
from .sound import STEP_MS, Levels, last_loud
from .texts import Growing, number, said, typed_text
from .told import Told

_SHORTEST_SOUND_MS = 60.0


class Sent:
    """The audio that was sent on one connection after the other."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, float, Levels | None]] = []
        """From, to (ms of the recording), levels (None: not kept)."""
        self.total_ms = 0.0
        """Of all connections."""
        self._ends: list[float] = []  # places of this connection, at which its pieces end
        self._first = 0  # its first piece
        self._link = 0

    def add(self, at_ms: float, link: int, length_ms: float, heard: Levels | None) -> None:
        """Audio left. It was spoken before, but not before what left ahead of it."""
        if link != self._link:
            self._link, self._first, self._ends = link, len(self.pieces), []
        start = max(at_ms - length_ms, self.pieces[-1][1] if self.pieces else 0.0)
        self.pieces.append((min(start, at_ms), at_ms, heard))
        self._ends.append((self._ends[-1] if self._ends else 0.0) + length_ms)
        self.total_ms += length_ms

    @property
    def place_ms(self) -> float:
        """How much was sent on this connection."""
        return self._ends[-1] if self._ends else 0.0

    def time_of(self, place_ms: float) -> float | None:
        """When a place in this connection's audio left; None when nothing has."""
        if not self._ends:
            return None
        index = min(bisect_left(self._ends, place_ms), len(self._ends) - 1)
        start, end, _ = self.pieces[self._first + index]
        before = self._ends[index - 1] if index else 0.0
        length = self._ends[index] - before
        share = (place_ms - before) / length if length else 1.0
        return start + (end - start) * min(1.0, max(0.0, share))

    def voice_end(self, from_ms: float, to_ms: float) -> float | None:
        """The end of the last sound between two times; None when the audio was not kept, or is silent."""
        first = bisect_left(self.pieces, from_ms, key=lambda piece: piece[1])
        kept: list[Levels] = []
        times: list[float] = []
        for start, end, heard in self.pieces[first:]:
            if start >= to_ms:
                break
            if heard is None:
                return None
            kept.append(heard)
            times += [min(end, start + STEP_MS * (place + 1)) for place in range(len(heard))]
        if not kept:
            return None
        inside = np.asarray(times) <= to_ms + STEP_MS
        last = last_loud(np.concatenate(kept)[inside])
        return None if last is None else times[last - 1]


class Heard:
    """What the user said, item by item."""

    def __init__(self, told: Told) -> None:
        self.sent = Sent()
        self.utterances: dict[str, Utterance] = {}
        self._told = told
        self._known: set[str] = set()
        self._texts: dict[str, Growing] = {}
        self._written: list[Utterance] = []  # to which no reply was asked for yet
        self._idle: set[str] = set()  # items that are the silence of a timeout
        self._replaying = False
        self._settled = False
        self._turn_from = 0.0  # the place at which the audio begins that is not in an item yet
        self._committed: float | None = None  # when the client itself ended a turn

    def appended(self, at: int, event: Mapping[str, Any]) -> None:
        """input_audio_buffer.append: audio left."""
        length, heard = self._told.input_audio(event.get("audio"))
        self.sent.add(self._told.at_ms(at), self._told.link(at), length, heard)

    def connected(self, at: int, event: Mapping[str, Any]) -> None:
        """session.created: places begin anew, and on a later connection the conversation is brought back."""
        self._turn_from, self._committed = 0.0, None
        self._replaying, self._settled = self._told.link(at) > 1, False
        if self._replaying:
            self._written = []

    def settled(self, at: int, event: Mapping[str, Any]) -> None:
        """session.updated: what had to be brought back, or along, has left."""
        self._replaying = False
        if not self._settled:
            self._brought_along()  # before anything could be said
        self._settled = True

    def asked(self, at: int, event: Mapping[str, Any]) -> None:
        """response.create: what was written is to be answered."""
        self._written = []

    def _brought_along(self) -> None:
        """What was written is of an older conversation."""
        for utterance in self._written:
            utterance.apart = True
        self._written = []

    def commit_asked(self, at: int, event: Mapping[str, Any]) -> None:
        """The client ended the turn."""
        self._committed = self._told.at_ms(at)

    def cleared(self, at: int, event: Mapping[str, Any]) -> None:
        """What is not in an item will not be in one."""
        self._turn_from = self.sent.place_ms

    def started(self, at: int, event: Mapping[str, Any]) -> None:
        """speech_started."""
        now = self._told.at_ms(at)
        utterance = self._of(event, at)
        begin = self._place(event.get("audio_start_ms"))
        utterance.start_ms = now if begin is None else min(begin, now)

    def stopped(self, at: int, event: Mapping[str, Any]) -> None:
        """speech_stopped. Its place includes the silence that the detector waited for."""
        now = self._told.at_ms(at)
        utterance = self._of(event, at)
        utterance.stopped_ms = now
        place, silence = number(event.get("audio_end_ms")), self._told.silence_ms
        if place is not None and silence:
            end, source = self._place(max(0.0, place - silence)), "detector"
        else:
            end, source = self._place(place), "server"
        self._end(utterance, now if end is None else min(end, now), source)

    def _end(self, utterance: Utterance, end_ms: float, source: str) -> None:
        latest = end_ms if utterance.stopped_ms is None else utterance.stopped_ms
        sound = self.sent.voice_end(utterance.start_ms, latest)
        if sound is not None and sound - utterance.start_ms >= _SHORTEST_SOUND_MS:
            end_ms, source = sound, "sound"
        utterance.end_ms, utterance.end_from = max(utterance.start_ms, end_ms), source

    def committed(self, at: int, event: Mapping[str, Any]) -> None:
        """The server made an item of the audio so far."""
        utterance = self._of(event, at)
        if utterance.stopped_ms is None:
            asked, now = self._committed, self._told.at_ms(at)
            begin = self.sent.time_of(self._turn_from + 1.0)
            if utterance.end_from == "" and begin is not None and not self._said_to_start(utterance):
                utterance.start_ms = min(begin, now)
            utterance.stopped_ms = now if asked is None else asked
            self._end(utterance, utterance.stopped_ms, "commit")
        self._turn_from, self._committed = self.sent.place_ms, None

    def _said_to_start(self, utterance: Utterance) -> bool:
        types = (self._told.type_of(event) for event in utterance.events)
        return "input_audio_buffer.speech_started" in types

    def growing(self, at: int, event: Mapping[str, Any]) -> None:
        """A piece of a transcript."""
        utterance = self._of(event, at, keep=False)
        if utterance.first_text_ms is None:
            utterance.first_text_ms = self._told.at_ms(at)
        if utterance.text_ms is None:
            text = self._texts.setdefault(utterance.id, Growing())
            text.add(event.get("delta"))
            utterance.text = text.text

    def completed(self, at: int, event: Mapping[str, Any]) -> None:
        """A whole transcript."""
        utterance = self._of(event, at)
        now = self._told.at_ms(at)
        utterance.text, utterance.text_ms = said(event.get("transcript")).strip(), now
        utterance.first_text_ms = now if utterance.first_text_ms is None else utterance.first_text_ms
        usage = transcription_usage(event.get("usage"))
        if usage is not None:
            utterance.usage = usage.counts
            utterance.cost_usd = models.cost(usage.counts, self._told.listener).total

    def failed(self, at: int, event: Mapping[str, Any]) -> None:
        """There will be no transcript."""
        utterance = self._of(event, at)
        problem = self._told.problem(at, "user", event.get("error"))
        utterance.error = problem.code or problem.text

    def created(self, at: int, event: Mapping[str, Any]) -> None:
        """conversation.item.create: what the application wrote as the user; what the server has already is replayed."""
        item = event.get("item")
        if not isinstance(item, Mapping) or item.get("type") != "message":
            return
        if item.get("role") == "assistant" and not self._replaying:
            self._brought_along()  # it has its answer
        if item.get("role") != "user":
            return
        name, now = str(item.get("id", f"typed {at}")), self._told.at_ms(at)
        if name in self._known or self._replaying:
            return
        self._known.add(name)
        text = typed_text(item)
        self.utterances[name] = Utterance(name, now, now, "typed", now, text, now, now, typed=True, events=[at])
        self._written.append(self.utterances[name])

    def added(self, at: int, event: Mapping[str, Any]) -> None:
        """conversation.item.added: from now on its creation is a replay."""
        item = event.get("item")
        if isinstance(item, Mapping):
            self._known.add(str(item.get("id")))

    def timeout(self, at: int, event: Mapping[str, Any]) -> None:
        """Nobody said anything for too long. The server makes an item of the silence: nothing was said in it."""
        self._idle.add(str(event.get("item_id")))
        self._told.moments.append(Moment(self._told.at_ms(at), "user", "timeout", "Nobody spoke: timeout", [at]))

    def key_pressed(self, at: int, event: Mapping[str, Any]) -> None:
        """A key of a telephone."""
        text = f"Key {said(event.get('event'))}"
        self._told.moments.append(Moment(self._told.at_ms(at), "user", "key", text, [at]))

    def ended(self) -> list[Utterance]:
        """All of them, by time."""
        for name in self._idle & self.utterances.keys():
            self.utterances[name].apart = True
        return sorted(self.utterances.values(), key=lambda one: one.start_ms)

    def _place(self, place: object) -> float | None:
        known = number(place)
        return None if known is None else self.sent.time_of(known)

    def _of(self, event: Mapping[str, Any], at: int, *, keep: bool = True) -> Utterance:
        """The utterance of an item. `keep`: the event is one of those that are shown with it."""
        name = str(event.get("item_id", ""))
        self._known.add(name)
        utterance = self.utterances.get(name)
        if utterance is None:
            begin = self.sent.time_of(self._turn_from + 1.0)
            now = self._told.at_ms(at)
            utterance = self.utterances[name] = Utterance(name, now if begin is None else min(begin, now))
        if keep:
            utterance.events.append(at)
        return utterance
