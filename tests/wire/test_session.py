"""Session payloads: one, the difference of two, and what the server kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeSessionCreateRequest

from livekit_plugins_openai_ga.wire import session
from livekit_plugins_openai_ga.wire.session import difference, merge, mismatches, realtime_payload

VAD = {"type": "server_vad", "threshold": 0.5}
PAYLOAD = realtime_payload(
    input_options={"turn_detection": VAD, "transcription": {"model": "gpt-transcribe"}},
    output_options={"voice": "marin"},
    options={"instructions": "be nice", "output_modalities": ["audio"], "tools": []},
)

values = st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
leaves = values | objects
payloads = st.builds(
    lambda top, into, out: {**top, "type": "realtime", "audio": {"input": into, "output": out}},
    st.dictionaries(st.sampled_from(["instructions", "tools", "truncation"]), leaves),
    st.dictionaries(st.sampled_from(["transcription", "turn_detection"]), leaves),
    st.dictionaries(st.sampled_from(["voice", "speed"]), leaves),
)


def without_nulls(payload: dict[str, Any]) -> dict[str, Any]:
    """What the payload says to a server that has nothing else: a cleared field is one it does not have."""
    audio = payload.get("audio") or {}
    boxes = {box: {k: v for k, v in (audio.get(box) or {}).items() if v is not None} for box in ("input", "output")}
    top = {key: value for key, value in payload.items() if value is not None and key != "audio"}
    return {**top, **boxes}


def test_a_payload_is_valid_for_the_sdk() -> None:
    model = RealtimeSessionCreateRequest.model_validate(PAYLOAD)
    assert model.model_extra == {}
    assert model.model_dump(exclude_unset=True) == PAYLOAD


def test_both_formats_carry_their_rate() -> None:
    for box in ("input", "output"):
        assert PAYLOAD["audio"][box]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_there_are_ten_voices() -> None:
    assert len(set(session.VOICES)) == 10


def test_nothing_is_sent_when_nothing_changed() -> None:
    assert difference(PAYLOAD, PAYLOAD) == {}


def test_only_what_changed_is_sent_with_the_type() -> None:
    changed = merge(PAYLOAD, {"audio": {"output": {"voice": "cedar"}}})
    assert difference(PAYLOAD, changed) == {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}


def test_turn_detection_is_sent_whole_because_its_kinds_take_other_fields() -> None:
    semantic = {"type": "semantic_vad", "eagerness": "low"}
    changed = merge(PAYLOAD, {"audio": {"input": {"turn_detection": semantic}}})
    assert changed["audio"]["input"]["turn_detection"] == semantic
    assert difference(PAYLOAD, changed)["audio"] == {"input": {"turn_detection": semantic}}


def test_a_null_is_sent_once_because_it_switches_off_a_default() -> None:
    off = merge(PAYLOAD, {"audio": {"input": {"noise_reduction": None}}})
    assert difference(PAYLOAD, off)["audio"] == {"input": {"noise_reduction": None}}
    assert difference(off, off) == {}


def test_a_field_that_is_gone_is_cleared_once() -> None:
    old = {**PAYLOAD, "truncation": "disabled"}
    change = difference(old, PAYLOAD)
    assert change == {"type": "realtime", "truncation": None}
    assert difference(merge(old, change), PAYLOAD) == {}


@given(payloads, payloads)
def test_the_difference_brings_the_old_to_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    reached = merge(old, difference(old, new))
    assert without_nulls(reached) == without_nulls(new)
    assert difference(reached, new) == {}


@given(payloads, payloads)
def test_merging_changes_neither_of_the_two(old: dict[str, Any], new: dict[str, Any]) -> None:
    before = (repr(old), repr(new))
    merge(old, new)
    assert (repr(old), repr(new)) == before


def test_a_server_that_kept_everything_and_added_its_own_has_no_mismatch() -> None:
    kept = merge(PAYLOAD, {"id": "sess_1", "audio": {"input": {"turn_detection": {**VAD, "prefix_padding_ms": 300}}}})
    assert mismatches(PAYLOAD, kept) == {}


def test_a_value_the_server_replaced_is_named_by_its_path() -> None:
    kept = merge(PAYLOAD, {"audio": {"output": {"voice": "alloy"}}})
    assert mismatches(PAYLOAD, kept) == {"audio.output.voice": ("marin", "alloy")}


def test_an_object_the_server_answers_with_null_is_named() -> None:
    kept = merge(PAYLOAD, {"audio": {"input": {"turn_detection": None}}})
    assert mismatches(PAYLOAD, kept) == {"audio.input.turn_detection": (VAD, None)}


def test_what_is_not_echoed_is_no_mismatch() -> None:
    asked = {"audio": {"input": {"transcription": {"model": "m", "delay": "low"}}}}
    assert mismatches(asked, {"audio": {"input": {"transcription": {"model": "m"}}}}) == {}


@pytest.mark.parametrize(
    ("kept", "differs"),
    [
        ([{"type": "mcp", "server_label": "f"}], False),
        ([{"type": "mcp", "server_label": "g"}], True),
        ([{"type": "function", "name": "f", "strict": False}], False),
        ([], True),
        ([{"type": "function", "name": "g"}], True),
        (["odd"], True),
    ],
)
def test_tools_are_compared_by_name(kept: list[Any], differs: bool) -> None:
    asked = {"tools": [{"type": "function", "name": "f"}]}
    assert bool(mismatches(asked, {"tools": kept})) is differs
