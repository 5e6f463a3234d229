"""Prices and costs: part by part, and never a silent 0."""

from __future__ import annotations

import copy
import pickle

import pytest

from livekit_plugins_openai_ga import models, prices
from livekit_plugins_openai_ga.core.usage import ReplyUsage, TranscriptionUsage
from livekit_plugins_openai_ga.prices import PARTS, Cost, Price, cost_by

MILLION = 1_000_000
EACH = Price(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
FULL = ReplyUsage(
    input=6 * MILLION,
    output=2 * MILLION,
    input_text=2 * MILLION,
    input_audio=2 * MILLION,
    input_image=2 * MILLION,
    cached_text=MILLION,
    cached_audio=MILLION,
    cached_image=MILLION,
    output_text=MILLION,
    output_audio=MILLION,
    seconds=60.0,
)


def test_each_part_has_its_own_price() -> None:
    cost = cost_by(EACH, FULL)
    assert list(cost.parts.values()) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 0.0]
    assert (cost.total, cost.known, cost.unknown) == (45.0, 45.0, ())


@pytest.mark.parametrize("name", [*PARTS[:-2], "per_minute"])
def test_a_part_that_was_used_and_has_no_price_is_unknown(name: str) -> None:
    price = Price(**{field: getattr(EACH, field) for field in Price.__slots__ if field != name})
    part = "minutes" if name == "per_minute" else name
    cost = cost_by(price, FULL)
    assert (cost.unknown, cost.total) == ((part,), None)
    assert cost.known == 45.0 - getattr(EACH, name)


def test_what_was_not_used_needs_no_price() -> None:
    assert cost_by(Price(), ReplyUsage()) == Cost()
    assert cost_by(Price(text_in=2.0), ReplyUsage(input=MILLION, input_text=MILLION)).total == 2.0


def test_tokens_without_a_kind_have_no_price() -> None:
    assert cost_by(EACH, ReplyUsage(input=10, input_text=9)).unknown == ("other",)
    assert cost_by(EACH, ReplyUsage(output=10, output_audio=9)).unknown == ("other",)


def test_what_is_unknown_in_one_is_unknown_in_the_sum() -> None:
    both = Cost(text_in=1.0, audio_in=None) + Cost(text_in=2.0, audio_in=3.0, minutes=4.0)
    assert both == Cost(text_in=3.0, audio_in=None, minutes=4.0)
    assert (both.total, both.known) == (None, 7.0)


def test_a_transcript_is_priced_by_tokens_or_by_its_length() -> None:
    by_token = TranscriptionUsage(total=30, input=20, input_audio=15, input_text=5, output=10)
    assert cost_by(Price(text_in=1e6, audio_in=1e6, text_out=1e6), by_token.counts).total == 30.0
    assert models.cost(TranscriptionUsage(seconds=120.0).counts, "whisper-1").total == pytest.approx(0.012)
    assert models.cost(by_token.counts, "whisper-1").total is None


def test_a_price_can_stand_for_the_models_name() -> None:
    usage = ReplyUsage(output_audio=MILLION)
    assert models.cost(usage, Price(audio_out=5.0)).total == 5.0
    assert models.cost(usage, "gpt-realtime-2.1").total == 64.0
    assert models.cost(usage, None).total is None


def test_prices_of_ones_own_go_before_the_table() -> None:
    own = {"gpt-realtime-2.1": Price(text_in=1.0), "my-alias": Price(text_in=2.0)}
    assert models.price_of("gpt-realtime-2.1", own) == Price(text_in=1.0)
    assert models.price_of("my-alias", own) == Price(text_in=2.0)
    assert models.price_of("gpt-realtime-2", own) == models.MODELS["gpt-realtime-2"].price
    assert models.price_of("unheard-of", own) is None


def test_checked_prices_are_the_callers_no_more_and_can_be_copied() -> None:
    given = {"my-alias": Price(text_in=2.0)}
    checked = prices.checked(given)
    given.clear()
    assert checked == copy.deepcopy(checked) == pickle.loads(pickle.dumps(checked)) == {"my-alias": Price(text_in=2.0)}
    assert prices.checked(None) == {}


def test_missing_names_the_fields_without_a_price() -> None:
    assert prices.missing(Price(text_in=0.0), ("text_in", "audio_in")) == ("audio_in",)
    assert prices.missing(None, ("text_in",)) == ("text_in",)
