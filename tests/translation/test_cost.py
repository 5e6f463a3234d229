"""How a translation ends that has cost what it may."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc

from livekit_plugins_openai_ga import Price, Translator
from livekit_plugins_openai_ga.translation import CostLimitReached, CostWarning

A_CENT = {"gpt-realtime-translate": Price(per_minute=0.6)}
"""A cent for each second."""


def test_it_warns_tells_and_ends_ten_seconds_later_when_all_was_translated(play: Any) -> None:
    told: list[tuple[float, Any]] = []

    async def scene(made: Any) -> None:
        loop = asyncio.get_running_loop()
        for name in ("cost_warning", "cost_limit_reached"):
            made.stream.on(name, lambda event: told.append((loop.time(), event)))
        began = loop.time()
        await made.speak()
        await asyncio.sleep(25)
        (warned, warning), (reached, limit) = told
        assert isinstance(warning, CostWarning)
        assert limit == CostLimitReached(limit.cost_usd, 0.05, 10.0)
        assert 0.04 <= warning.cost_usd < 0.043
        assert 0.05 <= limit.cost_usd < 0.053
        assert 3.5 < warned - began < reached - began < 7
        (error,) = made.told["error"]
        assert (error.recoverable, error.error.body.code) == (False, "max_cost_reached")
        assert reached + 10 < error.timestamp - 1_800_000_000 < reached + 20
        assert made.text == "Guten Morgen allerseits"
        assert {type(each).__name__ for each in made.raised} == {"APIError"}
        assert made.stream.usage.cost_usd < 0.2

    play(scene, prices=A_CENT, max_cost=0.05)


def test_when_nobody_listens_it_ends_at_once_and_what_was_said_is_translated(play: Any) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.push(bytes(4800))  # not heard any more
        await asyncio.gather(*made.readers)
        assert made.text == "Guten Morgen allerseits"
        assert [error.recoverable for error in made.told["error"]] == [False]
        with pytest.raises(RuntimeError):
            made.stream.push_frame(rtc.AudioFrame(bytes(480), 24000, 1, 240))

    play(scene, prices=A_CENT, max_cost=0.02)


def test_the_texts_of_the_source_are_in_the_bill(play: Any) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        await made.finish()
        usage = made.stream.usage
        assert [used.model for used in usage.model_usage] == ["gpt-realtime-translate", "gpt-realtime-whisper"]
        assert all(used.audio_duration == pytest.approx(usage.audio_in) for used in usage.model_usage)
        assert usage.cost_usd == pytest.approx(usage.audio_in / 60 * (0.6 + 0.017))
        assert usage.cost_complete

    play(scene, transcribe_source=True, prices=A_CENT)


def test_a_model_without_a_price_is_not_free(play: Any) -> None:
    async def scene(made: Any) -> None:
        await made.speak()
        usage = made.stream.usage
        assert (usage.cost_usd, usage.cost_complete) == (pytest.approx(usage.audio_in / 60 * 0.034), False)

    play(scene, transcribe_source="gpt-4o-transcribe")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_cost": -1.0}, "max_cost=-1.0 is not supported"),
        ({"max_cost": 1, "transcribe_source": "my-alias"}, "per_minute of 'my-alias' has no price here"),
        ({"prices": {"x": None}}, "prices: 'x' has None: pass a Price"),
    ],
)
def test_a_limit_that_cannot_be_held_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Translator(api_key="sk-test", target_language="de", base_url="https://gateway.example/v1", **options)
