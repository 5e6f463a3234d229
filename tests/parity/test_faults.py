"""Each fault comes out as docs/reliability.md says, in livekit-plugins-openai 1.8.9 and in this plugin.

All faults that were chosen are played side by side, before the first test: that takes as long as what the official
plugin needs to give up. `python -m tests.parity.faults` measures anew and writes the tables.
"""

from __future__ import annotations

import asyncio

import pytest

from . import faults
from .faults import Outcome, Row, measured, table, told, with_tables

EXPECTED = told(faults.PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(request):
    """What came of the faults."""
    chosen = [item.callspec.params["row"] for item in request.session.items if "made" in item.fixturenames]
    made = asyncio.run(measured(chosen))
    # All at once they keep a small machine busy, and some are races that both plugins win with time to spare only.
    late = [row for row in chosen if made[row.name] != EXPECTED.get(row.name)]
    return {**made, **(asyncio.run(measured(late)) if late else {})}


@pytest.mark.parametrize("row", faults.ROWS, ids=lambda row: row.name)
def test_a_fault_comes_out_as_the_page_says(made, row):
    assert made[row.name] == EXPECTED.get(row.name)


def test_the_page_shows_every_fault_and_no_other():
    page = faults.PAGE.read_text(encoding="utf-8")
    assert with_tables(page, [table(rows, EXPECTED) for rows in faults.groups(faults.ROWS)]) == page


def test_the_readme_quotes_the_page():
    readme = faults.README.read_text(encoding="utf-8")
    assert with_tables(readme, [table(faults.quoted(faults.ROWS), EXPECTED)]) == readme


def test_every_fault_has_a_name_of_its_own():
    assert len({row.name for row in faults.ROWS}) == len(faults.ROWS)


def test_a_table_is_replaced_in_a_page_and_found_in_it_again():
    row = Row(faults.ROWS[0].name, faults.ROWS[0].play)
    old, new = ({row.name: Outcome("a", text)} for text in ("b", "c"))
    page = "\n".join(["# Page", "", *table([row], old), "", "| another | table |", ""])
    changed = with_tables(page, [table([row], new)])
    assert told(changed) == new
    assert changed == page.replace("| b |", "| c |")
    with pytest.raises(ValueError, match="no place"):
        with_tables(page, [[], []])
