"""User turns: when someone began and stopped speaking, and a transcript that grows until it is final.

Everything is kept per item id, so that two turns that overlap on the wire never mix (hashintel/hash#9356).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Turn:
    """One user turn. `started_at` is wall-clock seconds; `parts` maps content index to the text so far.

    `start_ms` and `end_ms` are its place in this connection's audio; `end_ms` is None before the server heard its end.
    `committed` says that the server made an item of its audio. Some models transcribe before that; such audio is sent
    again after a reconnect, and transcribed again.
    """

    started_at: float | None = None
    start_ms: int = 0
    end_ms: int | None = None
    committed: bool = False
    parts: dict[int, str] = field(default_factory=dict)


def confidence(logprobs: Sequence[Mapping[str, Any]] | None) -> float | None:
    """exp(mean logprob) of the tokens, 0.0 to 1.0; None when there are none. Never invented."""
    found = [p.get("logprob") for p in logprobs or ()]
    values = [value for value in found if isinstance(value, (int, float)) and -1e9 < value < 1e9]  # JSON has 1e999
    return math.exp(min(0.0, sum(values) / len(values))) if values else None


class Turns:
    """The turns whose transcript is not final yet, by item id."""

    __slots__ = ("_ending", "_final", "_open", "_speaking")

    def __init__(self) -> None:
        self._open: dict[str, Turn] = {}
        self._final: dict[str, set[int]] = {}  # the parts that have their text, by item
        self._speaking: str | None = None  # the item of the speech that goes on
        self._ending: str | None = None  # the item that the server is about to make of speech that has ended

    @property
    def speaking(self) -> bool:
        """Whether the server hears somebody speak."""
        return self._speaking is not None

    @property
    def open(self) -> bool:
        """Whether somebody speaks, or has spoken and the server has not made an item of it yet."""
        return self._speaking is not None or self._ending is not None

    @property
    def committed_ids(self) -> list[str]:
        """Items that the server has made, and whose transcript is not final."""
        return [item_id for item_id, turn in self._open.items() if turn.committed]

    def started(self, item_id: str, now: float, start_ms: int = 0) -> None:
        """Speech began."""
        self._speaking = item_id
        if item_id:
            turn = self._open.setdefault(item_id, Turn())
            turn.started_at, turn.start_ms, turn.end_ms = now, start_ms, None

    def stopped(self, item_id: str, end_ms: int) -> None:
        """Speech ended."""
        self._speaking = None
        if item_id:
            self._ending = item_id
            self._open.setdefault(item_id, Turn()).end_ms = end_ms

    def committed(self, item_id: str) -> tuple[Turn, bool]:
        """The turn's audio is an item now. Returns the turn, and whether its speech still went on: that was its end."""
        turn = self._open.setdefault(item_id, Turn())
        turn.committed = True
        self._ending = None
        cut_short = self._speaking == item_id
        if cut_short:
            self._speaking = None
        return turn, cut_short

    def unheard(self) -> str | None:
        """Nobody will tell how the speech that goes on ends, and it is not heard again. Returns its item, if any."""
        item_id, self._speaking, self._ending = self._speaking, None, None
        return item_id

    def is_final(self, item_id: str, content_index: int) -> bool:
        """Whether the transcript is final already: whatever comes for it now is a duplicate, or too late."""
        return content_index in self._final.get(item_id, ())

    def grown(self, item_id: str, content_index: int, delta: str) -> str:
        """More text came; returns all of that part so far."""
        parts = self._open.setdefault(item_id, Turn()).parts
        parts[content_index] = parts.get(content_index, "") + delta
        return parts[content_index]

    def finished(self, item_id: str, content_index: int) -> tuple[str | None, float | None]:
        """The transcript is final or failed; returns the partial text (None when there was none) and the start time."""
        self._final.setdefault(item_id, set()).add(content_index)
        turn = self._open.get(item_id)
        if turn is None:
            return None, None
        partial = turn.parts.pop(content_index, None)
        if not turn.parts:
            del self._open[item_id]
        return partial, turn.started_at

    def forget(self, item_id: str) -> None:
        """The item is gone."""
        self._open.pop(item_id, None)
        self._final.pop(item_id, None)

    def drain(self) -> list[tuple[str, int, str, float | None]]:
        """The connection is gone, and with it every final still due.

        Returns (item id, content index, partial text, start) of the turns that have text and whose audio will not be
        sent again.
        """
        lost = [
            (item_id, content_index, text, turn.started_at)
            for item_id, turn in self._open.items()
            if turn.committed
            for content_index, text in turn.parts.items()
        ]
        self._open.clear()
        self._speaking = self._ending = None
        self._final.clear()  # the next session makes its own ids
        return lost
