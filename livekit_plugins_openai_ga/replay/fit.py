"""Whether a recording can be played: what it must be made of, and how much it may ask for.

A file may come from anybody. What the server said is played whatever it is; what makes calls of its own here, and what
takes memory, is looked at first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..recording.entries import Entry
from .filling import is_gap, shown, stands_for

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Of what stands for the gaps of one event: no client takes a larger message."""

MAX_CHARS = 256 * 1024 * 1024
"""Of all texts together that were left out."""

MAX_DEPTH = 100
"""Of objects and lists in one another."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "an object": (Mapping,),
    "a list": (list,),
    "a text": (str,),
    "a number": (int, float),
}
_SHAPES: Mapping[str, tuple[str, ...]] = {
    "an object": (
        *("session", "session.audio", "session.audio.input", "session.audio.output", "session.tools[]"),
        *("session.audio.input.transcription", "session.audio.input.noise_reduction"),
        *("item", "item.content[]", "error", "response", "response.audio", "response.audio.output"),
        *("response.metadata", "response.tools[]", "response.status_details", "response.status_details.error"),
    ),
    "a list": ("session.tools", "session.include", "item.content", "response.tools", "response.input"),
    "a text": ("audio", "session.instructions"),
    "a number": ("audio_end_ms",),
}
_BY_PATH = {path: kind for kind, paths in _SHAPES.items() for path in paths}
"""What is looked into here, and what it has to be; null is as good as nothing."""


def check(entries: Sequence[Entry], *, understood: bool = False) -> None:
    """Raise ValueError, one sentence, for what cannot be played.

    `understood`: what the server said is read, too, not only said again.
    """
    chars = 0
    for entry in entries:
        for name in ("type", "code"):
            if not isinstance(told := entry.event.get(name, ""), str) or (name == "type" and not told):
                raise _wrong(entry, name, told, "a text")
        if entry.direction == "out" or (understood and entry.direction == "in"):
            for path, kind in _BY_PATH.items():
                for value in _found(entry.event, path):
                    if not isinstance(stands_for(value, path.rpartition(".")[2]), _KINDS[kind]):
                        raise _wrong(entry, path, value, kind)
        chars += _weighed(entry)
        if chars > MAX_CHARS:
            raise ValueError(f"The recording left out more than {MAX_CHARS:,} characters: none has so many, cut it.")


def _found(event: Any, path: str) -> Iterator[Any]:
    """What stands at the path, if anything does; `[]` is each of a list. What leads there is checked before."""
    name, _, rest = path.partition(".")
    inner = event.get(name.removesuffix("[]")) if isinstance(event, Mapping) else None
    for value in inner if name.endswith("[]") and isinstance(inner, list) else [inner]:
        if rest:
            yield from _found(value, rest)
        elif value is not None and not (name.endswith("[]") and value is inner):
            yield value


def _weighed(entry: Entry) -> int:
    """Characters that were left out of an event."""
    size = chars = 0
    left: list[tuple[Any, int]] = [(entry.event, 0)]
    while left:
        value, depth = left.pop()
        if is_gap(value):
            counts = {name: value[name] for name in ("chars", "bytes") if name in value}
            for name, count in counts.items():
                if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                    raise _wrong(entry, name, count, "a number of what was left out, from 0")
            chars += counts.get("chars", 0)
            size += counts.get("chars", 0) + counts.get("bytes", 0) * 4 // 3  # base64
        elif isinstance(value, (Mapping, list)):
            if depth > MAX_DEPTH:
                raise ValueError(f"{_place(entry)} has more than {MAX_DEPTH} objects in one another: leave it out.")
            inner = value.values() if isinstance(value, Mapping) else value
            left += [(one, depth + 1) for one in inner if isinstance(one, (Mapping, list))]
    if size > MAX_EVENT_BYTES:
        told = f"left out {size:,} bytes, and no message has more than {MAX_EVENT_BYTES:,}"
        raise ValueError(f"{_place(entry)} {told}: correct the number, or leave the line out.")
    return chars


def _place(entry: Entry) -> str:
    kind = entry.event.get("type")
    return f"{kind[:80] if isinstance(kind, str) and kind else 'What stands'} at {entry.t_ms / 1000:.3f} s"


def _wrong(entry: Entry, name: str, value: object, kind: str) -> ValueError:
    return ValueError(f"{_place(entry)} has {name}={shown(value, 40)}, which is not {kind}: correct it.")
