"""The items of one emulated conversation, in order, with the audio behind them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import g711
from .actions import Event
from .voice import BYTES_PER_MS

MODEL_OUTPUT_ONLY = "Only model output audio messages can be truncated"


class Refused(Exception):
    """A client event the server does not take, in the words of its `error` event. The session goes on."""

    def __init__(
        self, code: str | None, message: str, param: str | None = None, error_type: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.error_type = error_type


@dataclass(slots=True)
class Item:
    """One item. `fields` go on the wire; `audio` is 24 kHz int16 mono PCM and only goes out on retrieve."""

    id: str
    type: str
    status: str
    fields: dict[str, Any]
    audio: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    @property
    def is_model_audio(self) -> bool:
        """Whether it is speech of the model, which is what can be truncated."""
        return self.fields.get("role") == "assistant" and bool(self.audio)

    @property
    def audio_ms(self) -> int:
        """Milliseconds of audio in it; for a reply being spoken, produced so far."""
        return len(self.audio) // BYTES_PER_MS

    def payload(self, *, with_audio: bool = False) -> Event:
        """The item as the server sends it."""
        fields = dict(self.fields)
        if "content" in fields:
            fields["content"] = [
                {**part, "audio": base64.b64encode(self.audio).decode()}
                if with_audio and part["type"] in ("input_audio", "output_audio")
                else dict(part)
                for part in fields["content"]
            ]
        status = {"status": self.status} if self.status else {}  # items of MCP servers have none
        return {"id": self.id, "type": self.type, **status, **fields}

    def tokens(self) -> tuple[int, int, int]:
        """Text, audio and image tokens this item adds to the input of a response."""
        if self.type != "message":
            texts = [str(self.fields.get(key) or "") for key in ("name", "arguments", "output")]
            return text_tokens("".join(texts)), 0, 0
        text = image = 0
        for part in self.fields["content"]:
            if part["type"] in ("input_text", "output_text"):
                text += text_tokens(part.get("text") or "")
            elif part["type"] == "input_image":
                image += 85
        return text, audio_tokens(len(self.audio) / BYTES_PER_MS, 100 if self.fields["role"] == "user" else 50), image


def text_tokens(text: str) -> int:
    """About what a tokenizer gives: one for four characters."""
    return -(-len(text) // 4)


def audio_tokens(milliseconds: float, per_token: int) -> int:
    """One token per 100 ms heard, one per 50 ms spoken."""
    return -(-int(milliseconds) // per_token)


class Conversation:
    """Ordered items. Additions and removals raise `Refused` in the server's words."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def find(self, item_id: str) -> Item | None:
        """The item with this id, None when there is none."""
        return next((item for item in self._items if item.id == item_id), None)

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        return self._items[-1].id if self._items else None

    def previous_id(self, item_id: str) -> str | None:
        """The id of the item before this one."""
        ids = [item.id for item in self._items]
        index = ids.index(item_id) if item_id in ids else 0
        return ids[index - 1] if index else None

    def add(self, item: Item, previous_item_id: str | None = None) -> None:
        """Append, or insert after `previous_item_id` ("root": first)."""
        if self.find(item.id):
            raise Refused(
                "item_create_duplicate_item_id",
                f"Error adding item: an item with id '{item.id}' already exists.",
                "item.id",
            )
        call_id = item.fields.get("call_id")
        if item.type == "function_call_output" and not self._has_call(call_id):
            # Seen whenever the call was not replayed before its output (livekit/agents#3344).
            raise Refused("invalid_tool_call_id", f"Tool call ID '{call_id}' not found in conversation.")
        if previous_item_id is None:
            self._items.append(item)
        elif previous_item_id == "root":
            self._items.insert(0, item)
        else:
            previous = self.find(previous_item_id)
            if previous is None:
                raise Refused(
                    "item_create_invalid_previous_item_id",
                    f"Error adding item: the previous item with id '{previous_item_id}' does not exist.",
                    "previous_item_id",
                )
            self._items.insert(self._items.index(previous) + 1, item)

    def _has_call(self, call_id: object) -> bool:
        return any(item.type == "function_call" and item.fields["call_id"] == call_id for item in self._items)

    def delete(self, item_id: str) -> None:
        """Take the item out."""
        item = self.find(item_id)
        if item is None:
            raise Refused(
                "item_delete_invalid_item_id",
                f"Error deleting item: the item with id '{item_id}' does not exist.",
                "item_id",
            )
        self._items.remove(item)

    def retrieve(self, item_id: str) -> Event:
        """The item with its audio."""
        item = self.find(item_id)
        if item is None:
            raise Refused(
                "item_retrieve_invalid_item_id",
                f"Error retrieving item: the item with id '{item_id}' does not exist.",
                "item_id",
            )
        return item.payload(with_audio=True)

    def truncate(self, item_id: str, content_index: int, audio_end_ms: int) -> None:
        """Cut the model's speech to what was heard; its transcript goes, since nobody knows where it ends now."""
        item = self.find(item_id)
        if item is None:
            raise Refused("item_truncate_invalid_item_id", f"Item with item_id not found: {item_id}", "item_id")
        if not item.is_model_audio or content_index != 0 or audio_end_ms <= 0:
            raise Refused(None, MODEL_OUTPUT_ONLY)
        if audio_end_ms > item.audio_ms:
            raise Refused(
                "invalid_value",
                f"Audio content of {item.audio_ms}ms is already shorter than {audio_end_ms}ms",
                "audio_end_ms",
            )
        del item.audio[audio_end_ms * BYTES_PER_MS :]
        item.truncated = True
        for part in item.fields["content"]:
            part.pop("transcript", None)


def item_from(given: Event, new_id: Callable[[str], str], encoding: str, path: str = "item") -> Item:
    """The client's item as the server keeps it: ids filled in, audio apart from what goes on the wire.

    The audio comes in the session's input format, `encoding`.
    """
    fields = {key: value for key, value in given.items() if key not in ("id", "type", "status", "object")}
    audio = bytearray()
    if "content" in fields:
        parts = []
        for number, part in enumerate(fields["content"]):
            if part["type"] == "input_audio":
                audio += _audio_part(part["audio"], encoding, f"{path}.content[{number}].audio")
                part = {"type": "input_audio", "transcript": part.get("transcript")}
            parts.append(part)
        fields["content"] = parts
    if given["type"] == "function_call":
        fields.setdefault("call_id", new_id("call"))
    status = "" if given["type"] == "mcp_approval_response" else given.get("status", "completed")
    return Item(given.get("id") or new_id("item"), given["type"], status, fields, audio)


def _audio_part(encoded: str, encoding: str, path: str) -> bytes:
    try:
        audio = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Refused("invalid_value", f"Invalid '{path}'. Expected base64-encoded audio bytes.", path) from None
    return g711.decode(audio, encoding) if encoding in g711.FORMATS else audio
