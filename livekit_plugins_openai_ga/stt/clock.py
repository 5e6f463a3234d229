"""When a place in the stream's audio was heard, by the clock on the wall.

Audio is not continuous: a caller mutes, a track restarts. So the time is noted wherever the audio stops following the
clock.
"""

from __future__ import annotations

import math

TOLERANCE_S = 0.05
MAX_NOTES = 256


class WallClock:
    """Places (ms of audio) and times (seconds since the epoch)."""

    def __init__(self) -> None:
        self._notes: list[tuple[float, float]] = []  # the newest ones
        self._until_ms = 0.0

    def note(self, place_ms: float, now: float) -> None:
        """The audio up to this place has arrived now."""
        place, heard = self._notes[-1] if self._notes else (0.0, -math.inf)
        if abs(now - heard - (place_ms - place) / 1000) > TOLERANCE_S:
            self._notes.append((self._until_ms, now - (place_ms - self._until_ms) / 1000))
            del self._notes[:-MAX_NOTES]
        self._until_ms = place_ms

    def at(self, place_ms: float) -> float | None:
        """When this place was heard; None before anything was."""
        if not self._notes:
            return None
        place, time = next((note for note in reversed(self._notes) if note[0] < place_ms), self._notes[0])
        return time + (place_ms - place) / 1000
