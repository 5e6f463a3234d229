"""Decoding: which event becomes what, what is tolerated, and that nothing the server sends raises."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent

from livekit_plugins_openai_ga.wire import renames
from livekit_plugins_openai_ga.wire import server_events as ev

MODELS: dict[str, Any] = {
    typing.get_args(model.model_fields["type"].annotation)[0]: model
    for model in typing.get_args(typing.get_args(RealtimeServerEvent)[0])
}
SAMPLES: dict[str, dict[str, Any]] = {
    "session.created": {"session": {"type": "realtime"}},
    "session.updated": {"session": {"type": "realtime"}},
    "error": {"error": {"type": "invalid_request_error", "code": "x", "message": "m", "param": None, "event_id": "e"}},
    "conversation.item.added": {"item": {"id": "a", "type": "message", "role": "user", "content": []}},
    "conversation.item.done": {"item": {"id": "a", "type": "mcp_call", "output": "x"}},
    "conversation.item.deleted": {"item_id": "a"},
    "conversation.item.input_audio_transcription.delta": {"item_id": "a", "content_index": 0, "delta": "he"},
    "conversation.item.input_audio_transcription.completed": {
        "item_id": "a",
        "content_index": 0,
        "transcript": "hello",
    },
    "conversation.item.input_audio_transcription.failed": {"item_id": "a", "content_index": 0, "error": {"code": "x"}},
    "output_audio_buffer.started": {"response_id": "r"},
    "output_audio_buffer.stopped": {"response_id": "r"},
    "output_audio_buffer.cleared": {"response_id": "r"},
    "input_audio_buffer.committed": {"item_id": "a", "previous_item_id": None},
    "input_audio_buffer.speech_started": {"item_id": "a", "audio_start_ms": 10},
    "input_audio_buffer.speech_stopped": {"item_id": "a", "audio_end_ms": 20},
    "input_audio_buffer.timeout_triggered": {"item_id": "a", "audio_start_ms": 0, "audio_end_ms": 5000},
    "rate_limits.updated": {"rate_limits": [{"name": "tokens", "limit": 9, "remaining": 8, "reset_seconds": 0.5}]},
    "response.created": {"response": {"id": "r", "status": "in_progress", "conversation_id": "c"}},
    "response.done": {"response": {"id": "r", "status": "completed", "usage": {"total_tokens": 3}}},
    "response.output_item.added": {"response_id": "r", "item": {"id": "a", "type": "message", "role": "assistant"}},
    "response.output_item.done": {"response_id": "r", "item": {"id": "a", "type": "message", "role": "assistant"}},
    "response.content_part.added": {"response_id": "r", "item_id": "a", "part": {"type": "audio", "transcript": ""}},
    "response.output_text.delta": {"response_id": "r", "item_id": "a", "delta": "hi"},
    "response.output_audio.delta": {"response_id": "r", "item_id": "a", "delta": "AAAA"},
    "response.output_audio_transcript.delta": {"response_id": "r", "item_id": "a", "delta": "hi"},
    "response.mcp_call.completed": {"item_id": "a", "output_index": 0},
    "response.mcp_call.failed": {"item_id": "a", "output_index": 0},
    "mcp_list_tools.failed": {"item_id": "a"},
}
REQUIRED = [
    (name, field.name)
    for name, cls in ev.EVENTS.items()
    for field in dataclasses.fields(cls)
    if field.default is dataclasses.MISSING
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def from_payload(name: str, **fields: Any) -> Any:
    return ev.from_payload({"type": name, "event_id": "event_1", **fields})


def test_every_event_of_the_sdk_is_decoded_or_ignored_and_none_is_both() -> None:
    known = {renames.SERVER_EVENTS.get(name, name) for name in MODELS}
    assert known - set(ev.EVENTS) - set(ev.IGNORED) == set()
    assert set(ev.EVENTS) & set(ev.IGNORED) == set()


def test_no_name_is_kept_that_the_sdk_has_dropped() -> None:
    assert (set(ev.EVENTS) | set(ev.IGNORED)) - set(MODELS) == set()


def test_every_field_read_is_a_field_of_the_sdk() -> None:
    unknown = {
        (name, key)
        for name, cls in ev.EVENTS.items()
        for field in dataclasses.fields(cls)
        if (key := field.metadata.get("wire", field.name)) not in MODELS[name].model_fields
    }
    assert unknown == {("response.output_audio_transcript.delta", "start_time")}  # compatible servers send it


@pytest.mark.parametrize("name", sorted(ev.EVENTS))
def test_each_event_is_decoded_from_text(name: str) -> None:
    frame = json.dumps({"type": name, "event_id": "event_1", "obfuscation": "xxxx", **SAMPLES[name]})
    event = ev.decode(frame)
    assert type(event) is ev.EVENTS[name]
    assert event.type == name


@pytest.mark.parametrize("name", sorted(ev.IGNORED))
def test_an_ignored_event_says_its_name(name: str) -> None:
    assert from_payload(name) == ev.Ignored(name)


@pytest.mark.parametrize(("old", "new"), sorted(renames.SERVER_EVENTS.items()))
def test_a_beta_name_is_understood_as_its_ga_form(old: str, new: str) -> None:
    fields = SAMPLES.get(new, {})
    assert from_payload(old, **fields) == from_payload(new, **fields)
    assert not isinstance(from_payload(old, **fields), ev.Unknown)


def test_a_name_of_the_future_is_a_value() -> None:
    assert from_payload("response.hologram.delta") == ev.Unknown("response.hologram.delta")


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b"\x00\x01", "binary"),
        ("{", "JSON"),
        ("[1]", "object"),
        ("[" * 100_000, "JSON"),
        ('{"event_id": "e"}', "'type'"),
        ('{"type": 7}', "'type'"),
    ],
)
def test_a_frame_that_is_no_event_is_malformed(frame: str | bytes, problem: str) -> None:
    event = ev.decode(frame)
    assert isinstance(event, ev.Malformed)
    assert problem in event.problem


@pytest.mark.parametrize(("name", "field"), REQUIRED)
def test_a_missing_field_is_named(name: str, field: str) -> None:
    sample = {key: value for key, value in SAMPLES[name].items() if key != field}
    assert from_payload(name, **sample) == ev.Malformed(name, f"'{field}' is missing")


def test_a_problem_names_the_field_and_does_not_quote_what_it_held() -> None:
    event = from_payload("conversation.item.added", item={"id": 5, "type": "secret words"})
    assert event == ev.Malformed("conversation.item.added", "'item.id' has the wrong type")


def test_an_odd_optional_field_does_not_lose_the_event() -> None:
    event = from_payload("response.done", response={"id": "r", "status": "completed", "usage": [], "metadata": "x"})
    assert event == ev.ResponseDone(ev.Response("r", "completed"))


def test_null_stands_for_the_default() -> None:
    event = from_payload("error", error={"type": "server_error", "code": None, "message": None, "event_id": None})
    assert event == ev.Error(ev.ErrorDetail(type="server_error"))


def test_a_numeric_error_code_is_kept_as_text() -> None:
    assert from_payload("error", error={"code": 429}).error.code == "429"


def test_only_an_explicit_null_conversation_marks_an_out_of_band_response() -> None:
    assert from_payload("response.created", response={"id": "r"}).response.conversation_id == ""
    assert (
        from_payload("response.created", response={"id": "r", "conversation_id": "c"}).response.conversation_id == "c"
    )
    assert (
        from_payload("response.created", response={"id": "r", "conversation_id": None}).response.conversation_id is None
    )


def test_the_clients_event_id_is_read_from_inside_the_error() -> None:
    event = from_payload("error", error={"type": "t", "code": "c", "message": "m", "event_id": "mine", "param": "p"})
    assert event.error == ev.ErrorDetail("m", "t", "c", "p", "mine")


def test_limits_are_read_one_by_one_and_what_is_not_told_is_none() -> None:
    rows = [{"name": "tokens", "limit": 9, "remaining": 8.5, "reset_seconds": 1}, {"name": "requests", "limit": "many"}]
    event = from_payload("rate_limits.updated", rate_limits=rows)
    assert event == ev.RateLimitsUpdated((ev.RateLimit("tokens", 9, 8.5, 1), ev.RateLimit("requests")))


def test_why_a_reply_failed_is_read() -> None:
    details = {"type": "failed", "error": {"type": "server_error", "code": "boom", "message": "m"}}
    event = from_payload("response.done", response={"id": "r", "status": "failed", "status_details": details})
    assert event.response.status_details == ev.StatusDetails(
        "failed", error=ev.ErrorDetail(message="m", type="server_error", code="boom")
    )


@given(st.text() | json_values.map(json.dumps) | st.sampled_from(["[" * 100_000, '{"a": "\\ud800"}']))
def test_a_text_that_nobody_has_looked_at_is_parsed_as_one_that_somebody_has(text: str) -> None:
    assert repr(ev.parse(memoryview(text.encode()))) == repr(ev.parse(text))


@pytest.mark.parametrize("data", [b'{"type": "\xff"}', b"\xed\xa0\x80", b'{"type": "\xe2\x82"'])
def test_what_is_no_text_is_told_from_what_is_no_json(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        ev.parse(memoryview(data))


@given(st.text() | st.binary() | json_values.map(json.dumps))
def test_decoding_never_raises(frame: str | bytes) -> None:
    assert isinstance(ev.decode(frame), ev.ServerEvent)


@given(
    st.sampled_from(sorted(ev.EVENTS)),
    st.dictionaries(
        st.sampled_from(
            [
                "item",
                "item_id",
                "response",
                "response_id",
                "error",
                "part",
                "delta",
                "session",
                "transcript",
                "rate_limits",
            ]
        ),
        json_values
        | st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "type", "content", "status_details"), json_values)),
    ),
)
def test_decoding_never_raises_whatever_a_known_event_holds(name: str, fields: dict[str, Any]) -> None:
    event = ev.from_payload({**fields, "type": name})
    assert isinstance(event, (ev.EVENTS[name], ev.Malformed))
