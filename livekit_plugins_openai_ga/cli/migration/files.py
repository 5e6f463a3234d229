"""Which files are looked at: what .gitignore, vendored folders, size and bytes leave over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .scan import TRACE, language_of

MAX_BYTES = 1_000_000
"""Larger files are data or bundles."""

_VENDORED = frozenset(
    {
        *("node_modules", "bower_components", ".venv", "venv", "env", "site-packages"),
        *("dist", "build", "out", "vendor", "third_party", "target"),
        *(".git", ".hg", ".svn", ".tox", ".nox", ".mypy_cache"),
        *(".ruff_cache", ".pytest_cache", "__pycache__", ".next", ".nuxt", ".svelte-kit"),
        *("coverage", ".idea", ".eggs", ".terraform"),
    }
)
_GENERATED = re.compile(r"\.min\.(?:js|css)$|(?:^|[-.])lock\.(?:json|yaml)$|^package-lock\.json$|\.ipynb$|\.map$", re.I)


@dataclass(frozen=True, slots=True)
class File:
    """A file to look through, or one that could not be: then `trouble` says why, and `text` is empty.

    `bom`: it begins with a byte order mark, which is not in `text`.
    """

    path: str
    language: str
    text: str
    bom: bool = False
    trouble: str = ""
    looked: bool = True


def walk(paths: list[str]) -> Iterator[File]:
    """The files below `paths`, sorted; a file that is named itself is looked at whatever ignores it.

    One without a trace of the Realtime API has an empty text. Symbolic links to folders are not followed.
    """
    for path in paths:
        if os.path.isdir(path):
            yield from _folder(Path(path), _Ignored.above(Path(path)))
        else:
            language = language_of(os.path.basename(path)) or "shell"
            yield _read(path, language)


def _folder(folder: Path, ignored: _Ignored) -> Iterator[File]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield File(str(folder), "", "", trouble=error.strerror or "cannot be listed")
        return
    ignored = ignored.below(folder)
    for entry in entries:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_folder and (entry.name in _VENDORED or ignored.covers(entry.path, True)):
            continue
        if is_folder:
            yield from _folder(Path(entry.path), ignored)
        elif not entry.is_symlink() or (entry.is_file() and not os.path.isdir(entry.path)):
            language = language_of(entry.name)
            if language and not _GENERATED.search(entry.name) and not ignored.covers(entry.path, False):
                yield _read(entry.path.removeprefix(f".{os.sep}"), language)


def _read(path: str, language: str) -> File:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                return File(path, language, "", looked=False)
            content = file.read()
    except OSError as error:
        return File(path, language, "", trouble=error.strerror or "cannot be read")
    if b"\0" in content[:8192]:
        return File(path, language, "", looked=False)
    if not TRACE.search(content):
        return File(path, language, "")
    bom = content.startswith(b"\xef\xbb\xbf")
    try:
        return File(path, language, content.decode("utf-8-sig"), bom)
    except UnicodeDecodeError:
        return File(path, language, "", trouble="it is not UTF-8")


def write(file: File, text: str) -> None:
    """Put `text` in place of the file's, with its mode and its byte order mark. OSError when that is not possible."""
    content = text.encode("utf-8-sig" if file.bom else "utf-8")
    with open(file.path, "r+b") as stream:
        stream.write(content)
        stream.truncate()


@dataclass(frozen=True, slots=True)
class _Ignored:
    """The .gitignore files from the repository's top down to a folder: (folder, pattern, negated, folders only)."""

    rules: tuple[tuple[str, re.Pattern[str], bool, bool], ...] = ()

    @classmethod
    def above(cls, folder: Path) -> _Ignored:
        """What the repository says above `folder`; nothing outside a repository."""
        parents: list[Path] = []
        for parent in (folder.absolute(), *folder.absolute().parents):
            if (parent / ".git").exists():
                break
            parents.append(parent.parent)
        else:
            return cls()
        ignored = cls()
        for parent in reversed(parents):
            ignored = ignored.below(parent)
        return ignored

    def below(self, folder: Path) -> _Ignored:
        """These rules and those of the folder's own .gitignore."""
        try:
            lines = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return self
        base = os.path.abspath(folder)
        return _Ignored((*self.rules, *((base, *rule) for rule in map(_rule, lines) if rule)))

    def covers(self, path: str, is_folder: bool) -> bool:
        """Whether the last rule that fits says so."""
        if not self.rules:
            return False
        path = os.path.abspath(path)
        covered = False
        for base, pattern, negated, folders in self.rules:
            if (is_folder or not folders) and pattern.fullmatch(os.path.relpath(path, base).replace(os.sep, "/")):
                covered = not negated
        return covered


@lru_cache(maxsize=1000)
def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """A line of a .gitignore as a pattern for a path below its folder."""
    line = line.rstrip()
    if not line or line.startswith("#"):
        return None
    negated, line = line.startswith("!"), line.removeprefix("!")
    folders, line = line.endswith("/"), line.rstrip("/")
    anchored = "/" in line
    parts = re.split(r"(\*\*/|/\*\*|\*|\?|\[[^\]]+\])", line.removeprefix("/"))
    known = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(
        known.get(part) or ("[" + part[1:-1].replace("!", "^", 1) + "]" if part[:1] == "[" else re.escape(part))
        for part in parts
    )
    try:
        return re.compile(pattern if anchored else f"(?:.*/)?{pattern}"), negated, folders
    except re.error:
        return None
