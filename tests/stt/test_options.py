"""What may be asked of which model, the sentence that refuses the rest, and what the server is told."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
from livekit.agents import NOT_GIVEN
from openai.types.realtime import realtime_audio_input_turn_detection as sdk

from livekit_plugins_openai_ga import models
from livekit_plugins_openai_ga.connection import Connection
from livekit_plugins_openai_ga.stt.options import DEFAULT_TURN_DETECTION, Options

GATEWAY = "https://gateway.example/v1"
NATIVE = "https://api.openai.com/v1"
LOGPROBS = "item.input_audio_transcription.logprobs"
PCM = {"type": "audio/pcm", "rate": 24000}
SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350}

# OpenAI's pages and the captured frames say what each model takes.
TAKES = {
    "gpt-live-transcribe": {"languages", "keywords", "prompt", "delay"},
    "gpt-realtime-whisper": {"language", "delay", "logprobs"},
    "gpt-transcribe": {"turn_detection", "languages", "keywords", "prompt"},
    "gpt-4o-transcribe": {"turn_detection", "language", "prompt", "logprobs"},
    "gpt-4o-mini-transcribe": {"turn_detection", "language", "prompt", "logprobs"},
    "gpt-4o-mini-transcribe-2025-12-15": {"turn_detection", "language", "prompt", "logprobs"},
    "gpt-4o-transcribe-diarize": {"turn_detection", "language"},
    "whisper-1": {"turn_detection", "language", "prompt"},
}
STREAMING = ("gpt-live-transcribe", "gpt-realtime-whisper")

# What the table calls it: the parameter, a value, and where it stands in the payload.
PARAMETERS: dict[str, tuple[str, Any]] = {
    "languages": ("language", ["en", "de"]),
    "keywords": ("keywords", ["Ada", "Grace"]),
    "prompt": ("prompt", "a call to a library"),
    "delay": ("delay", "low"),
    "turn_detection": ("turn_detection", {"type": "semantic_vad", "eagerness": "low"}),
    "logprobs": ("include_logprobs", True),
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def options(model: str = "gpt-transcribe", *, base_url: str = NATIVE, **given: Any) -> Options:
    return Options(Connection.create(api_key="sk-test", base_url=base_url), model).changed({"model": model, **given})


def heard(options: Options) -> dict[str, Any]:
    """`audio.input` as the server is told."""
    box = options.payload()["audio"]["input"]
    assert isinstance(box, dict)
    return box


def wire(options: Options) -> dict[str, Any]:
    """`transcription` as the server is told, without the model."""
    told = dict(heard(options)["transcription"])
    assert told.pop("model") == options.model
    return told


# -- what each model takes -----------------------------------------------------------------------------------------


def test_every_model_for_transcription_is_in_this_file() -> None:
    assert set(TAKES) == {m.id for m in models.MODELS.values() if m.use is models.Use.TRANSCRIPTION}


@pytest.mark.parametrize("model", TAKES)
def test_a_model_is_told_of_itself_and_of_turn_detection(model: str) -> None:
    """The streaming models refuse the server's default, so that it is off must be said (livekit/agents#5779)."""
    assert options(model).payload() == {
        "type": "transcription",
        "audio": {
            "input": {
                "format": PCM,
                "transcription": {"model": model},
                "noise_reduction": None,
                "turn_detection": None if model in STREAMING else SERVER_VAD,
            }
        },
    }


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("model", TAKES)
def test_what_a_model_takes_is_sent_and_the_rest_is_refused_by_its_name(model: str, name: str) -> None:
    parameter, value = PARAMETERS[name]
    if name not in TAKES[model]:
        with pytest.raises(ValueError, match=rf"^{parameter}\b.*\b{model}\b.*") as refused:
            options(model, **{parameter: value})
        assert str(refused.value).endswith(".")
        return
    made = options(model, **{parameter: value})
    sent = {**wire(made), "turn_detection": heard(made)["turn_detection"], "logprobs": made.payload().get("include")}
    assert sent[name] == ([LOGPROBS] if name == "logprobs" else value)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("model", TAKES)
def test_what_is_not_asked_for_is_no_question_of_the_model(model: str, name: str) -> None:
    parameter, _ = PARAMETERS[name]
    nothing: Any = {"keywords": [], "language": [], "include_logprobs": False}.get(parameter)
    made = options(model, **{parameter: nothing})
    assert name not in wire(made)
    assert "include" not in made.payload()


@pytest.mark.parametrize("model", TAKES)
def test_one_language_goes_where_the_model_takes_it(model: str) -> None:
    plural = "languages" in TAKES[model]
    assert wire(options(model, language="de")) == ({"languages": ["de"]} if plural else {"language": "de"})
    assert wire(options(model, language=["de"])) == ({"languages": ["de"]} if plural else {"language": "de"})


@pytest.mark.parametrize("model", STREAMING)
def test_a_model_that_is_only_served_over_sockets_has_no_uploads(model: str) -> None:
    with pytest.raises(ValueError, match=rf"^use_realtime=False .*{model}"):
        options(model, use_realtime=False)


@pytest.mark.parametrize(
    "model", ["gpt-realtime-2.1", "gpt-realtime-translate", "gpt-live-1", "gpt-4o-realtime-preview"]
)
def test_a_model_for_something_else_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match=rf"^model\b.*{model}"):
        options(model)


@pytest.mark.parametrize("model", ["my-alias", "gpt-transcribe-2"])
def test_a_model_that_is_not_known_is_taken_at_its_word(model: str) -> None:
    every = dict(PARAMETERS.values())
    made = options(model, **every)
    assert wire(made) == {
        "languages": ["en", "de"],
        "keywords": ["Ada", "Grace"],
        "prompt": "a call to a library",
        "delay": "low",
    }
    assert heard(made)["turn_detection"] == {"type": "semantic_vad", "eagerness": "low"}
    assert made.payload()["include"] == [LOGPROBS]
    assert wire(options(model, language="en")) == {"language": "en"}
    assert heard(options(model, turn_detection=None))["turn_detection"] is None


def test_a_model_that_ends_is_named_with_date_and_replacement(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    made = options("whisper-1")
    (record,) = caplog.records
    assert "2027-02-26" in record.getMessage()
    assert "gpt-transcribe" in record.getMessage()
    made.changed({"prompt": "names"})  # said once
    options("gpt-transcribe")
    options("whisper-1", base_url=GATEWAY)
    assert len(caplog.records) == 1


def test_the_default_model_is_not_being_shut_down() -> None:
    assert models.MODELS[models.DEFAULT_TRANSCRIPTION].stage is models.Stage.CURRENT


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "codes"),
    [
        ("en", ("en",)),
        ("EN", ("en",)),
        ("en-US", ("en",)),
        ("eng", ("en",)),
        ("german", ("de",)),
        ("zh-Hans-CN", ("zh",)),
        (["en", "pt_BR"], ("en", "pt")),
        (("de", "en"), ("de", "en")),
        (["en", "en-GB", "EN"], ("en",)),
        (["", "de"], ("de",)),
        ("", ()),
        ([], ()),
    ],
)
def test_languages_are_codes_of_two_letters_each_once(language: Any, codes: tuple[str, ...]) -> None:
    assert options(language=language).languages == codes
    assert wire(options(language=language)) == ({"languages": list(codes)} if codes else {})


def test_two_names_of_one_language_are_one_for_a_model_that_takes_one() -> None:
    assert wire(options("whisper-1", language=["en", "en-US"])) == {"language": "en"}


@pytest.mark.parametrize(
    ("language", "told"), [("en-US", "en"), (["de"], "de"), (["en", "de"], ""), ("", ""), (NOT_GIVEN, "")]
)
def test_the_language_of_a_text_is_known_only_when_there_is_one(language: Any, told: str) -> None:
    assert options(language=language).language == told


@pytest.mark.parametrize(
    ("given", "parameter"),
    [
        ({"language": None}, "language"),
        ({"language": 7}, "language"),
        ({"language": ["en", 7]}, "language"),
        ({"prompt": 7}, "prompt"),
        ({"keywords": "Ada"}, "keywords"),
        ({"keywords": [7]}, "keywords"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"use_realtime": "yes"}, "use_realtime"),
        ({"include_logprobs": 1}, "include_logprobs"),
        ({"temperature": 1.5}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"max_segment_length": 1.9}, "max_segment_length"),
        ({"input_chunk_ms": 0.5}, "input_chunk_ms"),
        ({"input_chunk_ms": 101}, "input_chunk_ms"),
        ({"max_segment_length": True}, "max_segment_length"),
        ({"model_in_url": "yes"}, "model_in_url"),
        ({"noise_reduction_type": "loud"}, "noise_reduction_type"),
        ({"delay": "long", "model": "gpt-live-transcribe"}, "delay"),
        ({"turn_detection": "server_vad"}, "turn_detection"),
        ({"turn_detection": {"type": "my_vad"}}, "turn_detection.type"),
        ({"turn_detection": {"threshold": 2}}, "turn_detection.threshold"),
        ({"turn_detection": {"eagerness": "low"}}, "turn_detection.eagerness"),
        ({"turn_detection": {"type": "semantic_vad", "threshold": 0.5}}, "turn_detection.threshold"),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": "very"}}, "turn_detection.eagerness"),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence_that_names_the_parameter(given: Any, parameter: str) -> None:
    with pytest.raises(ValueError, match=rf"^{parameter}\b") as refused:
        options(**given)
    assert str(refused.value).endswith(".")
    assert "sk-test" not in str(refused.value)


@pytest.mark.parametrize(
    ("detection", "told"),
    [
        ({}, {"type": "server_vad"}),
        ({"threshold": 0.3}, {"type": "server_vad", "threshold": 0.3}),
        ({"type": "semantic_vad"}, {"type": "semantic_vad"}),
        ({"type": "semantic_vad", "eagerness": None}, {"type": "semantic_vad"}),
        (sdk.SemanticVad(type="semantic_vad", eagerness="high"), {"type": "semantic_vad", "eagerness": "high"}),
        (sdk.ServerVad(type="server_vad", threshold=0.2), {"type": "server_vad", "threshold": 0.2}),
        (None, None),
    ],
)
def test_turn_detection_comes_in_many_forms(detection: Any, told: Any) -> None:
    made = options(turn_detection=detection)
    assert heard(made)["turn_detection"] == told
    assert made.server_turns is (told is not None)


def test_what_only_answers_need_is_left_out_of_turn_detection_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    given = {"type": "server_vad", "create_response": True, "interrupt_response": False, "idle_timeout_ms": 6000}
    made = options(turn_detection={**given, "threshold": 0.4})
    assert heard(made)["turn_detection"] == {"type": "server_vad", "threshold": 0.4}
    assert len(caplog.records) == 3
    assert given["create_response"] is True  # the caller's own


@pytest.mark.parametrize(("kind", "told"), [(None, None), ("", None), ("near_field", {"type": "near_field"})])
def test_noise_reduction(kind: Any, told: Any) -> None:
    assert heard(options(noise_reduction_type=kind))["noise_reduction"] == told


def test_temperature_and_lengths_are_nothing_to_the_server() -> None:
    made = options(temperature=0.2, max_segment_length=None, model_in_url=True, input_chunk_ms=50)
    assert made.payload() == options().payload()
    assert (made.temperature, made.max_segment_length) == (0.2, None)


# -- a change ------------------------------------------------------------------------------------------------------


def test_a_change_keeps_the_rest() -> None:
    before = options(
        language=["en", "de"],
        prompt="names",
        keywords=["Ada"],
        turn_detection={"type": "semantic_vad"},
        noise_reduction_type="far_field",
        temperature=0.2,
        max_segment_length=10,
        model_in_url=True,
        input_chunk_ms=50,
    )
    after = before.changed({"prompt": "places", "keywords": NOT_GIVEN, "language": NOT_GIVEN, "model": NOT_GIVEN})
    assert after == dataclasses.replace(before, prompt="places")
    assert before.prompt == "names"


def test_a_change_that_is_refused_changes_nothing() -> None:
    before = options(keywords=["Ada"])
    kept = dataclasses.asdict(before)
    with pytest.raises(ValueError, match=r"^keywords"):
        before.changed({"model": "gpt-4o-transcribe", "prompt": "places"})
    with pytest.raises(ValueError, match=r"^language"):
        options(language=["en", "de"]).changed({"model": "gpt-4o-transcribe"})
    assert dataclasses.asdict(before) == kept


@pytest.mark.parametrize("model", TAKES)
def test_another_model_brings_the_turn_detection_it_has(model: str) -> None:
    made = options("gpt-4o-transcribe").changed({"model": model})
    assert heard(made)["turn_detection"] == (None if model in STREAMING else DEFAULT_TURN_DETECTION)
    assert heard(made.changed({"model": "gpt-transcribe"}))["turn_detection"] == DEFAULT_TURN_DETECTION


def test_turn_detection_that_is_off_stays_off_with_another_model_that_has_it() -> None:
    made = options(turn_detection=None).changed({"model": "gpt-4o-transcribe"})
    assert heard(made)["turn_detection"] is None


def test_turn_detection_asked_for_together_with_a_streaming_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^turn_detection"):
        options().changed({"model": "gpt-live-transcribe", "turn_detection": {}})


def test_detection_of_the_language_gives_the_named_one_back_when_it_is_off_again() -> None:
    named = options(language=["en", "de"])
    found = named.changed({"detect_language": True})
    assert wire(found) == {}
    assert found.language == ""
    assert wire(found.changed({"prompt": "names"})) == {"prompt": "names"}
    again = found.changed({"detect_language": False})
    assert wire(again) == {"languages": ["en", "de"]}
    assert wire(named.changed({"detect_language": False})) == {"languages": ["en", "de"]}


def test_a_language_named_together_with_detection_is_for_later() -> None:
    found = options(language="en").changed({"detect_language": True, "language": "de"})
    assert found.languages == ()
    assert found.changed({"detect_language": False}).languages == ("de",)


def test_no_language_named_together_with_no_detection_is_none() -> None:
    made = options(language="en").changed({"language": "", "detect_language": False})
    assert made.languages == ()


def test_a_language_ends_detection() -> None:
    found = options(language="en", detect_language=True)
    assert found.changed({"language": "de"}).languages == ("de",)


def test_an_empty_language_is_no_language_to_come_back_to() -> None:
    cleared = options(language="en").changed({"language": []})
    assert cleared.languages == ()
    assert cleared.changed({"detect_language": False}).languages == ("en",)


def test_words_of_livekit_stand_behind_the_users_each_once() -> None:
    made = options(keywords=["Ada", "Grace"]).changed({"session_keyterms": ["Grace", "Alan", "Alan"]})
    assert wire(made)["keywords"] == ["Ada", "Grace", "Alan"]
    assert wire(made.changed({"session_keyterms": []}))["keywords"] == ["Ada", "Grace"]
    assert wire(made.changed({"keywords": []}))["keywords"] == ["Grace", "Alan"]


def test_words_of_livekit_are_no_obstacle_to_a_model_that_takes_none() -> None:
    made = options().changed({"session_keyterms": ["Alan"]}).changed({"model": "gpt-4o-transcribe"})
    assert wire(made) == {}
    assert wire(made.changed({"session_keyterms": ["Alan"]})) == {}


# -- what an update cannot do --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"prompt": "places"},
        {"keywords": ["Grace"]},
        {"language": "de"},
        {"language": ["de", "en"]},
        {"turn_detection": None},
        {"turn_detection": {"type": "semantic_vad"}},
        {"noise_reduction_type": "far_field"},
        {"noise_reduction_type": None},
        {"max_segment_length": 5},
        {},
    ],
)
@pytest.mark.parametrize("base_url", [NATIVE, GATEWAY])
def test_what_can_be_replaced_needs_no_new_session(given: dict[str, Any], base_url: str) -> None:
    before = options(
        base_url=base_url, language="en", prompt="names", keywords=["Ada"], noise_reduction_type="near_field"
    )
    assert not before.changed(given).needs_new_session(before)


@pytest.mark.parametrize("given", [{"language": []}, {"language": ""}, {"detect_language": True}])
@pytest.mark.parametrize("model", ["gpt-transcribe", "gpt-4o-transcribe"])
def test_a_language_can_be_replaced_and_not_taken_back(model: str, given: dict[str, Any]) -> None:
    before = options(model, language="en")
    after = before.changed(given)
    assert after.needs_new_session(before)
    assert not before.needs_new_session(after)
    assert not after.needs_new_session(after)


@pytest.mark.parametrize(
    ("model", "name", "value", "nothing"),
    [
        ("gpt-transcribe", "prompt", "names", None),
        ("gpt-transcribe", "keywords", ["Ada"], []),
        ("gpt-live-transcribe", "delay", "low", None),
    ],
)
def test_what_is_taken_back_reaches_the_server(model: str, name: str, value: Any, nothing: Any) -> None:
    """A field that an update leaves out stays as it is: it is emptied in so many words, or there is a new session."""
    before = options(model, **{name: value})
    after = before.changed({name: nothing})
    assert after.needs_new_session(before) or name in wire(after)


def test_words_of_livekit_that_are_taken_back_reach_the_server_too() -> None:
    before = options().changed({"session_keyterms": ["Alan"]})
    after = before.changed({"session_keyterms": []})
    assert after.needs_new_session(before) or "keywords" in wire(after)


@pytest.mark.parametrize(("old", "new"), [("gpt-transcribe", "whisper-1"), ("whisper-1", "gpt-transcribe")])
def test_a_model_that_takes_the_language_elsewhere_does_not_find_two(old: str, new: str) -> None:
    """`language` and `languages` exclude each other, and what an update leaves out stays."""
    before = options(old, language="en")
    assert before.changed({"model": new}).needs_new_session(before)


def test_a_gateway_chooses_the_server_by_the_model_in_the_url() -> None:
    before = options("gpt-4o-transcribe", base_url=GATEWAY, language="en")
    assert before.changed({"model": "gpt-4o-mini-transcribe"}).needs_new_session(before)
    there = options("gpt-4o-transcribe", base_url=GATEWAY, language="en", model_in_url=False)
    assert not there.changed({"model": "gpt-4o-mini-transcribe"}).needs_new_session(there)


def test_openai_is_told_of_another_model_in_place() -> None:
    before = options("gpt-4o-transcribe", language="en")
    assert not before.changed({"model": "gpt-4o-mini-transcribe"}).needs_new_session(before)
    named = options("gpt-4o-transcribe", language="en", model_in_url=True)
    assert named.changed({"model": "gpt-4o-mini-transcribe"}).needs_new_session(named)
