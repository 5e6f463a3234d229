"""User turns: kept apart by item, final once, confident only when the server says how much."""

from __future__ import annotations

import math
from typing import Any

import pytest

from livekit_plugins_openai_ga.core.turns import Turns, confidence


def test_confidence_is_the_exponential_of_the_mean_logprob() -> None:
    logprobs = [{"logprob": -0.1}, {"logprob": -0.3}, {"token": "without"}]
    assert confidence(logprobs) == pytest.approx(math.exp(-0.2))


@pytest.mark.parametrize("logprobs", [None, [], [{"token": "a"}], [{"logprob": "x"}], [{"logprob": math.inf}]])
def test_confidence_is_never_invented(logprobs: Any) -> None:
    assert confidence(logprobs) is None


@pytest.mark.parametrize("logprob", [0.1, -1e8, 0, 10**400, math.nan])
def test_confidence_stays_between_none_and_all(logprob: float) -> None:
    assert 0.0 <= (confidence([{"logprob": logprob}]) or 0.0) <= 1.0


def test_two_turns_and_two_parts_grow_apart() -> None:
    turns = Turns()
    turns.grown("a", 0, "one ")
    turns.grown("b", 0, "zwei")
    turns.grown("a", 1, "uno")
    assert turns.grown("a", 0, "more") == "one more"
    assert turns.finished("b", 0) == ("zwei", None)
    assert turns.finished("a", 1) == ("uno", None)


def test_the_end_tells_the_partial_text_and_when_speech_began() -> None:
    turns = Turns()
    turns.started("a", 7.0)
    assert turns.finished("a", 0) == (None, 7.0)
    assert turns.is_final("a", 0)
    assert not turns.is_final("a", 1)


def test_a_lost_connection_finishes_the_turns_whose_audio_will_not_come_again() -> None:
    turns = Turns()
    turns.started("a", 1.0)
    turns.grown("a", 0, "kept")
    turns.committed("a")
    turns.committed("silent")
    turns.grown("early", 0, "said again")
    assert turns.drain() == [("a", 0, "kept", 1.0)]
    assert turns.drain() == []


def test_a_turn_whose_item_is_gone_is_forgotten() -> None:
    turns = Turns()
    turns.committed("a")
    turns.grown("a", 0, "text")
    turns.forget("a")
    assert turns.drain() == []


def test_the_end_of_a_transcript_is_remembered_as_long_as_its_item() -> None:
    turns = Turns()
    turns.finished("a", 0)
    turns.finished("b", 0)
    turns.forget("a")
    assert (turns.is_final("a", 0), turns.is_final("b", 0), turns.is_final("b", 1)) == (False, True, False)
