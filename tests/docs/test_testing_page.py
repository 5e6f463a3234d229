"""docs/testing.md names every fault that there is, and nothing else."""

from __future__ import annotations

import re
from typing import get_args

from livekit_plugins_openai_ga.emulator import Emulator, faults

from .blocks import ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def test_every_fault_is_in_the_table() -> None:
    _, table = PAGE.split("| fault | what it does |")
    rows = re.findall(r"^\| (`.+?`) \|", table.partition("\n\n")[0], re.M)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {fault.__name__ for fault in get_args(faults.Fault)}


def test_what_happens_at_once_are_methods_of_the_emulator() -> None:
    named = re.findall(r"^\| `(?:await )?server\.(\w+)\(", PAGE, re.M)
    assert len(named) == 4
    assert all(callable(getattr(Emulator, name)) for name in named)
