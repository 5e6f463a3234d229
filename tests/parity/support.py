"""What of OpenAI's GA Realtime API is supported: docs/supported.md's table, and the parts of it that a row speaks for.

`python -m tests.parity.support` writes the table into that page. A test walks the installed openai SDK and fails on
a part that no row speaks for, so what is new there has to be built, or listed here with the reason.

A part is a kind and a name: `sends` (client events), `receives` (server events), the fields of a session (`realtime`,
`transcription`, `translation`) and of a `reply` as dotted paths, `item`, `calls` (methods of `client.realtime`) and
`webhook`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "supported.md"
BEGIN, END = "<!-- support: python -m tests.parity.support -->", "<!-- /support -->"


@dataclass(frozen=True)
class Row:
    """One row of the table: `what`, and whether and how it is supported (or why not). `parts` is what it speaks for."""

    what: str
    how: str
    parts: tuple[str, ...] = ()


def parts(kinds: str, names: str, below: str = "") -> tuple[str, ...]:
    """`realtime audio.input.format.type` and so on, for each of these kinds and names."""
    return tuple(f"{kind} {below}{name}" for kind in kinds.split() for name in names.split())


INPUT, OUTPUT = "audio.input.", "audio.output."
RESPONSE = (
    "created done output_item.added output_item.done content_part.added content_part.done "
    "output_text.delta output_text.done output_audio.delta output_audio.done "
    "output_audio_transcript.delta output_audio_transcript.done "
    "function_call_arguments.delta function_call_arguments.done"
)
BUFFER = "cleared committed speech_started speech_stopped timeout_triggered"
VAD = "type threshold prefix_padding_ms silence_duration_ms eagerness create_response interrupt_response"
MCP = (
    "server_label server_url connector_id tunnel_id server_description authorization headers allowed_callers "
    "allowed_tools.tool_names allowed_tools.read_only defer_loading "
    "require_approval.always.tool_names require_approval.always.read_only "
    "require_approval.never.tool_names require_approval.never.read_only"
)

ROWS = (
    Row(
        "Speech to speech, text replies, transcripts, server and semantic VAD",
        "yes",
        (
            *parts("sends", "session.update response.create response.cancel"),
            *parts("sends", "append commit clear", "input_audio_buffer."),
            *parts("receives", "session.created session.updated error"),
            *parts("receives", RESPONSE, "response."),
            *parts("receives", BUFFER, "input_audio_buffer."),
            *parts("receives", "delta completed failed", "conversation.item.input_audio_transcription."),
            *parts("realtime", "type model instructions output_modalities max_output_tokens truncation.type include"),
            *parts("realtime", "truncation.retention_ratio truncation.token_limits.post_instructions"),
            *parts("realtime", "voice.id speed", OUTPUT),
            *parts("realtime", f"{VAD} idle_timeout_ms", f"{INPUT}turn_detection."),
            *parts("realtime", "type strength", f"{INPUT}noise_reduction."),
            *parts("realtime", "model language languages keywords prompt delay", f"{INPUT}transcription."),
            *parts("calls", "connect"),
        ),
    ),
    Row(
        "Tools",
        "yes: function tools, and MCP servers that OpenAI calls, see [server-tools.md](server-tools.md)",
        (
            *parts("realtime reply", "type name description parameters", "tools."),
            *parts("realtime reply", MCP, "tools."),
            *parts("realtime reply", "type name server_label", "tool_choice."),
            *parts("realtime", "parallel_tool_calls"),
            *parts("receives", "mcp_list_tools.in_progress mcp_list_tools.completed mcp_list_tools.failed"),
            *parts("receives", "in_progress completed failed", "response.mcp_call."),
            *parts("receives", "delta done", "response.mcp_call_arguments."),
            *parts("item", "mcp_list_tools mcp_call mcp_approval_request mcp_approval_response"),
        ),
    ),
    Row(
        "Interruption with truthful history",
        "yes",
        (
            *parts("sends", "create delete truncate", "conversation.item."),
            *parts("receives", "added done deleted truncated", "conversation.item."),
            *parts("item", "message function_call function_call_output"),
        ),
    ),
    Row(
        "Replies with their own voice, modality, reasoning, input, metadata; out of band",
        "yes, see [replies.md](replies.md)",
        (
            *parts("reply", "instructions output_modalities max_output_tokens reasoning.effort metadata conversation"),
            *parts("reply", "input parallel_tool_calls prompt.id prompt.version prompt.variables"),
            *parts("reply", "voice.id", OUTPUT),
        ),
    ),
    Row("Reasoning models", "yes", parts("realtime", "reasoning.effort")),
    Row(
        "G.711 for telephone rooms, in `RealtimeModel` and `STT`",
        "yes, see [telephony.md](telephony.md); a reply has the session's format",
        (
            *parts("realtime", f"{INPUT}format.type {INPUT}format.rate {OUTPUT}format.type {OUTPUT}format.rate"),
            *parts("transcription", f"{INPUT}format.type {INPUT}format.rate"),
            *parts("reply", f"{OUTPUT}format.type {OUTPUT}format.rate"),
        ),
    ),
    Row(
        "Images: frames of video, `data:` URLs, links (fetched, from public addresses only)",
        "yes, see [replies.md](replies.md)",
    ),
    Row(
        "`AgentSession.say` without a TTS",
        "no speech from a given text in GA; `read_aloud=True` asks the model to read it",
    ),
    Row(
        "Connection opened and configured ahead (`prewarm`)",
        "yes, see [production.md](production.md#ready-sooner)",
    ),
    Row("Reconnect with history; audio not in a turn yet is sent again (up to 30 s)", "yes"),
    Row("Planned change of connection before OpenAI's 60 minutes", "yes, at a calm moment after 50 minutes"),
    Row(
        "A reply after a lost connection",
        "one of which nothing was heard is asked for again; another ends where it was heard",
    ),
    Row(
        "A spoken turn whose transcript had not arrived when the connection was lost",
        "goes on as audio in the next one",
    ),
    Row(
        "Speech to text: streaming and whole utterances, gpt-live-transcribe to whisper-1",
        "yes",
        (
            *parts("transcription", "type include"),
            *parts("transcription", "type strength", f"{INPUT}noise_reduction."),
            *parts("transcription", "model language languages keywords prompt delay", f"{INPUT}transcription."),
            *parts("transcription", VAD.rpartition(" create")[0], f"{INPUT}turn_detection."),
        ),
    ),
    Row("Speech to text: audio without a text is sent again after a lost connection (up to 60 s)", "yes"),
    Row(
        "Translation of speech while it is spoken (`Translator`), also over a lost connection",
        "yes, see [translation.md](translation.md)",
        (
            *parts("sends", "session.close session.input_audio_buffer.append"),
            *parts("receives", "session.closed session.output_audio.delta"),
            *parts("receives", "session.input_transcript.delta session.output_transcript.delta"),
            *parts("translation", f"{INPUT}noise_reduction.type {INPUT}noise_reduction.strength"),
            *parts("translation", f"{INPUT}transcription.model {OUTPUT}language"),
            *parts("calls", "translations.connect translations.client_secrets.create"),
        ),
    ),
    Row(
        "Client secrets for browsers, WebRTC calls, SIP calls by signed webhook (`rest`); a function as `api_key`",
        "yes, see [keys.md](keys.md) and [telephony.md](telephony.md)",
        (
            *parts("calls", "client_secrets.create"),
            *parts("calls", "create accept reject refer hangup", "calls."),
            *parts("webhook", "realtime.call.incoming"),
        ),
    ),
    Row(
        "An agent attached to a browser's or a phone's call that runs on OpenAI (`RealtimeModel(call_id=...)`)",
        "yes, see [browser.md](browser.md)",
        (
            *parts("sends", "output_audio_buffer.clear"),
            *parts("receives", "started stopped cleared", "output_audio_buffer."),
        ),
    ),
    Row("Azure OpenAI on the GA path, key or Entra token (`RealtimeModel.with_azure`, `STT.with_azure`)", "yes"),
    Row("Azure's dated `api_version` dialect", "no, refused: it is retired"),
    Row(
        "Gateways: path prefixes, query strings, `http(s)` or `ws(s)`, own headers",
        "yes; LiteLLM is tested, see [gateways.md](gateways.md)",
    ),
    Row(
        "livekit-agents 1.2.8 to 1.8.9; websockets 15.0.1 to 17; Python 3.10 to 3.14",
        "yes, see [compatibility.md](compatibility.md)",
    ),
    Row("What is left of the rate limits", "an event, `rate_limits_updated`", parts("receives", "rate_limits.updated")),
    Row(
        "Tracing; stored prompts",
        "passed on; OpenAI shuts stored prompts down on 2026-11-30",
        (
            *parts("realtime", "workflow_name group_id metadata", "tracing."),
            *parts("realtime", "id version variables", "prompt."),
        ),
    ),
    Row(
        "Retrieving an item as the server has it, with its audio",
        "no call for it: the history here is complete; `send_event` and `openai_server_event_received` do it",
        (*parts("sends", "conversation.item.retrieve"), *parts("receives", "conversation.item.retrieved")),
    ),
    Row(
        "Speaker labels (`gpt-4o-transcribe-diarize`), word times",
        "no: the text comes without them",
        parts("receives", "conversation.item.input_audio_transcription.segment"),
    ),
    Row(
        "Keys pressed on a phone (DTMF)",
        "no event of its own: `openai_server_event_received` has it",
        parts("receives", "input_audio_buffer.dtmf_event_received"),
    ),
    Row(
        "Replies by turn detection in a transcription session",
        "no: such a session makes none, and OpenAI refuses these fields",
        parts("transcription", "create_response interrupt_response idle_timeout_ms", f"{INPUT}turn_detection."),
    ),
    Row(
        "The retired beta API",
        "no; beta event names that a gateway still sends are understood",
        parts("receives", "conversation.created conversation.item.created"),
    ),
)


def lines() -> Iterator[str]:
    """The table in Markdown."""
    yield "| | |\n|---|---|"
    for row in ROWS:
        yield f"| {row.what} | {row.how} |"


def with_table(page: str) -> str:
    """The page with this table in it. Raises ValueError when it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"The page has no place for the table: {BEGIN} ... {END}.")
    return "\n".join([before + begin, *lines(), end + after])


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
