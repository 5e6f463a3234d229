"""Keys in texts that come in pieces: each piece alone looks harmless."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from ..redaction import HIDDEN, harmless, hide, redact

_STREAM = ("type", "item_id", "output_index", "content_index")
"""Fields by which pieces of one text are known."""

_STREAMS = 8
"""Texts that come at a time. The oldest is forgotten: most have ended."""

_LOOKED_AT = 256
"""Characters of a text before a piece that are searched with it."""

_LONGEST = 8192
"""The same where a key begins."""

_BEGINNING = 6
"""Characters of a key in use by which its beginning is known."""


class Pieces:
    """The texts of one session that are coming, as far as they are known.

    A key is hidden from the piece on that shows it to be one. What was written before is shorter than any key.
    """

    def __init__(self) -> None:
        self._tails: dict[tuple[object, ...], str] = {}

    def next(self, event: Mapping[str, Any], secrets: Iterable[str]) -> str:
        """What may be written of the event's `delta`; `secrets` as `redaction.traces` gives them."""
        stream = tuple([str(event.get(name)) for name in _STREAM])
        tail, delta = self._tails.pop(stream, ""), str(event["delta"])
        secrets = tuple(secrets)
        if harmless(tail + delta, [secret[:_BEGINNING] for secret in secrets]):  # as nearly all are
            shown, tail = delta, (tail + delta)[-_LOOKED_AT:]
        else:
            shown, tail = _searched(tail, delta, secrets)
        self._tails[stream] = tail
        while len(self._tails) > _STREAMS:
            del self._tails[next(iter(self._tails))]
        return shown


def _searched(tail: str, delta: str, secrets: tuple[str, ...]) -> tuple[str, str]:
    """What may be written of `delta`, which comes behind `tail`, and what to look at with the next piece."""
    found, finds = hide(redact(tail), secrets), hide(redact(tail + delta), secrets)
    before, after = _without_end(found, secrets), _without_end(finds, secrets)
    shown = after[_in_common(before, after) :]
    if found == finds and finds.endswith(HIDDEN) and not delta.endswith("\\"):
        return shown, tail  # the key goes on: its beginning is enough to know that
    return shown, (tail + delta)[-(_LONGEST if finds.endswith(HIDDEN) else _LOOKED_AT) :]


def _in_common(one: str, other: str) -> int:
    """Characters that both begin with."""
    if other.startswith(one):
        return len(one)
    return next(place for place, pair in enumerate(zip_longest(one, other)) if pair[0] != pair[1])


def _without_end(text: str, secrets: tuple[str, ...]) -> str:
    """`text` without the beginning of a key in use that it may end in."""
    for secret in secrets:
        begins = text.rfind(secret[:_BEGINNING])
        if begins >= 0 and secret.startswith(text[begins:]):
            return text[:begins] + HIDDEN
    return text
