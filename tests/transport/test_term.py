"""When a link has served its time, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from livekit_plugins_openai_ga.transport.term import Term

from ..simulation.network import Network
from ..simulation.virtual_loop import VirtualLoop

AGE, PATIENCE = 100.0, 10.0


def over_at(play: Callable[[Term, Callable[..., object]], object], *, age: float | None = AGE) -> list[float]:
    """When a link was over, in s since it began. `play` gets the term, and what calls something at a later time."""
    ends: list[float] = []
    loop = VirtualLoop(Network())

    async def run() -> None:
        term = Term(lambda: ends.append(loop.time()))
        term.begin(age, PATIENCE)
        play(term, loop.call_later)
        await asyncio.sleep(3 * AGE)

    loop.run_until_complete(run())
    return ends


def test_an_old_link_is_over_when_nobody_minds():
    assert over_at(lambda term, at: None) == [AGE]


def test_a_link_that_may_grow_old_stays():
    assert over_at(lambda term, at: None, age=None) == []


def test_an_old_link_waits_for_a_calm_moment():
    def busy(term: Term, at: Callable[..., object]) -> None:
        term.set_calm(False)
        at(AGE + 4, term.set_calm, True)
        at(AGE + 4, term.end)

    assert over_at(busy) == [AGE + 4]


def test_an_old_link_waits_only_so_long():
    assert over_at(lambda term, at: term.set_calm(False)) == [AGE + PATIENCE]


@pytest.mark.parametrize(("calm", "end"), [(True, 5.0), (False, 5.0 + 3.0)])
def test_a_renewal_has_a_patience_of_its_own(calm, end):
    def renew(term: Term, at: Callable[..., object]) -> None:
        term.set_calm(calm)
        at(5, term.expire, 3.0)

    assert over_at(renew) == [end]


def test_a_calm_moment_alone_ends_nothing():
    def breathe(term: Term, at: Callable[..., object]) -> None:
        for second in range(10):
            at(second, term.set_calm, second % 2 == 0)
        at(20, term.end)

    assert over_at(breathe) == []


def test_without_a_link_there_is_nothing_to_renew_and_the_next_one_begins_anew():
    def again(term: Term, at: Callable[..., object]) -> None:
        term.set_calm(False)
        term.expire(50.0)
        term.end()
        term.expire(0.0)
        term.set_calm(True)
        at(20, term.begin, AGE, PATIENCE)

    assert over_at(again) == [20 + AGE]
