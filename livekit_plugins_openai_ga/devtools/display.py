"""Text for a terminal, measured in columns: what fits in a line, and one line that is drawn again and again.

East Asian wide characters take two columns and combining marks none. Nothing here writes anywhere: every function
gives the characters that somebody else writes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"
_ERASE_TO_END = "\x1b[K"
_ZERO_WIDTH = frozenset({"Mn", "Me", "Cf"})
# What a line must not begin with, and must not end with.
_CLOSING = frozenset({"Pe", "Pf", "Po"})
_OPENING = frozenset({"Ps", "Pi"})
_JOINER = "\N{ZERO WIDTH JOINER}"


def clean(text: str) -> str:
    """`text` in one line: every run of white space is one space, control characters and lone surrogates are gone.

    A transcript comes from a server: an escape sequence in it must not reach the terminal, nor half a character a file.
    """
    kept = (char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cs"))
    return " ".join("".join(kept).split())


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    return sum(map(_char_width, text))


def wrap(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns`, broken between words, and between wide characters anywhere.

    A word that is wider than a line is broken, too. [] for an empty text.
    """
    lines: list[str] = []
    line, used = "", 0
    for gap, piece in _pieces(text):
        size = width(piece)
        if line and used + gap + size <= columns:
            line, used = f"{line}{' ' * gap}{piece}", used + gap + size
            continue
        if line:
            lines.append(line)
        while size > columns:
            head = _fitting(piece, columns)
            lines.append(head)
            piece = piece[len(head) :]
            size = width(piece)
        line, used = piece, size
    return [*lines, line] if line else lines


def tail(text: str, columns: int) -> str:
    """The end of `text` that fits in `columns`, with an ellipsis where its beginning is missing."""
    if width(text) <= columns:
        return text
    if columns < width(ELLIPSIS):
        return ""
    left = columns - width(ELLIPSIS)
    start = len(text)
    while start and left >= (size := _char_width(text[start - 1])):
        left -= size
        start -= 1
    # A mark that combines with a character which is not shown would sit on the ellipsis.
    while start < len(text) and _char_width(text[start]) == 0:
        start += 1
    return ELLIPSIS + text[start:].lstrip()


def stamp(seconds: float) -> str:
    """A time as `[00:03.2]`, from one hour on as `[1:00:03.2]`."""
    tenths = max(0, round(seconds * 10))
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}" if hours else f"{minutes:02}"
    return f"[{clock}:{tenths // 10:02}.{tenths % 10}]"


class LiveLine:
    """The line at the bottom of a terminal that is drawn in place until something final takes it."""

    def __init__(self) -> None:
        self._shown = ""

    def draw(self, lead: str, text: str, columns: int) -> str:
        """What to write to have the line show `lead` and the end of `text`; "" when it shows them already."""
        # The last column stays free: many terminals move to the next line when it is filled.
        room = columns - 1 - width(lead)
        fitted = lead + tail(text, room) if room >= width(lead) else tail(text, columns - 1)
        if fitted == self._shown:
            return ""
        self._shown = fitted
        return f"\r{fitted}{_ERASE_TO_END}"

    def erase(self) -> str:
        """What to write to have the line empty, with the cursor at its beginning; "" when it is."""
        return self.lift() if self._shown else ""

    def lift(self) -> str:
        """The same, also when somebody else has written into the empty line, as a terminal does with `^C`."""
        self._shown = ""
        return f"\r{_ERASE_TO_END}"


def _char_width(char: str) -> int:
    if unicodedata.category(char) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fitting(piece: str, columns: int) -> str:
    """The longest beginning of `piece` that fits, at least one character with the marks on it."""
    end, left = 0, columns
    while end < len(piece) and (end == 0 or left >= (size := _char_width(piece[end])) or size == 0):
        left -= _char_width(piece[end])
        end += 1
    return piece[:end]


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """What no line break may part: spaces before it (0 or 1), and the piece itself."""
    for word in text.split():
        gap, piece = 1, ""
        for char in word:
            if piece and _may_part(piece[-1], char):
                yield gap, piece
                gap, piece = 0, ""
            piece += char
        yield gap, piece


def _may_part(before: str, after: str) -> bool:
    if _char_width(after) == 0 or before == _JOINER or unicodedata.category(after) in _CLOSING:
        return False
    if unicodedata.category(before) in _OPENING:
        return False
    return 2 in (_char_width(before), _char_width(after))
