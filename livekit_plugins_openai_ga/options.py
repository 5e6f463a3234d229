"""What the user asked for: one frozen `Options`, made from arguments and the environment, checked before any socket.

Every value is normalised to its plain wire form (strings, numbers, dicts) on the way in, whatever it came as: the openai
SDK's objects, the retired beta's objects, or plain dicts. The SDK itself is never imported. `FIELDS` is the one table of
what a session can be told; the constructor, `update_options` and the session payload all read it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from livekit.agents import APIConnectOptions, llm
from livekit.agents.types import NOT_GIVEN, NotGiven

from . import models
from .log import logger
from .wire import endpoint, session
from .wire.endpoint import Endpoint, Service

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_VOICE = "marin"
DEFAULT_MAX_SESSION_DURATION = 50 * 60.0
"""Seconds until a connection is replaced at a calm moment. The server ends every session after 60 minutes."""

DEFAULT_TURN_DETECTION: Mapping[str, Any] = {
    "type": "semantic_vad",
    "eagerness": "medium",
    "create_response": True,
    "interrupt_response": True,
}
DEFAULT_TRANSCRIPTION: Mapping[str, Any] = {"model": models.DEFAULT_INPUT_TRANSCRIPTION}

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
_DELAYS = _EFFORTS
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


def plain(value: Any) -> Any:
    """The plain form of an SDK object, a mapping or a simple value. Fields that were not set, or are None, are left out."""
    if hasattr(value, "model_dump"):
        return value.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def _one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    allowed = tuple(allowed)
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is not supported: use one of {', '.join(map(repr, allowed))}.")
    return value


def _number(name: str, value: Any, low: float, high: float | None = None) -> Any:
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or value < low or (high is not None and value > high):
        limits = f"from {low:g} to {high:g}" if high is not None else f"of at least {low:g}"
        raise ValueError(f"{name}={value!r} is not supported: use a number {limits}.")
    return value


def _object(name: str, value: Any) -> dict[str, Any]:
    value = plain(value)
    if not isinstance(value, dict):
        raise ValueError(f"{name}={value!r} is not supported: pass a dict or the openai SDK's object for it.")
    return value


def _known_fields(name: str, value: Mapping[str, Any], allowed: Iterable[str], of: str) -> None:
    allowed = tuple(allowed)
    for key in value:
        if key not in allowed:
            raise ValueError(f"{name}.{key} is not a field of {of}: use {', '.join(allowed)}.")


def _modality(value: Any, options: Options) -> list[str]:
    kinds = [value] if isinstance(value, str) else list(value)
    if not kinds or any(kind not in ("text", "audio") for kind in kinds):
        raise ValueError(f"modalities={value!r} is not supported: use ['audio'] or ['text'].")
    if len(set(kinds)) == 2:
        # The official plugin's default and documented example, so it must go on working.
        logger.info("modalities=['text', 'audio']: GA replies in one modality; using ['audio'], which has a transcript")
    return ["audio"] if "audio" in kinds else ["text"]


def _voice(value: Any, options: Options) -> Any:
    if isinstance(value, str) and value.startswith("voice_"):
        return {"id": value}
    if not isinstance(value, str):
        custom = _object("voice", value)
        if not isinstance(custom.get("id"), str):
            raise ValueError("voice has no 'id': pass a voice name or {'id': 'voice_...'}.")
        return custom
    return _one_of("voice", value, session.VOICES) if options.is_native else value


def _turn_detection(value: Any, options: Options) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = {key: item for key, item in _object("turn_detection", value).items() if item is not None}
    kind = _one_of("turn_detection.type", wanted.get("type"), _VAD_FIELDS)
    _known_fields("turn_detection", wanted, ("type", *_VAD_FIELDS[kind]), kind)
    for key, low, high in (
        ("threshold", 0, 1),
        ("prefix_padding_ms", 0, None),
        ("silence_duration_ms", 0, None),
        ("idle_timeout_ms", 5000, 30000),
    ):
        if key in wanted:
            _number(f"turn_detection.{key}", wanted[key], low, high)
    if "eagerness" in wanted:
        _one_of("turn_detection.eagerness", wanted["eagerness"], ("low", "medium", "high", "auto"))
    if wanted.get("create_response") is False and wanted.get("interrupt_response") is not False:
        logger.warning(
            "turn_detection: create_response=False hands turn taking to the agent, but the server still cancels its "
            "reply when the user speaks; pass interrupt_response=False as well"
        )
    return wanted


def _transcription(value: Any, options: Options) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = {key: item for key, item in _object("input_audio_transcription", value).items() if item is not None}
    fields = ("model", "language", "languages", "keywords", "prompt", "delay")
    _known_fields("input_audio_transcription", wanted, fields, "a transcription")
    if "model" not in wanted:
        wanted = {"model": models.DEFAULT_INPUT_TRANSCRIPTION, **wanted}
        if "language" in wanted:  # the default model takes a list
            wanted["languages"] = [wanted.pop("language")]
    if "delay" in wanted:
        _one_of("input_audio_transcription.delay", wanted["delay"], _DELAYS)
    model = models.find(wanted["model"])
    if model is None:
        return wanted
    if options.is_native and model.use is not models.Use.TRANSCRIPTION:
        raise ValueError(f"input_audio_transcription.model={model.id!r} does not transcribe: use 'gpt-transcribe'.")
    for key in fields[1:]:
        if key in wanted and key not in model.takes:
            takes = ", ".join(sorted(model.takes & set(fields))) or "no further options"
            raise ValueError(f"input_audio_transcription.{key} is not taken by {model.id}: it takes {takes}.")
    _say_lifecycle("input_audio_transcription.model", model.id)
    return wanted


def _noise_reduction(value: Any, options: Options) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = {"type": value} if isinstance(value, str) else _object("input_audio_noise_reduction", value)
    _one_of("input_audio_noise_reduction", wanted.get("type"), ("near_field", "far_field"))
    return wanted


def _speed(value: Any, options: Options) -> float:
    return float(_number("speed", value, 0.25, 1.5))


def _max_output_tokens(value: Any, options: Options) -> int | str:
    if value is None or value == "inf":
        return "inf"
    model = models.find(options.model)
    if not isinstance(value, int):
        raise ValueError(f"max_output_tokens={value!r} is not supported: use a whole number or 'inf'.")
    _number("max_output_tokens", value, 1, model.max_output_tokens if model else None)
    return value


def tool_choice(value: Any) -> Any:
    """LiveKit's tool choice as GA takes it: `auto`, `none`, `required`, or `{"type": "function", "name": ...}`."""
    if value is None:
        return "auto"
    if isinstance(value, str):
        return _one_of("tool_choice", value, ("auto", "none", "required"))
    wanted = _object("tool_choice", value)
    name = wanted.get("name") or (wanted.get("function") or {}).get("name")
    if wanted.get("type") == "function" and isinstance(name, str):
        return {"type": "function", "name": name}
    if wanted.get("type") == "mcp":
        return wanted
    raise ValueError("tool_choice is not supported: use 'auto', 'none', 'required' or a function by its name.")


def _reasoning(value: Any, options: Options) -> dict[str, Any] | NotGiven | None:
    if value is None:
        return None
    wanted = {"effort": value} if isinstance(value, str) else _object("reasoning", value)
    _known_fields("reasoning", wanted, ("effort",), "reasoning")
    if "effort" in wanted:
        _one_of("reasoning.effort", wanted["effort"], _EFFORTS)
    return wanted if options.takes_reasoning("reasoning") else NOT_GIVEN


def _parallel_tool_calls(value: Any, options: Options) -> bool | NotGiven:
    if not isinstance(value, bool):
        raise ValueError(f"parallel_tool_calls={value!r} is not supported: use True or False.")
    return value if options.takes_reasoning("parallel_tool_calls") else NOT_GIVEN


def _truncation(value: Any, options: Options) -> Any:
    value = plain(value)
    if value is None or isinstance(value, str):
        return _one_of("truncation", value or "auto", ("auto", "disabled"))
    wanted = _object("truncation", value)
    _one_of("truncation.type", wanted.get("type"), ("retention_ratio",))
    _number("truncation.retention_ratio", wanted.get("retention_ratio"), 0, 1)
    return wanted


def _tracing(value: Any, options: Options) -> Any:
    value = plain(value)
    if value is not None and value != "auto" and not isinstance(value, dict):
        raise ValueError("tracing is not supported as given: use 'auto', a dict, or None.")
    return value


def _prompt(value: Any, options: Options) -> dict[str, Any] | None:
    if value is None:
        return None
    wanted = _object("prompt", value)
    if not isinstance(wanted.get("id"), str):
        raise ValueError("prompt has no 'id': pass {'id': 'pmpt_...', 'version': ..., 'variables': {...}}.")
    logger.warning("prompt: OpenAI shuts reusable prompts down on 2026-11-30; pass the text as instructions instead")
    return wanted


def _include(value: Any, options: Options) -> list[str] | None:
    if value is None:
        return None
    return [_one_of("include", item, (session.LOGPROBS,)) for item in ([value] if isinstance(value, str) else value)]


def _say_lifecycle(name: str, model: str) -> None:
    if warning := models.lifecycle_warning(model):
        logger.warning("%s: %s", name, warning)


@dataclass(frozen=True, slots=True)
class Field:
    """One thing a session can be told: how its value is checked and where it stands in the payload."""

    check: Callable[[Any, Options], Any]
    box: str  # "input", "output" or "session"
    wire: str
    default: Any = NOT_GIVEN


FIELDS: Mapping[str, Field] = {
    "modalities": Field(_modality, "session", "output_modalities", ["audio"]),
    "voice": Field(_voice, "output", "voice", DEFAULT_VOICE),
    "speed": Field(_speed, "output", "speed", 1.0),
    "input_audio_transcription": Field(_transcription, "input", "transcription", dict(DEFAULT_TRANSCRIPTION)),
    "input_audio_noise_reduction": Field(_noise_reduction, "input", "noise_reduction", None),
    "turn_detection": Field(_turn_detection, "input", "turn_detection", dict(DEFAULT_TURN_DETECTION)),
    "tool_choice": Field(lambda value, options: tool_choice(value), "session", "tool_choice", "auto"),
    "max_output_tokens": Field(_max_output_tokens, "session", "max_output_tokens", "inf"),
    "tracing": Field(_tracing, "session", "tracing"),
    "truncation": Field(_truncation, "session", "truncation"),
    "reasoning": Field(_reasoning, "session", "reasoning"),
    "parallel_tool_calls": Field(_parallel_tool_calls, "session", "parallel_tool_calls"),
    "prompt": Field(_prompt, "session", "prompt"),
    "include": Field(_include, "session", "include"),
}

_DIALLING = frozenset({"extra_headers", "extra_query"})  # these matter when the next connection is opened
_ALIASES = {"max_response_output_tokens": "max_output_tokens"}  # the official plugin's name

SETTABLE = (frozenset(FIELDS) | _DIALLING) - {"modalities"}
"""What `update_options` takes. The reply's modality is fixed at construction: LiveKit reads it as a capability."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the user asked for. `values` holds the fields of `FIELDS` in wire form; NOT_GIVEN ones are absent."""

    model: str
    base_url: str
    api_key: str = field(repr=False)
    conn_options: APIConnectOptions
    max_session_duration: float | None
    heartbeat: float
    reply_timeout: float
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_query: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_insecure: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        *,
        model: str,
        base_url: str | NotGiven,
        api_key: str | None,
        conn_options: APIConnectOptions,
        max_session_duration: float | NotGiven | None,
        heartbeat: float,
        reply_timeout: float,
        extra_headers: Mapping[str, str] | None,
        extra_query: Mapping[str, str] | None,
        allow_insecure: bool,
        given: Mapping[str, Any],
    ) -> Options:
        """Fill in environment and defaults, and check everything that can be checked without a network.

        Raises ValueError: one sentence that names the parameter and says what to do.
        """
        key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        if not key:
            raise ValueError("api_key is missing: pass api_key=... or set the OPENAI_API_KEY environment variable.")
        if isinstance(base_url, NotGiven) or not base_url:
            base_url = os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL
        if isinstance(max_session_duration, NotGiven):
            max_session_duration = DEFAULT_MAX_SESSION_DURATION
        if max_session_duration is not None:
            _number("max_session_duration", max_session_duration, 1)
        options = cls(
            model=model,
            base_url=base_url,
            api_key=key,
            conn_options=conn_options,
            max_session_duration=max_session_duration,
            heartbeat=float(_number("heartbeat", heartbeat, 0.1)),
            reply_timeout=float(_number("reply_timeout", reply_timeout, 0.1)),
            extra_headers=dict(extra_headers or {}),
            extra_query=dict(extra_query or {}),
            allow_insecure=allow_insecure,
        )
        options.endpoint()
        options._check_model()
        defaults = {name: f.default for name, f in FIELDS.items() if not isinstance(f.default, NotGiven)}
        return replace(options, values=defaults).changed(given)

    def endpoint(self) -> Endpoint:
        """Where the socket goes, with its headers. Raises ValueError for a base URL that cannot be used."""
        return endpoint.build(
            self.base_url,
            Service.REALTIME,
            model=self.model,
            api_key=self.api_key,
            headers=self.extra_headers,
            query=self.extra_query,
            allow_insecure=self.allow_insecure,
        )

    @property
    def is_native(self) -> bool:
        """Whether this is OpenAI's own server. Elsewhere names may be aliases, so the server decides."""
        return self.endpoint().host == endpoint.OPENAI_HOST

    def takes_reasoning(self, name: str) -> bool:
        """Whether the model takes `reasoning` and `parallel_tool_calls`; warns when a known one does not."""
        model = models.find(self.model)
        if model is None or model.reasoning or not self.is_native:
            return True
        logger.warning("%s is left out: %s is not a reasoning model; use '%s'", name, model.id, models.DEFAULT_REALTIME)
        return False

    def _check_model(self) -> None:
        if not isinstance(self.model, str) or not self.model:
            raise ValueError(f"model is missing: pass model='{models.DEFAULT_REALTIME}'.")
        model = models.find(self.model)
        if model is None:
            return
        warning = models.lifecycle_warning(self.model)
        if self.is_native and model.stage is models.Stage.SHUT_DOWN:
            raise ValueError(f"model: {warning}")
        if self.is_native and model.use is not models.Use.REALTIME:
            raise ValueError(
                f"model={self.model!r} cannot hold a conversation on the Realtime API: use '{models.DEFAULT_REALTIME}'."
            )
        _say_lifecycle("model", self.model)

    def changed(self, given: Mapping[str, Any]) -> Options:
        """These options with the given fields changed; NOT_GIVEN ones stay. Raises ValueError as `create` does."""
        values = dict(self.values)
        for name, value in given.items():
            if isinstance(value, NotGiven):
                continue
            checked = FIELDS[name].check(value, self)
            if not isinstance(checked, NotGiven):
                values[name] = checked
        return replace(self, values=values)

    def reply_reasoning(self, value: Any) -> dict[str, Any]:
        """`reasoning` as one reply takes it; `{}` when the model does not reason."""
        checked = _reasoning(value, self)
        return {} if isinstance(checked, NotGiven) else {"reasoning": checked}

    def session_payload(self, instructions: str | None, tools: list[dict[str, Any]]) -> session.Payload:
        """The `session` that GA is told, complete."""
        boxes: dict[str, dict[str, Any]] = {"input": {}, "output": {}, "session": {}}
        for name, f in FIELDS.items():
            if name in self.values:
                boxes[f.box][f.wire] = self.values[name]
        if instructions is not None:
            boxes["session"]["instructions"] = instructions
        return session.realtime_payload(
            input_options=boxes["input"],
            output_options=boxes["output"],
            options={**boxes["session"], "tools": tools},
        )

    def updated(self, given: Mapping[str, Any]) -> Options:
        """These options after an `update_options` call with `given`. NOT_GIVEN values stay as they are.

        Raises ValueError for a value GA would refuse, TypeError for a name that cannot be updated.
        """
        changes = {_ALIASES.get(name, name): v for name, v in given.items() if not isinstance(v, NotGiven)}
        if "temperature" in changes:
            warn_unused("temperature")
            del changes["temperature"]
        if unknown := sorted(set(changes) - SETTABLE):
            raise TypeError(f"update_options() does not know {unknown[0]!r}: it takes {', '.join(sorted(SETTABLE))}.")
        options = replace(
            self,
            extra_headers=dict(changes.pop("extra_headers", self.extra_headers)),
            extra_query=dict(changes.pop("extra_query", self.extra_query)),
        ).changed(changes)
        options.endpoint()
        return options

    def restored(self, payload: Mapping[str, Any]) -> Options:
        """These options with every field as it stands in `payload`, the configuration the server has."""
        audio = payload.get("audio") or {}
        boxes = {"session": payload, "input": audio.get("input") or {}, "output": audio.get("output") or {}}
        values = {name: boxes[f.box][f.wire] for name, f in FIELDS.items() if f.wire in boxes[f.box]}
        return replace(self, values=values)

    @property
    def audio_output(self) -> bool:
        """Whether replies are spoken."""
        return bool(self.values["modalities"] == ["audio"])

    @property
    def server_turns(self) -> bool:
        """Whether the server both detects turns and answers them."""
        detection = self.values.get("turn_detection")
        return detection is not None and detection.get("create_response") is not False

    @property
    def transcribes(self) -> bool:
        """Whether the user's speech is transcribed."""
        return self.values.get("input_audio_transcription") is not None


def warn_unused(name: str) -> None:
    """Say that a parameter is accepted for compatibility and does nothing."""
    logger.warning("%s is accepted and does nothing: %s", name, UNUSED[name])


UNUSED: Mapping[str, str] = {
    "temperature": "the GA Realtime API has no temperature; remove it",
    "http_session": "this plugin opens its sockets with the websockets library; remove it",
}
"""Parameters of the official plugin that no longer mean anything."""


def capabilities(options: Options, *, can_disable_turn_detection: bool) -> llm.RealtimeCapabilities:
    """What LiveKit may expect of a session with these options."""
    return llm.RealtimeCapabilities(
        message_truncation=True,
        turn_detection=options.server_turns,
        user_transcription=options.transcribes,
        auto_tool_reply_generation=False,
        audio_output=options.audio_output,
        manual_function_calls=True,
        can_disable_turn_detection=can_disable_turn_detection,
        mutable_chat_context=True,
        mutable_instructions=True,
        mutable_tools=True,
        per_response_tool_choice=True,
    )
