"""What OpenAI renamed between the retired beta Realtime API and GA, as one set of tables.

OpenAI itself refuses the beta since 2026-05-12, but gateways still relay old event names, and code written for
the beta still names old fields. `wire.server_events.decode` reads `SERVER_EVENTS` to understand such a gateway;
tools that look for beta code read all of them. A name that did not change is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

BETA_HEADER = "OpenAI-Beta"
"""The header that asked for the beta. GA closes the connection when it sees it (pickle-com/glass#220)."""

SERVER_EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "response.text.delta": "response.output_text.delta",
        "response.text.done": "response.output_text.done",
        "response.audio.delta": "response.output_audio.delta",
        "response.audio.done": "response.output_audio.done",
        "response.audio_transcript.delta": "response.output_audio_transcript.delta",
        "response.audio_transcript.done": "response.output_audio_transcript.done",
        # GA sends `conversation.item.done` as well; a beta sender never does.
        "conversation.item.created": "conversation.item.added",
        "transcription_session.created": "session.created",
        "transcription_session.updated": "session.updated",
    }
)
"""Server event names: beta -> GA. A handler for a beta name never fires on GA, and nothing reports it."""

CLIENT_EVENTS: Mapping[str, str] = MappingProxyType({"transcription_session.update": "session.update"})
"""Client event names: beta -> GA. The GA `session` then needs `type`: "realtime" or "transcription"."""

SESSION_FIELDS: Mapping[str, str | None] = MappingProxyType(
    {
        "modalities": "output_modalities",
        "voice": "audio.output.voice",
        "speed": "audio.output.speed",
        "output_audio_format": "audio.output.format",
        "input_audio_format": "audio.input.format",
        "input_audio_transcription": "audio.input.transcription",
        "input_audio_noise_reduction": "audio.input.noise_reduction",
        "turn_detection": "audio.input.turn_detection",
        "max_response_output_tokens": "max_output_tokens",
        "temperature": None,
        # Belonged to the beta's way of minting keys; GA takes `expires_after` beside `session` instead.
        "client_secret": None,
    }
)
"""Top-level fields of a beta `session`, or `response` in `response.create` -> dotted GA path; None: removed."""

FORMATS: Mapping[str, Mapping[str, str | int]] = MappingProxyType(
    {
        # `rate` is optional in the SDK's types, but the server refuses the update without it.
        "pcm16": MappingProxyType({"type": "audio/pcm", "rate": 24000}),
        "g711_ulaw": MappingProxyType({"type": "audio/pcmu"}),
        "g711_alaw": MappingProxyType({"type": "audio/pcma"}),
    }
)
"""Audio formats: beta name -> GA object. PCM is 24 kHz, G.711 is 8 kHz, both mono."""

CONTENT_TYPES: Mapping[str, str] = MappingProxyType({"text": "output_text", "audio": "output_audio"})
"""Content of an assistant *item*: beta -> GA. `response.content_part.*` keeps the beta words in GA, too."""
