"""What is left of the retired beta Realtime API: its header, and the event names that OpenAI renamed in GA.

OpenAI itself refuses the beta since 2026-05-12, but gateways still relay its event names; `wire.server_events` reads
`SERVER_EVENTS` to understand such a gateway. A name that did not change is not listed.
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
