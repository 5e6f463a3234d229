"""Every figure can be measured, and what it comes to is worked out right. How fast anything is, nothing here asks."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import bench, figures, plugins, report
from benchmarks.figures import Figure, Row, Turns

ROOT = Path(__file__).parents[2]


async def nothing(subject: figures.Subject) -> Turns:
    return []


def judged(row: Row, ours: list[float], official: list[float]) -> report.Result:
    figure = Figure("some", "Some", nothing, rows=(row,))
    pairs = zip(ours, official, strict=True)
    (result,) = report.results(figure, [{"ours": {"cpu": a}, "official": {"cpu": b}} for a, b in pairs])
    return result


@pytest.mark.parametrize(
    ("target", "verdict"), [(0.4, "not met"), (0.5, "unclear"), (0.6, "unclear"), (0.75, "met"), (None, "")]
)
def test_a_ratio_is_that_of_one_round_and_a_target_where_the_median_may_be_is_unclear(target, verdict):
    result = judged(Row("CPU", "cpu", "ms", target), [1.0, 6.0, 3.0], [2.0, 8.0, 5.0])
    assert result.ratio == report.Spread(0.6, 0.5, 0.75, 0.5, 0.75)
    assert result.ours == report.Spread(3.0, 1.0, 6.0, 1.0, 6.0)
    assert result.verdict == verdict


@pytest.mark.parametrize(("target", "verdict"), [(0.9, "not met"), (2.0, "unclear"), (6.0, "met")])
def test_a_target_can_be_one_for_the_number_itself(target, verdict):
    result = judged(Row("age", "cpu", "ms", target, compare="ours"), [1.0, 6.0, 3.0], [2.0, 8.0, 5.0])
    assert result.verdict == verdict


# Tables of the sign test: the k-th least and the k-th most of so many.
@pytest.mark.parametrize(("count", "kth"), [(1, 1), (5, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (30, 10)])
def test_the_interval_of_the_median_is_that_of_the_sign_test(count, kth):
    spread = report.Spread.of([float(number) for number in range(count, 0, -1)])
    assert spread == report.Spread((count + 1) / 2, kth, count + 1 - kth, 1, count)


def test_more_rounds_make_a_verdict_surer():
    def verdict(rounds: int) -> str:
        ours = [0.5, 0.6, 0.7, 0.6, 0.9][:rounds] + [0.6] * (rounds - 5)
        return judged(Row("CPU", "cpu", "ms", 0.65), ours, [1.0] * rounds).verdict

    assert [verdict(5), verdict(20)] == ["unclear", "met"]


class Scripted:
    """Has two turns, and writes down when."""

    def __init__(self, plugin: figures.Plugin, diary: list[str]) -> None:
        self.plugin, self.diary = plugin, diary
        self.left = 2

    async def begin(self, figure: Figure) -> Turns | None:
        self.diary.append(f"{self.plugin} begins")
        return None

    async def go(self, figure: Figure) -> Turns | None:
        self.diary.append(f"{self.plugin} goes")
        self.left -= 1
        return None if self.left else [{self.plugin: 1.0}, {self.plugin: 2.0}]


async def test_plugins_work_in_turn_and_each_round_begins_with_another_one():
    diary: list[str] = []
    names: list[figures.Plugin] = ["ours", "ours_fast", "official"]
    figure = Figure("some", "Some", nothing, rows=(), turns=2)
    found = await bench.in_turns(figure, {name: Scripted(name, diary) for name in names})
    assert diary[:3] == [f"{name} begins" for name in names]
    assert diary[3:] == [f"{name} goes" for name in [*names, "ours_fast", "official", "ours"]]
    assert bench.as_rounds(found) == [{name: {name: number} for name in names} for number in (1.0, 2.0)]


def test_what_the_benchmark_takes_for_itself_is_the_mean_of_the_round():
    row = Row("CPU", "cpu", "ms", floor="floor")
    figure = Figure("some", "Some", nothing, rows=(row,))
    one = {"ours": {"cpu": 5.0, "floor": 1.0}, "official": {"cpu": 8.0, "floor": 3.0}}
    (result,) = report.results(figure, [one])
    assert result.official is not None
    assert result.ratio is not None
    assert (result.ours.median, result.official.median, result.ratio.median) == (3.0, 6.0, 0.5)
    assert result.as_json()["spread"]["with_floor"] == {"ours": 5.0, "official": 8.0, "floor": 2.0}
    assert judged(Row("CPU", "cpu", "ms"), [1.0], [1.0]).as_json()["spread"]["with_floor"] is None


def test_a_number_that_the_official_plugin_cannot_give_is_left_out_also_where_there_is_a_floor():
    row = Row("CPU", "cpu", "ms", floor="floor")
    figure = Figure("some", "Some", nothing, rows=(row,))
    (result,) = report.results(figure, [{"ours": {"cpu": 5.0, "floor": 1.0}, "official": {"floor": 3.0}}])
    assert result.official is None
    assert result.with_floor == {"ours": 5.0, "floor": 2.0}


def test_a_row_of_a_plugin_that_was_not_measured_is_left_out():
    rows = (Row("CPU", "cpu", "ms"), Row("CPU, fast", "cpu", "ms", plugin="ours_fast"))
    figure = Figure("some", "Some", nothing, rows=rows, plugins=("ours",))
    (result,) = report.results(figure, [{"ours": {"cpu": 1.0}}])
    assert (result.row.title, result.official, result.ratio) == ("CPU", None, None)
    assert "CPU" in report.table([result])


def test_a_number_that_is_not_given_is_told():
    figure = Figure("some", "Some", nothing, rows=(Row("CPU", "cpu", "ms"),))
    with pytest.raises(KeyError, match="cpu"):
        report.results(figure, [{"ours": {"gpu": 1.0}, "official": {"cpu": 1.0}}])


@pytest.mark.timeout(240)
def test_every_figure_can_be_measured(tmp_path):
    command = [sys.executable, "-m", "benchmarks.bench", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "results.json").read_text())
    there = {"ours", "ours_fast"} if made["measured_with"]["fast"] else {"ours"}
    shown = [
        (figure, row) for figure in map(figures.load, figures.names()) for row in figure.rows if row.plugin in there
    ]
    names = [(figure.name, row.plugin, f"{figure.title}: {row.title}") for figure, row in shown]
    assert [(row["figure"], row["plugin"], row["name"]) for row in made["rows"]] == names
    assert [row.title for _, row in shown if row.title not in done.stdout] == []
    for row in made["rows"]:
        # Not more than 0: with a trial's few sessions, what a plugin takes can drown in what else the process does.
        assert math.isfinite(row["ours"])
        assert row["official"] is None or math.isfinite(row["official"])
        assert row["met"] in (True, False, None)
        assert {"ratio", "target", "unit", "verdict", "spread"} <= row.keys()


def test_what_the_extra_fast_brings_can_be_blocked():
    code = "from benchmarks import plugins; plugins.block_fast(); import livekit_plugins_openai_ga, sys; "
    code += "assert not any(sys.modules.get(name) for name in plugins.FAST_MODULES)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    pyproject = (ROOT / "pyproject.toml").read_text()
    _, _, fast = pyproject.partition("\nfast = [")
    assert set(re.findall(r'"([\w-]+)', fast.partition("]")[0])) == set(plugins.FAST_MODULES)
