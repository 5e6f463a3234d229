"""The programs of docs/timeline.md about recordings."""

from __future__ import annotations

from pathlib import Path

import pytest

from livekit_plugins_openai_ga.emulator import Emulator

from .programs import program


async def test_a_session_of_the_pages_model_is_recorded_and_its_latencies_are_read(
    server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = await program("docs/timeline.md")
    session = page["model"].session()
    reply = await session.generate_reply()
    await reply.end()
    await session.aclose()
    (path,) = (tmp_path / "recordings").iterdir()
    assert "Guten Morgen" not in path.read_text(encoding="utf-8")
    (latency,) = page["latencies"](str(path))
    assert 0 < latency < 5000
