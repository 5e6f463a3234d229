"""Usage payloads as plain numbers. A count the server does not send is 0; nothing is estimated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import add, attrgetter
from typing import Any, TypeGuard

from ..wire.values import value


@value
class ReplyUsage:
    """Tokens of one reply. Cached tokens are part of the input counts. Cancelled replies are billed, too."""

    total: int = 0
    input: int = 0
    output: int = 0
    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    cached: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_text: int = 0
    output_audio: int = 0
    seconds: float = 0.0


_counts = attrgetter(*(f.name for f in fields(ReplyUsage)))


def total(one: ReplyUsage | None, other: ReplyUsage | None) -> ReplyUsage | None:
    """Both together; None when there is neither."""
    if one is None or other is None:
        return one or other
    return ReplyUsage(*map(add, _counts(one), _counts(other)))


@value
class TranscriptionUsage:
    """What one transcript cost: tokens, or seconds of audio, as the model is billed."""

    seconds: float = 0.0
    total: int = 0
    input: int = 0
    input_audio: int = 0
    output: int = 0
    input_text: int = 0

    @property
    def counts(self) -> ReplyUsage:
        """The same as counts of tokens by kind. What it writes is text."""
        return ReplyUsage(
            total=self.total,
            input=self.input,
            output=self.output,
            input_text=self.input_text,
            input_audio=self.input_audio,
            output_text=self.output,
            seconds=self.seconds,
        )


def _object(payload: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    value = (payload or {}).get(key)
    return value if isinstance(value, Mapping) else {}


def _number(payload: Mapping[str, Any], key: str) -> float:
    value = payload.get(key)
    return value if _is_number(value) else 0


def _is_number(value: Any) -> TypeGuard[float]:
    # JSON has 1e999, which Python reads as infinity; the limit keeps that out, and NaN with it.
    return isinstance(value, (int, float)) and 0 <= value < 1e15


def _count(payload: Mapping[str, Any], key: str) -> int:
    return int(_number(payload, key))


_TOKENS = ("total_tokens", "input_tokens", "output_tokens", "input_token_details", "output_token_details")
_BY_TYPE = {"tokens": _TOKENS, "duration": ("seconds",)}


def _tells(payload: Mapping[str, Any], names: Iterable[str]) -> bool:
    values = [payload.get(name) for name in names]
    return any(_is_number(value) or (isinstance(value, Mapping) and bool(value)) for value in values)


def reply_usage(payload: Mapping[str, Any] | None) -> ReplyUsage | None:
    """Read `response.usage` of a `response.done`; None when the server sent none, or one that says nothing."""
    if payload is None or not _tells(payload, _TOKENS):
        return None
    inputs = _object(payload, "input_token_details")
    cached = _object(inputs, "cached_tokens_details")
    outputs = _object(payload, "output_token_details")
    return ReplyUsage(
        total=_count(payload, "total_tokens"),
        input=_count(payload, "input_tokens"),
        output=_count(payload, "output_tokens"),
        input_text=_count(inputs, "text_tokens"),
        input_audio=_count(inputs, "audio_tokens"),
        input_image=_count(inputs, "image_tokens"),
        cached=_count(inputs, "cached_tokens"),
        cached_text=_count(cached, "text_tokens"),
        cached_audio=_count(cached, "audio_tokens"),
        cached_image=_count(cached, "image_tokens"),
        output_text=_count(outputs, "text_tokens"),
        output_audio=_count(outputs, "audio_tokens"),
    )


def transcription_usage(payload: Mapping[str, Any] | None) -> TranscriptionUsage | None:
    """Read `usage` of a completed transcription; None when the server sent none, one of a kind unknown here, or one
    that says nothing.
    """
    kind = (payload or {}).get("type")
    if payload is None or not isinstance(kind, str) or not _tells(payload, _BY_TYPE.get(kind, ())):
        return None
    if kind == "duration":
        return TranscriptionUsage(seconds=float(_number(payload, "seconds")))
    return TranscriptionUsage(
        total=_count(payload, "total_tokens"),
        input=_count(payload, "input_tokens"),
        input_audio=_count(_object(payload, "input_token_details"), "audio_tokens"),
        output=_count(payload, "output_tokens"),
        input_text=_count(_object(payload, "input_token_details"), "text_tokens"),
    )
