"""Over lines that break at random, a session that is recorded does what it does without a recorder."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.recording import read
from tests.simulation.run import play

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_recorded_session_goes_the_same_way(monkeypatch, tmp_path, seed):
    monkeypatch.delenv("OPENAI_GA_RECORD", raising=False)
    alone = play(seed)
    monkeypatch.setenv("OPENAI_GA_RECORD", str(tmp_path))
    recorded = play(seed)
    assert recorded.violations == []
    assert (recorded.trace, recorded.virtual_s) == (alone.trace, alone.virtual_s)
    (path,) = tmp_path.iterdir()
    entries = read(path).entries
    assert max(entry.link for entry in entries) == alone.facts["connections"]
    assert entries[-1].event["type"] == "closed"
