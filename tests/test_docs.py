"""What the README and the docs show is what the code is."""

from __future__ import annotations

import re
from pathlib import Path

from livekit_plugins_openai_ga import cli, models
from livekit_plugins_openai_ga.devtools import errors_page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_errors_page_is_written_from_the_tables():
    command = "python -m livekit_plugins_openai_ga.devtools.errors_page > docs/errors.md"
    assert (ROOT / "docs" / "errors.md").read_text() == errors_page.page(), f"run: {command}"


def test_the_readme_names_every_command_with_what_its_help_says():
    table = README.split("| command | what it does |")[1]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+?)(?: \(\[.+\))? \|$", table.partition("\n\n")[0], re.M))
    assert list(rows) == [command.name for command in cli.COMMANDS]
    for command in cli.COMMANDS:
        assert rows[command.name].startswith(command.help)


def test_the_readme_is_short():
    assert README.count("\n") <= 130


def test_the_index_names_every_page_and_the_readme_leads_to_it():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == pages
    assert "(docs/README.md)" in README


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
