"""Items: their text, and how one is brought into a new session."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.wire import client_events
from livekit_plugins_openai_ga.wire.items import MAX_ID_LENGTH, Item, brought_back, create_payload, short_id

SDK: TypeAdapter[Any] = TypeAdapter(RealtimeClientEvent)


def test_an_answered_mcp_call_comes_back_as_a_function_call_and_its_output() -> None:
    call = Item("mcp_1", "mcp_call", name="find", arguments='{"a": 1}', output="3 pairs", server_label="shop")
    assert brought_back(call) == (
        Item("mcp_1", "function_call", "completed", call_id="mcp_1", name="find", arguments='{"a": 1}'),
        Item("mcp_1_out", "function_call_output", "completed", call_id="mcp_1", output="3 pairs"),
    )
    failed = Item("x" * 32, "mcp_call", name="find", error={"type": "http_error", "message": "Bad gateway"})
    again, output = brought_back(failed)
    assert (again.arguments, output.output, len(output.id)) == ("{}", "Error: Bad gateway", 32)
    assert brought_back(Item("mcp_1", "mcp_call", name="find")) == ()
    assert brought_back(Item("m", "message")) == (Item("m", "message"),)


def message(role: str, *parts: dict[str, Any]) -> Item:
    return Item("item_1", "message", role=role, content=parts)


def content(item: Item) -> Any:
    payload = create_payload(item)
    return payload["content"] if payload is not None else None


def test_ids_that_fit_stay_and_longer_ones_become_stable_digests() -> None:
    assert short_id("a" * 32) == "a" * 32
    digest = short_id("a" * 33)
    assert len(digest) == MAX_ID_LENGTH
    assert digest == short_id("a" * 33) != short_id("b" * 33)


def test_the_text_of_a_message_is_what_is_written_and_what_is_said() -> None:
    item = message(
        "user",
        {"type": "input_text", "text": "look"},
        {"type": "input_image", "image_url": "data:"},
        {"type": "input_audio", "transcript": "and listen"},
        {"type": "input_audio", "transcript": None},
        {"type": "input_text", "text": {"odd": 1}},
    )
    assert item.text == "look\nand listen"


def test_with_text_holds_only_that_text() -> None:
    spoken = message("assistant", {"type": "output_audio", "transcript": "all of it"})
    assert spoken.with_text("all").content == ({"type": "output_text", "text": "all"},)
    assert message("user", {"type": "input_text", "text": "x"}).with_text("y").content == (
        {"type": "input_text", "text": "y"},
    )
    assert spoken.with_text("").content == ()


def test_a_transcript_fills_its_part_and_leaves_the_item_it_was_made_from() -> None:
    before = message("user", {"type": "input_text", "text": "a"}, {"type": "input_audio", "transcript": None})
    after = before.with_transcript(1, "b")
    assert after.text == "a\nb"
    assert before.text == "a"


@pytest.mark.parametrize("index", [-1, 0, 10**9])
def test_a_transcript_of_a_part_that_is_not_there_is_kept(index: int) -> None:
    assert message("user").with_transcript(index, "words").text == "words"


def test_spoken_parts_come_back_as_their_text() -> None:
    said = message("assistant", {"type": "output_audio", "transcript": "hi"})
    heard = message("user", {"type": "input_audio", "transcript": "yo"})
    assert content(said) == [{"type": "output_text", "text": "hi"}]
    assert content(heard) == [{"type": "input_text", "text": "yo"}]


def test_old_part_names_come_back_as_ga_parts() -> None:
    assert content(message("assistant", {"type": "text", "text": "hi"})) == [{"type": "output_text", "text": "hi"}]


def test_pictures_and_sound_come_back_when_their_data_is_here() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    sound = {"type": "input_audio", "audio": "AAAA"}
    assert content(message("user", picture, sound)) == [picture, sound]
    assert content(message("user", {"type": "input_image"}, {"type": "input_text", "text": "x"})) == [
        {"type": "input_text", "text": "x"}
    ]


@pytest.mark.parametrize(
    "item",
    [
        message("user"),
        message("user", {"type": "input_audio", "transcript": None}),
        message("assistant", {"type": "output_audio", "transcript": ""}),
        Item("i", "function_call", status="in_progress", call_id="c", name="f"),
        Item("i", "function_call", status="incomplete", call_id="c", name="f", arguments='{"a": '),
        Item("i", "mcp_list_tools"),
    ],
)
def test_what_a_client_cannot_make_gives_nothing(item: Item) -> None:
    assert create_payload(item) is None


@pytest.mark.parametrize(
    "item",
    [
        message("system", {"type": "input_text", "text": "be nice"}),
        message("user", {"type": "input_audio", "transcript": "yo"}),
        message("assistant", {"type": "output_audio", "transcript": "hi"}),
        Item("i", "function_call", status="completed", call_id="c", name="f", arguments="{}"),
        Item("i", "function_call_output", call_id="c", output=""),
    ],
)
def test_what_comes_back_is_valid_for_the_sdk(item: Item) -> None:
    payload = create_payload(item)
    assert payload is not None
    event = client_events.item_create(payload, event_id="e")
    assert SDK.validate_python(event).model_dump(exclude_unset=True) == event
