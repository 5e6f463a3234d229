"""What is known not to hold yet. A gap that is closed is taken out here: `test_simulation` says when."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from livekit_plugins_openai_ga.emulator.faults import RejectOn

from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class Gap:
    """A violation that is expected: what it looks like, the schedules it can show in, and a `seed` that shows it."""

    name: str
    shows: re.Pattern[str]
    can_be: Callable[[Schedule], bool]
    seed: int


def _commit_is_refused(made: Schedule) -> bool:
    return any(isinstance(fault, RejectOn) and fault.on == "input_audio_buffer.commit" for fault in made.faults)


GAPS: tuple[Gap, ...] = (
    Gap(
        "a turn whose commit was told, and whose item was not, is lost with its connection",
        re.compile("a committed turn is gone, whose item was never told"),
        lambda made: True,
        24,
    ),
    Gap(
        "a planned change of connection between speech_stopped and committed keeps 2 s of the turn",
        re.compile("user audio is gone"),
        lambda made: made.server_vad and made.max_session_duration is not None,
        2822,
    ),
    Gap(
        "a commit that the server refused is taken for the next one that it answers; a later turn comes twice",
        re.compile("user audio is in two items"),
        _commit_is_refused,
        1428,
    ),
)


def unknown(made: Schedule | None, violations: list[str]) -> list[str]:
    """The violations that no gap explains. Without a schedule (speech to text) there is no gap."""
    possible = [gap for gap in GAPS if made is not None and gap.can_be(made)]
    return [text for text in violations if not any(gap.shows.search(text) for gap in possible)]
