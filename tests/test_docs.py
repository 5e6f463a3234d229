"""What the README and the docs show is what the code is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from livekit_plugins_openai_ga import RealtimeModel, failures, models
from livekit_plugins_openai_ga.devtools import errors_page
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_readme_shows_the_example_that_is_there():
    assert (ROOT / "examples" / "agent.py").read_text().strip() in README


def test_the_page_about_production_shows_the_example_that_is_there():
    assert (ROOT / "examples" / "diagnose.py").read_text().strip() in (ROOT / "docs" / "production.md").read_text()


def test_the_errors_page_is_written_from_the_tables():
    command = "python -m livekit_plugins_openai_ga.devtools.errors_page > docs/errors.md"
    assert (ROOT / "docs" / "errors.md").read_text() == errors_page.page(), f"run: {command}"


def test_the_readmes_errors_say_what_the_tables_say():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", README, re.M)
    assert len(rows) >= 8
    for code, meaning, remedy in rows:
        assert (failures.FAILURES[code].meaning, failures.FAILURES[code].remedy) == (meaning, remedy)


def test_every_file_the_docs_link_to_exists():
    for page in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


STT_PAGE = (ROOT / "docs" / "speech-to-text.md").read_text()
SAID_AS = {"languages": "`language` (one or a list)", "language": "`language` (one)", "logprobs": "`include_logprobs`"}


def test_the_table_of_transcription_models_says_what_the_models_take():
    rows = re.findall(r"^\| (`.+`.*) \| (yes|no) \| (.+) \| (.+) \|$", STT_PAGE, re.M)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row[0])}
    current = {m.id for m in models.MODELS.values() if m.use is models.Use.TRANSCRIPTION}
    assert named == current - {"gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe-diarize"}
    for names, streams, ends, takes in rows:
        for name in re.findall(r"`([^`]+)`", names):
            model = models.MODELS[name]
            assert model.deltas_before_commit == (streams == "yes")
            assert ("turn_detection" in model.takes) == ("server" in ends)
            assert set(takes.split(", ")) == {SAID_AS.get(field, f"`{field}`") for field in model.takes}


def test_the_page_about_replies_shows_code_that_runs(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "replies.md").read_text(), re.S)
    mood, watch, images = ({} for _ in blocks)
    for block, names in zip(blocks, (mood, watch, images), strict=True):
        exec(block, names)
    assert (watch["model"].capabilities.supports_say, images["model"].options.images.max_edge) == (True, 768)

    async def call():
        async with Emulator(Script([Turn(say="Hi.")], out_of_band=[Turn(say="cheerful")])) as server:
            session = RealtimeModel(base_url=server.base_url, read_aloud=True).session()
            watch["watch"](session)
            try:
                assert await mood["mood_of"](session, "What a day!") == "cheerful"
                await (await session.say("Good morning.")).end()
            finally:
                await session.aclose()

    asyncio.run(call())
