"""The change that the pages ask for: the same names, from the other plugin."""

from __future__ import annotations

from typing import Any

import livekit.plugins.openai as official
import pytest
from livekit.plugins import openai_ga

from .blocks import Block, blocks

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
