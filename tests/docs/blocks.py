"""The fenced blocks of the pages: where each stands, what language it says it is in, and which file it shows.

A block whose first line is a comment with a file's name (`# agent.py`) is that file: it lies in the folder in which the
page's commands and tests run.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^( *)(`{3,}|~{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.M | re.S)
_FILE = re.compile(r"# ([\w./-]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """`page` is relative to the project, `line` that of the opening fence, counted from 1."""

    page: str
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it shows."""
        named = _FILE.match(self.code)
        return named[1] if named else None

    @property
    def is_test(self) -> bool:
        """Whether pytest runs it."""
        return Path(self.file or "").name.startswith("test_")


def found(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page. Raises ValueError for a fence that is opened and not closed."""
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(page, line, fence[3].strip(), textwrap.dedent(fence[4]))
    left = _FENCE.sub("", text)
    if odd := re.search(r"^ *(```|~~~).*$", left, re.M):
        raise ValueError(f"{page}: a fence is not closed, or not as it was opened: {odd[0]!r}.")


def pages() -> list[str]:
    """What a user reads, relative to the project."""
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("**/README.md")]
    return sorted(str(path.relative_to(ROOT)) for path in texts)


def blocks(page: str, language: str | None = None) -> list[Block]:
    """Those of one page, in order; only those in this language, when one is named."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for block in found(page, text) if language in (None, block.language)]


def all_blocks() -> list[Block]:
    """Those of all pages."""
    return [block for page in pages() for block in blocks(page)]
