"""An entry of a recording as it may be shown: audio and pictures as their length, long texts shortened, keys never."""

from __future__ import annotations

import json
from typing import Any

from ...recording.entries import Entry
from ...recording.scrub import Scrub

_LONGEST_TEXT = 2_000
_LONGEST_LIST = 200


def as_text(entry: Entry, scrub: Scrub) -> str:
    """The event as indented JSON, without what `scrub` leaves out: an application's own file may hold anything."""
    return json.dumps(_short(scrub(entry.event)), indent=2, ensure_ascii=False)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(inner) for key, inner in value.items()}
    if isinstance(value, list):
        some = [_short(inner) for inner in value[:_LONGEST_LIST]]
        return some if len(value) <= _LONGEST_LIST else [*some, f"... {len(value) - _LONGEST_LIST:,} more"]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}... [{len(value) - _LONGEST_TEXT:,} more characters]"
    return value
