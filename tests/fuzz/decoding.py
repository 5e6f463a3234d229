"""What must hold of everything that is decoded."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Mapping
from types import UnionType
from typing import Any

from livekit_plugins_openai_ga.wire import server_events as ev

RESULTS = (*ev.EVENTS.values(), ev.Ignored, ev.Unknown, ev.Malformed)
_HINTS: dict[type[Any], dict[str, Any]] = {}


def _fits(value: Any, hint: Any) -> bool:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(entry, args[0]) for entry in value)
    if origin is not None:
        return isinstance(value, Mapping)
    if dataclasses.is_dataclass(hint):
        return type(value) is hint and all(_fits(getattr(value, n), h) for n, h in hints(type(value)).items())
    if hint in (int, float):  # whoever counts with it needs a number that floats can hold
        return isinstance(value, (int, float)) and math.isfinite(float(value))
    return isinstance(value, hint)


def hints(cls: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    if cls not in _HINTS:
        names = {f.name for f in dataclasses.fields(cls)}
        _HINTS[cls] = {name: hint for name, hint in typing.get_type_hints(cls).items() if name in names}
    return _HINTS[cls]


def decode(frame: str | bytes) -> ev.ServerEvent:
    """The event of a frame. Raises AssertionError when it is not what it says."""
    event = ev.decode(frame)
    assert type(event) in RESULTS, f"{type(event)} is no result"
    for field, hint in hints(type(event)).items():
        assert _fits(getattr(event, field), hint), f"{type(event).__name__}.{field} is no {hint}"
    if isinstance(event, ev.Malformed):
        assert len(event.problem) < 100, "the problem quotes the frame"
        assert event.name in ("", *ev.EVENTS)
    return event


def shown(frame: str | bytes) -> str:
    """A frame for a report, one line."""
    return json.dumps(frame if isinstance(frame, str) else list(frame))[:2000]
