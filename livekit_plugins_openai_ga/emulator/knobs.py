"""How the emulator behaves where OpenAI's servers differ from day to day, or where a test needs another pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .voice import speak

Interpret = Callable[[bytes, str], tuple[str, bytes]]
"""(200 ms of source as 24 kHz int16 mono PCM, target language) to (text, up to 400 ms of the same PCM)."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """Times in seconds unless named `_ms`. The defaults are what was observed on the wire.

    Order knobs: `rate_limits` (documented before the first output, observed after `response.done`), `transcripts`
    (async: `transcription_latency` after the commit; or just before, or after, the `response.done` of the reply),
    `audio_done_first`, `item_done_first`, and `conversation_created`, which GA no longer sends.
    """

    pace: float = 5.0
    """Speech is produced this many times faster than it plays."""
    delta_ms: int = 200
    """Audio in one `response.output_audio.delta`."""
    reply_latency: float = 0.05
    """From `response.created` to the first output."""
    transcription_latency: float = 0.15
    """From a commit to its transcript."""
    rate_limit_latency: float = 0.04
    """From `response.done` to `rate_limits.updated`."""
    mcp_list_latency: float = 0.2
    """From the configuration that names an MCP server to the list of its tools."""
    mcp_in_response: bool = True
    """Whether a response waits for the MCP calls in it, as documented. False: it ends, and they go on beside it, as
    OpenAI's own example clients are prepared for."""
    lifetime: float = 3600.0
    """From the handshake to `session_expired`."""
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    """A client that does not answer a ping for so long is closed with 1011."""
    network_latency: float = 0.0
    """What a round trip takes: `session.created` and each answer, on a WebSocket or to an HTTP request, come that much
    later."""
    silence_duration_ms: int = 200
    """The default of `server_vad`; 500 is documented, 200 was observed."""
    max_message_bytes: int = 32 * 2**20
    api_keys: frozenset[str] | None = None
    """The keys accepted; None takes any non-empty one."""
    gateway_urls: bool = True
    """Take `?intent=transcription&model=...`, which clients send to any host but api.openai.com, as gateways do.
    False refuses it with `invalid_model`, as OpenAI does."""
    keeps_default_detection: bool = True
    """Streaming transcription models: an update that names no `turn_detection` leaves the default one in force and is
    refused, as observed. False turns it off instead, as documented."""
    deployments: Mapping[str, str] = field(default_factory=dict)
    """On Azure's path: which transcription model is behind which name; other names are like gpt-4o-transcribe."""
    rate_limits: Literal["after", "before", "never"] = "after"
    transcripts: Literal["async", "before_done", "after_done"] = "async"
    audio_done_first: bool = True
    item_done_first: bool = True
    conversation_created: bool = False
    seconds_per_word: float = 0.3
    """Speech that streaming transcription models need for one more word."""
    deltas_stop_after: int | None = None
    """Streaming transcription models: most words told of a turn before its commit; the rest come after it, as
    gpt-live-transcribe was seen to do now and then. None: as many as were spoken."""
    leading_space: bool = False
    """Streaming transcription models: begin the deltas of a turn with a space that its transcript does not have."""
    translation_lag: float = 1.0
    """Translation sessions: how far the model is behind the speaker, in seconds of source audio. A multiple of 0.2."""
    translation_speed: float = 2.4
    """Translation sessions: the model takes source audio this many times as fast as it was spoken, at most."""
    translation_silence: bool = True
    """Translation sessions: audio comes for every step of 200 ms, silence too, as the lengths of live captures say.
    False: only speech."""
    interpret: Interpret | None = None
    """Translation sessions: what comes of 200 ms of source in which there is sound, instead of the script. Audio
    of more than 400 ms is said in several steps, so that the model falls behind."""
    sideband_input_events: bool = False
    """Tell a socket into a call (`?call_id=`) of its input buffer (`input_audio_buffer.*`), too, as the call's data
    channel is told. Nobody has published what OpenAI does."""
    call_close_code: int = 1000
    """How the sockets into a call are closed when it ends. Only that it is a clean close was told of."""
    speak: Callable[[str, str, float], bytes] = speak
    """(text, voice, speed) to 24 kHz int16 mono PCM."""
