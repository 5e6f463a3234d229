"""Texts as a recording has them: as they were, or only their length."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def said(value: object) -> str:
    """A text; of one that was left out, how long it was."""
    if isinstance(value, str):
        return value
    chars = value.get("chars") if isinstance(value, Mapping) else None
    return f"[{chars} characters]" if isinstance(chars, int) and chars else ""


def number(value: object) -> float | None:
    """A number that can be reckoned with; None for anything else, such as an infinite one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an int that no float can hold
        return None


def typed_text(item: Mapping[str, Any]) -> str:
    """What a message holds, in one line; pictures and sound by name."""
    parts = []
    content = item.get("content")
    for part in content if isinstance(content, list) else []:
        if isinstance(part, Mapping):
            kind = str(part.get("type", ""))
            text = said(part.get("text")) or said(part.get("transcript"))
            parts.append(text or f"[{kind.removeprefix('input_')}]")
    return " ".join(parts)


class Growing:
    """A text that comes in pieces; of pieces that were left out, the length of the whole."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left_out = 0
        self._whole: str | None = None

    def add(self, piece: object) -> None:
        """One more piece."""
        if isinstance(piece, str):
            self._parts.append(piece)
        elif isinstance(piece, Mapping) and isinstance(piece.get("chars"), int):
            self._left_out += piece["chars"]

    def whole(self, text: object) -> None:
        """All of it, as the server has it in the end."""
        self._whole = said(text) or self._whole

    @property
    def text(self) -> str:
        """As far as it is known."""
        if self._whole is not None:
            return self._whole
        return "".join(self._parts) or (f"[{self._left_out} characters]" if self._left_out else "")
