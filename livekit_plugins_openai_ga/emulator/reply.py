"""One response of the emulated model, from `response.created` to `response.done`.

`steps()` plays a script turn as a generator: it emits events and yields the seconds until the next ones. A reply can
be stopped between two steps, by a cancel or by the user speaking, and closes in the same order as a finished one.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from . import g711
from .actions import Event
from .channel import Channel
from .conversation import Item, audio_tokens, text_tokens
from .mcp import MCP, call_fields
from .script import MCPCall, ToolCall, Turn
from .voice import BYTES_PER_MS

Status = Mapping[str, Any]


class Owner(Protocol):
    """Who keeps the responses of a session."""

    @property
    def mcp(self) -> MCP:
        """The MCP servers of the session."""

    def began(self) -> None:
        """`response.created` went out."""

    def spoke(self) -> None:
        """Audio is about to go out."""

    def ending(self, reply: Reply) -> Event:
        """`response.done` is about to go out; returns the usage in it."""

    def ended(self, reply: Reply) -> None:
        """`response.done` went out."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What one response was asked to be: the session's configuration with the response's own on top.

    `input` is what the model sees instead of the conversation; None for the conversation.
    """

    modality: str
    voice: Any
    format: Mapping[str, Any]
    speed: float
    tools: frozenset[str]
    servers: Mapping[str, Event]
    tool_choice: Any
    max_output_tokens: int | str
    instructions: str
    metadata: Mapping[str, str] | None
    in_conversation: bool
    input: tuple[Item, ...] | None = None


@dataclass(slots=True)
class _Open:
    """The output item being produced."""

    item: Item
    index: int
    said: str = ""


@dataclass(slots=True)
class Produced:
    """Output counted for the bill."""

    text: int = 0
    audio_ms: float = 0.0

    @property
    def audio(self) -> int:
        """Audio tokens so far."""
        return audio_tokens(self.audio_ms, 50)


@dataclass(slots=True, eq=False)
class Reply:
    """A response in progress."""

    channel: Channel
    owner: Owner
    brief: Brief
    turn: Turn
    id: str
    output: list[Item] = field(default_factory=list)
    produced: Produced = field(default_factory=Produced)
    ended: bool = False
    _open: _Open | None = None

    def payload(self, status: str, details: Status | None = None, usage: Event | None = None) -> Event:
        """The response object; every key is there from the start (pipecat-ai/pipecat#3960)."""
        finished = status != "in_progress"
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [item.payload() for item in self.output] if finished else [],
            "conversation_id": self.channel.conversation.id if self.brief.in_conversation else None,
            "output_modalities": [self.brief.modality],
            "max_output_tokens": self.brief.max_output_tokens,
            "audio": {"output": {"format": dict(self.brief.format), "voice": self.brief.voice}},
            "usage": usage,
            "metadata": dict(self.brief.metadata) if self.brief.metadata is not None else None,
        }

    def steps(self) -> Iterator[float]:
        """Play the turn; each yield is the time in seconds until the next step."""
        self.channel.emit("response.created", response=self.payload("in_progress"))
        self.owner.began()
        yield self.channel.knobs.reply_latency + self.turn.latency
        if self.turn.failure:
            error_type, code, message = self.turn.failure
            self.stop("failed", {"type": "failed", "error": {"type": error_type, "code": code, "message": message}})
            return
        parts: list[str | ToolCall | MCPCall] = [*self.turn.texts, *self.turn.calls, *self.turn.mcp]
        for part in parts:
            if isinstance(part, str):
                yield from self._message(part)
            elif isinstance(part, MCPCall) and self._may_serve(part):
                yield from self._serve(part)
            elif isinstance(part, ToolCall) and self._may_call(part.name):
                yield from self._call(part)
            else:
                yield from self._message(f"(tool {part.name} is not available)")
            if self.ended or self.turn.incomplete:
                break
        if self.turn.incomplete:
            self.stop("incomplete", {"type": "incomplete", "reason": self.turn.incomplete})
        else:
            self.stop("completed")

    def stop(self, status: str, details: Status | None = None) -> None:
        """End the response now; whatever is open is closed as incomplete. Does nothing when it has ended."""
        if self.ended:
            return
        self.ended = True
        self._close("incomplete")
        usage = self.owner.ending(self)
        self.channel.emit("response.done", response=self.payload(status, details, usage))
        self.owner.ended(self)

    def _may_call(self, name: str) -> bool:
        return self.brief.tool_choice != "none" and name in self.brief.tools

    def _may_serve(self, call: MCPCall) -> bool:
        return self.brief.tool_choice != "none" and self.owner.mcp.may_call(self.brief.servers, call)

    def _ids(self) -> Event:
        assert self._open is not None
        return {"response_id": self.id, "item_id": self._open.item.id, "output_index": self._open.index}

    def _begin(self, item_type: str, **fields: Any) -> None:
        status = "" if item_type.startswith("mcp_") else "in_progress"
        item = Item(self.channel.new_id("item"), item_type, status, fields)
        self._open = _Open(item, len(self.output))
        self.output.append(item)
        self.channel.emit(
            "response.output_item.added", response_id=self.id, output_index=self._open.index, item=item.payload()
        )
        if self.brief.in_conversation:
            self.channel.conversation.add(item)
            self.channel.emit(
                "conversation.item.added",
                item=item.payload(),
                previous_item_id=self.channel.conversation.previous_id(item.id),
            )

    def _message(self, text: str) -> Iterator[float]:
        self._begin("message", role="assistant", content=[])
        audible = self.brief.modality == "audio"
        part = {"type": "audio", "transcript": ""} if audible else {"type": "text", "text": ""}
        self.channel.emit("response.content_part.added", **self._ids(), content_index=0, part=part)
        yield from self._spoken(text) if audible else self._written(text)
        yield from self._settle()

    def _settle(self) -> Iterator[float]:
        """Close the item just produced, unless its turn says that it breaks off or hangs here."""
        if self.turn.stall:
            yield math.inf
        if not self.ended and not self.turn.incomplete:
            self._close("completed")

    def _written(self, text: str) -> Iterator[float]:
        pieces = words(text)
        for piece in self._cut(pieces):
            self._say(piece)
            self.produced.text += text_tokens(piece)
            self.channel.emit(
                "response.output_text.delta", **self._ids(), content_index=0, delta=piece, obfuscation="x" * 8
            )
            yield 0.01
            if self._over_limit():
                return

    def _spoken(self, text: str) -> Iterator[float]:
        knobs, pieces = self.channel.knobs, words(text)
        pcm = knobs.speak(text, _voice_name(self.brief.voice), self.brief.speed)
        chunks = self._deltas(pcm, knobs.delta_ms)
        told = 0
        for number, chunk in enumerate(self._cut(chunks), 1):
            # The transcript leads the audio it belongs to.
            due = -(-len(pieces) * number // len(chunks))
            for piece in pieces[told:due]:
                self._say(piece)
                self.produced.text += text_tokens(piece)
                self.channel.emit(
                    "response.output_audio_transcript.delta",
                    **self._ids(),
                    content_index=0,
                    delta=piece,
                    obfuscation="x" * 8,
                )
            told = due
            self._play(*chunk)
            yield len(chunk[0]) / BYTES_PER_MS / 1000 / knobs.pace
            if self._over_limit():
                return

    def _deltas(self, pcm: bytes, ms: int) -> list[tuple[bytes, bytes]]:
        """Pieces of speech: 24 kHz PCM, and the same in the format that was asked for."""
        encoding = self.brief.format["type"]
        if encoding not in g711.FORMATS:
            return [(piece, piece) for piece in _pieces(pcm, ms * BYTES_PER_MS)]
        codes = g711.encode(pcm, encoding)
        pcm = pcm.ljust(len(codes) * 6, b"\0")  # as long as what is heard, to the sample
        return list(zip(_pieces(pcm, ms * BYTES_PER_MS), _pieces(codes, ms * g711.BYTES_PER_MS), strict=True))

    def _play(self, pcm: bytes, data: bytes) -> None:
        assert self._open is not None
        if not self._open.item.truncated:
            self._open.item.audio += pcm
        self.produced.audio_ms += len(pcm) / BYTES_PER_MS
        self.owner.spoke()
        self.channel.emit(
            "response.output_audio.delta",
            **self._ids(),
            content_index=0,
            delta=base64.b64encode(data).decode(),
        )

    def _cut(self, pieces: list[Any]) -> Iterator[Any]:
        """All pieces, or the first half for a turn that breaks off or stalls."""
        broken = self.turn.incomplete or self.turn.stall
        yield from pieces[: max(1, len(pieces) // 2)] if broken else pieces

    def _say(self, piece: str) -> None:
        assert self._open is not None
        self._open.said += piece

    def _over_limit(self) -> bool:
        limit = self.brief.max_output_tokens
        if isinstance(limit, int) and self.produced.text + self.produced.audio >= limit:
            self.stop("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
        return self.ended

    def _call(self, call: ToolCall) -> Iterator[float]:
        arguments = json.dumps(dict(call.arguments))
        call_id = self.channel.new_id("call")
        self._begin("function_call", name=call.name, call_id=call_id, arguments="")
        for piece in self._cut(re.findall(r"(?s).{1,12}", arguments)):
            self._say(piece)
            self.produced.text += text_tokens(piece)
            self.channel.emit(
                "response.function_call_arguments.delta",
                **self._ids(),
                call_id=call_id,
                delta=piece,
                obfuscation="x" * 8,
            )
            yield 0.005
        yield from self._settle()

    def _serve(self, call: MCPCall) -> Iterator[float]:
        mcp, arguments = self.owner.mcp, json.dumps(dict(call.arguments))
        fields = call_fields(call)
        if mcp.needs_approval(self.brief.servers, call):
            asked = {key: fields[key] for key in ("server_label", "name")}
            self._begin("mcp_approval_request", **asked, arguments=arguments)
            assert self._open is not None
            mcp.wait(self._open.item.id, call)
            self._close("")
            return
        self._begin("mcp_call", **fields)
        assert self._open is not None
        item, index = self._open.item, self._open.index
        for piece in self._cut(re.findall(r"(?s).{1,12}", arguments)):
            self.produced.text += text_tokens(piece)
            ids = self._ids()
            self.channel.emit("response.mcp_call_arguments.delta", **ids, delta=piece, obfuscation="x" * 8)
            yield 0.005
        item.fields["arguments"] = arguments
        self.channel.emit("response.mcp_call_arguments.done", **self._ids(), arguments=arguments)
        if self.channel.knobs.mcp_in_response:
            yield from mcp.run(item, index, call)
            self._close("")
        else:
            self._close("")
            mcp.run_later(item, index, call)

    def _close(self, status: str) -> None:
        if self._open is None:
            return
        item, said, ids = self._open.item, self._open.said, self._ids()
        item.status = status if item.status else ""
        if item.type == "function_call":
            item.fields["arguments"] = said
            self.channel.emit(
                "response.function_call_arguments.done",
                **ids,
                call_id=item.fields["call_id"],
                name=item.fields["name"],
                arguments=said,
            )
        elif item.type == "message":
            self._close_part(item, said, ids)
        index, self._open = self._open.index, None
        for event_type in self._done_order():
            if event_type == "response.output_item.done":
                self.channel.emit(event_type, response_id=self.id, output_index=index, item=item.payload())
            else:
                previous = self.channel.conversation.previous_id(item.id)
                self.channel.emit(event_type, item=item.payload(), previous_item_id=previous)

    def _close_part(self, item: Item, said: str, ids: Event) -> None:
        if self.brief.modality == "text":
            item.fields["content"] = [{"type": "output_text", "text": said}]
            self.channel.emit("response.output_text.done", **ids, content_index=0, text=said)
            part = {"type": "text", "text": said}
        else:
            content = {"type": "output_audio", "transcript": said}
            if item.truncated:
                del content["transcript"]
            item.fields["content"] = [content]
            names = ["response.output_audio.done", "response.output_audio_transcript.done"]
            for name in names if self.channel.knobs.audio_done_first else reversed(names):
                extra = {"transcript": said} if name.endswith("transcript.done") else {}
                self.channel.emit(name, **ids, content_index=0, **extra)
            part = {"type": "audio", "transcript": said}
        self.channel.emit("response.content_part.done", **ids, content_index=0, part=part)

    def _done_order(self) -> list[str]:
        if not self.brief.in_conversation:
            return ["response.output_item.done"]
        order = ["conversation.item.done", "response.output_item.done"]
        return order if self.channel.knobs.item_done_first else order[::-1]


def words(text: str) -> list[str]:
    """Pieces that join to the text: each word with the space before it."""
    return re.findall(r"\s*\S+\s*$|\s*\S+", text) or [text]


def _pieces(audio: bytes, size: int) -> list[bytes]:
    return [audio[start : start + size] for start in range(0, len(audio), size)]


def _voice_name(voice: Any) -> str:
    return str(voice.get("id", "")) if isinstance(voice, Mapping) else str(voice)
