"""One table of what a session can be told: how each value is checked, and where it stands in the payload.

Every value is normalised to its plain wire form (strings, numbers, dicts) on the way in, whatever it came as: the
openai SDK's objects, the retired beta's objects, or plain dicts. The SDK itself is never imported. `FIELDS` is what
the constructor, `update_options` and the session payload all read.

A check raises ValueError with one sentence that names the parameter and says what to do. What only OpenAI's own models
and voices are known to take is checked only when the server is OpenAI's: behind a gateway, names may be aliases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from livekit.agents.types import NOT_GIVEN, NotGiven

from . import formats, models
from .formats import AudioFormat
from .log import logger
from .wire import session
from .wire.values import value

DEFAULT_VOICE = "marin"
DEFAULT_TURN_DETECTION: Mapping[str, Any] = {
    "type": "semantic_vad",
    "eagerness": "medium",
    "create_response": True,
    "interrupt_response": True,
}
DEFAULT_TRANSCRIPTION: Mapping[str, Any] = {"model": models.DEFAULT_INPUT_TRANSCRIPTION}

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
_DELAYS = _EFFORTS
_NOISE_REDUCTIONS = ("near_field", "far_field")
_VAD_FIELDS: Mapping[str, tuple[str, ...]] = {
    "server_vad": (
        "threshold",
        "prefix_padding_ms",
        "silence_duration_ms",
        "idle_timeout_ms",
        "create_response",
        "interrupt_response",
    ),
    "semantic_vad": ("eagerness", "create_response", "interrupt_response"),
}


class Target(Protocol):
    """What a check may ask about the session that the value is for."""

    @property
    def model(self) -> str:
        """The model id."""

    @property
    def is_native(self) -> bool:
        """Whether this is OpenAI's own server."""

    def takes_reasoning(self, name: str) -> bool:
        """Whether the model takes the reasoning option `name`; warns when it does not."""


def plain(value: Any) -> Any:
    """The plain form of an SDK object, a mapping, a list or a simple value.

    What was not set in an SDK object, or is None there, is left out.
    """
    if hasattr(value, "model_dump"):
        return value.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def is_json(value: Any) -> bool:
    """Whether JSON can hold the value. What it cannot hold would end the call when it is to be sent."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def number(name: str, value: Any, low: float, high: float | None = None) -> Any:
    """`value` when it is a number within the limits. Raises ValueError."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)
    if not fits or value < low or (high is not None and value > high):
        limits = f"from {low:g} to {high:g}" if high is not None else f"of at least {low:g}"
        raise ValueError(f"{name}={value!r} is not supported: use a number {limits}.")
    return value


def say_lifecycle(name: str, model: str) -> None:
    """Warn about a model that is being shut down."""
    if warning := models.lifecycle_warning(model):
        logger.warning("%s: %s", name, warning)


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """`value` when it is one of these. Raises ValueError."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not supported: use one of {', '.join(map(repr, allowed))}.")
    return value


def flag(name: str, value: Any) -> bool:
    """`value` when it is True or False. Raises ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} is not supported: use True or False.")
    return value


def texts(name: str, value: Any) -> list[str]:
    """`value` as a list of texts. Raises ValueError."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{name}={value!r} is not supported: use a list of texts.")
    return list(value)


def _languages(name: str, value: Any) -> list[str]:
    if not value:  # GA takes neither null nor an empty list here
        raise ValueError(f"{name}={value!r} is not supported: name at least one language, or leave it out.")
    return texts(name, value)


def text(name: str, value: Any) -> str:
    """`value` when it is a text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r} is not supported: use a text.")
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    """A plain object without the fields that are None."""
    try:
        value = plain(value)
    except RecursionError:
        raise ValueError(f"{name} contains itself, so JSON cannot hold it: pass a copy without the loop.") from None
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is not supported: pass a dict or the openai SDK's object for it.")
    if not is_json(value):
        raise ValueError(f"{name} has something in it that JSON cannot hold: use texts, numbers, lists and dicts.")
    return {key: item for key, item in value.items() if item is not None}


def _known_fields(name: str, value: Mapping[str, Any], allowed: Iterable[str], of: str) -> None:
    allowed = tuple(allowed)
    for key in value:
        if key not in allowed:
            raise ValueError(f"{name}.{key} is not a field of {of}: use {', '.join(allowed)}.")


def modality(name: str, value: Any) -> list[str]:
    """How a reply is given, in wire form: `["audio"]` or `["text"]`. Raises ValueError."""
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, (list, tuple)) or not kinds or any(kind not in ("text", "audio") for kind in kinds):
        raise ValueError(f"{name}={value!r} is not supported: use ['audio'] or ['text'].")
    if len(set(kinds)) == 2:
        # The official plugin's default and documented example, so it must go on working.
        logger.info("%s=['text', 'audio']: GA replies in one modality; using ['audio'], which has a transcript", name)
    return ["audio"] if "audio" in kinds else ["text"]


def _voice(value: Any, target: Target) -> Any:
    if isinstance(value, str) and value.startswith("voice_"):
        return {"id": value}
    if not isinstance(value, str):
        custom = _object("voice", value)
        if not isinstance(custom.get("id"), str):
            raise ValueError("voice has no 'id': pass a voice name or {'id': 'voice_...'}.")
        return custom
    return one_of("voice", value, session.VOICES) if target.is_native else value


_VAD_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "threshold": lambda name, value: number(name, value, 0, 1),
    "prefix_padding_ms": lambda name, value: number(name, value, 0),
    "silence_duration_ms": lambda name, value: number(name, value, 0),
    "idle_timeout_ms": lambda name, value: number(name, value, 5000, 30000),
    "eagerness": lambda name, value: one_of(name, value, ("low", "medium", "high", "auto")),
    "create_response": flag,
    "interrupt_response": flag,
}


def turn_detection(value: Any, kinds: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Turn detection in wire form; `kinds` names the fields of each kind. Raises ValueError."""
    wanted = _object("turn_detection", value)
    kind = one_of("turn_detection.type", wanted.get("type"), kinds)
    _known_fields("turn_detection", wanted, ("type", *kinds[kind]), kind)
    for key, check in _VAD_CHECKS.items():
        if key in wanted:
            check(f"turn_detection.{key}", wanted[key])
    return wanted


def _turn_detection(value: Any, target: Target) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = turn_detection(value, _VAD_FIELDS)
    if wanted.get("create_response") is False and wanted.get("interrupt_response") is not False:
        logger.warning(
            "turn_detection: create_response=False hands turn taking to the agent, but the server still cancels its "
            "reply when the user speaks; pass interrupt_response=False as well"
        )
    return wanted


_TRANSCRIPTION_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "model": text,
    "language": text,
    "languages": _languages,
    "keywords": texts,
    "prompt": text,
    "delay": lambda name, value: one_of(name, value, _DELAYS),
}


def _transcription(value: Any, target: Target) -> dict[str, Any] | None:
    name = "input_audio_transcription"
    if value is None:
        return None
    wanted = _object(name, value)
    _known_fields(name, wanted, _TRANSCRIPTION_CHECKS, "a transcription")
    for key in wanted:
        _TRANSCRIPTION_CHECKS[key](f"{name}.{key}", wanted[key])
    if "language" in wanted and "languages" in wanted:
        raise ValueError(f"{name}.language and {name}.languages exclude each other: pass one of them.")
    if "model" not in wanted:
        wanted = {"model": models.DEFAULT_INPUT_TRANSCRIPTION, **wanted}
        if "language" in wanted:  # the default model takes a list
            wanted["languages"] = [wanted.pop("language")]
    model = models.find(wanted["model"])
    if model is None or not target.is_native:
        return wanted
    if model.use is not models.Use.TRANSCRIPTION:
        raise ValueError(f"{name}.model={model.id!r} does not transcribe: use 'gpt-transcribe'.")
    for key in wanted:
        if key != "model" and key not in model.takes:
            takes = ", ".join(sorted(model.takes & set(_TRANSCRIPTION_CHECKS))) or "no further options"
            raise ValueError(f"{name}.{key} is not taken by {model.id}: it takes {takes}.")
    say_lifecycle(f"{name}.model", model.id)
    return wanted


def _noise_reduction(value: Any, target: Target) -> dict[str, Any] | None:
    name = "input_audio_noise_reduction"
    if value is None:
        return None
    if isinstance(value, str):
        return {"type": one_of(name, value, _NOISE_REDUCTIONS)}
    wanted = _object(name, value)
    one_of(f"{name}.type", wanted.get("type"), _NOISE_REDUCTIONS)
    return wanted


def audio_format(name: str, value: Any) -> AudioFormat:
    """The format of this name: a row of `formats`, or its object on the wire. Raises ValueError."""
    wanted = value if isinstance(value, str) else _object(name, value)
    found = formats.find(wanted if isinstance(wanted, str) else wanted.get("type"))
    if found is None:
        raise ValueError(f"{name}={value!r} is not supported: use one of {', '.join(map(repr, formats.FORMATS))}.")
    if isinstance(wanted, dict) and (rate := wanted.get("rate", found.rate)) != found.rate:
        raise ValueError(f"{name}.rate={rate!r} is not supported: {found.name} has {found.rate} Hz; leave it out.")
    return found


def _format(name: str) -> Callable[[Any, Target], dict[str, Any]]:
    return lambda value, target: dict(audio_format(name, value).wire)


def _speed(value: Any, target: Target) -> float:
    return float(number("speed", value, 0.25, 1.5))


def _max_output_tokens(value: Any, target: Target) -> int | str:
    if value is None or value == "inf":
        return "inf"
    if not isinstance(value, int):
        raise ValueError(f"max_output_tokens={value!r} is not supported: use a whole number or 'inf'.")
    model = models.find(target.model) if target.is_native else None
    number("max_output_tokens", value, 1, model.max_output_tokens if model else None)
    return value


def tool_choice(value: Any) -> Any:
    """LiveKit's tool choice as GA takes it: `auto`, `none`, `required`, `{"type": "function", "name": ...}`, or
    `{"type": "mcp", "server_label": ..., "name": ...}` (without `name`: any tool of that server).

    Raises ValueError for anything else.
    """
    if value is None:
        return "auto"
    if isinstance(value, str):
        return one_of("tool_choice", value, ("auto", "none", "required"))
    wanted = _object("tool_choice", value)
    nested = wanted.get("function")
    name = wanted.get("name") or (nested.get("name") if isinstance(nested, dict) else None)
    if wanted.get("type") == "function" and isinstance(name, str):
        return {"type": "function", "name": name}
    if wanted.get("type") == "mcp":
        _known_fields("tool_choice", wanted, ("type", "server_label", "name"), "an MCP tool choice")
        for key in ("server_label", *(("name",) if "name" in wanted else ())):
            text(f"tool_choice.{key}", wanted.get(key))
        return wanted
    raise ValueError(
        "tool_choice is not supported: use 'auto', 'none', 'required', a function by its name, "
        "or {'type': 'mcp', 'server_label': ..., 'name': ...}."
    )


def _reasoning(value: Any, target: Target) -> dict[str, Any] | NotGiven:
    if value is None:
        return NOT_GIVEN  # null might be refused like any other value by a model that does not reason
    wanted = {"effort": value} if isinstance(value, str) else _object("reasoning", value)
    _known_fields("reasoning", wanted, ("effort",), "reasoning")
    if "effort" in wanted:
        one_of("reasoning.effort", wanted["effort"], _EFFORTS)
    return wanted if target.takes_reasoning("reasoning") else NOT_GIVEN


def _parallel_tool_calls(value: Any, target: Target) -> bool | NotGiven:
    return flag("parallel_tool_calls", value) if target.takes_reasoning("parallel_tool_calls") else NOT_GIVEN


def _truncation(value: Any, target: Target) -> Any:
    if value is None or isinstance(value, str):
        return one_of("truncation", "auto" if value is None else value, ("auto", "disabled"))
    wanted = _object("truncation", value)
    one_of("truncation.type", wanted.get("type"), ("retention_ratio",))
    number("truncation.retention_ratio", wanted.get("retention_ratio"), 0, 1)
    return wanted


def _tracing(value: Any, target: Target) -> Any:
    if value is None or value == "auto":
        return value
    if not (isinstance(value, Mapping) or hasattr(value, "model_dump")):
        raise ValueError(f"tracing={value!r} is not supported: use 'auto', a dict, or None.")
    return _object("tracing", value)


def _prompt(value: Any, target: Target) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = _object("prompt", value)
    if not isinstance(wanted.get("id"), str):
        raise ValueError("prompt has no 'id': pass {'id': 'pmpt_...', 'version': ..., 'variables': {...}}.")
    logger.warning("prompt: OpenAI shuts reusable prompts down on 2026-11-30; pass the text as instructions instead")
    return wanted


def _include(value: Any, target: Target) -> list[str] | None:
    if value is None:
        return None
    return [one_of("include", item, (session.LOGPROBS,)) for item in texts("include", value)]


@value
class Field:
    """One thing a session can be told: how its value is checked and where it stands in the payload.

    `check` returns the wire form, or NOT_GIVEN when the field had better not be sent. `box` is `input`, `output` (the
    parts of `audio`) or `session` (the top level).
    """

    check: Callable[[Any, Target], Any]
    box: str
    wire: str
    default: Any = NOT_GIVEN


FIELDS: Mapping[str, Field] = {
    "modalities": Field(lambda value, target: modality("modalities", value), "session", "output_modalities", ["audio"]),
    "voice": Field(_voice, "output", "voice", DEFAULT_VOICE),
    "speed": Field(_speed, "output", "speed", 1.0),
    "input_audio_format": Field(_format("input_audio_format"), "input", "format", dict(formats.PCM.wire)),
    "output_audio_format": Field(_format("output_audio_format"), "output", "format", dict(formats.PCM.wire)),
    "input_audio_transcription": Field(_transcription, "input", "transcription", dict(DEFAULT_TRANSCRIPTION)),
    "input_audio_noise_reduction": Field(_noise_reduction, "input", "noise_reduction", None),
    "turn_detection": Field(_turn_detection, "input", "turn_detection", dict(DEFAULT_TURN_DETECTION)),
    "tool_choice": Field(lambda value, target: tool_choice(value), "session", "tool_choice", "auto"),
    "max_output_tokens": Field(_max_output_tokens, "session", "max_output_tokens", "inf"),
    "tracing": Field(_tracing, "session", "tracing"),
    "truncation": Field(_truncation, "session", "truncation"),
    "reasoning": Field(_reasoning, "session", "reasoning"),
    "parallel_tool_calls": Field(_parallel_tool_calls, "session", "parallel_tool_calls"),
    "prompt": Field(_prompt, "session", "prompt"),
    "include": Field(_include, "session", "include"),
}
