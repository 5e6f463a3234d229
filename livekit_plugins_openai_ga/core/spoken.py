"""Audio of user turns that have no transcript: all that another connection can be given of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.codec import b64encode
from ..wire.session import BYTES_PER_MS

KEPT_MS = 120_000
"""So much is kept at most, in ms; the oldest turns go first."""


class Spoken:
    """Audio as it was sent, by item id."""

    __slots__ = ("_bytes_per_ms", "_keep", "_turns", "dropped")

    def __init__(self, keep_ms: int = KEPT_MS, *, bytes_per_ms: int = BYTES_PER_MS) -> None:
        self.dropped = 0  # turns that were let go, since there was too much
        self._bytes_per_ms = bytes_per_ms
        self._keep = keep_ms * bytes_per_ms
        self._turns: dict[str, bytes] = {}

    @property
    def ms(self) -> float:
        """How much is kept."""
        return self._size / self._bytes_per_ms

    @property
    def _size(self) -> int:
        return sum(map(len, self._turns.values()))

    def keep(self, item_id: str, chunks: Sequence[bytes]) -> None:
        """The user's item was made of this audio."""
        if not chunks:
            return
        self._turns[item_id] = b"".join(chunks)
        while self._size > self._keep:
            self.forget(next(iter(self._turns)))
            self.dropped += 1

    def forget(self, item_id: str) -> None:
        """It has a transcript, or is gone."""
        self._turns.pop(item_id, None)

    def of(self, item_id: str) -> str | None:
        """The audio of an item in base64; None when it is not kept."""
        audio = self._turns.get(item_id)
        return b64encode(audio).decode() if audio else None
