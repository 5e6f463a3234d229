"""Rewrites of payloads that are safe: a session's flat fields into GA's nested ones, and a missing `type`.

Safe means that every value stays as it is written, or has one GA form. An object that has `audio` already, something
spread into it, a comment among its fields, or a format that is not a plain text, is left to its author.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .rules import Edit
from .tree import Entry, List, Node, Object, Source, Text

_NESTED = {
    "input_audio_format": ("input", "format"),
    "input_audio_transcription": ("input", "transcription"),
    "input_audio_noise_reduction": ("input", "noise_reduction"),
    "turn_detection": ("input", "turn_detection"),
    "output_audio_format": ("output", "format"),
    "voice": ("output", "voice"),
    "speed": ("output", "speed"),
}
_FORMATS = {
    "pcm16": (("type", '"audio/pcm"'), ("rate", "24000")),
    "g711_ulaw": (("type", '"audio/pcmu"'),),
    "g711_alaw": (("type", '"audio/pcma"'),),
}


@dataclass(frozen=True, slots=True)
class Restructured:
    """The edits that make a session GA's; all of them or none."""

    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class _Style:
    """How keys and texts are written in an object."""

    bare: bool
    quote: str
    line: str
    """What begins a new line of the object; "" when all of it is in one line."""
    step: str

    def key(self, name: str) -> str:
        return name if self.bare else f"{self.quote}{name}{self.quote}"

    def text(self, written: str) -> str:
        return written.replace('"', self.quote)


def add_type(node: Object, kind: str, source: Source) -> Edit:
    """Put `type: "<kind>"`, realtime or transcription, before the first field."""
    style = _style(node, source)
    separator = f",{style.line}" if style.line else ", "
    place = node.entries[0].start
    written = style.text(f'"{kind}"')
    return Edit(place, place, f"{style.key('type')}: {written}{separator}")


def rename_content(node: Text, name: str) -> tuple[Edit, ...]:
    """Another value for an exact text; audio cannot be replayed by a client, so it has no safe form."""
    return (Edit(node.inner, node.inner + len(node.value), name),) if node.exact and node.value == "text" else ()


def without(node: Object | List, part: Entry | Node, source: Source) -> tuple[Edit, ...]:
    """Take one entry or item away, with its comma; nothing where a comment stands in between."""
    parts: list[Entry | Node] = [*node.entries] if isinstance(node, Object) else [*node.children]
    edit = _removed(parts, parts.index(part), source)
    return () if any(edit.start <= start < edit.end for start, _ in source.comments) else (edit,)


def nest(node: Object, source: Source, *, hears: bool = False) -> Restructured | None:
    """The rewrite of a session's fields, or None when it is not safe or nothing is to be done.

    `hears`: it is a transcription session, which has no modalities in GA.
    """
    if not node.entries or None in node.keys or "audio" in node.keys or _has_comment(node, source):
        return None
    style = _style(node, source)
    sides: dict[str, dict[str, str]] = {}
    place: Entry | None = None
    edits: list[Edit] = []
    for entry in node.entries:
        key = entry.key or ""
        if key in _NESTED:
            written = _value(entry, source, style)
            if written is None:
                return None
            side, name = _NESTED[key]
            sides.setdefault(side, {})[name] = written
            place = place or entry
            if entry is not place:
                edits.append(_removed(node.entries, node.entries.index(entry), source))
        elif key == "temperature" or (hears and key == "modalities"):
            edits.append(_removed(node.entries, node.entries.index(entry), source))
        elif key in ("modalities", "max_response_output_tokens"):
            edit = _renamed(entry, style)
            if edit is None:
                return None
            edits.append(edit)
    if place is not None:
        edits.append(Edit(place.start, place.end, _audio(sides, style)))
    return Restructured(tuple(sorted(edits))) if edits and _apart(edits) else None


def _apart(edits: list[Edit]) -> bool:
    row = sorted(edits)
    return all(one.end <= other.start for one, other in pairwise(row))


def _value(entry: Entry, source: Source, style: _Style) -> str | None:
    if entry.key in ("input_audio_format", "output_audio_format"):
        if not isinstance(entry.value, Text) or entry.value.value not in _FORMATS:
            return None
        pairs = (f"{style.key(name)}: {style.text(text)}" for name, text in _FORMATS[entry.value.value])
        return "{" + ", ".join(pairs) + "}"
    if entry.value.start == entry.start and entry.bare:
        return source.text[entry.start : entry.end]  # shorthand: `{ voice }`
    written = source.text[entry.value.start : entry.value.end]
    if any(quote in written for quote in ('"""', "'''", "`")):
        return None if "\n" in written else written  # a text of several lines must not be indented
    return written.replace("\n", "\n" + style.step * 2)


def _renamed(entry: Entry, style: _Style) -> Edit | None:
    if entry.key == "max_response_output_tokens":
        if entry.value.start == entry.start:
            return None
        return Edit(entry.start, entry.key_node.end, style.key("max_output_tokens"))
    if not isinstance(entry.value, List) or not all(isinstance(child, Text) for child in entry.value.children):
        return None
    asked = {child.value for child in entry.value.children if isinstance(child, Text)}
    chosen = "audio" if "audio" in asked else "text"
    written = style.text(f'["{chosen}"]')
    return Edit(entry.start, entry.end, f"{style.key('output_modalities')}: {written}")


def _removed(parts: Sequence[Entry | Node], index: int, source: Source) -> Edit:
    """The part with the comma and the space before it, or, for the first one, up to the next; alone, with its comma."""
    part = parts[index]
    if index:
        return Edit(parts[index - 1].end, part.end, "")
    if len(parts) > 1:
        return Edit(part.start, parts[1].start, "")
    comma = re.compile(r"\s*,").match(source.text, part.end)
    return Edit(part.start, comma.end() if comma else part.end, "")


def _audio(sides: dict[str, dict[str, str]], style: _Style) -> str:
    flat = ", ".join(
        f"{style.key(side)}: {{" + ", ".join(f"{style.key(name)}: {value}" for name, value in fields.items()) + "}"
        for side, fields in sides.items()
    )
    if not style.line:
        return f"{style.key('audio')}: {{{flat}}}"
    inner, innermost = style.line + style.step, style.line + style.step * 2
    # No comma after the last one: JSON has none there.
    parts = []
    for side, fields in sides.items():
        written = ",".join(f"{innermost}{style.key(name)}: {value}" for name, value in fields.items())
        parts.append(f"{inner}{style.key(side)}: {{{written}{inner}}}")
    return f"{style.key('audio')}: {{" + ",".join(parts) + style.line + "}"


def _style(node: Object, source: Source) -> _Style:
    first = node.entries[0]
    bare = first.bare and node.braces
    before = source.text[: node.start]
    firsts = [source.text[place] for one in node.entries for place in (one.start, one.value.start)]
    nearest = "'" if before.rfind("'") > before.rfind('"') else '"'
    quote = next((first for first in firsts if first in ("'", '"')), nearest)
    begin = source.text.rfind("\n", node.start, first.start)
    if begin < 0:
        return _Style(bare, quote, "", "")
    line = source.text[begin : first.start]
    outer = source.text[source.text.rfind("\n", 0, node.start) + 1 : node.start]
    margin = outer[: len(outer) - len(outer.lstrip())]
    step = line[1 + len(margin) :] if line[1:].startswith(margin) and len(line) > len(margin) + 1 else "    "
    return _Style(bare, quote, line, step)


def _has_comment(node: Object, source: Source) -> bool:
    return any(node.start < start < node.end for start, _ in source.comments)
