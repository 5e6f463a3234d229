"""Calls on a hostile network, by the hundred: `python -m tests.simulation SEED` replays one that fails here."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.simulation import interpreting, run
from tests.simulation.__main__ import OPTIONS
from tests.simulation.gaps import GAPS, Gap
from tests.simulation.jobs import What, played
from tests.simulation.network import Network, Path
from tests.simulation.run import Outcome
from tests.simulation.schedule import schedule

COUNTS: dict[What, int] = {"calls": 1_500, "speeches": 500, "translations": 300}
JOBS = min(2, os.cpu_count() or 1)


@pytest.mark.timeout(300)  # half a minute on two cores that have nothing else to do
@pytest.mark.parametrize("what", COUNTS)
def test_no_promise_is_broken(what: What) -> None:
    broken = {outcome.seed: found for outcome, found in played(0, COUNTS[what], JOBS, what=what) if found}
    assert broken == {}, f"replay: python -m tests.simulation {OPTIONS[what]}{min(broken)}"


@pytest.mark.parametrize(
    "seed",
    [
        *(1528, 6343, 10310, 17067),  # a peer that dies with a few KiB in the send buffer
        *(5507, 11707, 17094),  # a moved message was cut as if it were speech
        *(11, 246, 266, 365),  # who waited for a first configuration that was refused
        44,  # a reply that was given up while its request waited behind audio was asked for all the same
        942,  # an item whose deletion the server refused was missing in chat_ctx
        2746,  # an item whose truncation the server refused was cut in chat_ctx
        1110,  # an edit of the message that was being spoken was lost when the reply ended
    ],
)
def test_what_was_mended_stays_so(seed: int) -> None:
    assert run.play(seed, layers=0).violations == []


@pytest.mark.parametrize(
    "seed",
    [
        *(24, 223, 1123),  # a turn whose commit was told, and whose item was not, was lost with its connection
        *(2166, 2336, 2822),  # a planned change between speech_stopped and committed kept 2 s of a turn
        *(797, 1428),  # a commit that was refused was taken for the next one that was answered
    ],
)
def test_what_was_mended_later_stays_so(seed: int) -> None:
    assert run.play(seed, layers=1).violations == []


def test_the_rest_of_a_session_that_broke_while_it_was_ended_is_told_once() -> None:
    assert interpreting.play(1782).violations == []


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.name)
def test_a_known_gap_still_shows_else_it_is_to_be_taken_out(gap: Gap) -> None:
    made = schedule(gap.seed)
    assert gap.can_be(made)
    assert any(gap.shows.search(violation) for violation in run.play(gap.seed).violations)


def test_a_schedule_plays_the_same_every_time() -> None:
    first, second = run.play(7), run.play(7)
    assert (first.trace, first.virtual_s, first.facts) == (second.trace, second.virtual_s, second.facts)


def test_the_schedules_are_not_idle() -> None:
    outcomes = [run.play(seed) for seed in range(40)]
    total = {fact: sum(outcome.facts[fact] for outcome in outcomes) for fact in outcomes[0].facts}
    assert all(total.values()), total


def test_what_never_ends_is_found() -> None:
    async def wait_for_ever(outcome: Outcome) -> None:
        await asyncio.get_running_loop().create_future()

    assert run.simulate(0, Network(), wait_for_ever).violations == ["stuck: everybody waits, and no timer runs"]


async def _exchanged(path: Path, sent: bytes, outcome: Outcome) -> None:
    arrived = bytearray()

    class Server(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            arrived.extend(data)

    loop = asyncio.get_running_loop()
    await loop.create_server(Server, "127.0.0.1", 1)
    transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", 1)
    transport.write(sent)
    await asyncio.sleep(10)
    outcome.facts = {"arrived": len(arrived), "closing": int(transport.is_closing())}


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        (Path(), {"arrived": 100, "closing": 0}),
        (Path(cut_sending=37), {"arrived": 37, "closing": 1}),
        (Path(bytes_per_s=5.0), {"arrived": 0, "closing": 0}),
    ],
    ids=["healthy", "cut", "slow"],
)
def test_the_network_does_to_bytes_what_its_path_says(path: Path, facts: dict[str, int]) -> None:
    outcome = run.simulate(0, Network(paths=[path]), lambda outcome: _exchanged(path, b"x" * 100, outcome))
    assert outcome.violations == []
    assert outcome.facts == facts
