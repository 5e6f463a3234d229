"""What may be asked of a translation, the sentence that refuses the rest, and what the server is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from openai.types.realtime import RealtimeTranslationSession

from livekit_plugins_openai_ga import Translator, models
from livekit_plugins_openai_ga.translation.options import LANGUAGES

GATEWAY = "https://gateway.example/v1"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def translator(**given: Any) -> Translator:
    return Translator(**{"target_language": "de", "api_key": "sk-test", **given})


def test_the_defaults() -> None:
    options = translator().options
    assert options.endpoint().url == "wss://api.openai.com/v1/realtime/translations?model=gpt-realtime-translate"
    assert options.payload() == {
        "audio": {"input": {"transcription": None, "noise_reduction": None}, "output": {"language": "de"}}
    }


@pytest.mark.parametrize(
    ("given", "model"),
    [(True, "gpt-realtime-whisper"), ("gpt-live-transcribe", "gpt-live-transcribe"), ("alias", "alias")],
)
def test_the_source_is_written_down_by_a_model(given: Any, model: str) -> None:
    assert translator(transcribe_source=given).options.payload()["audio"]["input"]["transcription"] == {"model": model}


@pytest.mark.parametrize("given", [False, None])
def test_the_source_is_not_written_down(given: Any) -> None:
    assert translator(transcribe_source=given).options.payload()["audio"]["input"]["transcription"] is None


@pytest.mark.parametrize(("given", "code"), [("de", "de"), ("DE", "de"), ("pt-BR", "pt"), ("zh_TW", "zh")])
def test_a_language_is_told_by_its_code(given: str, code: str) -> None:
    assert translator(target_language=given).options.target_language == code


def test_the_documented_languages_are_thirteen_and_pass_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert len(LANGUAGES) == 13
    for code in LANGUAGES:
        translator(target_language=code)
    assert caplog.records == []


def test_another_language_is_left_to_the_server_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert translator(target_language="sv").options.target_language == "sv"
    assert "target_language='sv' is not among those that OpenAI documents" in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"target_language": "Deutsch, bitte"},
            "target_language='Deutsch, bitte' is not a language code: use one of 'de'",
        ),
        ({"target_language": ""}, "target_language='' is not a language code"),
        ({"target_language": None}, "target_language=None is not a language code"),
        ({"model": ""}, "model is missing: pass model='gpt-realtime-translate'"),
        ({"model": "gpt-realtime-2.1"}, "model='gpt-realtime-2.1' is not for translation"),
        ({"transcribe_source": 3}, "transcribe_source=3 is not supported"),
        ({"transcribe_source": ""}, "transcribe_source='' is not supported"),
        ({"transcribe_source": "gpt-realtime-2.1"}, "transcribe_source='gpt-realtime-2.1' does not transcribe"),
        ({"noise_reduction": "loud"}, "noise_reduction='loud' is not supported: use one of 'near_field', 'far_field'"),
        ({"drain_timeout": 0}, "drain_timeout=0 is not supported"),
        ({"max_replay_audio": 601}, "max_replay_audio=601 is not supported"),
        ({"skip_silence": "yes"}, "skip_silence='yes' is not supported"),
        ({"api_key": ""}, "api_key is missing"),
        ({"base_url": "ftp://x"}, "`base_url` must start with"),
        ({"heartbeat": 0}, "heartbeat=0 is not supported"),
        ({"max_session_duration": 0}, "max_session_duration=0 is not supported"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="^" + says.replace("(", r"\(")[:60].replace("'", ".")) as refused:
        translator(**given)
    assert "\n" not in str(refused.value)


def test_behind_a_gateway_a_model_may_have_any_name() -> None:
    options = translator(base_url=GATEWAY, model="gpt-realtime-2.1").options
    assert options.endpoint().url == f"{GATEWAY.replace('https', 'wss')}/realtime/translations?model=gpt-realtime-2.1"


def test_the_price_is_that_of_both_models() -> None:
    assert translator().options.price == 0.034
    assert translator(transcribe_source=True).options.price == pytest.approx(0.051)
    assert translator(transcribe_source="alias").options.price is None
    assert translator(base_url=GATEWAY, model="alias").options.price is None


def test_what_the_server_is_told_has_a_place_in_the_sdks_session() -> None:
    audio = translator(transcribe_source=True, noise_reduction="near_field").options.payload()["audio"]
    made = RealtimeTranslationSession(
        id="sess_1", audio=audio, expires_at=1, model=models.DEFAULT_TRANSLATION, type="translation"
    )
    assert made.audio.model_dump(exclude_unset=True) == audio


def test_it_names_itself_in_metrics_and_errors() -> None:
    made = translator()
    assert (made.model, made.provider) == ("gpt-realtime-translate", "api.openai.com")
    assert made.label.endswith(".Translator")


def test_no_key_is_in_its_repr() -> None:
    assert "sk-test" not in repr(translator().options)
