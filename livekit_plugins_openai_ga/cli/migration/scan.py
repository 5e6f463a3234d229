"""One text in, findings out: which language it is in, and what reads that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from . import javascript, plain, python
from .fixing import without
from .literals import BETA_SUBPROTOCOL, Place, in_name, in_text
from .payloads import in_payloads
from .rules import Edit, Finding, in_order
from .tree import Call, List, Name, Node, Object, Source, Text

PYTHON = "python"
JAVASCRIPT = "javascript"
MARKDOWN = "markdown"

_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((".py", ".pyi", ".pyw"), PYTHON),
        **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".json", ".jsonc"), JAVASCRIPT),
        **dict.fromkeys((".vue", ".svelte", ".html", ".htm"), JAVASCRIPT),
        **dict.fromkeys((".sh", ".bash", ".zsh", ".fish", ".ps1", ".dockerfile"), plain.SHELL),
        **dict.fromkeys((".env", ".toml", ".ini", ".cfg", ".conf", ".properties", ".tf", ".tfvars"), plain.SETTINGS),
        **dict.fromkeys((".yaml", ".yml"), plain.YAML),
        **dict.fromkeys((".md", ".mdx", ".markdown"), MARKDOWN),
    }
)
_NAMES: Mapping[str, str] = MappingProxyType(
    {"dockerfile": plain.SHELL, "makefile": plain.SHELL, "procfile": plain.SHELL, "justfile": plain.SHELL}
)
_FENCES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("python", "py", "python3"), PYTHON),
        **dict.fromkeys(("js", "javascript", "ts", "typescript", "jsx", "tsx", "json", "jsonc", "mjs"), JAVASCRIPT),
        **dict.fromkeys(("bash", "sh", "shell", "console", "zsh", "dockerfile"), plain.SHELL),
        **dict.fromkeys(("env", "toml", "ini", "dotenv"), plain.SETTINGS),
        **dict.fromkeys(("yaml", "yml"), plain.YAML),
    }
)
_FENCE = re.compile(
    r"^(?P<fence>[ \t]*(?:```+|~~~+))[ \t]*(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)", re.M | re.S
)

TRACE = re.compile(
    rb"realtime|input_audio_|session\.update|response\.(?:text|audio)|transcription_session|conversation\.item\.", re.I
)
"""A file without this in its bytes has nothing to find, and is not parsed."""


def language_of(name: str) -> str | None:
    """The language of a file, by its name; None for one that is not looked at."""
    name = name.lower()
    if name.startswith(".env"):
        return plain.SETTINGS
    if name.startswith("dockerfile"):
        return plain.SHELL
    _, dot, suffix = name.rpartition(".")
    return _SUFFIXES.get(dot + suffix) if dot else _NAMES.get(name)


def scan(text: str, language: str) -> tuple[list[Finding], str]:
    """Findings in their order, and a note when the text could not be read as what it should be, else ""."""
    try:
        return in_order(list(_FINDERS[language](text))), ""
    except SyntaxError as error:
        note = f"it is no Python 3 (line {error.lineno}), so it was looked through line by line"
    except RecursionError:
        note = "it is nested too deeply to be parsed, so it was looked through line by line"
    return in_order(_without_edits(plain.scan(text, plain.SHELL))), note


def _python(text: str) -> Iterator[Finding]:
    return _parsed(python.parse(text))


def _javascript(text: str) -> Iterator[Finding]:
    return _parsed(javascript.parse(text))


def _markdown(text: str) -> Iterator[Finding]:
    """The fenced code in it; prose may name the beta as it likes."""
    for match in _FENCE.finditer(text):
        language = _FENCES.get(match["language"].lower())
        if language is None:
            continue
        findings, _ = scan(match["code"], language)
        offset = match.start("code")
        for one in findings:
            edits = tuple(Edit(edit.start + offset, edit.end + offset, edit.text) for edit in one.edits)
            yield Finding(one.rule, one.start + offset, one.end + offset, one.found, one.instead, edits)


_FINDERS: Mapping[str, Callable[[str], Iterator[Finding]]] = {
    PYTHON: _python,
    JAVASCRIPT: _javascript,
    MARKDOWN: _markdown,
    plain.SHELL: lambda text: plain.scan(text, plain.SHELL),
    plain.SETTINGS: lambda text: plain.scan(text, plain.SETTINGS),
    plain.YAML: lambda text: plain.scan(text, plain.YAML),
}


def _parsed(source: Source) -> Iterator[Finding]:
    for root in source.roots:
        yield from _nodes(root, Place(), source)
    for name, values in source.assigned.items():
        # The name that a value is given says as much as a key: MODEL = "...".
        for value in values:
            if isinstance(value, Text):
                yield from in_text(value, Place(key=name), source.text)
    yield from in_payloads(source)


def _nodes(node: Node, place: Place, source: Source) -> Iterator[Finding]:
    if isinstance(node, Text):
        yield from in_text(node, place, source.text)
    elif isinstance(node, Name):
        yield from in_name(node, source.text)
    elif isinstance(node, Object):
        for entry in node.entries:
            yield from _nodes(entry.key_node, Place(callee=place.callee), source)
            yield from _nodes(entry.value, Place(entry.key or "", place.callee), source)
            if isinstance(entry.value, Text) and entry.value.value == "realtime=v1" and node.braces:
                yield from _with_edits(in_text(entry.value, place, source.text), without(node, entry, source))
        return
    if isinstance(node, List):
        yield from _offered(node, source)
    inner = Place(callee=node.callee) if isinstance(node, Call) else place
    for child in node.inside():
        yield from _nodes(child, inner, source)


def _offered(node: List, source: Source) -> Iterator[Finding]:
    """The beta's subprotocol in a list of those that are offered."""
    for child in node.children:
        if isinstance(child, Text) and child.value == BETA_SUBPROTOCOL and source.text[node.start] == "[":
            yield from _with_edits(in_text(child, Place(), source.text), without(node, child, source))


def _with_edits(findings: Iterator[Finding], edits: tuple[Edit, ...]) -> Iterator[Finding]:
    return (Finding(one.rule, one.start, one.end, one.found, one.instead, edits) for one in findings)


def _without_edits(findings: Iterator[Finding]) -> list[Finding]:
    return [Finding(one.rule, one.start, one.end, one.found, one.instead) for one in findings]
