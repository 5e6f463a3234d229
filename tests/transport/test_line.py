"""A line serves one link at a time, until it fails or is given up. Links are played by an object in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.errors import Failure
from livekit_plugins_openai_ga.transport.framing import IN_A_ROW
from livekit_plugins_openai_ga.transport.line import Line
from livekit_plugins_openai_ga.transport.link import LinkFailed
from livekit_plugins_openai_ga.transport.outbox import Outbox

LOST = errors.from_close(1006, "")
FATAL = errors.from_server_error("invalid_model", "invalid_request_error", "No such model.")
LONG = 3600.0


class FakeLink:
    """A link that hands out what a test feeds it.

    `free` is cleared while the peer takes no data, and by the event that is number `takes`; `gone` means that the
    socket is closed, and that nobody was told yet.
    """

    def __init__(self, name: str = "link") -> None:
        self.name = name
        self.inbox: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        self.free = asyncio.Event()
        self.free.set()
        self.takes: int | None = None
        self.gone = False
        self.closed = False
        self.session_id = "sess_1"
        self.on_close: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return self.name

    def fail(self, failure: Failure = LOST) -> None:
        self.inbox.put_nowait(LinkFailed(failure))

    async def receive(self) -> dict[str, Any]:
        got = await self.inbox.get()
        if isinstance(got, Exception):
            raise got
        return got

    async def deliver(self, to: Callable[[dict[str, Any]], object]) -> None:
        while True:
            to(await self.receive())

    @property
    def full(self) -> bool:
        return not self.free.is_set()

    @property
    def ready(self) -> bool:
        return self.free.is_set() and not self.gone

    @property
    def socket(self) -> FakeLink:
        return self

    writable = ready

    def write(self, event: dict[str, Any]) -> None:
        assert self.ready
        self.sent.append(event)
        if len(self.sent) == self.takes:
            self.free.clear()

    def send_text(self, text: bytes, more: bytes = b"", rest: bytes = b"") -> None:
        self.write(json.loads(text + more + rest))

    async def room(self) -> None:
        await self.free.wait()
        if self.gone:
            self.fail()
            await asyncio.Event().wait()

    def named(self, failure: Failure) -> Failure:
        return failure

    async def close(self) -> None:
        self.on_close()
        self.closed = True


class Stage:
    """A line and its peer, watched."""

    watches_audio = False

    def __init__(self, *, recycle_after: float | None = None, recycle_patience: float = LONG) -> None:
        self.log: list[tuple[str, Any]] = []
        self.outbox = Outbox(keep_ms=1000)
        self.on_opened: Callable[[], None] = lambda: None
        self.on_received: Callable[[Any], None] = lambda payload: None
        self.on_sending: Callable[[Any], None] = lambda event: None
        self.line = Line(self, self.outbox, recycle_after=recycle_after, recycle_patience=recycle_patience)
        self._changed = asyncio.Event()
        self._links: list[FakeLink] = []

    def note(self, name: str, what: Any) -> None:
        self.log.append((name, what))
        self._changed.set()

    def link_opened(self, link: Any) -> None:
        self._links.append(link)
        self.outbox.configured()
        self.note("opened", link)
        self.on_opened()

    def link_received(self, payload: Any) -> None:
        self.note("received", payload)
        self.on_received(payload)

    def link_sending(self, event: Any) -> None:
        self.note("sending", (event["type"], len(self._links[-1].sent)))
        self.on_sending(event)

    def link_lost(self, failure: Failure | None) -> None:
        self.note("lost", (failure, self._links[-1].closed, self.outbox.waiting_ms))

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

    async def serve(self, link: FakeLink) -> Failure | None:
        return await asyncio.wait_for(self.line.serve(link), 5.0)  # type: ignore[arg-type]

    def start(self, link: FakeLink) -> asyncio.Task[Failure | None]:
        return asyncio.create_task(self.serve(link))


async def test_frames_come_in_and_events_go_out_in_their_order() -> None:
    stage, link = Stage(), FakeLink()
    stage.outbox.put({"type": "first"})
    serving = stage.start(link)
    await stage.until("sending")
    for number in range(3):
        stage.outbox.put({"type": f"event {number}"})
        link.inbox.put_nowait({"type": f"frame {number}"})
    stage.line.wake()
    await stage.until("received", 3)
    await stage.until("sending", 4)
    link.fail()
    await serving
    assert [event["type"] for event in link.sent] == ["first", "event 0", "event 1", "event 2"]
    assert [what["type"] for name, what in stage.log if name == "received"] == ["frame 0", "frame 1", "frame 2"]


async def test_the_peer_hears_of_an_event_before_it_leaves() -> None:
    """Its time limit starts then; the answer may come before the socket is done with it."""
    stage, link = Stage(), FakeLink()
    stage.outbox.put({"type": "first"})
    stage.outbox.put({"type": "second"})
    serving = stage.start(link)
    await stage.until("sending", 2)
    link.fail()
    await serving
    assert [what for name, what in stage.log if name == "sending"] == [("first", 0), ("second", 1)]


async def test_what_the_peer_queues_when_a_link_opens_leaves_first() -> None:
    stage, link = Stage(), FakeLink()
    stage.on_opened = lambda: stage.outbox.put({"type": "session.update"})
    stage.outbox.put_audio(bytes(4800))
    serving = stage.start(link)
    await stage.until("sending", 2)
    link.fail()
    await serving
    assert [event["type"] for event in link.sent] == ["session.update", "input_audio_buffer.append"]


async def test_an_event_leaves_in_the_step_that_wakes_the_line() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.outbox.put_audio(bytes(4800))
    stage.line.wake()
    assert [event["type"] for event in link.sent] == ["input_audio_buffer.append"]
    link.fail()
    await serving


def sound(link: FakeLink) -> bytes:
    """The audio that left."""
    return b"".join(base64.b64decode(event["audio"]) for event in link.sent if "audio" in event)


@pytest.mark.parametrize("watched", [False, True])
async def test_audio_leaves_in_the_step_in_which_it_is_put_and_whoever_watches_it_is_told(watched: bool) -> None:
    stage, link = Stage(), FakeLink()
    stage.watches_audio = watched
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.put_audio([b"\1\2"])
    stage.line.put_audio([b"\3\4"])
    assert link.sent == [{"type": "input_audio_buffer.append", "audio": audio} for audio in ("AQI=", "AwQ=")]
    assert stage.names().count("sending") == (2 if watched else 0)
    link.fail()
    await serving


async def test_what_is_put_when_a_part_of_a_long_frame_leaves_comes_behind_all_of_it() -> None:
    stage, link = Stage(), FakeLink()
    stage.watches_audio = True
    serving = stage.start(link)
    await stage.until("opened")
    answers = [{"type": "clear"}]

    def answer(event: Any) -> None:
        if answers:
            stage.outbox.put_foreign(answers.pop())
            stage.line.wake()

    stage.on_sending = answer
    stage.line.put_audio([b"\1\2", b"\3\4"])
    assert [event["type"] for event in link.sent] == [*["input_audio_buffer.append"] * 2, "clear"]
    link.fail()
    await serving


async def test_others_get_their_turn_while_a_very_long_frame_leaves() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.put_audio([b"\1\2"] * 3 * IN_A_ROW)
    assert len(link.sent) == IN_A_ROW
    await stage.until("sending", 3 * IN_A_ROW)
    link.fail()
    await serving


async def test_audio_without_a_link_waits_for_one() -> None:
    stage, link = Stage(), FakeLink()
    stage.line.put_audio([b"\1\2"])
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.put_audio([b"\3\4"])
    assert sound(link) == b"\1\2\3\4"
    link.fail()
    await serving


async def test_audio_that_the_peer_does_not_read_waits_in_its_order() -> None:
    stage, link = Stage(), FakeLink()
    link.takes = 1
    serving = stage.start(link)
    await stage.until("opened")
    for number in range(3):
        stage.line.put_audio([bytes([number, number])])
        assert not stage.line.flushed
    assert sound(link) == b"\0\0"
    link.takes = 0
    link.free.set()
    await stage.until("sending", 2)
    stage.line.put_audio([b"\3\3"])
    assert sound(link) == b"\0\0\1\1\2\2\3\3"
    link.fail()
    await serving


async def test_audio_that_is_put_when_an_event_leaves_comes_behind_it() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.on_sending = lambda event: stage.line.put_audio([b"\1\2"]) if event["type"] == "first" else None
    stage.outbox.put({"type": "first"})
    stage.line.wake()
    assert [event["type"] for event in link.sent] == ["first", "input_audio_buffer.append"]
    link.fail()
    await serving


async def test_audio_does_not_go_to_a_connection_that_is_being_closed() -> None:
    stage, link = Stage(), FakeLink()
    link.on_close = lambda: stage.line.put_audio([b"\1\2"])
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.hang_up(None)
    await serving
    assert link.sent == []
    assert stage.outbox.waiting_ms > 0


async def test_an_error_when_audio_leaves_ends_the_link_and_not_whoever_put_it() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    link.send_text = lambda *parts: 1 / 0  # type: ignore[assignment, method-assign]
    stage.line.put_audio([b"\1\2"])
    with pytest.raises(ZeroDivisionError):
        await serving


async def test_what_is_put_when_an_event_leaves_comes_behind_it() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")

    def answer(event: Any) -> None:
        if event["type"] == "first":
            stage.outbox.put({"type": "second"})
            stage.line.wake()

    stage.on_sending = answer
    stage.outbox.put({"type": "first"})
    stage.line.wake()
    assert [event["type"] for event in link.sent] == ["first", "second"]
    link.fail()
    await serving


async def test_a_peer_that_takes_no_data_is_still_heard() -> None:
    stage, link = Stage(), FakeLink()
    link.takes = 1
    stage.outbox.put({"type": "stuck"})
    stage.outbox.put({"type": "behind it"})
    serving = stage.start(link)
    await stage.until("sending")
    link.inbox.put_nowait({"type": "hello"})
    await stage.until("received")
    assert [event["type"] for event in link.sent] == ["stuck"]
    link.fail()
    assert await serving == LOST


async def test_what_waits_for_the_peer_to_read_leaves_when_it_has() -> None:
    stage, link = Stage(), FakeLink()
    link.takes = 2
    serving = stage.start(link)
    await stage.until("opened")
    for number in range(4):
        stage.outbox.put({"type": f"event {number}"})
        stage.line.wake()
        assert stage.line.flushed == (number < 1)  # the second one has left, and the peer has not read it
    assert len(link.sent) == 2
    link.free.set()
    await stage.until("sending", 4)
    assert [event["type"] for event in link.sent] == [f"event {number}" for number in range(4)]
    assert stage.line.flushed
    link.fail()
    await serving


async def test_a_line_that_was_held_up_begins_anew_with_the_next_link() -> None:
    stage, first, second = Stage(), FakeLink(), FakeLink()
    first.takes = 1
    stage.outbox.put_audio(bytes(4800))
    serving = stage.start(first)
    await stage.until("sending")
    assert not stage.line.flushed
    first.fail()
    await serving
    serving = stage.start(second)
    await stage.until("opened", 2)
    assert stage.line.flushed
    assert len(second.sent) == 1
    second.fail()
    await serving


# -- others on the same loop ---------------------------------------------------------------------------------------


class Neighbour:
    """Somebody else on the loop, who counts the turns that he gets."""

    def __init__(self) -> None:
        self.turns = 0
        self._task = asyncio.ensure_future(self._live())

    async def _live(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns += 1

    def leave(self) -> None:
        self._task.cancel()


async def test_others_get_their_turn_while_much_leaves() -> None:
    stage, link = Stage(), FakeLink()
    for number in range(10 * IN_A_ROW):
        stage.outbox.put({"type": f"event {number}"})
    neighbour, turns = Neighbour(), []
    stage.on_sending = lambda event: turns.append(neighbour.turns)
    serving = stage.start(link)
    await stage.until("sending", 10 * IN_A_ROW)
    neighbour.leave()
    assert len(set(turns)) > 5
    assert [event["type"] for event in link.sent] == [f"event {number}" for number in range(10 * IN_A_ROW)]
    link.fail()
    await serving


# -- the end of a link ---------------------------------------------------------------------------------------------


async def test_a_failure_comes_back_when_the_link_is_closed_and_its_audio_in_line_again() -> None:
    stage, link = Stage(), FakeLink()
    stage.outbox.put_audio(bytes(4800))
    serving = stage.start(link)
    await stage.until("sending")
    link.fail()
    assert await serving == LOST
    assert await stage.until("lost") == (LOST, True, 100.0)


async def test_nothing_is_written_to_a_socket_that_is_gone() -> None:
    stage, link = Stage(), FakeLink()
    link.gone = True
    stage.outbox.put_foreign({"type": "x"})
    assert await stage.serve(link) == LOST
    assert link.closed
    assert link.sent == []
    serving = stage.start(link := FakeLink())
    assert await stage.until("sending") == ("x", 0)
    link.fail()
    await serving


async def test_nothing_is_written_to_a_link_that_is_over() -> None:
    stage, link = Stage(), FakeLink()
    stage.on_opened = lambda: stage.line.hang_up(None)

    def speak() -> None:
        stage.outbox.put_audio(bytes(4800))
        stage.line.wake()

    link.on_close = speak
    assert await stage.serve(link) is None
    assert link.sent == []
    assert stage.outbox.waiting_ms == 100.0


async def test_audio_of_the_very_step_in_which_the_socket_goes_leaves_again() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    for mark in range(3):
        stage.outbox.put_audio(bytes([mark]) * 4800)
        stage.line.wake()
        link.gone = mark == 1
        link.fail()
    assert await serving == LOST
    serving = stage.start(link := FakeLink())
    await stage.until("opened", 2)
    assert [base64.b64decode(event["audio"])[0] for event in link.sent] == [0, 1, 2]
    link.fail()
    await serving


async def test_the_outbox_outlives_the_links() -> None:
    stage = Stage()
    stage.outbox.put_audio(b"\x01" * 4800)
    first, second = FakeLink(), FakeLink()
    serving = stage.start(first)
    await stage.until("sending")
    first.fail()
    await serving
    stage.outbox.put_audio(b"\x02" * 4800)
    serving = stage.start(second)
    await stage.until("sending", 3)
    second.fail()
    await serving
    marks = [[base64.b64decode(event["audio"])[0] for event in link.sent] for link in (first, second)]
    assert marks == [[1], [1, 2]]


async def test_an_error_of_our_own_comes_out_and_leaves_nothing_running() -> None:
    stage, link = Stage(), FakeLink()
    stage.on_received = lambda payload: 1 / 0
    link.inbox.put_nowait({"type": "x"})
    with pytest.raises(ZeroDivisionError):
        await stage.serve(link)
    assert link.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_when_an_event_leaves_ends_the_link_and_not_whoever_put_it() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.on_sending = lambda event: 1 / 0
    stage.outbox.put({"type": "x"})
    stage.line.wake()
    with pytest.raises(ZeroDivisionError):
        await serving
    assert link.closed


async def test_an_error_of_our_own_when_a_link_opens_leaves_nothing_running_either() -> None:
    stage, link = Stage(), FakeLink()
    stage.on_opened = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await stage.serve(link)
    assert link.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stopping_closes_the_link_and_leaves_nothing_running() -> None:
    stage, link = Stage(recycle_after=LONG), FakeLink()
    stage.outbox.put_audio(bytes(4800))
    serving = stage.start(link)
    await stage.until("sending")
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert link.closed
    assert stage.outbox.waiting_ms == 100.0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_whoever_ends_all_tasks_of_a_loop_ends_the_line() -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    await asyncio.sleep(0)
    (reading,) = (task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "FakeLink.deliver")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert link.closed


# -- giving a link up ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [None, FATAL, LOST])
async def test_hanging_up_ends_the_link_with_that_reason(reason: Failure | None) -> None:
    stage, link = Stage(), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.hang_up(reason)
    assert await serving == reason
    assert await stage.until("lost") == (reason, True, 0.0)


async def test_a_link_may_be_given_up_as_soon_as_it_is_open() -> None:
    stage, link = Stage(), FakeLink()
    stage.on_opened = lambda: stage.line.hang_up(None)
    assert await stage.serve(link) is None
    assert link.closed


async def test_the_first_reason_stands() -> None:
    stage = Stage()
    stage.on_opened = lambda: [stage.line.hang_up(LOST), stage.line.hang_up(FATAL), None][-1]
    assert await stage.serve(FakeLink()) == LOST


async def test_hanging_up_without_a_link_means_nothing_to_the_next() -> None:
    stage, link = Stage(), FakeLink()
    stage.line.hang_up(FATAL)
    serving = stage.start(link)
    await stage.until("opened")
    link.fail()
    assert await serving == LOST
    stage.line.hang_up(FATAL)
    link = FakeLink()
    serving = stage.start(link)
    await stage.until("opened", 2)
    link.fail()
    assert await serving == LOST


# -- planned changes -----------------------------------------------------------------------------------------------


async def test_an_old_link_is_over_also_when_nothing_ever_happened_on_it() -> None:
    stage = Stage(recycle_after=0.01)
    assert await stage.serve(FakeLink()) is None
    assert stage.names() == ["opened", "lost"]


async def test_each_link_has_its_own_age() -> None:
    stage = Stage(recycle_after=0.01)
    for _ in range(3):
        assert await stage.serve(FakeLink()) is None
    assert stage.names() == ["opened", "lost"] * 3


async def test_an_old_link_waits_for_calm() -> None:
    stage = Stage(recycle_after=0.01)
    stage.line.set_calm(False)
    serving = stage.start(FakeLink())
    done, _ = await asyncio.wait({serving}, timeout=0.1)
    assert not done
    stage.line.set_calm(True)
    assert await serving is None


async def test_an_old_link_waits_for_calm_only_so_long() -> None:
    stage = Stage(recycle_after=0.01, recycle_patience=0.02)
    stage.line.set_calm(False)
    assert await stage.serve(FakeLink()) is None


async def test_a_calm_moment_alone_ends_nothing() -> None:
    stage, link = Stage(recycle_after=LONG), FakeLink()
    serving = stage.start(link)
    await stage.until("opened")
    stage.line.set_calm(False)
    stage.line.set_calm(True)
    done, _ = await asyncio.wait({serving}, timeout=0.05)
    assert not done
    link.fail()
    assert await serving == LOST


async def test_a_link_is_renewed_at_a_calm_moment() -> None:
    stage = Stage(recycle_after=LONG)
    stage.line.set_calm(False)
    serving = stage.start(FakeLink())
    await stage.until("opened")
    stage.line.renew(LONG)
    done, _ = await asyncio.wait({serving}, timeout=0.05)
    assert not done
    stage.line.set_calm(True)
    assert await serving is None


@pytest.mark.parametrize("recycle_after", [None, LONG, 0.01])
async def test_a_renewal_waits_for_calm_only_as_long_as_was_said(recycle_after: float | None) -> None:
    """Also when the link is old already, and waits longer for a calm moment."""
    stage = Stage(recycle_after=recycle_after)
    stage.line.set_calm(False)
    serving = stage.start(FakeLink())
    await stage.until("opened")
    await asyncio.wait({serving}, timeout=0.05)
    stage.line.renew(0.02)
    assert await serving is None


@pytest.mark.parametrize(("patience", "calm"), [(LONG, True), (0.02, False)])
async def test_a_renewal_concerns_the_link_it_was_asked_for(patience: float, calm: bool) -> None:
    stage = Stage()
    stage.line.set_calm(False)
    first = FakeLink()
    serving = stage.start(first)
    await stage.until("opened")
    stage.line.renew(patience)
    first.fail()
    await serving
    stage.line.set_calm(calm)
    second = FakeLink()
    serving = stage.start(second)
    await stage.until("opened", 2)
    stage.line.set_calm(calm)
    done, _ = await asyncio.wait({serving}, timeout=0.1)
    assert not done
    second.fail()
    assert await serving == LOST


async def test_a_link_that_fails_in_the_moment_of_its_renewal_is_over_at_once() -> None:
    """Before Python 3.12 `asyncio.wait_for` can swallow the cancellation that ends the wait."""
    stage, link = Stage(recycle_after=LONG), FakeLink()
    stage.line.set_calm(False)

    def renew(payload: Any) -> None:
        stage.line.renew(LONG)
        link.fail()

    stage.on_received = renew
    link.inbox.put_nowait({"type": "x"})
    assert await stage.serve(link) == LOST


# -- audio that could not wait -------------------------------------------------------------------------------------


async def test_audio_lost_while_there_was_no_link_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    stage = Stage()
    for _ in range(25):
        stage.outbox.put_audio(bytes(4800))
    for _ in range(2):
        link = FakeLink()
        link.fail()
        await stage.serve(link)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["1.5 s of user audio were lost: more had to wait for a connection, or to leave, than is kept"]
