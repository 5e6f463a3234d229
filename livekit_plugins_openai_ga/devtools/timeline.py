"""A call as text: who spoke when, what was said, what the tools did, how long the caller waited, the cost.

`Timeline` is told what happened, in seconds since the call began, and in any order. `render` draws one bar
per lane, lists every entry, and sums up. It has no clock and prints nothing itself. `bars` and `listing` draw entries
for whoever has them already.
"""

from __future__ import annotations

import itertools
import json
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .display import wrap

Lane = Literal["caller", "agent", "tool", "session"]
LANES: tuple[Lane, ...] = ("caller", "agent", "tool", "session")

# Candidates for the distance between two marks on the time axis, in seconds.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_LABEL_WIDTH = 9
_TIME_WIDTH = 16
MIN_WIDTH = 60
"""Columns of a terminal below which nothing is drawn narrower."""
_TICK_CELLS = 8
# Stands for a space at which a remark is not parted.
_UNBROKEN = "\ue000"

Part = Literal["lane", "time", "text", "axis"]
Paint = Callable[[str, Part, "Entry | None"], str]
"""(text, what it is, whose it is) to the same text in colours."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened, in seconds since the start. `until` is None for a moment without length.

    `remarks` are what a list says behind its text; `bad` is for an error.
    """

    at: float
    lane: Lane
    text: str
    until: float | None = None
    interrupted: bool = False
    remarks: tuple[str, ...] = ()
    bad: bool = False


def _unpainted(text: str, part: Part, entry: Entry | None) -> str:
    return text


class Timeline:
    """Collects the entries of one call and renders them."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._tokens: dict[str, int] = {}
        self._costs: list[float | None] = []
        self._ready = ""

    @property
    def entries(self) -> list[Entry]:
        """Everything told so far, by time."""
        return sorted(self._entries, key=lambda entry: (entry.at, LANES.index(entry.lane)))

    def speech(
        self,
        lane: Literal["caller", "agent"],
        start: float,
        end: float,
        text: str,
        *,
        interrupted: bool = False,
    ) -> None:
        """Somebody was heard from `start` to `end`. `interrupted`: the other side ended it by speaking."""
        self._entries.append(Entry(start, lane, text, end, interrupted))

    def tool_call(
        self,
        start: float,
        end: float | None,
        name: str,
        arguments: Mapping[str, object] | str,
        result: str | None,
    ) -> None:
        """A tool ran. `arguments`: an object, or the JSON text the model wrote. `result` None: it never returned."""
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        outcome = "no result" if result is None else result
        self._entries.append(Entry(start, "tool", f"{name}({written}) -> {outcome}", end))

    def note(self, at: float, text: str) -> None:
        """Something happened to the session itself: connected, reconnected, closed, an error."""
        self._entries.append(Entry(at, "session", text))

    def ready(self, prewarmed: float, dialled: float | None) -> None:
        """The agent could ask for its first reply so many seconds after its session was asked for.

        Its connection was prewarmed; one that was dialled then took `dialled` seconds, None when that is not known.
        """
        self._ready = f"Ready for the first turn: {prewarmed * 1000:.0f} ms prewarmed"
        if dialled is not None:
            saved = (dialled - prewarmed) * 1000
            self._ready += f", {dialled * 1000:.0f} ms dialled in the same run: {saved:.0f} ms saved"

    def usage(self, tokens: Mapping[str, int], cost_usd: float | None) -> None:
        """Add one response: tokens by kind (`{"audio in": 120, ...}`), cost in USD (None: no price is known)."""
        for kind, count in tokens.items():
            self._tokens[kind] = self._tokens.get(kind, 0) + count
        self._costs.append(cost_usd)

    def first_audio(self) -> dict[Entry, float]:
        """For the first reply to each caller turn: seconds from the caller's last word to its first sound."""
        waits: dict[Entry, float] = {}
        asked: Entry | None = None
        for entry in self.entries:
            if entry.lane == "caller":
                asked = entry
            # A reply that began while the caller still spoke does not answer what was being said.
            elif entry.lane == "agent" and asked is not None and entry.at >= (asked.until or asked.at):
                waits[entry] = entry.at - (asked.until or asked.at)
                asked = None
        return waits

    def render(self, width: int = 100) -> str:
        """The whole call in lines of at most `width` characters (60 at least). No line break at the end."""
        if not self._entries:
            return "Nothing happened in this call."
        width = max(width, MIN_WIDTH)
        waits = self.first_audio()
        entries = []
        for entry in self.entries:
            first = [f"first audio after {waits[entry] * 1000:.0f} ms"] if entry in waits else []
            cut = ["interrupted"] if entry.interrupted else []
            entries.append(replace(entry, remarks=(*first, *cut)))
        return "\n".join([*bars(entries, width), "", *listing(entries, width), "", *self._summary(width)])

    def _summary(self, width: int) -> list[str]:
        waits = list(self.first_audio().values())
        interrupted = sum(entry.interrupted for entry in self._entries)
        lines = [f"{self._ready}."] if self._ready else []
        if waits:
            median, longest = statistics.median(waits) * 1000, max(waits) * 1000
            turns = _count(len(waits), "turn")
            lines.append(f"Time to first audio: median {median:.0f} ms, longest {longest:.0f} ms over {turns}.")
        else:
            lines.append("Time to first audio: no reply was heard.")
        tools = sum(entry.lane == "tool" for entry in self._entries)
        lines.append(f"Interruptions: {interrupted}. Tool calls: {tools}.")
        if self._costs:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in self._tokens.items()) or "none reported"
            lines.append(f"Tokens: {counts}.")
            lines.append(self._cost())
        return [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="        ")]

    def _cost(self) -> str:
        known = [cost for cost in self._costs if cost is not None]
        if not known:
            return "Cost: unknown, no price is known for this model."
        unknown = len(self._costs) - len(known)
        without = f", without {_count(unknown, 'response')} of unknown price" if unknown else ""
        return f"Cost: ${sum(known):.4f}{without}."


def bars(
    entries: Sequence[Entry],
    width: int,
    *,
    length: float = 0.0,
    labels: Mapping[Lane, str] | None = None,
    paint: Paint = _unpainted,
) -> list[str]:
    """A time axis and one bar for each lane that has entries, in lines of at most `width` columns.

    `length`: seconds that are drawn at least. `labels`: what the lanes are called; None: as they are.
    """
    length = max(1.0, length, *(entry.until or entry.at for entry in entries))
    cells = width - _LABEL_WIDTH
    per_cell = length / cells
    step = next((step for step in _STEPS if step / per_cell >= _TICK_CELLS), int(length))
    axis = [" "] * cells
    for second in range(0, int(length) + 1, step):
        mark = f"|{second} s"
        start = int(second / per_cell)
        if start + len(mark) <= cells:
            axis[start : start + len(mark)] = mark
    lines = [paint("".join([" " * _LABEL_WIDTH, *axis]).rstrip(), "axis", None)]
    for lane in LANES:
        own = [entry for entry in entries if entry.lane == lane]
        if own:
            label = f"{(labels or {}).get(lane, lane):<{_LABEL_WIDTH}}"
            lines.append(paint(label, "lane", own[0]) + _bar(own, per_cell, cells, paint).rstrip())
    return lines


def listing(
    entries: Sequence[Entry],
    width: int,
    *,
    labels: Mapping[Lane, str] | None = None,
    paint: Paint = _unpainted,
) -> list[str]:
    """Every entry, in lines of at most `width` columns."""
    lines: list[str] = []
    for entry in entries:
        text = entry.text
        if entry.remarks:
            text += f" [{', '.join(remark.replace(' ', _UNBROKEN) for remark in entry.remarks)}]"
        span = f"{entry.at:.1f} s" if entry.until is None else f"{entry.at:.1f}-{entry.until:.1f} s"
        lane = (labels or {}).get(entry.lane, entry.lane)
        lead = f"{span:<{_TIME_WIDTH}}{lane:<{_LABEL_WIDTH}}"
        rows = [row.replace(_UNBROKEN, " ") for row in wrap(text, max(width - len(lead), _TIME_WIDTH))] or [""]
        before = paint(lead[:_TIME_WIDTH], "time", entry) + paint(lead[_TIME_WIDTH:], "lane", entry)
        lines.append((before + paint(rows[0], "text", entry)).rstrip())
        lines += [" " * len(lead) + paint(row, "text", entry) for row in rows[1:]]
    return lines


def _bar(entries: Sequence[Entry], per_cell: float, cells: int, paint: Paint) -> str:
    """One lane: '=' while it lasts, 'x' where it was cut short, '|' for a moment, '!' for what is bad, on top."""
    row: list[tuple[str, Entry | None]] = [(" ", None)] * cells
    for entry in sorted(entries, key=lambda entry: entry.bad):
        first = min(max(int(entry.at / per_cell), 0), cells - 1)
        if entry.until is None:
            row[first] = ("!" if entry.bad else "|", entry)
            continue
        last = min(max(first + 1, round(entry.until / per_cell)), cells)
        row[first:last] = [("!" if entry.bad else "=", entry)] * (last - first)
        if entry.interrupted:
            row[last - 1] = ("x", entry)
    return _joined(row, paint)


def _joined(row: Sequence[tuple[str, Entry | None]], paint: Paint) -> str:
    """The cells of a lane; those of one entry are painted together."""
    parts: list[str] = []
    for owner, cells in itertools.groupby(row, key=lambda cell: cell[1]):
        text = "".join(char for char, _ in cells)
        parts.append(text if owner is None else paint(text, "lane", owner))
    return "".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
