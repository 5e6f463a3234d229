"""The normal form of what a plugin tells: one line of text per event, without clock times, with ids as numbers.

Two runs of one scene give the same lines when the framework is told the same. The words of an error are each plugin's
own; its class, code and whether it is recoverable are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from livekit import rtc
from livekit.agents import APIError, llm
from pydantic import BaseModel

# Points and lengths of time by the clock on the wall. `audio_duration` is none: it is what is billed.
TIMES = frozenset(
    {
        *("created_at", "timestamp", "duration", "tokens_per_second", "session_duration", "acquire_time"),
        *("start_time", "end_time", "speech_start_time"),
    }
)
SIGNED = frozenset({"ttft", "turn_started_at"})
"""Times of which it matters whether there is one: they show as `+`, as -1, or as None."""
IDS = frozenset(
    {"id", "item_id", "message_id", "response_id", "call_id", "request_id", "previous_item_id", "speech_id"}
)
LEFT_OUT = frozenset({"type", "message_stream", "function_stream", "speech_handle", "source", "metrics_metadata"})


class Normal:
    """Turns the events of one run into lines. Ids get numbers in the order in which they are first seen."""

    def __init__(self, label: str, host: str) -> None:
        """`label`: how LiveKit names the plugin's class. `host`: the server's, with its port. Events carry both."""
        self._own = {label: "its own", host: "the server"}
        self._numbers: dict[str, str] = {}

    def id(self, value: str) -> str:
        return self._numbers.setdefault(value, f"#{len(self._numbers) + 1}")

    def line(self, kind: str, event: Any = None, **more: Any) -> str:
        """`kind field=value ...`, in the order of the fields."""
        fields = [*self._fields(event, ""), *self._fields(more, "")]
        return " ".join([kind, *(f"{name}={value}" for name, value in fields)])

    def _fields(self, value: Any, path: str) -> Iterator[tuple[str, str]]:
        for name, inner in _members(value):
            key = name.rpartition(".")[2]
            where = f"{path}.{name}" if path else name
            if key in LEFT_OUT or key in TIMES:
                continue
            if isinstance(inner, str) and inner in self._own:
                yield where, self._own[inner]
            elif key in SIGNED:
                yield where, "+" if isinstance(inner, (int, float)) and inner >= 0 else repr(inner)
            elif key in IDS and isinstance(inner, str):
                yield where, self.id(inner)
            elif key == "metrics" and isinstance(inner, Mapping):
                yield where, ",".join(sorted(inner))  # of a chat message: all of them are times
            elif isinstance(inner, Exception):
                yield where, error(inner)
            elif isinstance(inner, list) and inner and all(_expands(each) for each in inner):
                for number, each in enumerate(inner):
                    yield from self._fields({f"{name}[{number}]": each}, path)
            elif _members(inner) or isinstance(inner, BaseModel):
                yield from self._fields(inner, where)
            else:
                yield where, _plain(inner)


def error(exc: BaseException) -> str:
    """An exception without its words: class, code, whether LiveKit may try again."""
    code = exc.code if isinstance(exc, llm.RealtimeError) else getattr(exc, "status", None)
    if isinstance(exc, APIError):
        body = exc.body
        code = getattr(body, "code", None) or (body.get("code") if isinstance(body, Mapping) else None)
        return f"{type(exc).__name__}({code}, retryable={exc.retryable})"
    return f"{type(exc).__name__}({code})"


def _members(value: Any) -> list[tuple[str, Any]]:
    """The fields of an event that are not at their defaults; [] for a plain value."""
    if isinstance(value, BaseModel):
        fields = [(name, field) for name, field in type(value).model_fields.items() if not field.deprecated]
        return [(name, inner) for name, field in fields if (inner := getattr(value, name)) != _default(field)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
        return [(f.name, inner) for f, inner in pairs if type(inner) is not type(f.default) or inner != f.default]
    if isinstance(value, Mapping):
        return list(value.items())
    return []


def _expands(value: Any) -> bool:
    return isinstance(value, BaseModel) and not isinstance(value, llm.ImageContent)


def _default(field: Any) -> Any:
    """What a field is left at when nothing is said, or something equal to nothing."""
    return field.get_default(call_default_factory=not field.default_factory_takes_validated_data)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    if isinstance(value, rtc.VideoFrame):
        return f"frame {value.width}x{value.height}"
    if isinstance(value, llm.ImageContent):
        return "image"
    return repr(value)


def length_ms(frames: list[rtc.AudioFrame]) -> str:
    """How long the audio plays."""
    return f"{round(sum(frame.samples_per_channel / frame.sample_rate for frame in frames) * 1000)} ms"
