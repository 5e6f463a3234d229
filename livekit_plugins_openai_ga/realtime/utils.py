"""The official plugin's conversions, `realtime.utils`, for code that imports them.

They take what the official ones take (the openai SDK's objects, those of the retired beta, plain dicts) and give plain
dicts in GA's wire form, which the SDK's classes accept, where the official ones give the SDK's objects. Values are
checked as in `RealtimeModel`, except for names of models and voices, which only a server knows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from livekit.agents import llm
from livekit.agents.types import NotGiven, NotGivenOr

from .. import azure
from ..connection import DEFAULT_MAX_SESSION_DURATION as DEFAULT_MAX_SESSION_DURATION
from ..core.record import Record
from ..core.turns import confidence
from ..images import Images
from ..session_fields import DEFAULT_TRANSCRIPTION, FIELDS, plain
from ..session_fields import DEFAULT_TURN_DETECTION as DEFAULT_TURN_DETECTION
from ..session_fields import tool_choice as checked_tool_choice
from ..wire.items import create_payload
from ..wire.server_events import ItemAdded, Malformed, from_payload
from ..wire.values import value
from . import mapping
from .pictures import Pictures

DEFAULT_INPUT_AUDIO_TRANSCRIPTION = DEFAULT_TRANSCRIPTION
AZURE_DEFAULT_TURN_DETECTION = azure.DEFAULT_TURN_DETECTION
AZURE_DEFAULT_INPUT_AUDIO_TRANSCRIPTION = azure.DEFAULT_TRANSCRIPTION
DEFAULT_TOOL_CHOICE = FIELDS["tool_choice"].default
DEFAULT_MAX_RESPONSE_OUTPUT_TOKENS = FIELDS["max_output_tokens"].default


@value
class _AnyServer:
    """A session of which nothing is known."""

    model: str = ""
    is_native: bool = False

    def takes_reasoning(self, name: str) -> bool:
        return True


def _converted(field: str, value: Any) -> dict[str, Any] | None:
    if isinstance(value, NotGiven):
        value = FIELDS[field].default
    checked: dict[str, Any] | None = FIELDS[field].check(value, _AnyServer())
    return checked


def to_noise_reduction(noise_reduction: NotGivenOr[Any]) -> dict[str, Any] | None:
    """`{"type": "near_field"}` or `far_field` of that text, a dict or an object; None of None and NOT_GIVEN.

    Raises ValueError for a kind GA does not have.
    """
    return _converted("input_audio_noise_reduction", noise_reduction)


def to_audio_transcription(audio_transcription: NotGivenOr[Any]) -> dict[str, Any] | None:
    """`{"model": ..., ...}` of a dict or an object; the default of NOT_GIVEN, None of None.

    Raises ValueError for a field or a value GA does not have.
    """
    return _converted("input_audio_transcription", audio_transcription)


def to_turn_detection(turn_detection: NotGivenOr[Any]) -> dict[str, Any] | None:
    """`{"type": "server_vad" or "semantic_vad", ...}` of a dict or an object; the default of NOT_GIVEN, None of None.

    Raises ValueError for a kind, a field or a value GA does not have.
    """
    return _converted("turn_detection", turn_detection)


def to_oai_tool_choice(tool_choice: llm.ToolChoice | None) -> Any:
    """`auto`, `none`, `required` or `{"type": "function", "name": ...}` of LiveKit's choice; `auto` of None.

    Raises ValueError for anything else.
    """
    return checked_tool_choice(tool_choice)


def livekit_item_to_openai_item(item: llm.ChatItem) -> dict[str, Any]:
    """The `item` of a `conversation.item.create`. Ids longer than 32 characters, which GA refuses, become a digest.

    Raises ValueError for LiveKit's own kinds (handoffs, configuration updates), which stay in LiveKit, and for an image
    that GA does not take, such as a link.
    """
    pictures = Pictures(Images(fetch=False))
    record = mapping.to_record(item, pictures.part)
    if (refused := pictures.refused) is not None:
        raise ValueError(refused.sentence())
    if record is None:
        raise ValueError(f"a chat item of type {item.type!r} has no form in GA: leave it out.")
    wire = record.item
    return create_payload(wire) or {"id": wire.id, "type": wire.type, "role": wire.role, "content": []}


def openai_item_to_livekit_item(item: Any) -> llm.ChatItem:
    """LiveKit's chat item of a conversation item, a dict or an SDK object; spoken parts as their transcripts.

    Raises ValueError for an item without an id, and for kinds LiveKit has no word for (server-side tools).
    """
    event = from_payload({"type": ItemAdded.type, "item": plain(item)})
    if isinstance(event, Malformed):
        raise ValueError(f"not a conversation item: {event.problem}.")
    assert isinstance(event, ItemAdded)
    chat_item = mapping.to_chat_item(Record(event.item, time.time()))
    if chat_item is None:
        raise ValueError(f"a conversation item of type {event.item.type!r} has no form in LiveKit: leave it out.")
    return chat_item


def calculate_confidence_from_logprobs(logprobs: Sequence[Any] | None) -> float | None:
    """exp(mean logprob), 0.0 to 1.0, of dicts or objects with a `logprob`; None when there are none."""
    return confidence([lp if isinstance(lp, Mapping) else {"logprob": lp.logprob} for lp in logprobs or ()])
