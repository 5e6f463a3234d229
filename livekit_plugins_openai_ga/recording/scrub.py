"""What is left out of an event before it is written. Pure: an event in, a new one out; nothing is changed in place.

Never written: keys. A field of `SECRETS` is hidden whole; texts go through `redaction`.
Left out unless it is kept: audio and pictures. Their length and hash stand in their place.
Left out when texts are: all that is not listed here as harmless (`PLAIN`, `WALKED`). So a field that this version has
never heard of is left out, too. Numbers stay, and so do the names of the protocol's own fields.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..redaction import HIDDEN, Secret, hide, redact
from ..wire import codec
from .entries import per_ms, size_of

SECRETS = frozenset({"authorization", "headers", "client_secret", "api_key"})
"""Fields that hold credentials: those of MCP servers, mostly."""

AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta", "session.output_audio.delta"})
"""Events whose `delta` is audio. Elsewhere audio stands in `audio`."""

PLAIN = frozenset(
    {
        *("type", "object", "id", "event_id", "item_id", "previous_item_id", "response_id", "conversation_id"),
        *("call_id", "approval_request_id", "session_id", "connector_id", "tunnel_id", "server_label"),
        *("status", "role", "phase", "code", "param", "model", "voice", "name", "conversation", "version"),
        *("output_modalities", "modalities", "language", "languages", "include", "detail", "delay", "effort"),
        *("eagerness", "truncation", "tracing", "tool_choice", "allowed_tools", "tool_names", "require_approval"),
        *("allowed_callers", "max_output_tokens", "status_details.reason", "incomplete_details.reason"),
    }
)
"""Fields whose words stay: ids, types, codes, choices, names of tools and models. One with a dot is meant in that field
only. A value that is not one word is none of these, whatever its field says."""

WALKED = frozenset(
    {
        *("session", "item", "response", "part", "error", "status_details", "incomplete_details", "conversation"),
        *("content", "input", "output", "tools", "audio", "format", "transcription", "noise_reduction"),
        *("turn_detection", "reasoning", "truncation", "token_limits", "prompt", "voice", "tool_choice"),
        *("allowed_tools", "require_approval", "always", "never", "rate_limits", "usage", "input_token_details"),
        *("output_token_details", "cached_tokens_details"),
    }
)
"""Fields whose objects have fields of the protocol. The others may have names of the application's own."""

_NAMES = frozenset({"type", "code", "event_id", "object", "role", "status"})
"""What everything is known by. A word of theirs that is also in a header stays, but for what looks like a key."""

_KNOWN = PLAIN | WALKED | {"delta", "text", "transcript", "arguments", "instructions", "output_index", "content_index"}
_ONE_WORD = re.compile(r"[A-Za-z0-9_.:/+\[\]-]{0,128}")
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})[^,]{0,100};base64,")
_HASHED = 16
"""Hexadecimal digits of a hash: enough to tell which audio is the same."""


@dataclass(frozen=True, slots=True)
class Scrub:
    """What is left out of one session's events.

    Attributes:
        audio: Keep audio and pictures as they are on the wire.
        redact: Leave texts out.
        heard: Type of the audio that is sent, such as `audio/pcm`; it turns bytes into ms.
        spoken: The same for the audio that comes.
    """

    audio: bool = False
    redact: bool = False
    heard: str = "audio/pcm"
    spoken: str = "audio/pcm"

    def __call__(self, event: Mapping[str, Any], secrets: Iterable[str] = ()) -> dict[str, Any]:
        """The event as it may be written. `secrets` are those in use, as `redaction.traces` gives them."""
        return _Pass(self, str(event.get("type")), tuple(secrets)).fields(event, "")


@dataclass(frozen=True, slots=True)
class _Pass:
    """One event's way through."""

    rules: Scrub
    type: str
    secrets: tuple[str, ...]

    def fields(self, values: Mapping[str, Any], parent: str) -> dict[str, Any]:
        """Every field of an object that is part of the protocol; `parent` is the field that it stands in."""
        speaker = self.rules.heard if values.get("type") == "input_audio" else self.rules.spoken
        return {
            name if name in _KNOWN else self.words(name): self.field(name, value, parent, speaker)
            for name, value in values.items()
        }

    def field(self, name: str, value: Any, parent: str, spoken: str) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if name.lower() in SECRETS or isinstance(value, Secret):
            return HIDDEN
        if isinstance(value, str):
            return self.text(name, value, parent, spoken)
        if isinstance(value, Mapping) and (name in WALKED or not self.rules.redact):
            return self.fields(value, name)
        if isinstance(value, (list, tuple)) and (name in WALKED or name in PLAIN or not self.rules.redact):
            return [self.field(name, entry, parent, spoken) for entry in value]
        return {"chars": len(json.dumps(value, ensure_ascii=False, default=str))}

    def text(self, name: str, value: str, parent: str, spoken: str) -> Any:
        if name == "audio" or (name == "delta" and self.type in AUDIO_DELTAS):
            form = self.rules.heard if self.type.endswith("input_audio_buffer.append") else spoken
            return value if self.rules.audio else _stands_for(value, ms_of=form)
        if name == "image_url" and (head := _DATA_URL.match(value)):
            return value if self.rules.audio else _stands_for(value[head.end() :], mime=head[1])
        if self.rules.redact and not self.is_plain(name, value, parent):
            return HIDDEN if name == "type" else {"chars": len(value)}
        return redact(value) if name in _NAMES else self.words(value)

    def is_plain(self, name: str, value: str, parent: str) -> bool:
        allowed = name in PLAIN or f"{parent}.{name}" in PLAIN
        return allowed and _ONE_WORD.fullmatch(value) is not None

    def words(self, value: str) -> str:
        return hide(redact(value), self.secrets)


def _stands_for(base64: str, *, ms_of: str = "", mime: str = "") -> dict[str, Any]:
    """Length and hash of what is not kept."""
    try:
        data = codec.b64decode(base64)
        size = len(data)
    except ValueError:  # whoever wrote it will hear of it from the server
        data, size = base64.encode("utf-8", "replace"), size_of(base64)
    said = {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()[:_HASHED]}
    return {**said, "ms": round(size / per_ms(ms_of), 3)} if ms_of else {**said, "mime": mime}
