"""What is known not to hold yet. A gap that is closed is taken out here: `test_simulation` says when."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class Gap:
    """A violation that is expected: what it looks like, the schedules it can show in, and a `seed` that shows it."""

    name: str
    shows: re.Pattern[str]
    can_be: Callable[[Schedule], bool]
    seed: int


GAPS: tuple[Gap, ...] = ()


def unknown(made: Schedule | None, violations: list[str]) -> list[str]:
    """The violations that no gap explains. Without a schedule (speech to text) there is no gap."""
    possible = [gap for gap in GAPS if made is not None and gap.can_be(made)]
    return [text for text in violations if not any(gap.shows.search(text) for gap in possible)]
