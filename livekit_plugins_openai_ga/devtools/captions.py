"""Transcripts as subtitles: cues in order that never overlap, as SubRip (.srt) or WebVTT (.vtt).

`Captioner` turns each final transcript into cues at once, so that captions can be written while the speaker is
speaking. It needs no look ahead and does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .display import clean, width, wrap

MAX_COLUMNS = 42
"""Columns of a line; the usual limit of subtitle guidelines. A wide character takes two."""
MAX_LINES = 2
"""Lines of a cue."""
MIN_CUE_MS = 100
"""The shortest cue, in ms: transcripts without a length are given so much a cue."""
VTT_HEADER = "WEBVTT\n\n"

# `-->` separates the times; within a text it would begin a new cue for a lenient reader.
_ARROW = re.compile(r"-{2,}>")
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: its number from 1, when it is shown (ms since the beginning), and its one or two lines."""

    number: int
    start_ms: int
    end_ms: int
    lines: tuple[str, ...]

    def srt(self) -> str:
        """As SubRip, with the empty line that ends it."""
        text = "\n".join(_ARROW.sub("->", line) for line in self.lines)
        return f"{self.number}\n{_clock(self.start_ms, ',')} --> {_clock(self.end_ms, ',')}\n{text}\n\n"

    def vtt(self) -> str:
        """As WebVTT, with the empty line that ends it. The file begins with `VTT_HEADER`."""
        text = "\n".join(line.translate(_VTT_ESCAPES) for line in self.lines)
        return f"{self.number}\n{_clock(self.start_ms, '.')} --> {_clock(self.end_ms, '.')}\n{text}\n\n"


class Captioner:
    """Makes cues out of final transcripts, in the order in which these come."""

    def __init__(self) -> None:
        self._number = 0
        self._end_ms = 0

    def add(self, start: float, end: float, text: str) -> list[Cue]:
        """The cues of one transcript, spoken from `start` to `end` seconds; [] for a text without a character.

        A long transcript becomes several cues that share its time by their length. A cue never begins before the one
        before it has ended: speech that overlaps is shown later.
        """
        parts = list(_parts(clean(text)))
        if not parts:
            return []
        begin = max(round(start * 1000), self._end_ms)
        finish = max(round(end * 1000), begin + MIN_CUE_MS * len(parts))
        # Every cue gets its least time, and its share of what is left.
        spare, total = finish - begin - MIN_CUE_MS * len(parts), sum(map(_size, parts))
        cues, told = [], 0
        for count, part in enumerate(parts, start=1):
            told += _size(part)
            cue_end = begin + MIN_CUE_MS * count + spare * told // total
            self._number += 1
            cues.append(Cue(self._number, max(begin, self._end_ms), cue_end, part))
            self._end_ms = cue_end
        return cues


def _parts(text: str) -> Iterator[tuple[str, ...]]:
    lines = wrap(text, MAX_COLUMNS)
    # The narrowest lines that need no more of them: two lines of a cue look alike, and the last is not one word.
    columns = MAX_COLUMNS
    while len(lines) > 1 and columns > 1 and len(narrower := wrap(text, columns - 1)) == len(lines):
        lines, columns = narrower, columns - 1
    for first in range(0, len(lines), MAX_LINES):
        yield tuple(lines[first : first + MAX_LINES])


def _size(lines: tuple[str, ...]) -> int:
    return max(1, sum(map(width, lines)))


def _clock(milliseconds: int, separator: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{separator}{milliseconds:03}"
