"""Server events: JSON text in, frozen dataclasses out. Nothing here raises, whatever the server sends.

`decode(frame)` gives one of the events below, or `Ignored` (known, and no use to us), `Unknown` (a name this version
has never heard of), or `Malformed` (not JSON, not an object, a needed field missing or of the wrong type). One unknown
name must never end a call, so all three are ordinary values.

Every event is a dataclass whose fields are the fields we read; `reader` makes the code that fills it. The name table
`EVENTS` is the whole dispatch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar

from . import codec, renames
from .call_events import PlaybackCleared as PlaybackCleared
from .call_events import PlaybackStarted as PlaybackStarted
from .call_events import PlaybackStopped as PlaybackStopped
from .items import Item, Part
from .mcp_events import McpCallCompleted as McpCallCompleted
from .mcp_events import McpCallFailed as McpCallFailed
from .mcp_events import McpListFailed as McpListFailed
from .reader import Unreadable, reader
from .values import ServerEvent as ServerEvent
from .values import value


@value
class ErrorDetail:
    """What the server says went wrong, in `error` events and in failed responses."""

    message: str = ""
    type: str = ""
    code: str = field(default="", metadata={"any": True})
    param: str | None = None
    client_event_id: str | None = field(default=None, metadata={"wire": "event_id"})


@value
class StatusDetails:
    """Why a response is not `completed`."""

    type: str = ""
    reason: str = ""
    error: ErrorDetail | None = None


@value
class Response:
    """A response as it stands in `response.created` and `response.done`."""

    id: str
    status: str = ""
    status_details: StatusDetails | None = None
    conversation_id: str | None = field(default="", metadata={"null": True})  # null: an out-of-band reply
    metadata: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None


@value
class ContentPart:
    """A part of a message. `type` is `text` or `audio` here, though item contents say `output_text`/`output_audio`."""

    type: str
    text: str = ""
    transcript: str = ""


@value
class RateLimit:
    """How much of one limit is left; None for what the server did not say.

    Attributes:
        name: `requests` or `tokens`.
        limit: How many there may be.
        remaining: How many are left.
        reset_seconds: Seconds until all of them are there again.
    """

    name: str
    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


@value
class SessionCreated(ServerEvent):
    """The socket is open and the server's defaults are in force."""

    type: ClassVar[str] = "session.created"
    session: Mapping[str, Any]


@value
class SessionUpdated(ServerEvent):
    """A `session.update` was accepted; `session` is the whole configuration now in force."""

    type: ClassVar[str] = "session.updated"
    session: Mapping[str, Any]


@value
class Error(ServerEvent):
    """A client event was refused, or the server failed. Fatal only when a close follows."""

    type: ClassVar[str] = "error"
    error: ErrorDetail


@value
class ItemAdded(ServerEvent):
    """An item entered the conversation. Assistant items arrive empty."""

    type: ClassVar[str] = "conversation.item.added"
    item: Item
    previous_item_id: str | None = None


@value
class ItemDone(ServerEvent):
    """An item is complete. Of use for what the server makes outside a response: lists, and results of MCP calls."""

    type: ClassVar[str] = "conversation.item.done"
    item: Item


@value
class ItemDeleted(ServerEvent):
    """Answer to a delete."""

    type: ClassVar[str] = "conversation.item.deleted"
    item_id: str


@value
class TranscriptionDelta(ServerEvent):
    """More text of a user's spoken item."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.delta"
    item_id: str
    delta: str = ""
    content_index: int = 0


@value
class TranscriptionCompleted(ServerEvent):
    """The whole text of a user's spoken item. Order against responses and other items is not guaranteed."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.completed"
    item_id: str
    transcript: str
    content_index: int = 0
    event_id: str = ""
    logprobs: tuple[Part, ...] | None = None
    languages: tuple[Any, ...] | None = None
    usage: Mapping[str, Any] | None = None


@value
class TranscriptionFailed(ServerEvent):
    """A user's spoken item could not be transcribed."""

    type: ClassVar[str] = "conversation.item.input_audio_transcription.failed"
    item_id: str
    content_index: int = 0
    error: ErrorDetail = ErrorDetail()


@value
class AudioCommitted(ServerEvent):
    """What was appended became the user item `item_id`."""

    type: ClassVar[str] = "input_audio_buffer.committed"
    item_id: str
    previous_item_id: str | None = None


@value
class SpeechStarted(ServerEvent):
    """Turn detection heard speech. `audio_start_ms` counts all audio of this session, padding included."""

    type: ClassVar[str] = "input_audio_buffer.speech_started"
    item_id: str = ""
    audio_start_ms: int = 0


@value
class SpeechStopped(ServerEvent):
    """Turn detection heard the end of speech. `audio_end_ms` includes the silence it waited for."""

    type: ClassVar[str] = "input_audio_buffer.speech_stopped"
    item_id: str = ""
    audio_end_ms: int = 0


@value
class InputTimeout(ServerEvent):
    """Nobody spoke for `idle_timeout_ms`: the silence becomes a user item. Times are those of `SpeechStarted`."""

    type: ClassVar[str] = "input_audio_buffer.timeout_triggered"
    item_id: str
    audio_start_ms: int = 0
    audio_end_ms: int = 0


@value
class RateLimitsUpdated(ServerEvent):
    """What is left of the limits; comes around a reply."""

    type: ClassVar[str] = "rate_limits.updated"
    rate_limits: tuple[RateLimit, ...]


@value
class ResponseCreated(ServerEvent):
    """A reply began."""

    type: ClassVar[str] = "response.created"
    response: Response


@value
class ResponseDone(ServerEvent):
    """A reply ended: exactly once per `response.created`."""

    type: ClassVar[str] = "response.done"
    response: Response


@value
class OutputItemAdded(ServerEvent):
    """A reply opened an item."""

    type: ClassVar[str] = "response.output_item.added"
    response_id: str
    item: Item


@value
class OutputItemDone(ServerEvent):
    """A reply closed an item."""

    type: ClassVar[str] = "response.output_item.done"
    response_id: str
    item: Item


@value
class ContentPartAdded(ServerEvent):
    """A message opened a part, which tells whether it is spoken or written."""

    type: ClassVar[str] = "response.content_part.added"
    response_id: str
    item_id: str
    part: ContentPart


@value
class TextDelta(ServerEvent):
    """More written text."""

    type: ClassVar[str] = "response.output_text.delta"
    response_id: str
    item_id: str
    delta: str


@value
class AudioDelta(ServerEvent):
    """More speech: base64 of mono audio in the session's `audio.output.format`; by default int16 little-endian PCM at
    24 kHz.
    """

    type: ClassVar[str] = "response.output_audio.delta"
    response_id: str
    item_id: str
    delta: str


@value
class AudioTranscriptDelta(ServerEvent):
    """More text of what is being said. `start_time` (s) is sent by some compatible servers."""

    type: ClassVar[str] = "response.output_audio_transcript.delta"
    response_id: str
    item_id: str
    delta: str
    start_time: float | None = None


@value
class Ignored(ServerEvent):
    """A GA event that carries nothing we need; `name` is in `IGNORED` with the reason."""

    name: str


@value
class Unknown(ServerEvent):
    """An event name this version does not know."""

    name: str


@value
class Malformed(ServerEvent):
    """A frame that is not a GA event; `problem` says why, without quoting the frame."""

    name: str
    problem: str


EVENTS: Mapping[str, type[ServerEvent]] = {
    cls.type: cls
    for cls in (
        SessionCreated,
        SessionUpdated,
        Error,
        ItemAdded,
        ItemDone,
        ItemDeleted,
        TranscriptionDelta,
        TranscriptionCompleted,
        TranscriptionFailed,
        AudioCommitted,
        SpeechStarted,
        SpeechStopped,
        PlaybackStarted,
        PlaybackStopped,
        PlaybackCleared,
        InputTimeout,
        RateLimitsUpdated,
        ResponseCreated,
        ResponseDone,
        OutputItemAdded,
        OutputItemDone,
        ContentPartAdded,
        TextDelta,
        AudioDelta,
        AudioTranscriptDelta,
        McpCallCompleted,
        McpCallFailed,
        McpListFailed,
    )
}

_REPEATED = "repeats what the deltas and the item's done event carry"
_MCP = "the item says it, when it is added and when it is done"

IGNORED: Mapping[str, str] = {
    "conversation.created": "holds only the conversation's id; not sent by GA as observed",
    "conversation.item.truncated": "the cut was made here when it was asked for",
    "conversation.item.retrieved": "answer to a retrieve, which only an application sends; the raw event tap has it",
    "conversation.item.input_audio_transcription.segment": "diarisation only; the completed event has the text",
    "input_audio_buffer.cleared": "the buffer was cleared here when it was asked for",
    "input_audio_buffer.dtmf_event_received": "sent on SIP only",
    "response.content_part.done": _REPEATED,
    "response.output_text.done": _REPEATED,
    "response.output_audio.done": _REPEATED,
    "response.output_audio_transcript.done": _REPEATED,
    "response.function_call_arguments.delta": "arguments are used once, when the item is done",
    "response.function_call_arguments.done": "can hold partial arguments of a cancelled call; the item decides",
    "response.mcp_call_arguments.delta": _MCP,
    "response.mcp_call_arguments.done": _MCP,
    "response.mcp_call.in_progress": _MCP,
    "mcp_list_tools.in_progress": _MCP,
    "mcp_list_tools.completed": _MCP,
}


_READERS: Mapping[str, Callable[[Any], Any]] = {name: reader(cls) for name, cls in EVENTS.items()}


def parse(frame: str | bytes | memoryview) -> dict[str, Any] | Malformed:
    """Read one WebSocket frame as a JSON object.

    A memoryview is a text that nobody has looked at: raises UnicodeDecodeError when it is no UTF-8.
    """
    if isinstance(frame, bytes):
        return Malformed("", "a binary frame; GA sends text frames only")
    try:
        payload = codec.loads_bytes(bytes(frame)) if isinstance(frame, memoryview) else codec.loads(frame)
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        return Malformed("", "not valid JSON")
    if not isinstance(payload, dict):
        return Malformed("", "not a JSON object")
    return payload


def from_payload(payload: Mapping[str, Any]) -> ServerEvent:
    """Turn a parsed frame into an event. Old names that some gateways still send are understood as their GA form."""
    name = payload.get("type")
    if not isinstance(name, str):
        return Malformed("", "'type' is missing or not a string")
    read = _READERS.get(name)
    if read is None:
        name = renames.SERVER_EVENTS.get(name, name)
        read = _READERS.get(name)
    if read is None:
        return Ignored(name) if name in IGNORED else Unknown(name)
    try:
        event: ServerEvent = read(payload)
    except Unreadable as problem:
        return Malformed(name, str(problem))
    return event


def decode(frame: str | bytes) -> ServerEvent:
    """`parse` and `from_payload` in one step."""
    payload = parse(frame)
    return payload if isinstance(payload, Malformed) else from_payload(payload)
