"""The constructor as people use it, and what it says before any network."""

from __future__ import annotations

import logging

import pytest
from livekit.agents import llm
from openai.types import realtime as oai

from livekit_plugins_openai_ga import RealtimeModel, realtime


def test_it_is_a_realtime_model_of_livekit_and_reachable_by_both_names():
    assert issubclass(RealtimeModel, llm.RealtimeModel)
    assert realtime.RealtimeModel is RealtimeModel


def test_model_provider_and_label():
    model = RealtimeModel(api_key="sk-test")
    assert (model.model, model.provider) == ("gpt-realtime-2.1", "api.openai.com")
    assert RealtimeModel(api_key="k", base_url="http://localhost:8000/v1").provider == "localhost:8000"


def test_capabilities_follow_the_options():
    assert RealtimeModel(api_key="k").capabilities.can_disable_turn_detection
    off = RealtimeModel(
        api_key="k", turn_detection=None, input_audio_transcription=None, modalities=["text"]
    ).capabilities
    assert not off.turn_detection
    assert not off.user_transcription
    assert not off.audio_output
    assert not off.can_disable_turn_detection


def test_update_options_changes_capabilities_and_new_sessions():
    model = RealtimeModel(api_key="k")
    model.update_options(turn_detection=None, max_output_tokens=100, extra_headers={"OpenAI-Project": "proj"})
    assert not model.capabilities.turn_detection
    assert model.options.values["max_output_tokens"] == 100
    assert model.options.endpoint().headers["OpenAI-Project"] == "proj"


def test_update_options_that_are_refused_change_nothing():
    model = RealtimeModel(api_key="k")
    with pytest.raises(ValueError, match="speed"):
        model.update_options(voice="cedar", speed=9.0)
    assert model.options.values["voice"] == "marin"


def test_a_missing_key_is_one_sentence(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"api_key is missing.*OPENAI_API_KEY"):
        RealtimeModel()


def test_a_dead_model_is_named_with_date_and_replacement():
    with pytest.raises(ValueError, match=r"gpt-4o-realtime-preview.*2026-05-07.*gpt-realtime-2.1"):
        RealtimeModel(api_key="k", model="gpt-4o-realtime-preview")


def test_a_deprecated_model_warns_with_date_and_replacement(caplog):
    RealtimeModel(api_key="k", model="gpt-realtime")
    assert "2027-01-20" in caplog.text
    assert "gpt-realtime-2.1" in caplog.text


@pytest.mark.parametrize("name", ["temperature", "http_session"])
def test_a_parameter_without_meaning_is_accepted_with_one_warning(caplog, name):
    with caplog.at_level(logging.WARNING):
        RealtimeModel(api_key="k", **{name: 0.8 if name == "temperature" else object()})
    assert len([record for record in caplog.records if name in record.message]) == 1


def test_an_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="max_tokens"):
        RealtimeModel(api_key="k", max_tokens=3)


def test_the_repr_of_model_and_options_shows_no_key():
    model = RealtimeModel(api_key="sk-secret", extra_headers={"X-Key": "hidden"})
    shown = f"{model!r} {model.options!r} {model.options.endpoint()!r}"
    assert "sk-secret" not in shown
    assert "hidden" not in shown


def test_objects_of_the_openai_sdk_are_taken():
    model = RealtimeModel(
        api_key="k",
        input_audio_transcription=oai.AudioTranscription(model="gpt-realtime-whisper", language="en"),
        turn_detection=oai.realtime_audio_input_turn_detection.ServerVad(type="server_vad", threshold=0.3),
        reasoning=oai.RealtimeReasoning(effort="low"),
    )
    values = model.options.values
    assert values["input_audio_transcription"] == {"model": "gpt-realtime-whisper", "language": "en"}
    assert values["turn_detection"] == {"type": "server_vad", "threshold": 0.3}
    assert values["reasoning"] == {"effort": "low"}
