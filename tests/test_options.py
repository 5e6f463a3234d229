"""Every option: the forms it may come in, what becomes of it on the wire, and the sentence that refuses a bad value."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import re
from typing import Any

import pytest
from livekit.agents import NOT_GIVEN
from livekit.plugins.openai.realtime import RealtimeModel as OfficialModel
from openai import BaseModel
from openai.types import realtime as ga
from openai.types.beta.realtime import session as beta
from openai.types.realtime import (
    realtime_audio_config_input,
    realtime_audio_config_output,
    realtime_audio_formats,
    realtime_audio_input_turn_detection,
    realtime_tracing_config,
    realtime_truncation_retention_ratio,
)
from openai.types.responses import ResponsePrompt

from livekit_plugins_openai_ga import RealtimeModel, models
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.options import Options
from livekit_plugins_openai_ga.session_fields import DEFAULT_TURN_DETECTION, FIELDS

GATEWAY = "https://gateway.example/v1"
LOGPROBS = "item.input_audio_transcription.logprobs"
ServerVad = realtime_audio_input_turn_detection.ServerVad
SemanticVad = realtime_audio_input_turn_detection.SemanticVad


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def options(**given: Any) -> Options:
    return RealtimeModel(**{"api_key": "sk-test", **given}).options


# -- forms that are taken -----------------------------------------------------------------------------------------

GOOD: list[tuple[str, Any, Any]] = [
    ("modalities", NOT_GIVEN, ["audio"]),
    ("modalities", ["audio"], ["audio"]),
    ("modalities", ["text"], ["text"]),
    ("modalities", "text", ["text"]),
    ("modalities", ("text", "audio"), ["audio"]),
    ("voice", "cedar", "cedar"),
    ("voice", "voice_1234", {"id": "voice_1234"}),
    ("voice", {"id": "voice_1234"}, {"id": "voice_1234"}),
    ("voice", realtime_audio_config_output.VoiceID(id="voice_1234"), {"id": "voice_1234"}),
    ("input_audio_format", NOT_GIVEN, {"type": "audio/pcm", "rate": 24000}),
    ("input_audio_format", "pcmu", {"type": "audio/pcmu"}),
    ("input_audio_format", "g711_alaw", {"type": "audio/pcma"}),
    ("input_audio_format", {"type": "audio/pcm"}, {"type": "audio/pcm", "rate": 24000}),
    ("output_audio_format", NOT_GIVEN, {"type": "audio/pcm", "rate": 24000}),
    ("output_audio_format", "pcm16", {"type": "audio/pcm", "rate": 24000}),
    ("output_audio_format", "audio/pcma", {"type": "audio/pcma"}),
    ("output_audio_format", realtime_audio_formats.AudioPCMU(type="audio/pcmu"), {"type": "audio/pcmu"}),
    (
        "output_audio_format",
        realtime_audio_formats.AudioPCM(type="audio/pcm", rate=24000),
        {"type": "audio/pcm", "rate": 24000},
    ),
    ("speed", 1, 1.0),
    ("speed", 0.25, 0.25),
    ("speed", 1.5, 1.5),
    ("input_audio_transcription", NOT_GIVEN, {"model": "gpt-transcribe"}),
    ("input_audio_transcription", None, None),
    ("input_audio_transcription", {"model": "whisper-1", "language": None}, {"model": "whisper-1"}),
    ("input_audio_transcription", {"prompt": "names"}, {"model": "gpt-transcribe", "prompt": "names"}),
    (
        "input_audio_transcription",
        {"languages": ["en", "de"], "keywords": []},
        {"model": "gpt-transcribe", "languages": ["en", "de"], "keywords": []},
    ),
    (
        "input_audio_transcription",
        ga.AudioTranscription(model="gpt-4o-transcribe", language="en"),
        {"model": "gpt-4o-transcribe", "language": "en"},
    ),
    (
        "input_audio_transcription",
        beta.InputAudioTranscription(model="gpt-4o-mini-transcribe", prompt="names"),
        {"model": "gpt-4o-mini-transcribe", "prompt": "names"},
    ),
    # A language without a model goes to the default model, which takes a list.
    (
        "input_audio_transcription",
        beta.InputAudioTranscription(language="en"),
        {"model": "gpt-transcribe", "languages": ["en"]},
    ),
    ("input_audio_noise_reduction", NOT_GIVEN, None),
    ("input_audio_noise_reduction", None, None),
    ("input_audio_noise_reduction", "near_field", {"type": "near_field"}),
    ("input_audio_noise_reduction", {"type": "far_field"}, {"type": "far_field"}),
    (
        "input_audio_noise_reduction",
        realtime_audio_config_input.NoiseReduction(type="near_field"),
        {"type": "near_field"},
    ),
    ("input_audio_noise_reduction", beta.InputAudioNoiseReduction(type="far_field"), {"type": "far_field"}),
    ("turn_detection", NOT_GIVEN, dict(DEFAULT_TURN_DETECTION)),
    ("turn_detection", None, None),
    ("turn_detection", {"type": "server_vad"}, {"type": "server_vad"}),
    (
        "turn_detection",
        {"type": "server_vad", "threshold": 0, "idle_timeout_ms": None},
        {"type": "server_vad", "threshold": 0},
    ),
    (
        "turn_detection",
        ServerVad(type="server_vad", silence_duration_ms=400, idle_timeout_ms=6000),
        {"type": "server_vad", "silence_duration_ms": 400, "idle_timeout_ms": 6000},
    ),
    (
        "turn_detection",
        SemanticVad(type="semantic_vad", eagerness="auto", interrupt_response=False),
        {"type": "semantic_vad", "eagerness": "auto", "interrupt_response": False},
    ),
    (
        "turn_detection",
        beta.TurnDetection(type="server_vad", threshold=0.4, prefix_padding_ms=100, eagerness=None),
        {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100},
    ),
    (
        "turn_detection",
        beta.TurnDetection(type="semantic_vad", eagerness="low"),
        {"type": "semantic_vad", "eagerness": "low"},
    ),
    ("tool_choice", NOT_GIVEN, "auto"),
    ("tool_choice", None, "auto"),
    ("tool_choice", "required", "required"),
    ("tool_choice", {"type": "function", "function": {"name": "look_up"}}, {"type": "function", "name": "look_up"}),
    ("tool_choice", {"type": "function", "name": "look_up"}, {"type": "function", "name": "look_up"}),
    (
        "tool_choice",
        {"type": "mcp", "server_label": "shop", "name": None},
        {"type": "mcp", "server_label": "shop"},
    ),
    (
        "tool_choice",
        {"type": "mcp", "server_label": "shop", "name": "find"},
        {"type": "mcp", "server_label": "shop", "name": "find"},
    ),
    ("max_output_tokens", NOT_GIVEN, "inf"),
    ("max_output_tokens", None, "inf"),
    ("max_output_tokens", "inf", "inf"),
    ("max_output_tokens", 1, 1),
    ("tracing", None, None),
    ("tracing", "auto", "auto"),
    ("tracing", {"workflow_name": "call"}, {"workflow_name": "call"}),
    (
        "tracing",
        realtime_tracing_config.TracingConfiguration(workflow_name="call", metadata={"a": "b"}),
        {"workflow_name": "call", "metadata": {"a": "b"}},
    ),
    ("tracing", beta.TracingTracingConfiguration(group_id="g"), {"group_id": "g"}),
    ("truncation", None, "auto"),
    ("truncation", "disabled", "disabled"),
    (
        "truncation",
        {"type": "retention_ratio", "retention_ratio": 0.8},
        {"type": "retention_ratio", "retention_ratio": 0.8},
    ),
    (
        "truncation",
        realtime_truncation_retention_ratio.RealtimeTruncationRetentionRatio(
            type="retention_ratio",
            retention_ratio=0.8,
            token_limits=realtime_truncation_retention_ratio.TokenLimits(post_instructions=5000),
        ),
        {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 5000}},
    ),
    ("reasoning", "low", {"effort": "low"}),
    ("reasoning", {"effort": "xhigh"}, {"effort": "xhigh"}),
    ("reasoning", ga.RealtimeReasoning(effort="minimal"), {"effort": "minimal"}),
    ("parallel_tool_calls", True, True),
    ("prompt", None, None),
    ("prompt", {"id": "pmpt_1", "version": "2"}, {"id": "pmpt_1", "version": "2"}),
    ("prompt", ResponsePrompt(id="pmpt_1", variables={"name": "Ada"}), {"id": "pmpt_1", "variables": {"name": "Ada"}}),
    ("include", None, None),
    ("include", [LOGPROBS], [LOGPROBS]),
    ("include", (LOGPROBS,), [LOGPROBS]),
]


@pytest.mark.parametrize(("name", "value", "wire"), GOOD)
def test_every_form_of_an_option_becomes_its_wire_form(name: str, value: Any, wire: Any) -> None:
    values = options(**{name: value}).values
    assert values[name] == wire
    assert type(values[name]) is type(wire)


@pytest.mark.parametrize(("name", "value", "wire"), GOOD)
def test_whatever_is_taken_is_a_session_the_openai_sdk_knows(name: str, value: Any, wire: Any) -> None:
    payload = options(**{name: value}).session_payload("Be brief.", [])
    assert json.loads(json.dumps(payload)) == payload
    assert _unknown_fields(ga.RealtimeSessionCreateRequest.model_validate(payload)) == []


def _unknown_fields(model: BaseModel, path: str = "session") -> list[str]:
    unknown = [f"{path}.{name}" for name in model.model_extra or {}]
    for name in type(model).model_fields:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, BaseModel):
                unknown += _unknown_fields(inner, f"{path}.{name}")
    return unknown


def test_there_is_a_good_form_of_every_field() -> None:
    assert {name for name, _, _ in GOOD} == set(FIELDS)


@pytest.mark.parametrize("name", ["tracing", "truncation", "reasoning", "parallel_tool_calls", "prompt", "include"])
def test_what_was_not_given_is_not_sent(name: str) -> None:
    assert FIELDS[name].wire not in options().session_payload(None, [])


def test_reasoning_none_is_the_same_as_not_given_and_takes_an_earlier_choice_back() -> None:
    assert "reasoning" not in options(reasoning=None).session_payload(None, [])
    chosen = options(reasoning="low")
    assert "reasoning" not in chosen.updated({"reasoning": None}).session_payload(None, [])


def test_options_keep_no_hold_of_the_callers_objects() -> None:
    keywords = ["LiveKit"]
    transcription = {"model": "gpt-transcribe", "keywords": keywords}
    made = options(input_audio_transcription=transcription)
    keywords.append("later")
    transcription["prompt"] = "later"
    assert made.values["input_audio_transcription"] == {"model": "gpt-transcribe", "keywords": ["LiveKit"]}


# -- forms that are refused ---------------------------------------------------------------------------------------

BAD: list[tuple[str, Any, str]] = [
    ("modalities", [], "use ['audio'] or ['text']"),
    ("modalities", ["video"], "use ['audio'] or ['text']"),
    ("modalities", [["audio"]], "use ['audio'] or ['text']"),
    ("modalities", 5, "use ['audio'] or ['text']"),
    ("voice", "breeze", "use one of 'alloy'"),
    ("voice", {"name": "x"}, "voice has no 'id'"),
    ("voice", 7, "pass a dict"),
    ("input_audio_format", "opus", "use one of 'pcm', 'pcmu', 'pcma'"),
    ("input_audio_format", None, "pass a dict"),
    ("input_audio_format", {"rate": 8000}, "use one of 'pcm', 'pcmu', 'pcma'"),
    ("input_audio_format", {"type": "audio/pcm", "rate": 16000}, "pcm has 24000 Hz; leave it out"),
    ("output_audio_format", 8000, "pass a dict"),
    ("output_audio_format", "", "use one of 'pcm', 'pcmu', 'pcma'"),
    ("output_audio_format", {"type": "audio/pcmu", "rate": 24000}, "pcmu has 8000 Hz; leave it out"),
    ("speed", 1.6, "from 0.25 to 1.5"),
    ("speed", 0, "from 0.25 to 1.5"),
    ("speed", "fast", "from 0.25 to 1.5"),
    ("speed", True, "from 0.25 to 1.5"),
    ("speed", float("nan"), "from 0.25 to 1.5"),
    ("input_audio_transcription", "gpt-transcribe", "pass a dict"),
    ("input_audio_transcription", {"modle": "x"}, "input_audio_transcription.modle is not a field"),
    ("input_audio_transcription", {"model": 3}, "input_audio_transcription.model=3"),
    ("input_audio_transcription", {"language": ["en"]}, "input_audio_transcription.language=['en']"),
    ("input_audio_transcription", {"languages": "en"}, "input_audio_transcription.languages='en'"),
    ("input_audio_transcription", {"languages": []}, "name at least one language"),
    ("input_audio_transcription", {"keywords": "en"}, "use a list of texts"),
    ("input_audio_transcription", {"language": "en", "languages": ["de"]}, "exclude each other"),
    ("input_audio_transcription", {"delay": "none"}, "input_audio_transcription.delay='none'"),
    ("input_audio_transcription", {"model": "gpt-realtime"}, "does not transcribe: use 'gpt-transcribe'"),
    (
        "input_audio_transcription",
        {"model": "gpt-transcribe", "language": "en"},
        "language is not taken by gpt-transcribe: it takes keywords, languages, prompt",
    ),
    ("input_audio_noise_reduction", "loud", "use one of 'near_field', 'far_field'"),
    ("input_audio_noise_reduction", {}, "input_audio_noise_reduction.type=None"),
    ("input_audio_noise_reduction", 3, "pass a dict"),
    ("turn_detection", "server_vad", "pass a dict"),
    ("turn_detection", {}, "turn_detection.type=None"),
    ("turn_detection", {"type": "none"}, "turn_detection.type='none'"),
    (
        "turn_detection",
        {"type": "semantic_vad", "threshold": 0.5},
        "threshold is not a field of semantic_vad",
    ),
    ("turn_detection", {"type": "server_vad", "eagerness": "low"}, "eagerness is not a field of server_vad"),
    ("turn_detection", {"type": "server_vad", "threshold": 2}, "turn_detection.threshold=2"),
    ("turn_detection", {"type": "server_vad", "prefix_padding_ms": -1}, "of at least 0"),
    ("turn_detection", {"type": "server_vad", "silence_duration_ms": "1"}, "turn_detection.silence_duration_ms='1'"),
    ("turn_detection", {"type": "server_vad", "idle_timeout_ms": 10}, "from 5000 to 30000"),
    ("turn_detection", {"type": "server_vad", "create_response": "no"}, "use True or False"),
    ("turn_detection", {"type": "semantic_vad", "interrupt_response": 0}, "use True or False"),
    ("turn_detection", {"type": "semantic_vad", "eagerness": "eager"}, "turn_detection.eagerness='eager'"),
    ("turn_detection", beta.TurnDetection(threshold=0.5), "turn_detection.type=None"),
    ("tool_choice", "any", "tool_choice='any'"),
    ("tool_choice", {"type": "function"}, "a function by its name"),
    ("tool_choice", {"type": "function", "function": "look_up"}, "a function by its name"),
    ("tool_choice", 3, "pass a dict"),
    ("tool_choice", {"type": "mcp", "name": "find"}, "tool_choice.server_label=None is not supported: use a text"),
    ("tool_choice", {"type": "mcp", "server_label": "shop", "name": 3}, "tool_choice.name=3 is not supported"),
    ("tool_choice", {"type": "mcp", "server_label": "shop", "tool": "x"}, "tool_choice.tool is not a field"),
    ("max_output_tokens", 0, "from 1 to 32000"),
    ("max_output_tokens", 40_000, "from 1 to 32000"),
    ("max_output_tokens", 1.5, "a whole number or 'inf'"),
    ("max_output_tokens", True, "max_output_tokens=True"),
    ("tracing", True, "use 'auto', a dict, or None"),
    ("truncation", "half", "truncation='half'"),
    ("truncation", "", "truncation=''"),
    ("truncation", {"retention_ratio": 0.5}, "truncation.type=None"),
    ("truncation", {"type": "retention_ratio"}, "truncation.retention_ratio=None"),
    ("truncation", {"type": "retention_ratio", "retention_ratio": 5}, "from 0 to 1"),
    ("reasoning", "max", "reasoning.effort='max'"),
    ("reasoning", {"level": "low"}, "reasoning.level is not a field"),
    ("reasoning", 3, "pass a dict"),
    ("parallel_tool_calls", None, "use True or False"),
    ("prompt", {"name": "x"}, "prompt has no 'id'"),
    ("prompt", "pmpt_1", "pass a dict"),
    ("include", ["usage"], "include='usage'"),
    ("include", LOGPROBS, "use a list of texts"),
    ("include", 3, "use a list of texts"),
]


LOOP: dict[str, Any] = {}
LOOP["itself"] = LOOP
BAD += [
    ("tracing", {"metadata": {"call": object()}}, "tracing has something in it that JSON cannot hold"),
    ("tracing", {"metadata": {"score": float("nan")}}, "tracing has something in it that JSON cannot hold"),
    ("tracing", LOOP, "tracing contains itself"),
    ("prompt", {"id": "pmpt_1", "variables": {"now": {1, 2}}}, "prompt has something in it that JSON cannot hold"),
    ("voice", {"id": "voice_1", "owner": b"me"}, "voice has something in it that JSON cannot hold"),
    ("turn_detection", {"type": "server_vad", "prefix_padding_ms": float("inf")}, "turn_detection has something in it"),
    ("tool_choice", {"type": "mcp", "server_label": object()}, "tool_choice has something in it that JSON cannot hold"),
    ("truncation", {"type": "retention_ratio", "token_limits": {(1, 2): 3}}, "truncation has something in it"),
]


@pytest.mark.parametrize(("name", "value", "words"), BAD)
def test_a_value_the_server_would_refuse_is_refused_in_one_sentence(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        options(**{name: value})
    sentence = str(caught.value)
    assert words in sentence
    assert sentence.startswith(name)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_there_is_a_bad_form_of_every_field() -> None:
    assert {name for name, _, _ in BAD} == set(FIELDS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_session_duration": 0}, "max_session_duration=0"),
        ({"heartbeat": 0}, "heartbeat=0"),
        ({"input_chunk_ms": 0}, "input_chunk_ms=0 is not supported: use a number from 1 to 100."),
        ({"input_chunk_ms": 101}, "input_chunk_ms=101"),
        ({"reply_timeout": float("nan")}, "reply_timeout=nan"),
        ({"request_timeout": 0}, "request_timeout=0"),
        ({"model": ""}, "model"),
        ({"model": "gpt-live-1"}, "model='gpt-live-1' cannot hold a conversation"),
        ({"model": "gpt-transcribe"}, "model='gpt-transcribe' cannot hold a conversation"),
        ({"base_url": "api.openai.com/v1"}, "base_url"),
        ({"base_url": "http://gateway.example/v1"}, "base_url"),
        ({"api_key": "two words"}, "api_key"),
        ({"extra_headers": {"OpenAI-Beta": "realtime=v1"}}, "OpenAI-Beta"),
        ({"extra_query": {"intent": "transcription"}}, "intent"),
    ],
)
def test_everything_else_is_checked_before_any_socket(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        options(**given)
    assert "two words" not in str(caught.value)


# -- where values come from ---------------------------------------------------------------------------------------


def test_key_and_base_url_fall_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-env\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    endpoint = RealtimeModel().options.endpoint()
    assert endpoint.url == "wss://eu.api.openai.com/v1/realtime?model=gpt-realtime-2.1"
    assert endpoint.headers["Authorization"] == "Bearer sk-env"
    given = RealtimeModel(api_key="sk-given", base_url=GATEWAY).options.endpoint()
    assert given.host == "gateway.example"
    assert given.headers["Authorization"] == "Bearer sk-given"


def test_an_empty_environment_is_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert options().endpoint().host == "api.openai.com"
    with pytest.raises(ValueError, match="api_key is missing"):
        RealtimeModel()


def test_headers_query_and_path_prefix_reach_the_endpoint() -> None:
    endpoint = options(
        base_url="https://gw.example/prefix/v1?team=a",
        extra_headers={"OpenAI-Project": "proj_1"},
        extra_query={"region": "eu"},
    ).endpoint()
    assert endpoint.url == "wss://gw.example/prefix/v1/realtime?team=a&region=eu&model=gpt-realtime-2.1"
    assert endpoint.headers["OpenAI-Project"] == "proj_1"


def test_plain_text_to_another_host_needs_a_word() -> None:
    assert options(base_url="http://gateway.example/v1", allow_insecure=True).endpoint().url.startswith("ws://")


def test_no_limit_on_a_connection_and_the_default_one() -> None:
    assert options(max_session_duration=None).connection.max_session_duration is None
    # The server ends a session after 60 minutes, so the change must come before that.
    assert (options().connection.max_session_duration or 0) < 3600


def test_nothing_that_may_hold_a_key_is_in_the_repr() -> None:
    made = options(
        api_key="sk-secret",
        base_url="https://gw.example/v1?api-key=hidden1",
        extra_headers={"x-key": "hidden2"},
        extra_query={"token": "hidden3"},
    )
    shown = f"{made!r} {made.endpoint()!r}"
    for secret in ("sk-secret", "hidden1", "hidden2", "hidden3"):
        assert secret not in shown


# -- OpenAI's own server, and everybody else's ---------------------------------------------------------------------

ONLY_NATIVE: list[dict[str, Any]] = [
    {"voice": "breeze"},
    {"model": "gpt-4o-realtime-preview"},
    {"model": "gpt-transcribe"},
    {"max_output_tokens": 1_000_000},
    {"input_audio_transcription": {"model": "gpt-realtime"}},
    {"input_audio_transcription": {"model": "whisper-1", "keywords": ["LiveKit"]}},
]


@pytest.mark.parametrize("given", ONLY_NATIVE)
def test_what_openai_lacks_another_server_may_have(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ValueError, match=name):
        options(**given)
    assert options(base_url=GATEWAY, **given)


def test_names_nobody_knows_are_left_to_the_server() -> None:
    made = options(model="gpt-realtime-9", input_audio_transcription={"model": "gpt-ears-9", "language": "en"})
    assert made.values["input_audio_transcription"] == {"model": "gpt-ears-9", "language": "en"}


@pytest.mark.parametrize("given", [{"reasoning": "low"}, {"parallel_tool_calls": True}])
def test_reasoning_options_are_left_out_for_a_model_that_does_not_reason(
    given: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    (name,) = given
    assert name not in options(model="gpt-realtime-1.5", **given).values
    assert f"{name} is left out: gpt-realtime-1.5" in caplog.text
    assert options(model="gpt-realtime-2.1", **given).values[name]
    assert options(model="gpt-realtime-1.5", base_url=GATEWAY, **given).values[name]
    assert options(model="gpt-realtime-9", **given).values[name]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "gpt-realtime-mini"}, "2027-01-20"),
        ({"input_audio_transcription": {"model": "whisper-1"}}, "2027-02-26"),
        ({"prompt": {"id": "pmpt_1"}}, "2026-11-30"),
        ({"turn_detection": {"type": "server_vad", "create_response": False}}, "interrupt_response=False"),
    ],
)
def test_a_choice_that_works_and_will_hurt_gets_a_warning(
    given: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    options(**given)
    assert [words in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [True]


def test_turn_taking_by_the_agent_alone_needs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    made = options(turn_detection={"type": "server_vad", "create_response": False, "interrupt_response": False})
    assert not made.server_turns
    assert not caplog.records


def test_every_current_default_is_in_the_table_of_models() -> None:
    for name in (models.DEFAULT_REALTIME, models.DEFAULT_INPUT_TRANSCRIPTION):
        assert models.MODELS[name].stage is models.Stage.CURRENT


# -- changes after construction ------------------------------------------------------------------------------------


def test_an_update_changes_what_is_named_and_nothing_else() -> None:
    before = options(voice="cedar")
    after = before.updated({"speed": 1.2, "voice": NOT_GIVEN, "extra_query": {"a": "b"}})
    assert after.values == {**before.values, "speed": 1.2}
    assert before.values["speed"] == 1.0
    assert after.endpoint().url.endswith("?a=b&model=gpt-realtime-2.1")


def test_the_official_name_of_the_token_limit_is_understood() -> None:
    assert options().updated({"max_response_output_tokens": 99}).values["max_output_tokens"] == 99


@pytest.mark.parametrize("name", ["modalities", "model", "voices", "base_url"])
def test_what_cannot_be_updated_is_named(name: str) -> None:
    with pytest.raises(TypeError, match=f"'{name}'.*voice"):
        options().updated({name: "x"})


def test_an_update_with_an_unusable_header_is_refused() -> None:
    with pytest.raises(ValueError, match="X-Trace"):
        options().updated({"extra_headers": {"X-Trace": "two\nlines"}})


@pytest.mark.parametrize("name", ["extra_headers", "extra_query"])
def test_none_takes_extra_headers_and_query_back(name: str) -> None:
    assert getattr(options(**{name: {"x-trace": "1"}}).updated({name: None}).connection, name) == {}


def test_temperature_is_taken_and_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = options()
    assert before.updated({"temperature": 0.8}) == before
    assert "temperature" in caplog.text


def test_options_follow_what_the_server_kept() -> None:
    kept = options(voice="cedar", reasoning="low")
    changed = kept.updated({"voice": "ash", "turn_detection": None})
    restored = changed.restored(kept.session_payload("Be brief.", []))
    assert restored.values == kept.values
    assert dataclasses.replace(restored, values={}) == dataclasses.replace(changed, values={})


# -- beside the official plugin -------------------------------------------------------------------------------------

AZURE = {"azure_deployment", "entra_token"}  # `api_version` hides in **kwargs


def test_every_parameter_of_the_official_constructor_is_taken() -> None:
    official = inspect.signature(OfficialModel.__init__).parameters
    ours = inspect.signature(RealtimeModel.__init__).parameters
    assert set(official) - {"kwargs"} - set(ours) == AZURE


def test_every_parameter_of_the_official_updates_is_taken() -> None:
    official = inspect.signature(OfficialModel.update_options).parameters
    assert set(official) <= set(inspect.signature(RealtimeModel.update_options).parameters)


async def test_a_session_with_defaults_is_told_what_the_official_plugin_tells_it() -> None:
    """Both first updates, as they arrive. What differs is listed here, each with its reason."""
    told = {}
    for name, make in (("official", OfficialModel), ("ours", RealtimeModel)):
        async with Emulator() as server:
            session = make(api_key="sk-test", base_url=server.base_url).session()
            told[name] = (await server.wait_received("session.update"))[0]["session"]
            await session.aclose()
    official, ours = told["official"], told["ours"]
    assert official.pop("model") != ours.pop("model", None)  # the URL names it, and a gateway's alias is refused here
    assert official.pop("tracing") is None  # the server's default
    assert official["audio"]["input"].pop("transcription") == {"model": "gpt-4o-mini-transcribe"}  # deprecated
    assert ours["audio"]["input"].pop("transcription") == {"model": "gpt-transcribe"}
    assert ours.pop("tools") == []  # the official plugin sends them in an update of their own
    assert ours == official


def test_the_payload_names_type_and_rate_and_no_model() -> None:
    payload = options().session_payload("Be brief.", [{"type": "function", "name": "f"}])
    assert payload["type"] == "realtime"
    assert payload["instructions"] == "Be brief."
    assert payload["tools"] == [{"type": "function", "name": "f"}]
    for box in ("input", "output"):
        assert payload["audio"][box]["format"] == {"type": "audio/pcm", "rate": 24000}
    # A gateway's alias in `session.model` is refused, and the URL names the model already.
    assert "model" not in payload
    assert "instructions" not in options().session_payload(None, [])
