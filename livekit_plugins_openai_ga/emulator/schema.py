"""The client events GA takes, field by field: what is not in these tables is refused with its dotted path.

`check(event)` raises `Refused` in the server's words. It judges shapes and ranges; what depends on the state of the
session (voice lock, known ids, active response) is judged there.
"""

from __future__ import annotations

from typing import Any

from ..wire.session import VOICES
from .conversation import Refused
from .grammar import (
    Array,
    Check,
    Number,
    Object,
    Or,
    Table,
    Text,
    Variants,
    anything,
    boolean,
    enumeration,
    mapping,
    missing,
    nullable,
    wrong_type,
    wrong_value,
)

ID = Text(32)
# A call id made of other characters is refused (livekit/agents#5652).
_WORD = "^[a-zA-Z0-9_-]+$"
CALL_ID = Text(32, pattern=_WORD)
EVENT_ID = Text(512)

_FORMAT = Variants(
    "type",
    {
        "audio/pcm": Object({"type": anything, "rate": Number(24000, 24000)}, ("type", "rate")),
        "audio/pcmu": Object({"type": anything}),
        "audio/pcma": Object({"type": anything}),
    },
)
_NOISE_REDUCTION = nullable(
    Object(
        {"type": Text(choices=("near_field", "far_field")), "strength": Number(0, 1, integer=False)},
        ("type",),
    )
)
_TRANSCRIPTION = nullable(
    Object(
        {
            "model": Text(),
            "language": nullable(Text()),
            "languages": Array(Text(), shortest=1),
            "keywords": Array(Text()),
            "prompt": nullable(Text()),
            "delay": nullable(Text(choices=("minimal", "low", "medium", "high", "xhigh"))),
        },
        ("model",),
    )
)
_SERVER_VAD: dict[str, Check] = {
    "type": anything,
    "threshold": Number(0, 1, integer=False),
    "prefix_padding_ms": Number(0),
    "silence_duration_ms": Number(0),
}
_SEMANTIC_VAD: dict[str, Check] = {"type": anything, "eagerness": Text(choices=("low", "medium", "high", "auto"))}
_RESPONSE_SWITCHES: dict[str, Check] = {"create_response": boolean, "interrupt_response": boolean}


def _turn_detection(*, responses: bool) -> Check:
    extra = _RESPONSE_SWITCHES if responses else {}
    idle: dict[str, Check] = {"idle_timeout_ms": nullable(Number(5000, 30000))} if responses else {}
    return nullable(
        Variants(
            "type",
            {"server_vad": Object(_SERVER_VAD | extra | idle), "semantic_vad": Object(_SEMANTIC_VAD | extra)},
        )
    )


def _input(*, responses: bool) -> Check:
    return Object(
        {
            "format": _FORMAT,
            "noise_reduction": _NOISE_REDUCTION,
            "transcription": _TRANSCRIPTION,
            "turn_detection": _turn_detection(responses=responses),
        }
    )


_VOICE = Or(dict, Object({"id": Text()}, ("id",)), Text(choices=VOICES))
_SPEED = Number(0.25, 1.5, integer=False)
_MAX_TOKENS = Or(str, Text(choices=("inf",)), Number(1, 4096))
_REASONING = nullable(Object({"effort": Text(choices=("minimal", "low", "medium", "high", "xhigh"))}))
_FUNCTION_TOOL = Object(
    {"type": anything, "name": Text(64, pattern=_WORD), "description": Text(1024), "parameters": nullable(mapping)},
    ("type", "name"),
)
_TOOL_FILTER = Object({"tool_names": Array(Text()), "read_only": boolean})
_MCP_TOOL = Object(
    {
        "type": anything,
        "server_label": Text(pattern=_WORD),
        **dict.fromkeys(("server_url", "connector_id", "tunnel_id", "server_description", "authorization"), Text()),
        "headers": nullable(Table(100, 256, 8192)),
        "allowed_tools": nullable(Or(list, Array(Text()), _TOOL_FILTER)),
        "require_approval": nullable(
            Or(str, Text(choices=("always", "never")), Object({"always": _TOOL_FILTER, "never": _TOOL_FILTER}))
        ),
        "defer_loading": boolean,
        "allowed_callers": nullable(Array(Text(choices=("direct", "programmatic")))),
    },
    ("type", "server_label"),
)
_TOOLS = Array(Variants("type", {"function": _FUNCTION_TOOL, "mcp": _MCP_TOOL}))
_TOOL_CHOICE = Or(
    str,
    Text(choices=("none", "auto", "required")),
    Variants(
        "type",
        {
            "function": Object({"type": anything, "name": Text()}, ("name",)),
            "mcp": Object({"type": anything, "server_label": Text(), "name": nullable(Text())}, ("server_label",)),
        },
    ),
)
_TRUNCATION = Or(
    str,
    Text(choices=("auto", "disabled")),
    Variants(
        "type",
        {
            "retention_ratio": Object(
                {
                    "type": anything,
                    "retention_ratio": Number(0, 1, integer=False),
                    "token_limits": nullable(Object({"post_instructions": Number(0)})),
                },
                ("retention_ratio",),
            )
        },
    ),
)
_TRACING = nullable(
    Or(str, Text(choices=("auto",)), Object(dict.fromkeys(("workflow_name", "group_id", "metadata"), anything)))
)
_PROMPT = nullable(Object({"id": Text(), "version": anything, "variables": anything}, ("id",)))
_METADATA = nullable(Table(16, 64, 512))
_INCLUDE = nullable(Array(Text(choices=("item.input_audio_transcription.logprobs",))))


def _modalities(value: Any, path: str) -> None:
    Array(Text(choices=("text", "audio")))(value, path)
    if value not in (["text"], ["audio"]):
        shown = "[" + ", ".join(f"'{entry}'" for entry in value) + "]"
        message = f"Invalid modalities: {shown}. Supported combinations are: ['text'] and ['audio']."
        raise Refused("invalid_value", message, path)


# What a session and a single response share.
_SHARED: dict[str, Check] = {
    "output_modalities": _modalities,
    "instructions": Text(),
    "tools": _TOOLS,
    "tool_choice": _TOOL_CHOICE,
    "max_output_tokens": _MAX_TOKENS,
    "prompt": _PROMPT,
    "reasoning": _REASONING,
    "parallel_tool_calls": boolean,
}
_REALTIME_SESSION = Object(
    {
        **_SHARED,
        "type": anything,
        "model": Text(),
        "audio": Object(
            {
                "input": _input(responses=True),
                "output": Object({"format": _FORMAT, "voice": _VOICE, "speed": _SPEED}),
            }
        ),
        "truncation": _TRUNCATION,
        "tracing": _TRACING,
        "include": _INCLUDE,
    }
)
_TRANSCRIPTION_SESSION = Object(
    {"type": anything, "audio": Object({"input": _input(responses=False)}), "include": _INCLUDE}
)
SESSION = Variants("type", {"realtime": _REALTIME_SESSION, "transcription": _TRANSCRIPTION_SESSION})

# The 13 documented languages, then those that models of this family hear: the server takes about 70 of them, by their
# two letters, and of the codes with three letters only some.
_LANGUAGES = (
    *("es", "pt", "fr", "ja", "ru", "zh", "de", "ko", "hi", "id", "vi", "it", "en"),
    *("af", "ar", "az", "be", "bg", "bs", "ca", "cs", "cy", "da", "el", "et", "fa", "fi", "gl", "he", "hr", "hu", "hy"),
    *("is", "kk", "kn", "lt", "lv", "mi", "mk", "mr", "ms", "ne", "nl", "no", "pl", "ro", "sk", "sl", "sr", "sv", "sw"),
    *("ta", "th", "tl", "tr", "uk", "ur", "spa", "rus", "deu"),
)
_TRANSLATION_AUDIO = Object(
    {
        "input": Object(
            {"transcription": nullable(Object({"model": Text()}, ("model",))), "noise_reduction": _NOISE_REDUCTION}
        ),
        "output": Object({"language": Text(choices=_LANGUAGES)}),
    }
)
# No `type` and no `model`: this is the one session object that is not tagged.
_TRANSLATION_SESSION = Object({"audio": _TRANSLATION_AUDIO})
# When it is asked for over HTTP, it has a model.
TRANSLATION_REQUEST = Object({"model": Text(), "audio": _TRANSLATION_AUDIO}, ("model",))

_ITEM_COMMON: dict[str, Check] = {
    "type": anything,
    "id": ID,
    "object": Text(choices=("realtime.item",)),
    "status": Text(choices=("in_progress", "completed", "incomplete")),
}


def _image(value: Any, path: str) -> None:
    Text()(value, path)
    if not value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")):
        raise Refused("invalid_value", f"Invalid '{path}'. Expected a data URI of a png or jpeg image.", path)


_INPUT_TEXT = Object({"type": anything, "text": Text(256_000)}, ("text",))
_USER_PART = Variants(
    "type",
    {
        "input_text": _INPUT_TEXT,
        "input_audio": Object({"type": anything, "audio": Text(), "transcript": nullable(Text())}, ("audio",)),
        "input_image": Object(
            {"type": anything, "image_url": _image, "detail": Text(choices=("auto", "low", "high"))}, ("image_url",)
        ),
    },
)


def _assistant_part(value: Any, path: str) -> None:
    # The model's own audio cannot be replayed; the server then asks for `text` (openai/openai-agents-js#963).
    if isinstance(value, dict) and value.get("type") == "output_audio":
        raise missing(f"{path}.text")
    Variants("type", {"output_text": Object({"type": anything, "text": Text()}, ("text",))})(value, path)


def _message(part: Check) -> Check:
    return Object({**_ITEM_COMMON, "role": anything, "content": Array(part), "phase": anything}, ("role", "content"))


ITEM = Variants(
    "type",
    {
        "message": Variants(
            "role",
            {
                "user": _message(_USER_PART),
                "system": _message(Variants("type", {"input_text": _INPUT_TEXT})),
                "assistant": _message(_assistant_part),
            },
        ),
        "function_call": Object(
            {**_ITEM_COMMON, "name": Text(), "arguments": Text(), "call_id": CALL_ID}, ("name", "arguments")
        ),
        "function_call_output": Object({**_ITEM_COMMON, "call_id": CALL_ID, "output": Text()}, ("call_id", "output")),
        "mcp_approval_response": Object(
            {**_ITEM_COMMON, "approval_request_id": Text(), "approve": boolean, "reason": nullable(Text())},
            ("id", "approval_request_id", "approve"),
        ),
    },
)


def _response_input(value: Any, path: str) -> None:
    if isinstance(value, dict) and value.get("type") == "item_reference":
        Object({"type": anything, "id": Text()}, ("id",))(value, path)
    else:
        ITEM(value, path)


# Null stands for "as the session has it": clients send it for what they leave open.
RESPONSE = Object(
    {
        **{name: nullable(check) for name, check in _SHARED.items()},
        "audio": Object({"output": Object({"format": _FORMAT, "voice": _VOICE})}),
        "conversation": Text(choices=("auto", "none")),
        "input": Array(_response_input),
        "metadata": _METADATA,
    }
)


def _event(required: tuple[str, ...] = (), **fields: Check) -> Check:
    return Object({"type": anything, "event_id": EVENT_ID, **fields}, required)


EVENTS: dict[str, Check] = {
    "session.update": _event(("session",), session=SESSION),
    "session.close": _event(),
    "input_audio_buffer.append": _event(("audio",), audio=Text()),
    "session.input_audio_buffer.append": _event(("audio",), audio=Text()),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event(("item",), item=ITEM, previous_item_id=nullable(Text())),
    "conversation.item.truncate": _event(
        ("item_id", "content_index", "audio_end_ms"), item_id=Text(), content_index=Number(0), audio_end_ms=Number(0)
    ),
    "conversation.item.delete": _event(("item_id",), item_id=Text()),
    "conversation.item.retrieve": _event(("item_id",), item_id=Text()),
    "response.create": _event(response=nullable(RESPONSE)),
    "response.cancel": _event(response_id=Text()),
}
# What only a call has: elsewhere it is the client that plays the speech, and this name is not known.
_CALL_EVENTS: dict[str, Check] = {**EVENTS, "output_audio_buffer.clear": _event()}
# One parser serves all kinds of session, so it knows every name; what a name is good for depends on the session.
_TRANSLATION_ONLY = ("session.close", "session.input_audio_buffer.append")
_LEGAL: dict[str, tuple[str, ...]] = {
    "realtime": tuple(name for name in EVENTS if name not in _TRANSLATION_ONLY),
    "call": tuple(name for name in _CALL_EVENTS if name not in _TRANSLATION_ONLY),
    "transcription": (
        "session.update",
        "input_audio_buffer.append",
        "input_audio_buffer.commit",
        "input_audio_buffer.clear",
        "conversation.item.delete",
        "conversation.item.retrieve",
    ),
    "translation": ("session.update", *_TRANSLATION_ONLY),
}
_TRANSLATION_EVENTS: dict[str, Check] = {**EVENTS, "session.update": _event(("session",), session=_TRANSLATION_SESSION)}
_KNOWN: dict[str, dict[str, Check]] = {"call": _CALL_EVENTS, "translation": _TRANSLATION_EVENTS}


def check(event: Any, session_type: str) -> None:
    """Refuse an event that is not one, or not one for this kind of session (its type, or "call")."""
    events = _KNOWN.get(session_type, EVENTS)
    if not isinstance(event, dict):
        raise Refused("invalid_event", "Invalid event: expected a JSON object.", None)
    if "type" not in event:
        raise missing("type")
    name = event["type"]
    if not isinstance(name, str):
        raise wrong_type("type", "a string", name)
    if name not in events:
        raise wrong_value("type", name, tuple(events))
    if name not in _LEGAL[session_type]:
        legal = enumeration(_LEGAL[session_type])
        message = f"Event '{name}' is not allowed in a {session_type} session. Allowed are: {legal}."
        raise Refused("invalid_value", message, "type")
    events[name](event, "")
