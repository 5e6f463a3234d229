"""Sums by model, and when a limit is reached."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.core.bill import Bill
from livekit_plugins_openai_ga.core.usage import ReplyUsage
from livekit_plugins_openai_ga.prices import Price

DOLLAR = {"a": Price(text_out=1e6), "b": Price(per_minute=60.0)}
"""Each token, or second, a USD."""


def test_models_are_summed_apart() -> None:
    bill = Bill(DOLLAR)
    assert bill.empty
    for tokens in (1, 2):
        bill.add("a", ReplyUsage(output_text=tokens, output=tokens))
    bill.add("b", ReplyUsage(seconds=4.0))
    a, b = bill.usage().model_usage
    assert (a.model, a.bills, a.output_tokens, a.cost_usd) == ("a", 2, 3, 3.0)
    assert (b.model, b.bills, b.audio_duration, b.cost.minutes) == ("b", 1, 4.0, 4.0)
    assert (bill.usage().cost_usd, bill.usd, bill.empty) == (7.0, 7.0, False)


def test_the_first_of_a_model_without_a_price_is_told_apart() -> None:
    bill = Bill(DOLLAR)
    assert [bill.add("c", ReplyUsage(input_text=1)).known_before for _ in range(2)] == [False, True]
    assert bill.add("a", ReplyUsage(output_text=1)).known_before
    assert not bill.usage().cost_complete
    assert [used.unpriced for used in bill.usage().model_usage] == [2, 0]


def test_what_nobody_says_the_usage_of_is_not_known_and_told_apart_once() -> None:
    bill = Bill(DOLLAR, 5.0)
    first, second = (bill.add("a", None) for _ in range(2))
    assert (first.cost.unknown, first.known_before, second.known_before) == (("other",), False, True)
    (used,) = bill.usage().model_usage
    assert (used.bills, used.unpriced, used.cost_usd, bill.usage().cost_complete) == (2, 2, 0.0, False)


@pytest.mark.parametrize(
    ("usage", "usd", "complete"),
    [
        (ReplyUsage(total=7), 0.0, False),
        (ReplyUsage(total=7, output=2, output_text=2), 2.0, False),
        (ReplyUsage(total=7, input=5, input_text=5, output=2, output_text=2), 7.0, True),
        (ReplyUsage(total=7, input_text=5, output_text=2), 7.0, True),
        (ReplyUsage(total=3, input=5, input_text=5, output=2, output_text=2), 7.0, True),
    ],
)
def test_tokens_that_are_in_the_total_only_have_no_price(usage: ReplyUsage, usd: float, complete: bool) -> None:
    bill = Bill({"a": Price(text_in=1e6, text_out=1e6)})
    bill.add("a", usage)
    assert (bill.usage().cost_usd, bill.usage().cost_complete) == (usd, complete)


def test_what_is_pending_is_in_the_usage_and_not_in_the_bill() -> None:
    bill = Bill(DOLLAR, 5.0)
    bill.add("b", ReplyUsage(seconds=1.0))
    usage = bill.usage([("b", ReplyUsage(seconds=9.0)), ("a", ReplyUsage(output_text=1))])
    assert (usage.cost_usd, [used.model for used in usage.model_usage]) == (11.0, ["b", "a"])
    assert (bill.usd, bill.reached, bill.usage().cost_usd) == (1.0, None, 1.0)


@pytest.mark.parametrize(
    ("amounts", "reached"),
    [
        ((7, 1, 1, 1, 1), (None, "warning", None, "limit", None)),
        ((10, 1), ("limit", None)),
        ((8, 2), ("warning", "limit")),
        ((7.9, 0.05), (None, None)),
    ],
)
def test_the_limit_is_reached_once_and_80_percent_of_it_once(
    amounts: tuple[float, ...], reached: tuple[str | None, ...]
) -> None:
    bill = Bill(DOLLAR, 10.0)
    assert tuple(bill.add("b", ReplyUsage(seconds=amount)).reached for amount in amounts) == reached


def test_sums_of_many_small_parts_reach_a_round_limit() -> None:
    bill = Bill({"b": Price(per_minute=0.6)}, 0.05)
    reached = [bill.add("b", ReplyUsage(seconds=0.1)).reached for _ in range(50)]
    assert (reached[39], reached[49]) == ("warning", "limit")


def test_without_a_limit_nothing_is_reached() -> None:
    assert Bill(DOLLAR).add("a", ReplyUsage(output_text=10**9)).reached is None
