"""The change that the pages ask for: the same names, from the other plugin."""

from __future__ import annotations

import inspect
import re
from typing import Any

import livekit.plugins.openai as official
import pytest
from livekit.plugins import openai_ga

from .blocks import ROOT, Block, blocks

SWAPS = [*blocks("README.md", "diff"), *blocks("docs/swap.md", "diff")]


def side(block: Block, sign: str) -> dict[str, Any]:
    """The names that the lines with this sign, and those with none, leave behind."""
    lines = [line[1:] for line in block.code.splitlines() if line[0] in (sign, " ")]
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    return names


@pytest.mark.parametrize("block", SWAPS, ids=str)
def test_the_change_puts_this_plugin_where_the_official_one_was(block: Block) -> None:
    assert side(block, "-")["openai"] is official
    assert side(block, "+")["openai"] is openai_ga


@pytest.mark.parametrize("name", ["RealtimeModel", "STT"])
def test_every_keyword_that_the_official_class_does_not_have_is_named(name: str) -> None:
    theirs = official.realtime.RealtimeModel if name == "RealtimeModel" else official.STT
    new = set(inspect.signature(getattr(openai_ga, name)).parameters) - set(inspect.signature(theirs).parameters)
    page = (ROOT / "docs" / "swap.md").read_text(encoding="utf-8")
    section = page.split(f"\n`{name}`:\n")[1].split("\n\n")[0]
    named = re.findall(r"`(\w+)[`=]", section)
    assert sorted(keyword for keyword in new - set(named) if not keyword.startswith("_")) == []
