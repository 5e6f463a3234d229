"""What a recording is made of: a header, and entries in the order in which they happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal, get_args

VERSION = 1
"""Of the format. A reader refuses what is newer than it is."""

Kind = Literal["realtime", "stt", "translation"]
"""Of the session that was recorded."""

Direction = Literal["in", "out", "note"]
"""`in`: the server's event. `out`: the client's. `note`: what happened to the connection."""

DIRECTIONS: tuple[Direction, ...] = ("in", "out", "note")

KINDS: tuple[Kind, ...] = get_args(Kind)

LONGEST_MS = 1e10
"""Four months: no session lasts as long. A time beyond it is none."""

_LAST_S = 4e9
"""2096: no recording is of a later day."""

_HIGHEST_HZ = 768_000

_FORMATS = {"audio/pcm": (24000, 2), "audio/pcmu": (8000, 1), "audio/pcma": (8000, 1)}
"""Type on the wire -> Hz, bytes of one sample."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a recording says of itself, in its first line.

    Attributes:
        recording: Version of the format.
        at: When it began, in s since 1970; 0.0: not known.
        kind: Of session.
        model: That was asked for; "": not known.
        plugin: Version of this plugin; "" in a file that something else wrote.
        livekit: Version of LiveKit Agents.
        host: Of the server, without user or key.
        audio: Whether audio was kept.
        redacted: Whether texts were left out.
        input_rate: Hz of the audio that was sent.
        output_rate: Hz of the audio that came.
        input_format: Its type on the wire: `audio/pcm` (int16 mono), `audio/pcmu` or `audio/pcma`.
        output_format: The same for the audio that came.
    """

    recording: int = VERSION
    at: float = 0.0
    kind: Kind = "realtime"
    model: str = ""
    plugin: str = ""
    livekit: str = ""
    host: str = ""
    audio: bool = False
    redacted: bool = False
    input_rate: int = 24000
    output_rate: int = 24000
    input_format: str = "audio/pcm"
    output_format: str = "audio/pcm"

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Header:
        """The header in a first line; what it does not have, or has of another type, stands as it does by default."""
        defaults = {field.name: field.default for field in fields(cls)}
        known = {name: line[name] for name, value in defaults.items() if _fits(line.get(name), value)}
        return cls(**known)


def unlikely(header: Header) -> str:
    """What a header says that cannot be: `kind='x'`, say. "" when there is nothing."""
    wrong = {
        "at": not 0 <= header.at <= _LAST_S,
        "kind": header.kind not in KINDS,
        "input_rate": not 0 < header.input_rate <= _HIGHEST_HZ,
        "output_rate": not 0 < header.output_rate <= _HIGHEST_HZ,
    }
    return next((f"{name}={getattr(header, name)!r:.40}" for name, is_wrong in wrong.items() if is_wrong), "")


def number_in(value: object) -> float | None:
    """A number of JSON; None for anything else, infinite ones included."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:  # a whole number of 309 digits or more
        return None


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)  # `unlikely` looks at it
    return type(value) is type(default)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.

    Attributes:
        t_ms: When, in ms since the beginning.
        link: The connection it was on: 1 is the first one; 0: there was none yet.
        direction: `in`, `out` or `note`.
        event: The event as it was on the wire, but for what the recorder leaves out; or the note. Both have a `type`.
    """

    t_ms: float
    link: int
    direction: Direction
    event: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recording:
    """One session.

    Attributes:
        header: What the file says of itself, or what was found out about it.
        entries: In the order of the file.
    """

    header: Header
    entries: tuple[Entry, ...]


def per_ms(form: str) -> float:
    """Bytes of one millisecond of audio of this type on the wire; of PCM when the type is not known."""
    rate, size = _FORMATS.get(form, _FORMATS["audio/pcm"])
    return rate * size / 1000


def rate_of(form: str) -> int:
    """Hz of this type of audio on the wire; of PCM when the type is not known."""
    return _FORMATS.get(form, _FORMATS["audio/pcm"])[0]


def size_of(base64: str) -> int:
    """Bytes that base64 stands for."""
    return len(base64) * 3 // 4 - base64.count("=", -2)


def audio_ms(value: object, form: str = "audio/pcm") -> float:
    """How long audio is, in ms: base64 (kept), or what stands in its place; 0.0 for anything else, or no length."""
    if isinstance(value, str):
        return size_of(value) / per_ms(form)
    length = number_in(value.get("ms")) if isinstance(value, Mapping) else None
    return length if length is not None and 0 <= length <= LONGEST_MS else 0.0
