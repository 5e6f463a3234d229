"""When a place in the stream's audio was heard, by the clock on the wall.

Audio is not continuous: a caller mutes, a track restarts. So the time is noted wherever the audio stops following the
clock.
"""

from __future__ import annotations

import math

TOLERANCE_S = 0.05
"""Audio that is so late or early is jitter of the network."""

MAX_NOTES = 256


class WallClock:
    """Places (ms of audio) and times (seconds since the epoch).

    Attributes:
        began: When all of the audio would have begun, if it had always come as it did at the last note; else -inf.
    """

    __slots__ = ("_notes", "began")

    def __init__(self) -> None:
        self._notes: list[tuple[float, float]] = []  # the newest ones
        self.began = -math.inf

    def note(self, place_ms: float, began: float) -> None:
        """From this place on, audio comes as if all of it had begun at that time."""
        self.began = began
        self._notes.append((place_ms, began))
        del self._notes[:-MAX_NOTES]

    def at(self, place_ms: float) -> float | None:
        """When this place was heard; None before anything was."""
        if not self._notes:
            return None
        _, began = next((note for note in reversed(self._notes) if note[0] < place_ms), self._notes[0])
        return began + place_ms / 1000
