"""The table in the docs has the rows that the runner knows, and the rows are what the package promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.matrix import rows

ROOT = Path(__file__).parents[2]


def test_the_page_shows_every_row_and_no_other() -> None:
    shown = rows.written(rows.PAGE.read_text(encoding="utf-8"))
    outcomes = {row: dict.fromkeys(rows.HEAD[4:], "ok") for row in rows.ROWS}
    assert "\n".join(shown) == rows.table(outcomes), "run: make matrix"


def test_the_readme_shows_the_same_rows_or_none() -> None:
    shown = rows.written((ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown in ([], rows.written(rows.PAGE.read_text(encoding="utf-8")))


def test_the_oldest_row_has_the_lowest_versions_that_the_package_asks_for() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lowest = dict(re.findall(r'^  "(livekit-agents|livekit|websockets)(?:\[images\])?>=([\d.]+)",$', project, re.M))
    oldest = rows.OLDEST
    assert lowest == {"livekit-agents": oldest.agents, "livekit": oldest.livekit, "websockets": oldest.websockets}
    assert f'requires-python = ">={oldest.python}"' in project


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.name for row in rows.ROWS} | {"oldest", "newest"}) == len(rows.ROWS) + 2


def test_rows_are_chosen_by_name() -> None:
    assert rows.chosen("") == list(rows.ROWS)
    assert rows.chosen("newest, oldest") == [rows.NEWEST, rows.OLDEST]
    with pytest.raises(ValueError, match=r"9\.9\.9 unknown"):
        rows.chosen("9.9.9")


def test_a_table_is_found_in_a_page_again() -> None:
    made = rows.table({rows.OLDEST: {"RealtimeModel": "ok", "STT": "failed: one"}})
    assert "\n".join(rows.written(f"# Page\n\n{made}\n\n| another | table |\n")) == made
    assert rows.written("# Page without one\n") == []
