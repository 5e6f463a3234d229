"""What a recording leaves out, and what is played instead: a tone for audio, x for letters, a dot for a picture.

Silence is known by its hash, and played as silence.
"""

from __future__ import annotations

import array
import base64
import copy
import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ..redaction import redact

LETTER = "x"
"""Stands for each character of a text that was left out."""

_DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg=="
_EMPTY: Mapping[str, Any] = {
    "parameters": {"type": "object", "properties": {}},
    **{name: {} for name in ("metadata", "variables", "tracing")},
    **{name: [] for name in ("logprobs", "keywords", "annotations", "required")},
}
"""What stands for a whole object or list that was left out."""

_PLACES = frozenset({"bytes", "ms", "sha256", "mime"})
_RATE, _TONE_HZ, _LOUDNESS = 24_000, 300, 3_000


def is_gap(value: object) -> bool:
    """Whether this stands for something that was left out: `{"chars": n}` or `{"bytes": n, ...}`."""
    return isinstance(value, Mapping) and (set(value) == {"chars"} or ("bytes" in value and set(value) <= _PLACES))


def stands_for(value: object, name: str = "") -> object:
    """What a value is once its gaps are filled, as far as its type goes. `name` is that of its field."""
    return _EMPTY.get(name, LETTER) if is_gap(value) else value


def filled(value: Any, name: str = "") -> Any:
    """`value`, an event or a part of one, with something in each gap. `name` is that of the field it stands in."""
    if is_gap(value):
        return _filling(value, name)
    if isinstance(value, Mapping):
        return {key: filled(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, name) for item in value]
    return value


def _filling(gap: Mapping[str, Any], name: str) -> Any:
    if name in _EMPTY:
        return copy.deepcopy(_EMPTY[name])
    if "chars" in gap:
        count = int(gap["chars"])
        if name == "arguments" and count >= 2:  # whoever calls the tool takes it for JSON
            return "{" + " " * (count - 2) + "}"
        return LETTER * count
    if "mime" in gap or name == "image_url":
        return f"data:image/png;base64,{_DOT}"
    size = int(gap["bytes"])
    level = _silences(size).get(str(gap.get("sha256")))
    return base64.b64encode(tone(size) if level is None else level * size).decode()


@functools.lru_cache(maxsize=64)
def _silences(size: int) -> Mapping[str, bytes]:
    """The byte of silence by the hash that the recorder notes of `size` of them: of PCM, mu-law and A-law."""
    levels = (b"\x00", b"\xff", b"\xd5")
    return {hashlib.sha256(level * size).hexdigest()[:16]: level for level in levels}


def tone(size: int) -> bytes:
    """`size` bytes of a quiet tone, int16 mono at 24 kHz. As G.711 it is a noise of the same number of bytes."""
    period = _RATE // _TONE_HZ
    wave = array.array("h", (round(_LOUDNESS * math.sin(2 * math.pi * n / period)) for n in range(period))).tobytes()
    return (wave * (size // len(wave) + 1))[:size]


def same(recorded: Any, now: Any, known: Callable[[str], str | None] = lambda text: None) -> bool:
    """Whether `now` is what was recorded. A gap is the same as anything of its length; `known` gives the id that an id
    of the recording has now."""
    if is_gap(recorded):
        return not ("chars" in recorded and isinstance(now, str)) or len(now) == recorded["chars"]
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        return set(recorded) == set(now) and all(same(value, now[key], known) for key, value in recorded.items())
    if isinstance(recorded, list) and isinstance(now, list):
        return len(recorded) == len(now) and all(same(*pair, known) for pair in zip(recorded, now, strict=True))
    return bool(recorded == now) or (isinstance(recorded, str) and known(recorded) == now)


def first_difference(
    recorded: Any, now: Any, known: Callable[[str], str | None], path: str = ""
) -> tuple[str, Any, Any] | None:
    """Where two events differ first: dotted path, what was recorded, what is now (None: nothing). None: nowhere."""
    if same(recorded, now, known):
        return None
    if isinstance(recorded, Mapping) and isinstance(now, Mapping) and not is_gap(recorded):
        for key in [*recorded, *(key for key in now if key not in recorded)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in recorded or key not in now:
                return inner, recorded.get(key), now.get(key)
            if (found := first_difference(recorded[key], now[key], known, inner)) is not None:
                return found
    if isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for place, pair in enumerate(zip(recorded, now, strict=True)):
            if (found := first_difference(*pair, known, f"{path}[{place}]")) is not None:
                return found
    return path, recorded, now


def shown(value: Any, most: int = 160) -> str:
    """A value on one line, without keys, not longer than `most` characters."""
    text = redact(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= most else f"{text[: most - 3]}..."
