"""The programs of docs/timeline.md: one records, one reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from livekit_plugins_openai_ga.emulator import Emulator

from .programs import program


async def test_the_page_finds_out_how_long_replies_take_to_begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    page = await program("docs/timeline.md")
    told = [("response.created", 1000), ("response.output_audio.delta", 1400), ("response.output_audio.delta", 1500)]
    lines = [{"recording": 1}, *({"t": at, "link": 1, "in": {"type": name}} for name, at in told)]
    path = tmp_path / "call.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert page["latencies"](str(path)) == [400.0]
    assert page["model"].options.recorder.redact


async def test_a_session_of_the_pages_model_is_recorded_without_texts(
    server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = await program("docs/timeline.md")
    session = page["model"].session()
    await (await session.generate_reply()).end()
    await session.aclose()
    (path,) = (tmp_path / "recordings").iterdir()
    assert "Guten Morgen" not in path.read_text(encoding="utf-8")
    (latency,) = page["latencies"](str(path))
    assert latency > 0
