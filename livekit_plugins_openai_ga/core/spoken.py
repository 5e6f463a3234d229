"""Audio of user turns that have no transcript: all that another connection can be given of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.codec import b64encode
from ..wire.session import BYTES_PER_MS

KEPT_MS = 120_000
"""So much is kept at most, in ms; the oldest turns go first."""


class Spoken:
    """Chunks of audio, as they were sent, by item id."""

    def __init__(self, keep_ms: int = KEPT_MS, *, bytes_per_ms: int = BYTES_PER_MS) -> None:
        self.dropped = 0  # turns that were let go, since there was too much
        self._bytes_per_ms = bytes_per_ms
        self._keep = keep_ms * bytes_per_ms
        self._turns: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}

    @property
    def ms(self) -> float:
        """How much is kept."""
        return sum(self._sizes.values()) / self._bytes_per_ms

    def keep(self, item_id: str, chunks: Sequence[bytes]) -> None:
        """The user's item was made of this audio."""
        if not chunks:
            return
        self._turns[item_id] = list(chunks)
        self._sizes[item_id] = sum(map(len, chunks))
        while sum(self._sizes.values()) > self._keep:
            self.forget(next(iter(self._turns)))
            self.dropped += 1

    def forget(self, item_id: str) -> None:
        """It has a transcript, or is gone."""
        self._turns.pop(item_id, None)
        self._sizes.pop(item_id, None)

    def of(self, item_id: str) -> str | None:
        """The audio of an item in base64; None when it is not kept."""
        chunks = self._turns.get(item_id)
        return b64encode(b"".join(chunks)) if chunks else None
