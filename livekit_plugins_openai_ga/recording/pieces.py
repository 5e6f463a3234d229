"""Keys in texts that come in pieces: each piece alone looks harmless."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest
from typing import Any

from ..redaction import HIDDEN, hide, redact

_STREAMS = 8
"""Texts that come at a time. The oldest is forgotten: most have ended."""

_LOOKED_AT = 512
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
        stream = tuple(str(event.get(name)) for name in ("type", "item_id", "output_index", "content_index"))
        tail, delta = self._tails.pop(stream, ""), event["delta"]
        secrets = tuple(secrets)
        found, finds = hide(redact(tail), secrets), hide(redact(tail + delta), secrets)
        if found == finds and finds.endswith(HIDDEN) and not delta.endswith("\\"):
            self._tails[stream] = tail  # the key goes on: its beginning is enough to know that
        else:
            self._tails[stream] = (tail + delta)[-(_LONGEST if finds.endswith(HIDDEN) else _LOOKED_AT) :]
        while len(self._tails) > _STREAMS:
            del self._tails[next(iter(self._tails))]
        before, after = _without_end(found, secrets), _without_end(finds, secrets)
        return after[_in_common(before, after) :]


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
