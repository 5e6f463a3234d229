"""What the commands write: lines with colours where somebody looks, plain lines elsewhere, or one JSON value."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from typing import TextIO

_CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36}


def has_colours(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to write colours to `stream`: only to a terminal, and neither with NO_COLOR nor with TERM=dumb."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def write_private(path: str | os.PathLike[str], text: str) -> None:
    """Write a file that only its owner can read, in place of one that is there. Raises OSError.

    What UTF-8 does not have (half of a surrogate pair) stands as its escape, which JSON reads.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        # One that was there keeps its rights otherwise. Windows has none, and a device is not ours.
        if hasattr(os, "fchmod") and stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)
        file.write(text)


class Output:
    """Writes to one stream."""

    def __init__(self, stream: TextIO, *, colours: bool | None = None) -> None:
        """`colours`: None asks the stream, see `has_colours`."""
        self._stream = stream
        self.colours = has_colours(stream) if colours is None else colours

    def paint(self, text: str, *styles: str) -> str:
        """`text` in these styles (bold, dim, red, green, yellow, blue, cyan); as it is where there are no colours."""
        if not self.colours or not text:
            return text
        return f"\x1b[{';'.join(str(_CODES[style]) for style in styles)}m{text}\x1b[0m"

    def line(self, text: str = "") -> None:
        """Write one line. What the stream's encoding does not have is escaped, so a line never fails to leave."""
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def json(self, value: object) -> None:
        """Write `value` as JSON, indented by 2, non-ASCII characters escaped."""
        self._stream.write(json.dumps(value, indent=2) + "\n")
