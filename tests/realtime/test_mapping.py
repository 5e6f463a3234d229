"""LiveKit's objects and GA's, each turned into the other."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import llm
from livekit.agents.metrics import RealtimeModelMetrics
from openai.types.realtime import ConversationItem, RealtimeFunctionTool
from pydantic import TypeAdapter

from livekit_plugins_openai_ga.core.effects import ReplyEnded
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.core.usage import ReplyUsage, TranscriptionUsage
from livekit_plugins_openai_ga.images import Images
from livekit_plugins_openai_ga.realtime import mapping
from livekit_plugins_openai_ga.realtime.pictures import Pictures
from livekit_plugins_openai_ga.wire.items import Item, create_payload

PIXEL = rtc.VideoFrame(8, 8, rtc.VideoBufferType.RGBA, bytes(8 * 8 * 4))
DATA_URL = "data:image/png;base64,iVBORw0KGgo="


def wire(item: llm.ChatItem) -> dict[str, Any]:
    """What a `conversation.item.create` for this item holds; the openai SDK must know its shape."""
    record = mapping.to_record(item, Pictures(Images()).part)
    assert record is not None
    payload = create_payload(record.item)
    assert payload is not None
    TypeAdapter(ConversationItem).validate_python(payload)
    return payload


def message(role: Any, *content: Any, **given: Any) -> llm.ChatMessage:
    return llm.ChatMessage(id="item_1", role=role, content=list(content), **given)


# -- chat items to GA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "on_wire", "part"),
    [
        ("user", "user", "input_text"),
        ("assistant", "assistant", "output_text"),
        ("system", "system", "input_text"),
        ("developer", "system", "input_text"),
    ],
)
def test_a_text_message_keeps_its_id_and_gets_the_part_type_of_its_role(role: str, on_wire: str, part: str) -> None:
    assert wire(message(role, "Hello.", "You.")) == {
        "id": "item_1",
        "type": "message",
        "role": on_wire,
        "content": [{"type": part, "text": "Hello."}, {"type": part, "text": "You."}],
    }


def test_a_call_and_its_output_keep_their_call_id_even_when_it_is_too_long() -> None:
    long = "toolu_" + "x" * 60
    call = llm.FunctionCall(id="item_c", call_id=long, name="look_up", arguments='{"a": 1}')
    output = llm.FunctionCallOutput(id="item_o", call_id=long, name="look_up", output="42", is_error=False)
    called, answered = wire(call), wire(output)
    assert called["call_id"] == answered["call_id"]
    assert len(called["call_id"]) == 32
    assert (called["name"], called["arguments"], answered["output"]) == ("look_up", '{"a": 1}', "42")
    short = llm.FunctionCall(id="item_c", call_id="call_1", name="look_up", arguments="{}")
    assert wire(short)["call_id"] == "call_1"


def test_an_image_goes_inline() -> None:
    part = wire(message("user", llm.ImageContent(image=PIXEL, inference_detail="low")))["content"][0]
    assert part["image_url"].startswith("data:image/jpeg;base64,")
    assert part["detail"] == "low"
    assert base64.b64decode(part["image_url"].partition(",")[2]).startswith(b"\xff\xd8")
    assert wire(message("user", llm.ImageContent(image=DATA_URL)))["content"][0]["image_url"] == DATA_URL


def test_an_image_that_cannot_be_sent_stays_out_of_its_message() -> None:
    origin = message("user", "Look:", llm.ImageContent(image=DATA_URL))
    record = mapping.to_record(origin, lambda image, role: None)
    assert record is not None
    assert record.item.content == ({"type": "input_text", "text": "Look:"},)
    assert record.origin is origin


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (48000, 1), (16000, 2)])
def test_recorded_audio_goes_out_in_the_sessions_format(rate: int, channels: int) -> None:
    tone = (np.sin(np.arange(rate) * 2 * np.pi * 440 / rate) * 8000).astype(np.int16)
    data = np.repeat(tone, channels)
    cut = len(data) // 3 // channels * channels
    frames = [
        rtc.AudioFrame(piece.tobytes(), rate, channels, len(piece) // channels) for piece in (data[:cut], data[cut:])
    ]
    part = wire(message("user", llm.AudioContent(frame=frames, transcript="a tone")))["content"][0]
    pcm = np.frombuffer(base64.b64decode(part["audio"]), np.int16)
    assert part["transcript"] == "a tone"
    assert len(pcm) == 24000
    spectrum = np.abs(np.fft.rfft(pcm))
    assert abs(int(spectrum.argmax()) - 440) <= 1


def test_pictures_and_audio_of_others_than_the_user_are_left_out() -> None:
    image = llm.ImageContent(image=DATA_URL)
    assert len(wire(message("assistant", "Here.", image))["content"]) == 1


def test_livekits_own_items_are_no_items_of_the_conversation() -> None:
    assert mapping.to_record(llm.AgentHandoff(new_agent_id="b"), Pictures(Images()).part) is None


def test_a_record_gives_back_the_very_object_it_was_made_from() -> None:
    origin = message("user", "Hello.")
    record = mapping.to_record(origin, Pictures(Images()).part)
    assert record is not None
    assert mapping.to_chat_item(record) is origin
    assert record.created_at == origin.created_at


# -- GA's items to LiveKit -----------------------------------------------------------------------------------------


def test_a_spoken_turn_is_its_transcript() -> None:
    item = Item(
        "item_1",
        "message",
        role="user",
        content=({"type": "input_audio", "transcript": "Hello."}, {"type": "input_image", "image_url": DATA_URL}),
    )
    chat = mapping.to_chat_item(Record(item, 12.0, confidence=0.9))
    assert isinstance(chat, llm.ChatMessage)
    assert (chat.id, chat.role, chat.text_content) == ("item_1", "user", "Hello.")
    assert (chat.created_at, chat.transcript_confidence, chat.interrupted) == (12.0, 0.9, False)
    assert isinstance(chat.content[1], llm.ImageContent)


def test_a_spoken_turn_without_a_transcript_is_an_empty_message() -> None:
    item = Item("item_1", "message", role="user", content=({"type": "input_audio", "transcript": None},))
    chat = mapping.to_chat_item(Record(item, 0.0))
    assert isinstance(chat, llm.ChatMessage)
    assert chat.content == []


def test_an_interrupted_reply_says_so() -> None:
    item = Item("item_1", "message", role="assistant", content=({"type": "output_text", "text": "Once"},))
    chat = mapping.to_chat_item(Record(item, 0.0, interrupted=True))
    assert isinstance(chat, llm.ChatMessage)
    assert (chat.interrupted, chat.text_content) == (True, "Once")


def test_calls_and_outputs_come_back() -> None:
    call = Item("item_c", "function_call", call_id="call_1", name="look_up", arguments='{"a": 1}')
    chat = mapping.to_chat_item(Record(call, 3.0))
    assert isinstance(chat, llm.FunctionCall)
    assert (chat.id, chat.call_id, chat.name, chat.arguments) == ("item_c", "call_1", "look_up", '{"a": 1}')
    assert chat.created_at == 3.0
    output = mapping.to_chat_item(Record(Item("item_o", "function_call_output", call_id="call_1", output="42"), 4.0))
    assert isinstance(output, llm.FunctionCallOutput)
    assert (output.call_id, output.output) == ("call_1", "42")


@pytest.mark.parametrize("item", [Item("i", "mcp_call"), Item("i", "message", role="tool"), Item("i", "brand_new")])
def test_what_livekit_has_no_word_for_is_none(item: Item) -> None:
    assert mapping.to_chat_item(Record(item, 0.0)) is None


# -- tools ---------------------------------------------------------------------------------------------------------


@llm.function_tool
async def look_up(city: str, *, days: int = 1) -> str:
    """Look the weather up.

    Args:
        city: which one.
    """
    return city


def raw(**schema: Any) -> llm.RawFunctionTool:
    @llm.function_tool(raw_schema={"name": "raw", "parameters": {"type": "object", "properties": {}}, **schema})
    async def tool(raw_arguments: dict[str, object]) -> str:
        return ""

    return tool


def test_a_function_becomes_a_flat_schema_the_openai_sdk_knows() -> None:
    (schema,), taken = mapping.to_tools([look_up])
    assert taken == [look_up]
    tool = RealtimeFunctionTool.model_validate(schema)
    assert not tool.model_extra
    assert (tool.type, tool.name) == ("function", "look_up")
    assert tool.description
    assert tool.description.startswith("Look the weather up.")
    assert schema["parameters"]["properties"]["city"]["description"] == "which one."


def test_a_raw_schema_is_sent_without_what_ga_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    (schema,), _ = mapping.to_tools([raw(description="d", strict=True, meta={"secret": 1})])
    assert schema == {
        "type": "function",
        "name": "raw",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    }
    (record,) = caplog.records
    assert "strict" in record.getMessage()
    assert "meta" not in record.getMessage()  # each MCP tool has one; that is no news


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"name": "two words"}, "'two words' is not allowed"),
        ({"name": "x" * 65}, "1 to 64 letters"),
        ({"parameters": {"type": "string"}}, "tools.raw.parameters is not an object schema"),
        ({"parameters": {"type": "object", "default": {1, 2}}}, "tools.raw has something in it that JSON cannot hold"),
        ({"parameters": {}}, "tools.raw.parameters is not an object schema"),
    ],
)
def test_a_tool_that_would_void_the_whole_configuration_is_left_out_loudly(
    schema: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    payloads, taken = mapping.to_tools([look_up, raw(**schema)])
    assert [payload["name"] for payload in payloads] == ["look_up"]
    assert taken == [look_up]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert words in record.getMessage()


def test_a_tool_of_another_provider_is_left_out_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    class WebSearch(llm.ProviderTool):
        pass

    assert mapping.to_tools([WebSearch(id="web_search")]) == ([], [])
    assert "WebSearch" in caplog.text


# -- metrics -------------------------------------------------------------------------------------------------------


def ended(**given: Any) -> ReplyEnded:
    fields: dict[str, Any] = {
        "response_id": "resp_1",
        "status": "completed",
        "reason": "",
        "started_at": 100.0,
        "first_output_at": 100.5,
        "ended_at": 102.0,
        "usage": None,
        "failure": None,
    }
    return ReplyEnded(**{**fields, **given})


def reply_metrics(**given: Any) -> RealtimeModelMetrics:
    return mapping.reply_metrics(ended(**given), label="label", model="gpt-realtime-2.1", provider="api.openai.com")


def test_reply_metrics_name_the_response_and_add_up() -> None:
    usage = ReplyUsage(
        input=119,
        output=30,
        total=149,
        input_text=100,
        input_audio=19,
        cached=64,
        cached_text=64,
        output_text=10,
        output_audio=20,
    )
    metrics = reply_metrics(usage=usage)
    assert metrics.request_id == "resp_1"
    assert (metrics.timestamp, metrics.ttft, metrics.duration) == (100.0, 0.5, 2.0)
    assert metrics.tokens_per_second == 15.0
    assert (metrics.input_tokens, metrics.output_tokens, metrics.total_tokens) == (119, 30, 149)
    details = metrics.input_token_details
    assert (details.text_tokens, details.audio_tokens, details.image_tokens, details.cached_tokens) == (100, 19, 0, 64)
    assert details.cached_tokens_details is not None
    assert details.cached_tokens_details.text_tokens == 64
    assert (metrics.output_token_details.text_tokens, metrics.output_token_details.audio_tokens) == (10, 20)
    assert metrics.metadata is not None
    assert (metrics.metadata.model_name, metrics.metadata.model_provider) == ("gpt-realtime-2.1", "api.openai.com")
    assert not metrics.cancelled


def test_a_reply_without_output_or_usage_has_metrics_too() -> None:
    metrics = reply_metrics(status="cancelled", first_output_at=None, ended_at=100.0)
    assert (metrics.ttft, metrics.duration, metrics.tokens_per_second) == (-1, 0, 0)
    assert metrics.cancelled
    assert json.loads(metrics.model_dump_json())["total_tokens"] == 0


@pytest.mark.parametrize(
    ("usage", "seconds", "tokens"),
    [
        (TranscriptionUsage(seconds=3.2), 3.2, (0, 0, 0)),
        (TranscriptionUsage(input=26, output=17, total=43, input_audio=26), 0.0, (26, 17, 43)),
    ],
)
def test_a_transcription_is_billed_in_seconds_or_in_tokens(
    usage: TranscriptionUsage, seconds: float, tokens: tuple[int, int, int]
) -> None:
    metrics = mapping.transcription_metrics("event_1", usage, label="label", model="gpt-transcribe", provider="p")
    assert metrics.request_id == "event_1"
    assert metrics.audio_duration == seconds
    assert (metrics.input_tokens, metrics.output_tokens, metrics.total_tokens) == tokens
    assert metrics.metadata is not None
    assert metrics.metadata.model_name == "gpt-transcribe"
