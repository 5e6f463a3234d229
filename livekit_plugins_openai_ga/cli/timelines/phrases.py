"""A translation's texts. Its wire knows no sentences: they are parted where one ends, or after a pause."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from .facts import Lane, Phrase
from .heard import Sent
from .texts import Growing, number
from .told import Told

_PAUSE_MS = 1500.0
_LONGEST_MS = 15000.0
# A text may come at once; it is drawn as long as it takes to say it.
_CHAR_MS = 60.0
_ENDS = (".", "!", "?", "。", "！", "？", "।", "…")


class Phrases:
    """The pieces of both texts. `sent` knows when the source of a piece left."""

    def __init__(self, told: Told, sent: Sent) -> None:
        self._phrases: list[Phrase] = []
        self._told = told
        self._sent = sent
        self._open: dict[Lane, tuple[Phrase, Growing]] = {}

    def source(self, at: int, event: Mapping[str, Any]) -> None:
        """session.input_transcript.delta."""
        self._add("user", at, event)

    def translated(self, at: int, event: Mapping[str, Any]) -> None:
        """session.output_transcript.delta."""
        self._add("agent", at, event)

    def _add(self, lane: Lane, at: int, event: Mapping[str, Any]) -> None:
        now = self._told.at_ms(at)
        current = self._open.get(lane)
        if current is None or self._is_over(current[0], now):
            current = Phrase(lane, now, now, "", self._behind(at, event), [at]), Growing()
            self._open[lane] = current
            self._phrases.append(current[0])
        phrase, text = current
        text.add(event.get("delta"))
        phrase.text, phrase.end_ms = text.text.strip(), now
        # The first and the last of them: there may be very many.
        phrase.events[1:] = [at] if at != phrase.events[0] else []

    def ended(self) -> list[Phrase]:
        """All of them, each at least as long as it takes to say it, but not into the next one."""
        for lane in ("user", "agent"):
            own = [phrase for phrase in self._phrases if phrase.lane == lane]
            starts = [phrase.start_ms for phrase in own[1:]]
            for phrase, following in itertools.zip_longest(own, starts):
                said = phrase.start_ms + _CHAR_MS * len(phrase.text)
                phrase.end_ms = max(phrase.end_ms, said if following is None else min(said, following))
        return self._phrases

    def _is_over(self, phrase: Phrase, now: float) -> bool:
        pause = now - phrase.end_ms > _PAUSE_MS
        return pause or phrase.text.endswith(_ENDS) or now - phrase.start_ms > _LONGEST_MS

    def _behind(self, at: int, event: Mapping[str, Any]) -> float | None:
        elapsed = number(event.get("elapsed_ms"))
        spoken = None if elapsed is None else self._sent.time_of(elapsed)
        return None if spoken is None else max(0.0, self._told.at_ms(at) - spoken)
