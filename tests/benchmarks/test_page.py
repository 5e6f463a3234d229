"""docs/performance.md shows what was measured last."""

from __future__ import annotations

import json

import pytest

from benchmarks import figures, page

ROW = {
    "name": "Uplink: age, mean",
    "figure": "uplink",
    "unit": "ms",
    "ours": 0.5,
    "official": 51.0,
    "target": 2.0,
    "target_of": "ours",
    "verdict": "met",
    "spread": {"ratio": {"median": 0.01, "low": 0.01, "high": 0.02}},
}


def test_the_page_shows_the_last_results():
    made = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert made["quick"] is False
    shown = page.PAGE.read_text(encoding="utf-8")
    assert page.with_table(shown, made) == shown


def test_every_figure_was_measured_and_has_a_plot():
    made = json.loads(page.RESULTS.read_text(encoding="utf-8"))
    assert {row["figure"] for row in made["rows"]} == set(figures.names())
    assert [name for name in figures.names() if not (page.RESULTS.parent / f"{name}.png").exists()] == []


def test_a_row_tells_medians_spread_target_and_verdict():
    assert page.line(ROW) == "| age, mean (ms) | 0.5 | 51 | 0.01 (0.01 to 0.02) | 2 | met |"
    alone = {**ROW, "official": None, "target": 0.7, "target_of": "ratio", "spread": {"ratio": None}}
    assert page.line(alone) == "| age, mean (ms) | 0.5 | - | - | 0.7 x official | met |"


def test_a_page_without_a_place_for_the_table_is_told():
    with pytest.raises(ValueError, match="no place"):
        page.with_table("# Page", {"rows": []})
