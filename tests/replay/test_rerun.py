"""Sessions of every kind go as recorded, and a client that goes another way is found out."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.replay import rerun
from tests.replay.sessions import SESSIONS, record


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_goes_as_recorded(name, tmp_path):
    path, told = record(tmp_path, **SESSIONS[name])
    run = rerun(path)
    assert [str(difference) for difference in run.differences] == []
    if not SESSIONS[name].get("redact"):
        assert sorted(run.told) == sorted(told)
    assert run.told != ()
