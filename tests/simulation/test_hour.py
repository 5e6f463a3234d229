"""An hour on the phone: nothing grows but the conversation, and that is kept short here."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.core.cuts import MAX_OPEN
from tests.simulation.hour import hour

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
