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


GAPS = (
    Gap(
        "a commit on its way is taken as answered when the server ends a turn by itself: its audio may be lost",
        re.compile("user audio is gone"),
        lambda made: made.server_vad and any(action.what == "commit" for action in made.actions),
        10910,
    ),
    Gap(
        "a reply given up while its request waits behind audio is asked for all the same, and cancelled when it begins",
        re.compile("a response.create left for .* whose future was (cancelled|failed)"),
        lambda made: True,
        44,
    ),
    Gap(
        "an edit of the message that is being spoken is lost in chat_ctx when the reply ends",
        re.compile("an item differs"),
        lambda made: any(action.with_ == ("edit",) for action in made.actions),
        1110,
    ),
)


def unknown(made: Schedule | None, violations: list[str]) -> list[str]:
    """The violations that no gap explains. Without a schedule (speech to text) there is no gap."""
    possible = [gap for gap in GAPS if made is not None and gap.can_be(made)]
    return [text for text in violations if not any(gap.shows.search(text) for gap in possible)]
