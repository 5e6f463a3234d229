"""Who gets the connection made ahead, and what becomes of it when nobody does. Links are played by an object."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.transport.link import Link, LinkFailed
from livekit_plugins_openai_ga.transport.prewarmed import WARM_FOR_S, Prewarmed

TOLD = {"type": "realtime", "instructions": "Be brief."}
REFUSED = errors.from_server_error("invalid_api_key", "invalid_request_error", "Incorrect API key.")


class FakeLink:
    def __init__(self) -> None:
        self.alive = True
        self.told: list[dict[str, Any]] = []

    def tell(self, session: dict[str, Any]) -> None:
        self.told.append(session)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.alive = False


class Place:
    """A destination whose links are kept; `gate` holds the opening of one up, `refuses` makes it fail."""

    def __init__(self, place: object = "here") -> None:
        self.place = place
        self.links: list[FakeLink] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.refuses = False
        self.timeouts: list[float] = []

    def served_by(self, other: Any) -> bool:
        return bool(self.place == other.place)

    def open(self, timeout: float) -> Coroutine[Any, Any, Link]:
        return self._open(timeout)

    async def _open(self, timeout: float) -> Link:
        self.timeouts.append(timeout)
        await self.gate.wait()
        if self.refuses:
            raise LinkFailed(REFUSED)
        self.links.append(FakeLink())
        return cast(Link, self.links[-1])


class LaterLoop(asyncio.SelectorEventLoop):
    """Its clock can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_first_who_asks_gets_it_and_the_next_dials():
    warm, place = Prewarmed(), Place()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    assert await warm.dial(Place(), 1.0) == (place.links[0], True)
    assert await warm.dial(place, 1.0) == (place.links[1], False)
    assert [link.alive for link in place.links] == [True, True]


async def test_it_is_told_the_configuration_and_nobody_who_dials_is():
    warm, place = Prewarmed(), Place()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    await warm.dial(place, 1.0)
    await warm.dial(place, 1.0)
    assert [link.told for link in place.links] == [[TOLD], []]


async def test_one_is_opened_however_often_it_is_asked_for():
    warm, place = Prewarmed(), Place()
    warm.open(place, 5.0, tell=TOLD)
    warm.open(place, 5.0, tell=TOLD)  # being opened
    await turns()
    warm.open(place, 5.0, tell=TOLD)  # open
    await turns()
    assert place.timeouts == [5.0]


async def test_one_that_went_dead_is_opened_anew_when_it_is_asked_for_again():
    warm, place = Prewarmed(), Place()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    place.links[0].alive = False
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    assert await warm.dial(place, 1.0) == (place.links[1], True)


async def test_one_for_another_place_is_closed_when_it_is_asked_for_here():
    warm, there, here = Prewarmed(), Place("there"), Place("here")
    warm.open(there, 5.0, tell=TOLD)
    await turns()
    warm.open(here, 5.0, tell=TOLD)
    await turns()
    assert not there.links[0].alive
    assert await warm.dial(here, 1.0) == (here.links[0], True)


async def test_whoever_goes_elsewhere_dials_and_does_not_wait_for_the_other_to_close():
    warm, there, here = Prewarmed(), Place("there"), Place("here")
    warm.open(there, 5.0, tell=TOLD)
    await turns()
    assert await warm.dial(here, 1.0) == (here.links[0], False)
    assert there.links[0].alive  # closing
    await turns()
    assert not there.links[0].alive


async def test_a_dead_one_is_not_used():
    warm, place = Prewarmed(), Place()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    place.links[0].alive = False
    assert await warm.dial(place, 1.0) == (place.links[1], False)


async def test_one_that_was_refused_is_dialled_again_by_whoever_tells():
    warm, place = Prewarmed(), Place()
    place.refuses = True
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    with pytest.raises(LinkFailed, match="invalid_api_key"):
        await warm.dial(place, 1.0)
    assert len(place.timeouts) == 2


async def test_one_that_takes_too_long_leaves_little_time_to_dial():
    warm, place, quick = Prewarmed(), Place(), Place()
    place.gate.clear()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    assert await warm.dial(quick, 0.05) == (quick.links[0], False)
    assert quick.timeouts == [0.1]
    await turns()
    assert place.links == []


async def test_it_is_closed_when_whoever_waits_for_it_gives_up():
    warm, place = Prewarmed(), Place()
    place.gate.clear()
    warm.open(place, 5.0, tell=TOLD)
    waiting = asyncio.ensure_future(warm.dial(place, 5.0))
    await turns()
    waiting.cancel()
    await turns()
    assert waiting.cancelled()
    place.gate.set()
    await turns()
    assert place.links == []


@pytest.mark.parametrize("is_open", [True, False])
async def test_closing_closes_it(is_open):
    warm, place = Prewarmed(), Place()
    if not is_open:
        place.gate.clear()
    warm.open(place, 5.0, tell=TOLD)
    await turns()
    await warm.aclose()
    assert [link.alive for link in place.links] == [False] * is_open
    await warm.aclose()  # twice is fine
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


def test_outside_an_event_loop_it_does_nothing():
    async def place() -> Place:
        return Place()

    nowhere = asyncio.run(place())
    Prewarmed().open(nowhere, 5.0, tell=TOLD)
    assert nowhere.timeouts == []


def test_after_two_minutes_it_is_closed():
    loop = LaterLoop()

    async def wait() -> None:
        warm, place = Prewarmed(), Place()
        warm.open(place, 5.0, tell=TOLD)
        await turns()
        loop.ahead += WARM_FOR_S - 1
        await turns()
        assert place.links[0].alive
        loop.ahead += 1.1
        await turns()
        assert not place.links[0].alive
        assert await warm.dial(place, 1.0) == (place.links[1], False)

    loop.run_until_complete(wait())
    loop.close()


def test_one_that_was_taken_is_not_closed_after_two_minutes():
    loop = LaterLoop()

    async def wait() -> None:
        warm, place = Prewarmed(), Place()
        warm.open(place, 5.0, tell=TOLD)
        await warm.dial(place, 1.0)
        warm.open(place, 5.0, tell=TOLD)
        loop.ahead += WARM_FOR_S / 2
        await turns()
        assert [link.alive for link in place.links] == [True, True]
        loop.ahead += WARM_FOR_S
        await turns()
        assert [link.alive for link in place.links] == [True, False]

    loop.run_until_complete(wait())
    loop.close()


@pytest.mark.parametrize("closed", [True, False])
def test_one_of_another_event_loop_is_not_used_and_closed_there(closed):
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    warm = Prewarmed()

    async def prewarm() -> Place:
        place = Place()
        warm.open(place, 5.0, tell=TOLD)
        await turns()
        return place

    async def dial() -> Place:
        place = Place()
        assert await warm.dial(place, 1.0) == (place.links[0], False)
        return place

    there = first.run_until_complete(prewarm())
    if closed:
        first.close()
    here = second.run_until_complete(dial())
    assert here.links[0].alive
    if not closed:
        first.run_until_complete(turns())
        assert not there.links[0].alive
        first.close()
    second.close()
