"""Every figure can be measured, and what it comes to is worked out right. How fast anything is, nothing here asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import statistics
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks import bench, figures, plugins, report
from benchmarks.control import Server
from benchmarks.figures import Figure, Row, Turns, stt

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
    assert result.ratio == report.Spread(3, 0.6, 0.5, 0.75, 0.5, 0.75)
    assert result.ours == report.Spread(3, 3.0, 1.0, 6.0, 1.0, 6.0)
    assert result.verdict == verdict


@pytest.mark.parametrize(("target", "verdict"), [(0.9, "not met"), (2.0, "unclear"), (6.0, "met")])
def test_a_target_can_be_one_for_the_number_itself(target, verdict):
    result = judged(Row("age", "cpu", "ms", target, compare="ours"), [1.0, 6.0, 3.0], [2.0, 8.0, 5.0])
    assert result.verdict == verdict


# The published table of Wilcoxon's signed ranks, two-sided, 5 %; with less than 6 numbers there is no such interval.
@pytest.mark.parametrize(
    ("count", "outside"), [(1, 0), (5, 0), (6, 0), (7, 2), (9, 5), (10, 8), (15, 25), (20, 52), (25, 89), (30, 137)]
)
def test_so_many_means_are_outside_as_wilcoxons_table_says(count, outside):
    assert report.left_out(count) == outside


@pytest.mark.parametrize(
    ("numbers", "low", "high"),
    [
        ([5.0], 5, 5),
        ([4, 1, 2], 1, 4),
        ([9, 1, 2, 3, 4], 1, 9),
        ([7, 1, 6, 2, 5, 3, 4], 2, 6),
        ([0, 0, 0, 8, 8, 8, 8], 0, 8),
    ],
)
def test_the_interval_is_of_the_means_of_all_pairs(numbers, low, high):
    spread = report.Spread.of(numbers)
    assert spread == report.Spread(len(numbers), statistics.median(numbers), low, high, min(numbers), max(numbers))


@pytest.mark.parametrize("end", [1.0, 9.0])
def test_the_interval_has_the_median_in_it_also_when_the_numbers_lie_to_one_side(end):
    numbers = [end] * 21 + [10 - end] * 19
    spread, (low, high) = report.Spread.of(numbers), report.interval(numbers)
    assert spread is not None
    assert not low <= end <= high
    assert (spread.low, spread.median, spread.high) == (min(end, low), end, max(end, high))


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


async def test_plugins_that_are_measured_together_are_all_told_before_any_has_ended():
    arrived: list[figures.Plugin] = []
    everybody = asyncio.Event()

    class Waiting(Scripted):
        async def go(self, figure: Figure) -> Turns | None:
            arrived.append(self.plugin)
            if len(arrived) == 2:
                everybody.set()
            await asyncio.wait_for(everybody.wait(), 5)
            return await super().go(figure)

    figure = Figure("some", "Some", nothing, rows=(), turns=2, together=True)
    running = {name: Waiting(name, []) for name in ("ours", "nobody")}
    found = await bench.in_turns(figure, running)
    assert bench.as_rounds(found) == [{name: {name: number} for name in running} for number in (1.0, 2.0)]


def test_what_the_benchmark_takes_for_itself_may_be_told_by_one_who_has_no_plugin():
    row = Row("CPU", "cpu", "ms", floor="floor")
    figure = Figure("some", "Some", nothing, rows=(row,))
    one = {"ours": {"cpu": 5.0}, "official": {"cpu": 8.0}, "nobody": {"floor": 2.0}}
    (result,) = report.results(figure, [one])
    assert result.ratio is not None
    assert (result.ours.median, result.ratio.median) == (3.0, 0.5)
    with pytest.raises(KeyError, match="floor"):
        report.results(figure, [{"ours": {"cpu": 5.0}, "official": {"cpu": 8.0}}])


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


def test_a_case_may_have_fewer_turns_than_the_others():
    rows = (Row("CPU", "cpu", "ms"), Row("age", "age", "ms", floor="floor"))
    figure = Figure("some", "Some", nothing, rows=rows)
    turns = figures.side_by_side([{"cpu": 1.0}, {"cpu": 2.0}, {"cpu": 4.0}], [{"age": 7.0, "floor": 3.0}])
    found = report.results(figure, bench.as_rounds({"ours": turns, "official": turns}))
    assert [(row.ours.median, row.as_json()["rounds"], row.ratio and row.ratio.rounds) for row in found] == [
        (2.0, 3, 3),
        (4.0, 1, 1),
    ]


def test_a_number_that_ours_did_not_give_in_a_round_in_which_the_other_plugin_did_is_told():
    figure = Figure("some", "Some", nothing, rows=(Row("CPU", "cpu", "ms"),))
    both, other = {"ours": {"cpu": 1.0}, "official": {"cpu": 1.0}}, {"ours": {}, "official": {"cpu": 1.0}}
    with pytest.raises(KeyError, match="cpu"):
        report.results(figure, [both, other])


async def at_once() -> None:
    """A turn that nobody waits for."""


def test_fewer_turns_are_one_at_least():
    def fewer(turns: int) -> int:
        subject = figures.Subject("ours", "ws://one/v1", 1.0, turns, at_once, False, Server("ws://one/v1"))
        return subject.with_fewer_turns(3).turns

    assert [fewer(turns) for turns in (20, 3, 2)] == [6, 1, 1]


@pytest.mark.parametrize("name", figures.names())
def test_a_figure_has_all_of_its_rounds(name):
    figure = figures.load(name)
    assert figure.rounds % figure.turns == 0


def test_the_official_stt_can_have_all_streams_at_once():
    assert max(case["count"] for case in stt.CASES.values()) <= min(100, 50 * len(stt.HOSTS))


class OneTurn:
    """Has one turn, and writes down that it had."""

    def __init__(self, name: str, worked: list[str]) -> None:
        self.name, self.worked = name, worked

    async def begin(self, figure: Figure) -> Turns | None:
        self.worked.append(self.name)
        return [{"cpu": 1.0}]


class Processes:
    """Begins them, and numbers those of each plugin. `worked`: who had a turn."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.worked: list[str] = []

    @contextlib.asynccontextmanager
    async def running(self, plugin: figures.Plugin, *, quick: bool) -> AsyncIterator[OneTurn]:
        self.begun.append(plugin)
        yield OneTurn(f"{plugin} {self.begun.count(plugin)}", self.worked)


@pytest.mark.parametrize(
    ("fresh", "worked"),
    [
        (True, ["ours 1", "official 1", "official 2", "ours 2", "ours 3", "official 3"]),
        (False, ["ours 1", "official 1", "official 1", "ours 1", "ours 1", "official 1"]),
    ],
)
async def test_processes_are_kept_or_new_for_each_call_and_another_one_is_first(monkeypatch, fresh, worked):
    processes = Processes()
    monkeypatch.setattr(bench.Measured, "running", processes.running)
    figure = Figure("some", "Some", nothing, rows=(), rounds=3, fresh=fresh)
    rounds = await bench.measure(figure, ["ours", "official"])
    assert processes.worked == worked
    assert [set(each) for each in rounds] == [{"ours", "official"}] * 3


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
