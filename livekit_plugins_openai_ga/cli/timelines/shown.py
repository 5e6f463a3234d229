"""An entry of a recording as it may be shown: audio as its length, long texts shortened, keys never."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...recording.entries import Entry, size_of
from ...redaction import HIDDEN, redact

_LONGEST_TEXT = 2_000
_LONGEST_LIST = 200
_DEEPEST = 12
# Whose values are keys, or may hold one, wherever they stand.
_SECRET = frozenset({"authorization", "headers", "api_key", "client_secret", "access_token"})
_AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta", "session.output_audio.delta"})


def as_text(entry: Entry) -> str:
    """The event as indented JSON."""
    event = dict(entry.event)
    if event.get("type") in _AUDIO_DELTAS:
        event["delta"] = _sound(event.get("delta"))
    return json.dumps(_shown(event, 0), indent=2, ensure_ascii=False)


def _shown(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, Mapping):
        return {redact(str(key)): _member(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        some = [_shown(inner, depth + 1) for inner in value[:_LONGEST_LIST]]
        return some if len(value) <= _LONGEST_LIST else [*some, f"... {len(value) - _LONGEST_LIST:,} more"]
    return _text(value) if isinstance(value, str) else value


def _member(key: str, value: Any, depth: int) -> Any:
    if key.lower() in _SECRET and value:
        return HIDDEN
    if key == "audio":
        return _sound(value) if isinstance(value, str) else _shown(value, depth)
    return _shown(value, depth)


def _sound(value: Any) -> Any:
    return f"[{size_of(value):,} bytes of audio]" if isinstance(value, str) else value


def _text(value: str) -> str:
    if value.startswith("data:"):
        return f"[{value[5:40].partition(',')[0]}, {len(value):,} characters]"
    value = redact(value)
    if len(value) <= _LONGEST_TEXT:
        return value
    return f"{value[:_LONGEST_TEXT]}... [{len(value) - _LONGEST_TEXT:,} more characters]"
