"""Client events: the SDK's own types say whether they are right."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent
from pydantic import BaseModel, TypeAdapter

from livekit_plugins_openai_ga.wire import client_events as ce
from livekit_plugins_openai_ga.wire.session import PCM_24K

SDK: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)
ITEM = {"id": "a", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
SESSION = {"type": "realtime", "instructions": "be nice", "audio": {"input": {"format": dict(PCM_24K)}}}

EVENTS = [
    ("session.update", ce.session_update(SESSION, event_id="e")),
    ("input_audio_buffer.append", ce.AUDIO_APPEND.event(b"\0\0\0")),
    ("input_audio_buffer.commit", ce.audio_commit(event_id="e")),
    ("input_audio_buffer.clear", ce.audio_clear(event_id="e")),
    ("conversation.item.create", ce.item_create(ITEM, event_id="e")),
    ("conversation.item.create", ce.item_create(ITEM, event_id="e", previous_item_id="root")),
    ("conversation.item.delete", ce.item_delete("a", event_id="e")),
    ("conversation.item.truncate", ce.item_truncate("a", 100, event_id="e")),
    ("response.create", ce.response_create({"conversation": "none", "metadata": {"k": "v"}}, event_id="e")),
    ("response.cancel", ce.response_cancel("r", event_id="e")),
]


def surplus(model: BaseModel) -> list[str]:
    """Names the SDK's types do not have, at any depth."""
    found = list(model.model_extra or {})
    for value in model.__dict__.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, BaseModel):
                found += surplus(part)
    return found


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_the_sdk_takes_it_and_knows_every_name_in_it(name: str, event: dict[str, Any]) -> None:
    model = SDK.validate_python(event)
    assert model.type == event["type"] == name
    assert surplus(model) == []
    assert model.model_dump(exclude_unset=True) == event


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_everything_the_server_may_refuse_carries_our_id(name: str, event: dict[str, Any]) -> None:
    assert event.get("event_id") == (None if name == "input_audio_buffer.append" else "e")


def test_an_item_is_appended_unless_its_place_is_named() -> None:
    assert "previous_item_id" not in ce.item_create(ITEM, event_id="e")
    assert ce.item_create(ITEM, event_id="e", previous_item_id="b")["previous_item_id"] == "b"


SOUND = b"\x00\x1f\xbf\xff"
AUDIO = ce.AUDIO_APPEND.event(SOUND)


@pytest.mark.parametrize("event", [event for _, event in EVENTS] + [AUDIO, {"text": '"größer"'}])
def test_its_text_is_the_event_as_json(event: dict[str, Any]) -> None:
    assert json.loads(ce.text(event)) == event


def test_audio_is_written_without_its_event_as_the_event_would_be() -> None:
    assert ce.AUDIO_APPEND.head + b64encode(SOUND) + ce.APPEND_TAIL == ce.text(AUDIO)
    assert AUDIO == {"type": "input_audio_buffer.append", "audio": "AB+//w=="}


def test_what_was_given_is_copied() -> None:
    params: dict[str, Any] = {"conversation": "none"}
    event = ce.response_create(params, event_id="e")
    params["conversation"] = "auto"
    assert event["response"] == {"conversation": "none"}
