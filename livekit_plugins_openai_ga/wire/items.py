"""Conversation items: the one shape that both sides of the wire talk about.

An `Item` is what the server sends in `conversation.item.*` and `response.output_item.*`, and what a client sends in
`conversation.item.create`. Content parts stay plain mappings, because GA adds part types without notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MAX_ID_LENGTH = 32
"""GA refuses an `item.id` or a `call_id` that is longer (`string_above_max_length`)."""

Part = Mapping[str, Any]

_PAYLOADS = {"input_image": "image_url", "input_audio": "audio"}
"""Parts that go back as they are, when the server showed them with their payload."""


def _text(part: Part) -> str:
    text = part.get("text") or part.get("transcript")
    return text if isinstance(text, str) else ""


@dataclass(frozen=True, slots=True)
class Item:
    """One conversation item. Fields that do not belong to `type` keep their empty defaults.

    Attributes:
        id: at most 32 characters, unique in the conversation.
        type: `message`, `function_call`, `function_call_output`, or a type made by the server (`mcp_call`, ...).
        status: `in_progress`, `completed` or `incomplete`; empty when not told.
        role: `user`, `assistant` or `system`; messages only.
        content: content parts as they stand on the wire; messages only.
        arguments: JSON text; calls only.
        output: what a function or an MCP server answered, which may be nothing (""); None before that.
        server_label: the MCP server; `mcp_*` only.
        error: why an MCP call failed: `message` and `type` (`protocol_error`, `tool_execution_error`, `http_error`).
        tools: what an MCP server has; `mcp_list_tools` only.
    """

    id: str
    type: str
    status: str = ""
    role: str = ""
    content: tuple[Part, ...] = ()
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | None = None
    server_label: str = ""
    error: Mapping[str, Any] | None = None
    tools: tuple[Part, ...] = ()

    @property
    def is_answered(self) -> bool:
        """Whether a call of an MCP server's tool has its result."""
        return self.type == "mcp_call" and (self.output is not None or self.error is not None)

    @property
    def text(self) -> str:
        """All text of a message: written parts and transcripts of spoken ones, joined by newlines."""
        return "\n".join(text for part in self.content if (text := _text(part)))

    def with_text(self, text: str) -> Item:
        """The same message holding only `text`. This is how a spoken item is remembered once it was heard."""
        kind = "output_text" if self.role == "assistant" else "input_text"
        return replace(self, content=({"type": kind, "text": text},) if text else ())

    def unsaid(self) -> Item:
        """The same item without anything that could be brought back."""
        return replace(self, content=(), status="incomplete")

    def with_transcript(self, content_index: int, transcript: str) -> Item:
        """The same user message with the transcript of one audio part filled in."""
        content = [dict(part) for part in self.content]
        if not 0 <= content_index < len(content):  # a gateway that shows spoken items without content
            content_index = len(content)
            content.append({"type": "input_audio"})
        content[content_index]["transcript"] = transcript
        return replace(self, content=tuple(content))


def brought_back(item: Item) -> tuple[Item, ...]:
    """What stands for an item in a new session.

    A client cannot create an `mcp_call`, so what the model knows of one comes back as a function call and its output,
    under ids that follow from the call's.
    """
    if item.type != "mcp_call":
        return (item,)
    if not item.is_answered:
        return ()
    call_id = short_id(item.id)
    output = item.output if item.error is None else f"Error: {item.error.get('message') or item.error.get('type')}"
    return (
        Item(item.id, "function_call", "completed", call_id=call_id, name=item.name, arguments=item.arguments or "{}"),
        Item(short_id(f"{item.id}_out"), "function_call_output", "completed", call_id=call_id, output=output),
    )


def short_id(value: str) -> str:
    """Return `value`, or a stable 32-character digest of it when it is too long for GA.

    Ids made by another provider can be longer (a call replayed after a model swap); hashing keeps a call and its
    output on the same id.
    """
    if len(value) <= MAX_ID_LENGTH:
        return value
    return hashlib.sha256(value.encode()).hexdigest()[:MAX_ID_LENGTH]


def _recreated_part(role: str, part: Part) -> Part | None:
    """The part as a client may send it: spoken parts come back as their text, which is all a client can give."""
    payload = _PAYLOADS.get(str(part.get("type")))
    if payload is not None and part.get(payload):
        return part
    text = _text(part)
    if not text:
        return None
    # Replaying `output_audio` fails with missing_required_parameter (openai/openai-agents-js#963).
    return {"type": "output_text" if role == "assistant" else "input_text", "text": text}


def _spoken_part(part: Part, audio: str) -> Part:
    text = _text(part)
    return {"type": "input_audio", "audio": audio, **({"transcript": text} if text else {})}


def create_payload(item: Item, audio: str | None = None) -> dict[str, Any] | None:
    """The `item` of a `conversation.item.create` that brings `item` into a new session.

    `audio` is what the user said in it, which tells more than a text: base64 of mono audio in the session's
    `audio.input.format`. Returns None when nothing of it can be brought back: a spoken turn without audio and
    transcript, a function call that was never finished, an item only the server can make.
    """
    if item.type == "message":
        content = item.content
        if audio is not None:
            content = tuple(_spoken_part(p, audio) if p.get("type") == "input_audio" else p for p in content)
        parts = [part for raw in content if (part := _recreated_part(item.role, raw)) is not None]
        if not parts:
            return None
        return {"id": item.id, "type": "message", "role": item.role, "content": parts}
    if item.type == "function_call":
        if item.status in ("in_progress", "incomplete"):
            return None
        return {
            "id": item.id,
            "type": "function_call",
            "call_id": item.call_id,
            "name": item.name,
            "arguments": item.arguments,
        }
    if item.type == "function_call_output":
        return {"id": item.id, "type": "function_call_output", "call_id": item.call_id, "output": item.output or ""}
    return None
