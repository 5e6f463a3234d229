"""When to dial again and when to stop. The budget runs in virtual time; links are played by an object in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.errors import Failure, Kind
from livekit_plugins_openai_ga.transport.link import LinkFailed
from livekit_plugins_openai_ga.transport.outbox import Outbox
from livekit_plugins_openai_ga.transport.supervisor import (
    FIRST_RETRY_S,
    MAX_ASKED_WAIT_S,
    MAX_RETRY_DELAY_S,
    PROVEN_AFTER_S,
    STEADY_AFTER_S,
    Budget,
    Supervisor,
)

LOST = errors.from_close(1006, "")
FATAL = errors.from_server_error("invalid_model", "invalid_request_error", "No such model.")
BUSY = errors.from_http(429, retry_after=7.0)


# -- the budget ----------------------------------------------------------------------------------------------------


def spend(budget: Budget, now: float = 0.0) -> list[float | None]:
    """Fail until the budget is spent."""
    delays: list[float | None] = []
    while not delays or delays[-1] is not None:
        delays.append(budget.failed(LOST, now))
    return delays


def test_delays_start_short_and_double() -> None:
    budget = Budget(5, 2.0, jitter=lambda: 0.5)
    assert spend(budget) == [FIRST_RETRY_S, 2.0, 4.0, 8.0, 16.0, None]


def test_no_retries_means_none() -> None:
    assert spend(Budget(0, 2.0)) == [None]


def test_a_delay_has_a_limit_and_some_chance() -> None:
    assert max(delay or 0 for delay in spend(Budget(20, 2.0))) <= MAX_RETRY_DELAY_S
    low, high = (spend(Budget(2, 2.0, jitter=lambda chance=chance: chance))[1] for chance in (0.0, 1.0))
    assert (low, high) == (1.5, 2.5)


def test_a_fatal_failure_leaves_nothing_to_try() -> None:
    assert Budget(5, 2.0).failed(FATAL, 0.0) is None


def test_the_server_may_ask_for_a_longer_wait_and_not_for_a_shorter_one() -> None:
    budget = Budget(5, 20.0, jitter=lambda: 0.5)
    assert budget.failed(BUSY, 0.0) == 7.0
    assert budget.failed(BUSY, 0.0) == 20.0


def test_a_wait_that_no_caller_would_sit_through_is_not_begun() -> None:
    budget = Budget(5, 2.0, jitter=lambda: 0.5)
    assert budget.failed(replace(BUSY, retry_after=MAX_ASKED_WAIT_S), 0.0) == MAX_ASKED_WAIT_S
    assert budget.failed(replace(BUSY, retry_after=3600.0), 0.0) is None


def test_a_handshake_gives_nothing_back() -> None:
    """GA confirms sockets it closes at once (livekit/agents#6352)."""
    budget = Budget(2, 2.0)
    now = 0.0
    delays = []
    for _ in range(3):
        budget.confirmed(now)
        now += PROVEN_AFTER_S - 0.1
        delays.append(budget.failed(LOST, now))
    assert delays[-1] is None


def test_a_session_that_was_steady_makes_the_next_attempt_prompt_within_the_budget() -> None:
    budget = Budget(3, 2.0)
    now, delays = 0.0, []
    for lived in (STEADY_AFTER_S / 2, STEADY_AFTER_S / 2, STEADY_AFTER_S, STEADY_AFTER_S):
        budget.confirmed(now)
        now += lived
        delays.append(budget.failed(LOST, now))
    assert [delay == FIRST_RETRY_S for delay in delays] == [True, False, True, False]
    assert delays[-1] is None


def test_a_session_that_lived_gives_the_whole_budget_back() -> None:
    budget = Budget(2, 2.0)
    assert spend(budget)[-1] is None
    budget.confirmed(100.0)
    assert budget.failed(LOST, 100.0 + PROVEN_AFTER_S) == FIRST_RETRY_S
    assert budget.attempt(100.0 + PROVEN_AFTER_S) == 1
    # Once only: the attempts after it prove nothing.
    assert budget.failed(LOST, 500.0) is not None
    assert budget.failed(LOST, 900.0) is None


def test_retries_in_a_row_are_counted_until_a_session_has_lived() -> None:
    budget = Budget(3, 2.0)
    spend(budget)
    assert budget.attempt(0.0) == 3
    budget.confirmed(100.0)
    assert budget.attempt(100.0 + PROVEN_AFTER_S - 0.1) == 3
    assert budget.attempt(100.0 + PROVEN_AFTER_S) == 0


# -- the supervisor ------------------------------------------------------------------------------------------------


class FakeLink:
    """A link that hands out what a test feeds it."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[dict[str, Any] | Failure] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.ready = True
        self.socket = None
        self.closed = False
        self.session_id = "sess_1"

    async def receive(self) -> dict[str, Any]:
        got = await self.inbox.get()
        if isinstance(got, Failure):
            raise LinkFailed(got)
        return got

    async def deliver(self, to: Callable[[dict[str, Any]], object]) -> None:
        while True:
            to(await self.receive())

    def write(self, event: dict[str, Any]) -> None:
        self.sent.append(event)

    def named(self, failure: Failure) -> Failure:
        return failure

    async def close(self) -> None:
        self.closed = True


class Stage:
    """A supervisor, its peer and its dial, all watched. Each dial takes the next of `dials`, then waits for ever."""

    watches_audio = False

    def __init__(self, *dials: FakeLink | Failure, max_retry: int = 3, **given: Any) -> None:
        self.dials = list(dials)
        self.dialled = 0
        self.log: list[tuple[str, Any]] = []
        self.outbox = Outbox()
        self.on_opened: Callable[[], None] = lambda: None
        self.others: list[str] = []  # what else might be asked for
        given = {"recycle_after": None, "recycle_patience": 30.0, **given}
        self.supervisor = Supervisor(self._dial, self, self.outbox, Budget(max_retry, 0.001), **given)
        self._changed = asyncio.Event()

    async def _dial(self) -> Any:
        self.dialled += 1
        if not self.dials:
            await asyncio.Event().wait()
        if isinstance(self.dials[0], Failure):
            raise LinkFailed(self.dials.pop(0))
        return self.dials.pop(0)

    def _note(self, name: str, what: Any) -> None:
        self.log.append((name, what))
        self._changed.set()

    def link_opened(self, link: Any) -> None:
        self.outbox.configured()
        self.on_opened()
        self._note("opened", link)

    def link_received(self, payload: Any) -> None:
        self._note("received", payload)

    def link_sending(self, event: Any) -> None:
        self._note("sending", event)

    def link_lost(self, failure: Failure | None) -> None:
        self._note("lost", failure)

    def instead(self, failure: Failure) -> bool:
        if not self.others:
            return False
        self._note("instead", failure)
        return bool(self.others.pop())

    def will_retry(self, failure: Failure, delay: float) -> None:
        self._note("retry", failure)

    def gave_up(self, failure: Failure) -> None:
        self._note("gave up", failure)

    def names(self) -> list[str]:
        return [name for name, _ in self.log]

    async def until(self, name: str, count: int = 1) -> Any:
        """What came with the `count`-th call of this name."""

        async def wait() -> None:
            while self.names().count(name) < count:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), 5.0)
        return [what for called, what in self.log if called == name][count - 1]


@pytest.fixture
async def play() -> Any:
    """Runs supervisors in the background and stops them at the end of the test."""
    tasks: list[asyncio.Task[None]] = []

    def start(stage: Stage) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(stage.supervisor.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_frames_come_in_and_events_go_out(play: Any) -> None:
    link = FakeLink()
    stage = Stage(link)
    stage.outbox.put({"type": "first"})
    play(stage)
    await stage.until("sending")
    stage.outbox.put({"type": "second"})
    stage.supervisor.wake()
    link.inbox.put_nowait({"type": "hello"})
    await stage.until("received")
    await stage.until("sending", 2)
    assert stage.log[:2] == [("opened", link), ("sending", {"type": "first"})]
    assert ("received", {"type": "hello"}) in stage.log
    assert link.sent == [{"type": "first"}, {"type": "second"}]


async def test_a_lost_link_is_closed_and_followed_by_another(play: Any) -> None:
    first, second = FakeLink(), FakeLink()
    stage = Stage(first, second)
    play(stage)
    await stage.until("opened")
    first.inbox.put_nowait(LOST)
    assert await stage.until("opened", 2) is second
    assert stage.names() == ["opened", "lost", "retry", "opened"]
    assert stage.log[1] == ("lost", LOST)
    assert first.closed
    assert not second.closed


async def test_audio_of_a_lost_link_is_in_line_again_before_anybody_hears_of_the_loss(play: Any) -> None:
    first = FakeLink()
    stage = Stage(first)
    stage.outbox.put_audio(bytes(960))
    play(stage)
    await stage.until("sending")
    stage.outbox.put_audio(bytes(960))
    stage.supervisor.wake()
    first.inbox.put_nowait(LOST)
    await stage.until("lost")
    assert stage.outbox.waiting_ms == 40.0


async def test_it_stops_at_once_at_a_fatal_failure(play: Any) -> None:
    stage = Stage(FATAL, FakeLink())
    await asyncio.wait_for(play(stage), 5)
    assert stage.log == [("gave up", FATAL)]
    assert stage.dialled == 1


async def test_another_way_is_tried_at_once_and_takes_nothing_from_the_budget(play: Any) -> None:
    stage = Stage(FATAL, FATAL, LOST, FATAL, max_retry=1)
    stage.others = ["b", "c"]
    await asyncio.wait_for(play(stage), 5)
    assert stage.names() == ["instead", "instead", "retry", "gave up"]
    assert stage.dialled == 4


async def test_there_is_no_other_way_for_a_connection_that_is_just_lost(play: Any) -> None:
    stage = Stage(LOST, LOST, max_retry=1)
    stage.others = ["b"]
    await asyncio.wait_for(play(stage), 5)
    assert stage.names() == ["retry", "gave up"]


@pytest.mark.parametrize("max_retry", [0, 1, 3])
async def test_it_dials_once_and_max_retry_times_more(play: Any, max_retry: int) -> None:
    stage = Stage(*[LOST] * 10, max_retry=max_retry)
    await asyncio.wait_for(play(stage), 5)
    assert stage.dialled == 1 + max_retry
    assert stage.names() == ["retry"] * max_retry + ["gave up"]


async def test_sessions_that_open_and_die_are_bounded_too(play: Any) -> None:
    links = [FakeLink() for _ in range(10)]
    for link in links:
        link.inbox.put_nowait(LOST)
    stage = Stage(*links, max_retry=2)
    stage.on_opened = stage.supervisor.confirmed
    await asyncio.wait_for(play(stage), 5)
    assert stage.names() == ["opened", "lost", "retry"] * 2 + ["opened", "lost", "gave up"]
    assert [link.closed for link in links[:4]] == [True, True, True, False]


async def test_the_peer_may_hang_up_with_its_own_reason(play: Any) -> None:
    link = FakeLink()
    stage = Stage(link, FakeLink())
    stage.on_opened = lambda: stage.supervisor.hang_up(FATAL)
    await asyncio.wait_for(play(stage), 5)
    assert stage.log == [("opened", link), ("lost", FATAL), ("gave up", FATAL)]
    assert link.closed


async def test_hanging_up_without_a_link_does_nothing(play: Any) -> None:
    stage = Stage()
    stage.supervisor.hang_up(FATAL)
    play(stage)
    stage.supervisor.hang_up(FATAL)
    await asyncio.sleep(0)
    assert stage.log == []


async def test_a_fatal_reason_goes_before_another_of_the_same_moment(play: Any) -> None:
    link = FakeLink()
    stage = Stage(link)
    stage.link_received = lambda payload: stage.supervisor.hang_up(LOST)  # type: ignore[method-assign]
    link.inbox.put_nowait({"type": "error"})
    link.inbox.put_nowait(FATAL)
    await asyncio.wait_for(play(stage), 5)
    assert stage.log[-1] == ("gave up", FATAL)


async def test_an_error_of_our_own_comes_out_and_leaves_no_link_open(play: Any) -> None:
    link = FakeLink()
    stage = Stage(link)
    stage.link_received = lambda payload: 1 / 0  # type: ignore[method-assign,assignment]
    link.inbox.put_nowait({"type": "x"})
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(play(stage), 5)
    assert link.closed


async def test_stopping_closes_the_link(play: Any) -> None:
    link = FakeLink()
    stage = Stage(link)
    task = play(stage)
    await stage.until("opened")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert link.closed


# -- planned changes -----------------------------------------------------------------------------------------------


async def test_an_old_link_is_replaced_without_a_failure(play: Any) -> None:
    first, second = FakeLink(), FakeLink()
    stage = Stage(first, second, recycle_after=0.01, max_retry=0)
    play(stage)
    assert await stage.until("opened", 2) is second
    assert stage.log[:2] == [("opened", first), ("lost", None)]
    assert first.closed


async def test_a_planned_change_waits_for_calm(play: Any) -> None:
    first, second = FakeLink(), FakeLink()
    stage = Stage(first, second, recycle_after=0.01)
    stage.supervisor.set_calm(False)
    play(stage)
    await stage.until("opened")
    await asyncio.sleep(0.05)
    assert stage.names() == ["opened"]
    stage.supervisor.set_calm(True)
    assert await stage.until("opened", 2) is second


async def test_a_planned_change_does_not_wait_for_ever(play: Any) -> None:
    stage = Stage(FakeLink(), FakeLink(), recycle_after=0.01, recycle_patience=0.02)
    stage.supervisor.set_calm(False)
    play(stage)
    await stage.until("opened", 2)


async def test_a_link_lost_while_it_waits_for_calm_is_simply_lost(play: Any) -> None:
    first, second = FakeLink(), FakeLink()
    stage = Stage(first, second, recycle_after=0.0)
    stage.supervisor.set_calm(False)
    play(stage)
    await stage.until("opened")
    first.inbox.put_nowait(LOST)
    assert await stage.until("lost") == LOST
    assert await stage.until("opened", 2) is second


async def test_a_failed_dial_after_a_planned_change_is_tried_again(play: Any) -> None:
    first, third = FakeLink(), FakeLink()
    stage = Stage(first, LOST, third, recycle_after=0.01)
    play(stage)
    assert await stage.until("opened", 2) is third
    assert stage.names()[:4] == ["opened", "lost", "retry", "opened"]


# -- audio that could not wait -------------------------------------------------------------------------------------


async def test_audio_lost_over_a_long_outage_is_told_once(play: Any, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = FakeLink(), FakeLink(), FakeLink()
    stage = Stage(first, second, third)
    stage.outbox = Outbox(keep_ms=1000)
    stage.supervisor = Supervisor(
        stage._dial, stage, stage.outbox, Budget(5, 0.001), recycle_after=None, recycle_patience=1.0
    )
    play(stage)
    await stage.until("opened")
    first.inbox.put_nowait(LOST)
    await stage.until("lost")
    for _ in range(25):
        stage.outbox.put_audio(bytes(4800))
    await stage.until("opened", 2)
    second.inbox.put_nowait(LOST)
    await stage.until("opened", 3)
    told = [record.getMessage() for record in caplog.records if "user audio" in record.getMessage()]
    assert told == ["1.5 s of user audio were lost: more had to wait for a connection, or to leave, than is kept"]


def test_the_failures_used_here_are_what_they_are_taken_for() -> None:
    assert (LOST.kind, FATAL.kind, BUSY.kind) == (Kind.RECONNECT, Kind.FATAL, Kind.RECONNECT)
