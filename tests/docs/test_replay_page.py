"""What docs/replay.md shows is what `replay` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from livekit_plugins_openai_ga import cli
from livekit_plugins_openai_ga.recording.reader import read
from livekit_plugins_openai_ga.replay.tape import Tape

from .blocks import blocks

CALL = Path(__file__).with_name("call.jsonl")


def test_a_call_is_shown_as_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", str(CALL)]) == 0
    assert blocks("docs/replay.md", "text")[0].code == capsys.readouterr().out


def test_a_difference_is_told_as_on_the_page() -> None:
    tape = Tape(read(CALL))
    created = "conversation.item.create"
    missing = next(n for n, e in enumerate(tape.entries) if e.link == 2 and e.event["type"] == created)
    for number in range(missing):
        tape.mark(number, 0.0)
    tape.pass_over(missing + 1)
    (shown,) = [line.strip() for line in blocks("docs/replay.md", "text")[1].code.splitlines()[1:]]
    assert str(tape.differences[0]) == shown
