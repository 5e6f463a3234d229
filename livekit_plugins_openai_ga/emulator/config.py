"""Session configuration as the server keeps it: the defaults of a fresh session, and what an update makes of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .. import models
from .actions import Event
from .conversation import Refused
from .knobs import Knobs

DEFAULT_INSTRUCTIONS = "You are a helpful, witty, and friendly AI. Act like a human, but remember that you aren't one."
VOICE_IS_LOCKED = "Cannot update a conversation's voice if assistant audio is present."
NO_TURN_DETECTION = "Turn detection is not supported for this transcription model."

# Merged key by key; every other object is replaced whole, because its variants take disjoint fields.
_BOXES = frozenset({"audio", "audio.input", "audio.output"})
# Fields of `transcription` that belong to some models only (`Model.takes`).
_PER_MODEL = ("language", "languages", "keywords", "prompt", "delay")


def realtime(model: str, session_id: str, expires_at: int, knobs: Knobs) -> Event:
    """A fresh `realtime` session, as observed in `session.created`."""
    turn_detection = {
        **_server_vad(knobs),
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": turn_detection,
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1.0},
        },
        "include": None,
    }


def transcription(session_id: str, expires_at: int, knobs: Knobs) -> Event:
    """A fresh `transcription` session: no model yet, server VAD without the response switches."""
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": _server_vad(knobs),
            }
        },
        "include": None,
    }


def translation(model: str, session_id: str, expires_at: int) -> Event:
    """A fresh `translation` session."""
    return {
        "type": "translation",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "audio": {"input": {"transcription": None, "noise_reduction": None}, "output": {"language": "es"}},
    }


def translation_updated(session: Event, change: Mapping[str, Any]) -> Event:
    """A translation session with a validated `change` applied."""
    return _merge(session, change)


def transcription_model(name: str, *, deployments: Mapping[str, str] | None) -> models.Model | None:
    """The transcription model of this name; with `deployments` (Azure) any name is one, told of or not."""
    unnamed = None if deployments is None else models.find("gpt-4o-transcribe")
    model = models.find((deployments or {}).get(name, name)) or unnamed
    if model is None or model.use is not models.Use.TRANSCRIPTION or model.stage is models.Stage.SHUT_DOWN:
        return None
    return model


def updated(
    session: Event,
    change: Mapping[str, Any],
    knobs: Knobs,
    *,
    voice_locked: bool,
    deployments: Mapping[str, str] | None = None,
) -> Event:
    """`session` with a validated `change` applied. Raises `Refused`; then nothing of the change holds.

    `deployments`: models go by names the client chose, so a model it names again is not compared.
    """
    if deployments is not None:
        change = {key: value for key, value in change.items() if key != "model"}
    if change["type"] != session["type"]:
        raise Refused(
            "invalid_parameter",
            f"Passing a {change['type']} session update event to a {session['type']} session is not allowed.",
            "session.type",
        )
    new = _merge(session, change)
    if "model" in change and change["model"] != session.get("model"):
        raise Refused("invalid_parameter", "The model of a session cannot be changed.", "session.model")
    if change.get("tracing") != session.get("tracing") and session.get("tracing") and "tracing" in change:
        raise Refused("invalid_parameter", "Tracing cannot be modified once it is enabled.", "session.tracing")
    output = new["audio"].get("output")
    if voice_locked and output and output["voice"] != session["audio"]["output"]["voice"]:
        raise Refused("cannot_update_voice", VOICE_IS_LOCKED)
    _fill_turn_detection(new, knobs)
    if not knobs.keeps_default_detection:
        _drop_default_detection(new, change, deployments=deployments)
    _check_transcription(new, deployments=deployments)
    check_reasoning(new, change, "session")
    return new


def _server_vad(knobs: Knobs) -> Event:
    return {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": knobs.silence_duration_ms,
    }


def _merge(base: Mapping[str, Any], change: Mapping[str, Any], path: str = "") -> Event:
    merged = copy.deepcopy(dict(base))
    for key, value in change.items():
        where = f"{path}.{key}" if path else key
        boxed = where in _BOXES and isinstance(value, Mapping)
        merged[key] = _merge(merged.get(key) or {}, value, where) if boxed else copy.deepcopy(value)
    return merged


def _fill_turn_detection(session: Event, knobs: Knobs) -> None:
    given = session["audio"]["input"]["turn_detection"]
    if given is None:
        return
    semantic = given["type"] == "semantic_vad"
    defaults: Event = {"type": "semantic_vad", "eagerness": "auto"} if semantic else _server_vad(knobs)
    if session["type"] == "realtime":
        if not semantic:
            defaults["idle_timeout_ms"] = None
        defaults.update(create_response=True, interrupt_response=True)
    session["audio"]["input"]["turn_detection"] = {**defaults, **given}


def _drop_default_detection(
    session: Event, change: Mapping[str, Any], *, deployments: Mapping[str, str] | None
) -> None:
    box = session["audio"]["input"]
    if session["type"] != "transcription" or "turn_detection" in change.get("audio", {}).get("input", {}):
        return
    model = box["transcription"] and transcription_model(box["transcription"]["model"], deployments=deployments)
    if model and "turn_detection" not in model.takes:
        box["turn_detection"] = None


def _check_transcription(session: Event, *, deployments: Mapping[str, str] | None) -> None:
    box = session["audio"]["input"]
    given = box["transcription"]
    if given is None:
        return
    where = "session.audio.input.transcription"
    model = transcription_model(given["model"], deployments=deployments)
    if model is None:
        raise Refused(
            "invalid_value", f"Invalid value: '{given['model']}'. It is not a transcription model.", f"{where}.model"
        )
    if given.get("language") is not None and given.get("languages") is not None:
        raise Refused("invalid_value", "'language' and 'languages' cannot be set together.", f"{where}.languages")
    for key in _PER_MODEL:
        if given.get(key) is not None and key not in model.takes:
            raise Refused("invalid_value", f"'{key}' is not supported for the model '{model.id}'.", f"{where}.{key}")
    # Only seen refused in transcription sessions (livekit/agents#5779); a realtime session needs its own VAD.
    detects = session["type"] == "transcription" and box["turn_detection"] is not None
    if detects and "turn_detection" not in model.takes:
        raise Refused("invalid_value", NO_TURN_DETECTION, "session.audio.input.turn_detection")
    box["transcription"] = {"model": given["model"], "language": None, "prompt": None} | {
        key: value for key, value in given.items() if key != "delay"
    }


def check_reasoning(session: Mapping[str, Any], change: Mapping[str, Any], where: str) -> None:
    """Refuse what only reasoning models take; `where` is "session" or "response"."""
    model = models.find(str(session.get("model")))
    for key in ("reasoning", "parallel_tool_calls"):
        if change.get(key) is not None and model is not None and not model.reasoning:
            raise Refused(
                "invalid_parameter", f"'{key}' is not supported for the model '{model.id}'.", f"{where}.{key}"
            )
