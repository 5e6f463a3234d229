"""LiveKit's objects and GA's, turned into each other: chat items, tools, usage. No state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livekit.agents import llm
from livekit.agents.metrics import RealtimeModelMetrics, STTMetrics

from ..audio import InputAudio
from ..core.effects import ReplyEnded, Transcript
from ..core.record import Record
from ..core.usage import ReplyUsage, TranscriptionUsage
from ..formats import PCM, AudioFormat
from ..framework import Metadata, ProviderTool, make, raw_schema
from ..log import logger
from ..session_fields import is_json, plain
from ..wire.codec import b64encode
from ..wire.items import Item, Part, brought_back, short_id
from .mcp import MCPTool

Picture = Callable[[llm.ImageContent, llm.ChatRole], Part | None]
"""The part of an image in a message of this role; None for one that has to stay out."""

_TOOL_FIELDS = frozenset({"type", "name", "description", "parameters"})
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _audio_part(audio: llm.AudioContent, heard: AudioFormat) -> Part:
    source = InputAudio(heard)  # the frames may have any rate; GA takes them for what the session hears
    data = b"".join([*(chunk for frame in audio.frame for chunk in source.push(frame)), *source.flush()])
    part = {"type": "input_audio", "audio": b64encode(data).decode()}
    return {**part, "transcript": audio.transcript} if audio.transcript else part


def _parts(message: llm.ChatMessage, picture: Picture, heard: AudioFormat) -> tuple[Part, ...]:
    text_type = "output_text" if message.role == "assistant" else "input_text"
    parts: list[Part] = []
    for content in message.content:
        if isinstance(content, str):
            parts.append({"type": text_type, "text": str(content)})
        elif isinstance(content, llm.ImageContent):
            if (part := picture(content, message.role)) is not None:
                parts.append(part)
        elif message.role == "user" and isinstance(content, llm.AudioContent):
            parts.append(_audio_part(content, heard))
    return tuple(parts)


def to_record(item: llm.ChatItem, picture: Picture, heard: AudioFormat = PCM) -> Record | None:
    """A chat item as the core remembers it; None for LiveKit's own kinds (handoffs, configuration updates).

    `picture` gives the parts of its images. `heard`: the format of the session's input, which its audio gets, too.
    """
    if item.type == "message":
        role = "system" if item.role == "developer" else item.role
        wire = Item(short_id(item.id), "message", role=role, content=_parts(item, picture, heard))
    elif item.type == "function_call":
        call_id = short_id(item.call_id)
        wire = Item(short_id(item.id), "function_call", call_id=call_id, name=item.name, arguments=item.arguments)
    elif item.type == "function_call_output":
        wire = Item(short_id(item.id), "function_call_output", call_id=short_id(item.call_id), output=item.output)
    else:
        return None
    return Record(wire, item.created_at, origin=item)


def texts_of(record: Record) -> list[str]:
    """The texts in an item's parts, without empty ones."""
    return [text for part in record.item.content if (text := part.get("text") or part.get("transcript"))]


def says(item: llm.ChatItem, texts: list[str]) -> bool:
    """Whether these are the texts in a chat item; what is no message has none that could change."""
    if item.type != "message":
        return item.type in ("function_call", "function_call_output")
    if item.content == texts:
        return True
    said = (part.transcript if isinstance(part, llm.AudioContent) else part for part in item.content)
    return [text for text in said if text and isinstance(text, str)] == texts


def _content(item: Item) -> list[llm.ChatContent]:
    content: list[llm.ChatContent] = []
    for part in item.content:
        if part.get("type") == "input_image" and part.get("image_url"):
            content.append(llm.ImageContent(image=part["image_url"]))
        elif text := part.get("text") or part.get("transcript"):
            content.append(text)
    return content


def to_chat_item(record: Record) -> llm.ChatItem | None:
    """A remembered item as LiveKit sees it; None for kinds LiveKit has no word for."""
    if isinstance(record.origin, (llm.ChatMessage, llm.FunctionCall, llm.FunctionCallOutput)):
        return record.origin
    item = record.item
    if item.type == "message" and item.role in ("user", "assistant", "system"):
        role: Any = item.role
        return llm.ChatMessage(
            id=item.id,
            role=role,
            content=_content(item),
            interrupted=record.interrupted,
            transcript_confidence=record.confidence,
            created_at=record.created_at,
        )
    if item.type == "function_call":
        return function_call(item, record.created_at)
    if item.type == "function_call_output":
        return llm.FunctionCallOutput(
            id=item.id, call_id=item.call_id, output=item.output or "", is_error=False, created_at=record.created_at
        )
    return None


def to_chat_items(record: Record) -> list[llm.ChatItem]:
    """What LiveKit sees of a remembered item: nothing, an item, or the two that an answered MCP call is there."""
    if record.item.type != "mcp_call":
        return [item] if (item := to_chat_item(record)) is not None else []
    standing = (to_chat_item(Record(item, record.created_at)) for item in brought_back(record.item))
    return [item for item in standing if item is not None]


def function_call(item: Item, created_at: float | None = None) -> llm.FunctionCall:
    """A call the model makes. `created_at` is wall-clock seconds, now by default."""
    return llm.FunctionCall(
        id=item.id,
        call_id=item.call_id,
        name=item.name,
        arguments=item.arguments,
        created_at=time.time() if created_at is None else created_at,
    )


def _tool_schema(tool: llm.Tool) -> dict[str, Any] | None:
    if isinstance(tool, MCPTool):
        return tool.payload
    if isinstance(tool, ProviderTool):  # in an older LiveKit it looks like a function
        return None
    if llm.is_function_tool(tool):
        return llm.utils.build_legacy_openai_schema(tool, internally_tagged=True)
    if (raw := raw_schema(tool)) is not None:
        if extra := sorted(set(raw) - _TOOL_FIELDS - {"meta"}):  # `meta` comes with every MCP tool
            logger.warning("tools.%s: GA does not know %s; sent without", raw.get("name"), ", ".join(extra))
        return {**{key: value for key, value in raw.items() if key in _TOOL_FIELDS}, "type": "function"}
    return None


def _tool_problem(schema: dict[str, Any]) -> str | None:
    """Why GA would refuse this tool, and with it the whole configuration; None when it looks right."""
    if schema["type"] == "mcp":
        return None  # it was checked when it was made
    name = schema.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        return f"tools: the name {name!r} is not allowed; use 1 to 64 letters, digits, underscores and dashes"
    if not is_json(schema):
        return f"tools.{name} has something in it that JSON cannot hold; use texts, numbers, lists and dicts"
    parameters = schema.get("parameters")
    if parameters is not None and (not isinstance(parameters, dict) or parameters.get("type") != "object"):
        return f"tools.{name}.parameters is not an object schema; its top level must be {{'type': 'object', ...}}"
    return None


def _not_a_tool(tool: object) -> str:
    kind = type(tool).__name__
    if isinstance(tool, ProviderTool):
        return f"{kind} is a tool of another API; the Realtime API has function tools and MCP servers (MCPTool)"
    if isinstance(tool, Mapping):
        return f"a dict of type {tool.get('type')!r} cannot be called here; pass a function tool or an MCPTool"
    return f"{kind} is not a function tool"


def _made(tool: Any) -> Any:
    """GA's own form of an MCP server, a dict or an object of the openai SDK, as a tool."""
    is_raw = isinstance(tool, Mapping) or hasattr(tool, "model_dump")
    return MCPTool.of(tool) if is_raw and plain(tool).get("type") == "mcp" else tool


def to_tools(tools: Sequence[llm.Tool]) -> tuple[list[dict[str, Any]], list[llm.Tool]]:
    """Tools as GA takes them, and those of the given ones that were taken.

    An MCP server may be given as GA's dict. Raises ValueError when something is wrong with it.

    A tool GA would refuse is left out and logged with the reason, because one bad tool voids the whole configuration
    and the agent would talk on without its instructions (livekit/agents#1183).
    """
    payloads: list[dict[str, Any]] = []
    taken: list[llm.Tool] = []
    for tool in map(_made, tools):
        schema = _tool_schema(tool)
        if schema is None:
            logger.error("tool left out: %s", _not_a_tool(tool))
        elif (problem := _tool_problem(schema)) is not None:
            logger.error("tool left out: %s", problem)
        else:
            payloads.append(schema)
            taken.append(tool)
    return payloads, taken


def transcript(effect: Transcript) -> llm.InputTranscriptionCompleted:
    """What the user said, as far as it is known."""
    return make(
        llm.InputTranscriptionCompleted,
        item_id=effect.item_id,
        transcript=effect.text,
        is_final=effect.final,
        confidence=effect.confidence,
        turn_started_at=effect.started_at,
    )


def reply_metrics(ended: ReplyEnded, *, label: str, model: str, provider: str) -> RealtimeModelMetrics:
    """Metrics of one reply. `request_id` is the response id: LiveKit finds the turn's trace span by it."""
    usage = ended.usage or ReplyUsage()
    duration = ended.ended_at - ended.started_at
    return RealtimeModelMetrics(
        timestamp=ended.started_at,
        request_id=ended.response_id,
        ttft=ended.first_output_at - ended.started_at if ended.first_output_at is not None else -1,
        duration=duration,
        cancelled=ended.status == "cancelled",
        label=label,
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.total,
        tokens_per_second=usage.output / duration if duration > 0 else 0,
        input_token_details=RealtimeModelMetrics.InputTokenDetails(
            audio_tokens=usage.input_audio,
            text_tokens=usage.input_text,
            image_tokens=usage.input_image,
            cached_tokens=usage.cached,
            cached_tokens_details=RealtimeModelMetrics.CachedTokenDetails(
                audio_tokens=usage.cached_audio, text_tokens=usage.cached_text, image_tokens=usage.cached_image
            ),
        ),
        output_token_details=RealtimeModelMetrics.OutputTokenDetails(
            text_tokens=usage.output_text, audio_tokens=usage.output_audio, image_tokens=0
        ),
        metadata=Metadata(model_name=model, model_provider=provider),
    )


def transcription_metrics(
    event_id: str, usage: TranscriptionUsage, *, label: str, model: str | None, provider: str
) -> STTMetrics:
    """Metrics of one input transcription, in tokens or in seconds, as the server bills it."""
    return STTMetrics(
        request_id=event_id,
        timestamp=time.time(),
        duration=0.0,
        label=label,
        audio_duration=usage.seconds,
        streamed=True,
        input_tokens=usage.input,
        output_tokens=usage.output,
        total_tokens=usage.total,
        input_audio_tokens=usage.input_audio,
        metadata=Metadata(model_name=model, model_provider=provider),
    )
