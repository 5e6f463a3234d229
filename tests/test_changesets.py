"""Each change note can become a line of the changelog."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / ".changeset"
NOTES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
NOTE = re.compile(r'---\n"livekit-plugins-openai-ga": (minor|patch|major)\n---\n\n(.+)', re.DOTALL)


def test_the_folder_explains_itself() -> None:
    assert (FOLDER / "README.md").read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("path", NOTES, ids=lambda path: path.name)
def test_a_note_says_how_big_the_change_is_and_what_it_is(path: Path) -> None:
    match = NOTE.fullmatch(path.read_text(encoding="utf-8"))
    assert match, f"{path.name} must start with front matter that names the package and the size of the change"
    assert len(match[2].strip()) > 20
    assert re.fullmatch(r"[a-z0-9-]+\.md", path.name)
