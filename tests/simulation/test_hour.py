"""An hour on the phone: nothing grows but the conversation, and that is kept short here."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.core.cuts import MAX_OPEN
from livekit_plugins_openai_ga.core.segments import REMEMBERED
from livekit_plugins_openai_ga.stt.clock import MAX_NOTES
from tests.simulation.hour import TURNS, dictation, hour
from tests.simulation.listening import STREAMING

SLACK = 2
"""A look can fall into the middle of something."""


@pytest.mark.timeout(180)  # a quarter of a minute on a core that has nothing else to do
@pytest.mark.parametrize("rough", [True, False], ids=["rough", "one connection"])
def test_an_hour_leaves_nothing_behind(rough: bool) -> None:
    outcome, looks = hour(rough=rough, transcribes=True)
    assert outcome.violations == []
    assert outcome.virtual_s > 3600
    assert outcome.facts["replies"] > outcome.facts["calls"] > 20
    assert outcome.facts["connections"] > 10 if rough else outcome.facts["connections"] == 1
    first, *_, last = looks
    # Cuts that may still be refused are remembered, with the record that was cut: up to a bound.
    of_cuts = last["session._conversation.cuts._sent"] - first["session._conversation.cuts._sent"]
    assert last["session._conversation.cuts._sent"] <= MAX_OPEN
    grown = {}
    for name, count in last.items():
        known = "cuts" in name or name.endswith((".Record", ".Item"))
        if count > first[name] + SLACK + (3 * max(0, of_cuts) if known else 0):
            grown[name] = (first[name], count)
    assert grown == {}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("model", ["gpt-transcribe", STREAMING])
@pytest.mark.parametrize("rough", [True, False], ids=["rough", "one connection"])
def test_an_hour_of_dictation_leaves_nothing_behind(rough: bool, model: str) -> None:
    outcome, looks = dictation(model, rough=rough)
    assert outcome.violations == []
    assert outcome.virtual_s > 3600
    assert outcome.facts["finals"] >= TURNS - outcome.facts["connections"]
    assert outcome.facts["connections"] > 10 if rough else outcome.facts["connections"] == 1
    first, *_, last = looks
    # By their ends: which way the walk comes to an object first is not always the same.
    bounds = {"clock._notes": MAX_NOTES, "clock._notes[]": 2 * MAX_NOTES, "_segments._over": REMEMBERED}
    grown = {name: (first[name], n) for name, n in last.items() if n > first[name] + SLACK}
    assert [name for name in grown if grown[name][1] > bounds.get(".".join(name.split(".")[-2:]), 0)] == []
