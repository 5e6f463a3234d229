"""Session payloads: building one, the difference of two, and whether the server kept what it was asked for.

GA merges a `session.update` deeply, drops all of it when one field is bad, and wants `session.type` in each (but for
translation sessions, which refuse it). `audio`,
`audio.input` and `audio.output` are boxes that merge; every other object (turn detection, transcription, ...) is sent
whole, because its variants take disjoint fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Payload = dict[str, Any]

VOICES = ("alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "sage", "shimmer", "verse")
"""The voices GA has. A custom voice is an object `{"id": "voice_..."}`."""

SAMPLE_RATE = 24000
"""Hz of PCM on the wire; it is int16, little-endian, mono. G.711 has 8000."""

BYTES_PER_MS = SAMPLE_RATE * 2 // 1000

PCM_24K: Mapping[str, Any] = {"type": "audio/pcm", "rate": SAMPLE_RATE}
"""The one PCM format GA takes. `rate` is typed optional in the SDK and required by the server."""

LOGPROBS = "item.input_audio_transcription.logprobs"
"""The one value `include` takes."""

_BOXES = frozenset({"audio", "audio.input", "audio.output"})


def realtime_payload(
    *,
    input_options: Mapping[str, Any],
    output_options: Mapping[str, Any],
    options: Mapping[str, Any],
    formats: bool = True,
) -> Payload:
    """A `session` of type `realtime`. The three mappings fill `audio.input`, `audio.output` and the top level.

    `formats`: name those of the audio on the socket; without audio on it, they are the business of others.
    """
    if not formats:
        boxes = {"input": dict(input_options), "output": dict(output_options)}
        audio = {name: box for name, box in boxes.items() if box}
        return {"type": "realtime", **({"audio": audio} if audio else {}), **options}
    return {
        "type": "realtime",
        "audio": {
            "input": {"format": PCM_24K, **input_options},
            "output": {"format": PCM_24K, **output_options},
        },
        **options,
    }


def transcription_payload(input_options: Mapping[str, Any], options: Mapping[str, Any]) -> Payload:
    """A `session` of type `transcription`. The two mappings fill `audio.input` and the top level."""
    return {"type": "transcription", "audio": {"input": {"format": PCM_24K, **input_options}}, **options}


def fresh(payload: Mapping[str, Any]) -> Payload:
    """`payload` for a session that does not exist yet: without what is off in a fresh session anyway.

    Turn detection is not, so its null stays. The SDK types the others as never null there.
    """
    kept = {key: fresh(value) if isinstance(value, Mapping) else value for key, value in payload.items()}
    return {key: value for key, value in kept.items() if value is not None or key == "turn_detection"}


def difference(old: Mapping[str, Any], new: Mapping[str, Any], _path: str = "") -> Payload:
    """What to send to turn `old` into `new`; `{}` when nothing. A field that is gone is sent as null: cleared."""
    change: Payload = {}
    for key in [*new, *(key for key in old if key not in new)]:
        path = f"{_path}.{key}" if _path else key
        before, after = old.get(key), new.get(key)
        if path in _BOXES:
            if inner := difference(before or {}, after or {}, path):
                change[key] = inner
        elif before != after or (key in new and key not in old):  # a null that was never sent still says something
            change[key] = after
    if change and not _path and "type" in new:  # a translation session must not be told
        change = {"type": new["type"], **change}
    return change


def merge(base: Mapping[str, Any], change: Mapping[str, Any], _path: str = "") -> Payload:
    """`base` with `change` applied the way the server does it."""
    merged = dict(base)
    for key, value in change.items():
        path = f"{_path}.{key}" if _path else key
        if path in _BOXES and isinstance(value, Mapping):
            merged[key] = merge(merged.get(key) or {}, value, path)
        else:
            merged[key] = value
    return merged


def _comparable(path: str, value: Any) -> Any:
    """Tools are compared by name: the server may fill in fields of its own."""
    if path == "tools" and isinstance(value, list):
        return sorted(str(tool.get("name") or tool.get("server_label")) for tool in value if isinstance(tool, Mapping))
    return value


def mismatches(asked: Mapping[str, Any], kept: Mapping[str, Any], _path: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted path -> (asked, kept) for each asked value that the server answered with another one.

    A path the server does not echo is no mismatch: some fields are never echoed (`delay` of a transcription).
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key, value in asked.items():
        path = f"{_path}.{key}" if _path else key
        if key not in kept:
            continue
        other = kept[key]
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found.update(mismatches(value, other, path))
        elif _comparable(path, value) != _comparable(path, other):
            found[path] = (value, other)
    return found
