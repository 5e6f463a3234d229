"""When a peer is taken for dead, in virtual time; the socket is played by an object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from livekit_plugins_openai_ga.transport.pulse import Pulse

from ..simulation.network import Network
from ..simulation.virtual_loop import VirtualLoop, world_of

HEARTBEAT = 10.0
MUCH = 100


class FakeSocket:
    """`answers`: whether a ping is answered at once; `waiting`: bytes in the send buffer."""

    def __init__(self, *, answers: bool = True) -> None:
        self.heard_at = time.monotonic()
        self.answers = answers
        self.waiting = 0
        self.pings: list[float] = []
        self.stuck = False
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.waiting

    async def ping(self) -> asyncio.Future[float]:
        self.pings.append(time.monotonic())
        if self.stuck:
            await asyncio.Event().wait()
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        if self.answers:
            answer.set_result(0.0)
        return answer


def played(seconds: float, prepare: Callable[[FakeSocket], object], *, answers: bool = True) -> tuple[FakeSocket, list]:
    """A pulse for so long: its socket, and what was told when."""
    told: list[tuple[float, str]] = []
    loop = VirtualLoop(Network())

    async def run() -> FakeSocket:
        socket = FakeSocket(answers=answers)
        prepare(socket)
        pulse = Pulse(socket, HEARTBEAT, much=MUCH, dead=lambda why: told.append((time.monotonic(), why)))
        await asyncio.sleep(seconds)
        pulse.stop()
        await asyncio.sleep(10 * HEARTBEAT)
        return socket

    with world_of(loop):
        socket = loop.run_until_complete(run())
    return socket, told


def test_a_ping_is_sent_at_every_heartbeat_until_it_is_stopped():
    socket, told = played(35, lambda socket: None)
    assert socket.pings == pytest.approx([10, 20, 30], abs=0.01)
    assert told == []


def test_a_peer_that_sends_nothing_for_two_heartbeats_is_dead_and_told_of_once():
    socket, told = played(60, lambda socket: None, answers=False)
    ((at, why),) = told
    assert at == pytest.approx(20, abs=0.01)
    assert why == "The peer gave no sign of life for 20 s and did not answer a ping."
    assert len(socket.pings) == 1


def hear(socket: FakeSocket) -> None:
    """Bytes come every 5 s, for 40 s."""

    def byte() -> None:
        socket.heard_at = time.monotonic()
        if socket.heard_at < 40:
            asyncio.get_running_loop().call_later(5, byte)

    byte()


def test_bytes_are_a_sign_of_life():
    _, told = played(100, hear, answers=False)
    assert [at for at, _ in told] == pytest.approx([60], abs=0.01)


def test_a_send_buffer_that_does_not_move_for_a_heartbeat_is_a_dead_peer():
    def stuff(socket: FakeSocket) -> None:
        socket.waiting = MUCH + 1

    _, told = played(60, stuff)
    ((at, why),) = told
    assert at == pytest.approx(15, abs=0.01)  # seen at 5 for the first time
    assert why == "The peer took no data for 10 s."


def test_a_send_buffer_that_moves_or_holds_little_is_none():
    def move(socket: FakeSocket) -> None:
        socket.waiting = 10_000

        def take() -> None:
            socket.waiting = max(MUCH, socket.waiting - 1000)
            asyncio.get_running_loop().call_later(5, take)

        asyncio.get_running_loop().call_later(4, take)

    _, told = played(200, move)
    assert told == []


def test_one_ping_waits_for_room_at_a_time():
    def stick(socket: FakeSocket) -> None:
        socket.stuck = True
        hear(socket)

    socket, _ = played(100, stick, answers=False)
    assert len(socket.pings) == 1
