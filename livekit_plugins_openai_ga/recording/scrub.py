"""What is left out of an event before it is written. Pure: an event in, a new one out; nothing is changed in place.

Never written: keys. A field whose name says that it holds one is hidden whole (`redaction.is_secret`), and of a URL all
behind its host; texts go through `redaction`.
Left out unless it is kept: audio and pictures. Their length and hash stand in their place.
Left out when texts are: all that is not listed here as harmless (`PLAIN`, `NUMBERS`, `WALKED`). So a field that this
version has never heard of is left out with its name, which may be somebody's, too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..redaction import HIDDEN, Secret, harmless, hide, is_secret, redact
from ..wire import codec
from .entries import per_ms, size_of

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

NUMBERS = frozenset(
    {
        *("approve", "defer_loading", "create_response", "interrupt_response", "parallel_tool_calls", "read_only"),
        *(
            "audio_start_ms",
            "audio_end_ms",
            "idle_timeout_ms",
            "prefix_padding_ms",
            "silence_duration_ms",
            "start_time",
        ),
        *("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "audio_tokens", "text_tokens"),
        *("image_tokens", "max_output_tokens", "max_response_output_tokens", "post_instructions", "retention_ratio"),
        *("content_index", "output_index", "expires_at", "received_at", "limit", "remaining", "reset_seconds"),
        *("load", "rate", "seconds", "speed", "strength", "temperature", "threshold"),
    }
)
"""Fields whose numbers stay. Another one's may be somebody's telephone."""

TEXTS = frozenset(
    {
        *(
            "arguments",
            "authorization",
            "client_secret",
            "delta",
            "description",
            "event",
            "file_id",
            "filename",
            "headers",
        ),
        *("image_url", "instructions", "keywords", "logprobs", "message", "metadata", "obfuscation", "parameters"),
        *("reason", "server_description", "server_url", "text", "trace", "transcript", "variables", "annotations"),
    }
)
"""Fields of the protocol whose names stay, and nothing else of them."""

_APART = frozenset({"properties", "logprobs"})
"""What a schema calls `password` describes one, and a `token` with a probability is a piece of a word."""

_NAMES = frozenset({"type", "code", "event_id", "object", "role", "status"})
"""What everything is known by. A word of theirs that is also in a header stays, but for what looks like a key."""

_KNOWN = frozenset(name for name in PLAIN | WALKED | NUMBERS | TEXTS if "." not in name)
_OPEN = frozenset(name for name in _KNOWN if not is_secret(name))
_URLS = frozenset({"server_url", "image_url"})
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/?#\s]*@)?([^/?#\s@]*)(/?)(.*)", re.IGNORECASE | re.DOTALL)
_ONE_WORD = re.compile(r"[A-Za-z0-9_.:/+\[\]-]{0,128}")
_DATA_URL = re.compile(r"data:([\w.+/-]{0,100})[^,]{0,1000},?", re.IGNORECASE)
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
        kind, secrets = str(event.get("type")), tuple(secrets)
        texts: list[str] = []

        def noted(text: str) -> str:
            texts.append(text)
            return text

        # All texts are searched at once for what a key must have. Few events have it; these go through once more.
        written = _Pass(self, kind, noted, noted).fields(event, "")
        if harmless("\0".join(texts), secrets):
            return written
        return _Pass(self, kind, lambda text: hide(redact(text), secrets), redact).fields(event, "")


@dataclass(slots=True)
class _Pass:
    """One event's way through. `words`: what is written of a text; `name`: of one that says what something is."""

    rules: Scrub
    type: str
    words: Callable[[str], str]
    name: Callable[[str], str]

    def fields(self, values: Mapping[str, Any], parent: str) -> dict[str, Any]:
        """Every field of an object that is part of the protocol; `parent` is the field that it stands in."""
        speaker = self.rules.heard if values.get("type") == "input_audio" else self.rules.spoken
        redacted, written, unknown = self.rules.redact, {}, {}
        for key, value in values.items():
            name = key if isinstance(key, str) else json.dumps(key)  # an application's dict may have numbers there
            if name in _KNOWN:
                written[name] = self.field(name, value, parent, speaker)
            elif redacted:
                unknown[name] = value
            else:
                written[self.words(name)] = self.field(name, value, parent, speaker)
        return {**written, HIDDEN: _length(unknown)} if unknown else written

    def field(self, name: str, value: Any, parent: str, spoken: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if (name not in _OPEN and is_secret(name) and parent not in _APART) or isinstance(value, Secret):
            return HIDDEN
        if isinstance(value, (int, float)):
            return _length(value) if self.rules.redact and name not in NUMBERS else value
        if isinstance(value, str):
            return self.text(name, value, parent, spoken)
        if isinstance(value, Mapping) and (name in WALKED or not self.rules.redact):
            return self.fields(value, name)
        if isinstance(value, (list, tuple)) and (name in WALKED or name in PLAIN or not self.rules.redact):
            return [self.field(name, entry, parent, spoken) for entry in value]
        return _length(value)

    def text(self, name: str, value: str, parent: str, spoken: str) -> Any:
        if name == "audio" or (name == "delta" and self.type in AUDIO_DELTAS):
            form = self.rules.heard if self.type.endswith("input_audio_buffer.append") else spoken
            return value if self.rules.audio else _stands_for(value, ms_of=form)
        if name == "image_url" and (head := _DATA_URL.match(value)):
            return value if self.rules.audio else _stands_for(value[head.end() :], mime=head[1])
        if self.rules.redact and not self.is_plain(name, value, parent):
            return HIDDEN if name == "type" else {"chars": len(value)}
        if name in _URLS:
            return _host_of(value)
        return self.name(value) if name in _NAMES else self.words(value)

    def is_plain(self, name: str, value: str, parent: str) -> bool:
        allowed = name in PLAIN or f"{parent}.{name}" in PLAIN
        return allowed and _ONE_WORD.fullmatch(value) is not None


def _length(value: object) -> dict[str, int]:
    return {"chars": len(json.dumps(value, ensure_ascii=False, default=str))}


def _host_of(url: str) -> str:
    """A URL as far as its host: behind it anything may be a key."""
    if (parts := _URL.fullmatch(url)) is None:
        return HIDDEN
    scheme, host, slash, rest = parts.groups()
    return f"{scheme}{host}{slash}{HIDDEN if rest else ''}"


def _stands_for(base64: str, *, ms_of: str = "", mime: str = "") -> dict[str, Any]:
    """Length and hash of what is not kept."""
    try:
        data = codec.b64decode(base64)
        size = len(data)
    except ValueError:  # whoever wrote it will hear of it from the server
        data, size = base64.encode("utf-8", "replace"), size_of(base64)
    said = {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()[:_HASHED]}
    return {**said, "ms": round(size / per_ms(ms_of), 3)} if ms_of else {**said, "mime": mime}
