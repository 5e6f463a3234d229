"""What a strict GA server refuses, and in which words."""

from __future__ import annotations

import json

import pytest

BETA_FIELDS = [
    "modalities",
    "voice",
    "speed",
    "input_audio_format",
    "output_audio_format",
    "input_audio_transcription",
    "input_audio_noise_reduction",
    "turn_detection",
    "max_response_output_tokens",
    "temperature",
]


def audio_input(**fields):
    return {"audio": {"input": fields}}


def audio_output(**fields):
    return {"audio": {"output": fields}}


VAD = "session.audio.input.turn_detection"
ASR = "session.audio.input.transcription"
REFUSED_UPDATES = [
    ({"bogus_field": 1}, "unknown_parameter", "session.bogus_field"),
    (audio_input(bogus=1), "unknown_parameter", "session.audio.input.bogus"),
    (audio_input(turn_detection={"type": "semantic_vad", "threshold": 0.5}), "unknown_parameter", f"{VAD}.threshold"),
    (audio_input(turn_detection={"type": "server_vad", "eagerness": "low"}), "unknown_parameter", f"{VAD}.eagerness"),
    (audio_input(turn_detection={"threshold": 0.5}), "missing_required_parameter", f"{VAD}.type"),
    (audio_input(turn_detection={"type": "none"}), "invalid_value", f"{VAD}.type"),
    (audio_input(turn_detection={"type": "server_vad", "threshold": 2}), "decimal_above_max_value", f"{VAD}.threshold"),
    (
        audio_input(turn_detection={"type": "server_vad", "idle_timeout_ms": 10}),
        "integer_below_min_value",
        f"{VAD}.idle_timeout_ms",
    ),
    (audio_input(turn_detection={"type": "semantic_vad", "eagerness": "x"}), "invalid_value", f"{VAD}.eagerness"),
    (
        audio_input(format={"type": "audio/pcm"}),
        "missing_required_parameter",
        "session.audio.input.format.rate",
    ),
    (
        audio_input(format={"type": "audio/pcm", "rate": 16000}),
        "integer_below_min_value",
        "session.audio.input.format.rate",
    ),
    (
        audio_output(format={"type": "audio/pcm", "rate": 48000}),
        "integer_above_max_value",
        "session.audio.output.format.rate",
    ),
    (audio_input(format="pcm16"), "invalid_type", "session.audio.input.format"),
    (audio_input(transcription={"language": "en"}), "missing_required_parameter", f"{ASR}.model"),
    (
        audio_input(transcription={"model": "whisper-1", "language": ["en"]}),
        "invalid_type",
        f"{ASR}.language",
    ),
    (
        audio_input(transcription={"model": "gpt-transcribe", "languages": []}),
        "array_below_min_length",
        f"{ASR}.languages",
    ),
    (audio_input(transcription={"model": "gpt-transcribe", "language": "en"}), "invalid_value", f"{ASR}.language"),
    (audio_input(transcription={"model": "whisper-1", "keywords": ["a"]}), "invalid_value", f"{ASR}.keywords"),
    (
        audio_input(transcription={"model": "gpt-transcribe", "language": "en", "languages": ["en"]}),
        "invalid_value",
        f"{ASR}.languages",
    ),
    (audio_input(transcription={"model": "gpt-realtime-2.1"}), "invalid_value", f"{ASR}.model"),
    (
        audio_input(transcription={"model": "gpt-live-transcribe", "delay": "bogus"}),
        "invalid_value",
        f"{ASR}.delay",
    ),
    (audio_input(noise_reduction={"type": "loud"}), "invalid_value", "session.audio.input.noise_reduction.type"),
    (audio_output(voice="breeze"), "invalid_value", "session.audio.output.voice"),
    (audio_output(speed=2), "decimal_above_max_value", "session.audio.output.speed"),
    ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": []}, "invalid_value", "session.output_modalities"),
    ({"instructions": 5}, "invalid_type", "session.instructions"),
    ({"max_output_tokens": 5000}, "integer_above_max_value", "session.max_output_tokens"),
    ({"max_output_tokens": "many"}, "invalid_value", "session.max_output_tokens"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    (
        {"tools": [{"type": "function", "name": "f", "description": "x" * 1025}]},
        "string_above_max_length",
        "session.tools[0].description",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f"}, "name": "f"}]},
        "unknown_parameter",
        "session.tools[0].function",
    ),
    ({"tools": [{"type": "function", "name": "two words"}]}, "invalid_value", "session.tools[0].name"),
    ({"tools": "all"}, "invalid_type", "session.tools"),
    ({"tools": [{"type": "function", "name": "f", "parameters": "{}"}]}, "invalid_type", "session.tools[0].parameters"),
    ({"tool_choice": {"type": 5}}, "invalid_type", "session.tool_choice.type"),
    ({"parallel_tool_calls": "yes"}, "invalid_type", "session.parallel_tool_calls"),
    ({"tool_choice": "maybe"}, "invalid_value", "session.tool_choice"),
    ({"truncation": {"type": "retention_ratio"}}, "missing_required_parameter", "session.truncation.retention_ratio"),
    ({"include": ["everything"]}, "invalid_value", "session.include[0]"),
    ({"reasoning": {"effort": "extreme"}}, "invalid_value", "session.reasoning.effort"),
    ({"model": "gpt-realtime-2"}, "invalid_parameter", "session.model"),
    *[({field: None}, "unknown_parameter", f"session.{field}") for field in BETA_FIELDS],
]


@pytest.mark.parametrize(("change", "code", "param"), REFUSED_UPDATES)
def test_an_update_is_refused_as_a_whole(talk, change, code, param):
    t = talk()
    before = t.session.config
    (answer,) = t("session.update", event_id="e1", session={"type": "realtime", "tool_choice": "auto", **change})
    assert answer["type"] == "error"
    assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)
    assert answer["error"]["event_id"] == "e1"
    assert set(answer["error"]) == {"type", "code", "message", "param", "event_id"}
    assert t.session.config == before


ACCEPTED_UPDATES = [
    {"instructions": ""},
    {"tools": []},
    {"output_modalities": ["text"]},
    {"model": "gpt-realtime-2.1"},
    {"max_output_tokens": 4096},
    {"max_output_tokens": "inf"},
    {"tool_choice": {"type": "function", "name": "f"}},
    {"tools": [{"type": "mcp", "server_label": "s", "server_url": "https://s.test"}]},
    {"truncation": {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 1}}},
    {"tracing": "auto"},
    {"tracing": {"workflow_name": "w"}},
    {"reasoning": {"effort": "xhigh"}, "parallel_tool_calls": False},
    {"include": ["item.input_audio_transcription.logprobs"]},
    {"prompt": {"id": "p"}},
    audio_output(voice={"id": "voice_1"}),
    audio_output(voice="cedar", speed=1.5),
    audio_input(noise_reduction={"type": "far_field", "strength": 0.5}),
    audio_input(transcription={"model": "gpt-transcribe", "languages": ["en"], "keywords": ["x"]}),
    audio_input(turn_detection={"type": "semantic_vad", "eagerness": "high"}),
]


@pytest.mark.parametrize("change", ACCEPTED_UPDATES)
def test_an_update_is_merged_and_echoed_in_full(talk, change):
    t = talk()
    answer, *_ = t.configure(**change)  # a list of the tools of an MCP server follows
    assert answer["type"] == "session.updated", answer
    assert answer["session"] == t.session.config
    assert answer["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_a_bare_server_vad_is_filled_with_the_defaults(talk):
    (answer,) = talk().configure(**audio_input(turn_detection={"type": "server_vad", "threshold": 0.7}))
    assert answer["session"]["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.7,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }


def test_delay_is_taken_and_not_echoed(talk):
    t = talk(session_type="transcription")
    box = {"transcription": {"model": "gpt-live-transcribe", "delay": "low"}, "turn_detection": None}
    (answer,) = t.configure(**audio_input(**box))
    expected = {"model": "gpt-live-transcribe", "language": None, "prompt": None}
    assert answer["session"]["audio"]["input"]["transcription"] == expected


def test_reasoning_needs_a_reasoning_model(talk):
    t = talk(model="gpt-realtime-1.5")
    (refused,) = t.configure(reasoning={"effort": "low"})
    assert refused["error"]["param"] == "session.reasoning"
    (refused,) = t("response.create", response={"parallel_tool_calls": True})
    assert refused["error"]["param"] == "response.parallel_tool_calls"


def test_tracing_is_immutable_once_enabled(talk):
    t = talk()
    t.configure(tracing="auto")
    assert t.configure(tracing="auto")[0]["type"] == "session.updated"
    assert t.configure(tracing=None)[0]["error"]["param"] == "session.tracing"


@pytest.mark.parametrize(("session_type", "other"), [("realtime", "transcription"), ("transcription", "realtime")])
def test_the_type_of_a_session_is_required_and_fixed(talk, session_type, other):
    t = talk(session_type=session_type)
    (missing,) = t("session.update", session={"include": None})
    assert missing["error"]["message"] == "Missing required parameter: 'session.type'."
    (bad,) = t("session.update", session={"type": "session"})
    assert bad["error"]["message"] == (
        "Invalid value: 'session'. Supported values are: 'realtime' and 'transcription'."
    )
    (switched,) = t("session.update", session={"type": other})
    assert switched["error"]["code"] == "invalid_parameter"
    assert switched["error"]["message"] == (
        f"Passing a {other} session update event to a {session_type} session is not allowed."
    )


def user(*content, **fields):
    return {"type": "message", "role": "user", "content": list(content), **fields}


TEXT = {"type": "input_text", "text": "Hi"}
REFUSED_EVENTS = [
    ({"type": "nope"}, "invalid_value", "type"),
    ({"type": "output_audio_buffer.clear"}, "invalid_value", "type"),
    ({"type": "session.close"}, "invalid_value", "type"),
    ({}, "missing_required_parameter", "type"),
    ({"type": 5}, "invalid_type", "type"),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "input_audio_buffer.commit", "extra": 1}, "unknown_parameter", "extra"),
    ({"type": "input_audio_buffer.commit", "event_id": "x" * 513}, "string_above_max_length", "event_id"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": [1]}, "invalid_type", "audio"),
    ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
    ({"type": "conversation.item.create", "item": {"type": "note"}}, "invalid_value", "item.type"),
    ({"type": "conversation.item.create", "item": user(TEXT, id="x" * 39)}, "string_above_max_length", "item.id"),
    (
        {"type": "conversation.item.create", "item": user({"type": "output_text", "text": "Hi"})},
        "invalid_value",
        "item.content[0].type",
    ),
    (
        {"type": "conversation.item.create", "item": user({"type": "input_audio", "audio": "%"})},
        "invalid_value",
        "item.content[0].audio",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": user({"type": "input_image", "image_url": "https://x.test/a.png"}),
        },
        "invalid_value",
        "item.content[0].image_url",
    ),
    (
        {"type": "conversation.item.create", "item": {**user({"type": "text", "text": "Hi"}), "role": "assistant"}},
        "invalid_value",
        "item.content[0].type",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {**user({"type": "output_audio", "transcript": "Hi"}), "role": "assistant"},
        },
        "missing_required_parameter",
        "item.content[0].text",
    ),
    (
        {"type": "conversation.item.create", "item": {**user({"type": "input_image"}), "role": "system"}},
        "invalid_value",
        "item.content[0].type",
    ),
    (
        {"type": "conversation.item.create", "item": {"type": "function_call", "name": "f"}},
        "missing_required_parameter",
        "item.arguments",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call_output", "call_id": "x" * 33, "output": ""},
        },
        "string_above_max_length",
        "item.call_id",
    ),
    (
        {
            "type": "conversation.item.create",
            "item": {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "call/finished"},
        },
        "invalid_value",
        "item.call_id",
    ),
    ({"type": "conversation.item.truncate", "item_id": "i"}, "missing_required_parameter", "content_index"),
    (
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5},
        "invalid_type",
        "audio_end_ms",
    ),
    ({"type": "response.create", "response": {"modalities": ["text"]}}, "unknown_parameter", "response.modalities"),
    ({"type": "response.create", "response": {"temperature": 1}}, "unknown_parameter", "response.temperature"),
    (
        {"type": "response.create", "response": {"audio": {"output": {"speed": 1}}}},
        "unknown_parameter",
        "response.audio.output.speed",
    ),
    (
        {"type": "response.create", "response": {"metadata": {"k": "v" * 513}}},
        "string_above_max_length",
        "response.metadata.k",
    ),
    (
        {"type": "response.create", "response": {"metadata": {str(n): "" for n in range(17)}}},
        "object_above_max_properties",
        "response.metadata",
    ),
    ({"type": "response.create", "response": {"metadata": []}}, "invalid_type", "response.metadata"),
    ({"type": "response.create", "response": {"conversation": "other"}}, "invalid_value", "response.conversation"),
    (
        {"type": "response.create", "response": {"input": [{"type": "item_reference"}]}},
        "missing_required_parameter",
        "response.input[0].id",
    ),
]


@pytest.mark.parametrize(("event", "code", "param"), REFUSED_EVENTS)
def test_an_event_is_refused_and_changes_nothing(talk, event, code, param):
    t = talk()
    (answer,) = t.frame(json.dumps(event))
    assert answer["type"] == "error"
    assert (answer["error"]["code"], answer["error"]["param"]) == (code, param)
    assert t.session.items == []
    assert t.closed is None


FUNCTION_CALL = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}
ACCEPTED_ITEMS = [
    user(TEXT),
    user(TEXT, id="x" * 32, object="realtime.item", status="completed"),
    user({"type": "input_audio", "audio": "AAAA", "transcript": "x"}),
    user({"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}),
    {"type": "message", "role": "system", "content": [TEXT]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
    FUNCTION_CALL,
    {"type": "function_call", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": ""},
]


@pytest.mark.parametrize("item", ACCEPTED_ITEMS)
def test_an_item_is_acknowledged_twice_and_completed(talk, item):
    t = talk()
    if item["type"] == "function_call_output":
        t("conversation.item.create", item=FUNCTION_CALL)
    added, done = t("conversation.item.create", item=item)
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert added["item"] == done["item"] == t.session.items[-1]
    assert added["item"]["status"] == "completed"
    assert len(added["item"]["id"]) <= 32
    assert "object" not in added["item"]


def test_the_unknown_event_message_lists_what_there_is(talk):
    (answer,) = talk()("nope")
    message = answer["error"]["message"]
    assert message.startswith("Invalid value: 'nope'. Supported values are: 'session.update', 'session.close', ")
    assert message.endswith("'response.create', and 'response.cancel'.")


def test_null_in_a_response_means_what_the_session_has(talk):
    t = talk()
    assert t("response.create", response={"instructions": None, "tools": None})[0]["type"] == "response.created"
