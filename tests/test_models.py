"""The table of models: complete against the SDK's ids, and honest about life, support and price."""

from __future__ import annotations

import datetime
import typing
from dataclasses import dataclass
from typing import Any

import pytest
from openai.types.realtime.audio_transcription import AudioTranscription
from openai.types.realtime.realtime_session_create_request import RealtimeSessionCreateRequest

from livekit_plugins_openai_ga import models
from livekit_plugins_openai_ga.models import MODELS, Stage, Use


def literals(annotation: Any) -> set[str]:
    """Every string inside the Literals of an annotation."""
    args = typing.get_args(annotation)
    return {arg for arg in args if isinstance(arg, str)} | {v for arg in args for v in literals(arg)}


SDK_REALTIME = literals(RealtimeSessionCreateRequest.model_fields["model"].annotation)
SDK_TRANSCRIPTION = literals(AudioTranscription.model_fields["model"].annotation)


@dataclass(frozen=True)
class Counts:
    total: int = 0
    input: int = 0
    output: int = 0
    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_text: int = 0
    output_audio: int = 0
    seconds: float = 0.0


def test_the_sdk_ids_are_found_where_they_are_expected() -> None:
    assert "gpt-realtime" in SDK_REALTIME
    assert "whisper-1" in SDK_TRANSCRIPTION


@pytest.mark.parametrize("model_id", sorted(SDK_REALTIME))
def test_every_realtime_id_of_the_sdk_is_in_the_table(model_id: str) -> None:
    assert MODELS[model_id].use is Use.REALTIME


@pytest.mark.parametrize("model_id", sorted(SDK_TRANSCRIPTION))
def test_every_transcription_id_of_the_sdk_is_in_the_table(model_id: str) -> None:
    assert MODELS[model_id].use is Use.TRANSCRIPTION


def test_the_table_is_keyed_by_id() -> None:
    assert all(model_id == model.id for model_id, model in MODELS.items())
    assert models.find("gpt-realtime-2.1") is MODELS["gpt-realtime-2.1"]
    assert models.find("my-gateway-alias") is None
    assert models.find("GPT-REALTIME-2.1") is None


def test_the_defaults_are_current_models_of_the_right_use() -> None:
    for model_id, use in (
        (models.DEFAULT_REALTIME, Use.REALTIME),
        (models.DEFAULT_INPUT_TRANSCRIPTION, Use.TRANSCRIPTION),
    ):
        assert MODELS[model_id].use is use
        assert MODELS[model_id].stage is Stage.CURRENT


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_a_model_that_ends_has_a_date_and_a_living_replacement_of_the_same_use(model: models.Model) -> None:
    if model.stage is Stage.CURRENT:
        assert (model.shutdown, model.replacement) == ("", "")
        return
    datetime.date.fromisoformat(model.shutdown)
    assert MODELS[model.replacement].stage is Stage.CURRENT
    assert MODELS[model.replacement].use is model.use


def test_only_the_second_generation_reasons() -> None:
    reasoning = {model.id for model in MODELS.values() if model.reasoning}
    assert reasoning == {"gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini"}


@pytest.mark.parametrize(
    ("model_id", "takes", "usage", "early"),
    [
        ("gpt-live-transcribe", {"languages", "keywords", "prompt", "delay"}, "duration", True),
        ("gpt-realtime-whisper", {"language", "delay", "logprobs"}, "duration", True),
        ("gpt-transcribe", {"turn_detection", "languages", "keywords", "prompt"}, "duration", False),
        ("gpt-4o-transcribe", {"turn_detection", "language", "prompt", "logprobs"}, "tokens", False),
        ("gpt-4o-mini-transcribe", {"turn_detection", "language", "prompt", "logprobs"}, "tokens", False),
        ("gpt-4o-transcribe-diarize", {"turn_detection", "language"}, "tokens", False),
        ("whisper-1", {"turn_detection", "language", "prompt"}, "duration", False),
    ],
)
def test_what_transcription_models_take(model_id: str, takes: set[str], usage: str, early: bool) -> None:
    model = MODELS[model_id]
    assert (set(model.takes), model.usage, model.deltas_before_commit) == (takes, usage, early)


def test_only_transcription_models_say_what_they_take_and_report() -> None:
    for model in MODELS.values():
        assert bool(model.takes) is bool(model.usage) is (model.use is Use.TRANSCRIPTION)


@pytest.mark.parametrize(
    ("model_id", "context", "output"),
    [
        ("gpt-realtime-2.1", 128_000, 32_000),
        ("gpt-realtime-1.5", 32_000, 4_096),
        ("gpt-realtime-mini", 32_000, 4_096),
        ("gpt-4o-mini-realtime-preview", 16_000, 4_096),
        ("gpt-realtime-translate", 16_000, 2_000),
        ("gpt-live-transcribe", None, None),
    ],
)
def test_sizes(model_id: str, context: int | None, output: int | None) -> None:
    assert (MODELS[model_id].context_tokens, MODELS[model_id].max_output_tokens) == (context, output)


def test_lifecycle_warning_names_date_and_replacement() -> None:
    assert models.lifecycle_warning("gpt-realtime") == (
        "Model gpt-realtime is deprecated, with shutdown date 2027-01-20: use gpt-realtime-2.1 instead."
    )
    assert models.lifecycle_warning("gpt-4o-realtime-preview-2024-10-01") == (
        "Model gpt-4o-realtime-preview-2024-10-01 was shut down on 2025-10-10: use gpt-realtime-2.1 instead."
    )
    assert "2027-02-26" in (models.lifecycle_warning("whisper-1") or "")


@pytest.mark.parametrize("model_id", ["gpt-realtime-2.1", "gpt-live-transcribe", "gpt-realtime-9", ""])
def test_current_and_unknown_models_give_no_warning(model_id: str) -> None:
    assert models.lifecycle_warning(model_id) is None


MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model_id", "usage", "usd"),
    [
        ("gpt-realtime-2.1", Counts(input_text=MILLION), 4.0),
        ("gpt-realtime-2.1", Counts(input_text=MILLION, cached_text=MILLION), 0.40),
        ("gpt-realtime-2.1", Counts(input_audio=MILLION, cached_audio=MILLION // 2), 16.2),
        ("gpt-realtime-2.1", Counts(input_image=MILLION, cached_image=MILLION // 2), 2.75),
        ("gpt-realtime-2.1", Counts(output_text=MILLION, output_audio=MILLION), 88.0),
        ("gpt-realtime-1.5", Counts(output_text=MILLION), 16.0),
        ("gpt-realtime-2.1-mini", Counts(input_audio=MILLION, output_audio=MILLION), 30.0),
        # More cached than read cannot be: it is never credited.
        ("gpt-realtime-2.1", Counts(input_text=MILLION, cached_text=2 * MILLION), 0.40),
        ("gpt-realtime-2.1", Counts(), 0.0),
        ("gpt-live-transcribe", Counts(seconds=60.0), 0.017),
        ("gpt-transcribe", Counts(seconds=120.0), 0.009),
        ("gpt-realtime-translate", Counts(seconds=30.0), 0.017),
    ],
)
def test_cost(model_id: str, usage: Counts, usd: float) -> None:
    assert models.cost(usage, model_id).total == pytest.approx(usd)


@pytest.mark.parametrize(
    ("model_id", "usage"),
    [
        ("my-gateway-alias", Counts(input_text=1)),
        ("gpt-4o-transcribe", Counts(input_audio=1)),
        # A price per minute says nothing about tokens, nor the other way round.
        ("gpt-live-transcribe", Counts(input_audio=1, seconds=1.0)),
        ("gpt-realtime-2.1", Counts(input_text=1, seconds=1.0)),
    ],
)
def test_cost_is_none_rather_than_too_small(model_id: str, usage: Counts) -> None:
    assert models.cost(usage, model_id).total is None


def test_prices_carry_their_date() -> None:
    datetime.datetime.strptime(models.PRICES_DATE, "%Y-%m")
