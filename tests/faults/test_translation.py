"""Translation over a network that misbehaves: every piece of speech is translated once and in order, closing is prompt.

The emulated model says what it hears, so each 20 ms of the source can be found in the translation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from livekit_plugins_openai_ga import TranslationStream, Translator
from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator.faults import DropOn
from livekit_plugins_openai_ga.translation import TranslatorError
from tests.simulation.interpreting import cell, cells, interpret

from .conftest import HEARTBEAT, STUBBORN, client_sockets, frames, port_of
from .proxy import Path, Plan, TcpProxy

FAST = Knobs(interpret=interpret, translation_lag=0.6, translation_speed=60.0)
SAID = list(range(150))
PLACES_IN_A_STREAM = 10


def said(first: int = 0, last: int = len(SAID)) -> bytes:
    return b"".join(cell(number, loud=True) for number in range(first, last))


class Stream:
    """A stream behind a proxy, and what it gave out and told."""

    def __init__(self, server: Emulator, proxy: TcpProxy, translator: Translator) -> None:
        self.server = server
        self.proxy = proxy
        self.errors: list[TranslatorError] = []
        self.heard: list[int] = []
        self.read: list[int] = []
        self._changed = asyncio.Event()
        self.stream: TranslationStream = translator.stream()
        self.stream.on("error", self._failed)
        self.reading = asyncio.gather(self._listen(), self._read())

    def _failed(self, error: TranslatorError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def _listen(self) -> None:
        async for frame in self.stream.audio:
            self.heard += cells(bytes(frame.data))
            self._changed.set()

    async def _read(self) -> None:
        async for told in self.stream.transcript:
            self.read += map(int, told.text.split())
            self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), 10)

    def push(self, pcm: bytes) -> None:
        for frame in frames(pcm):
            self.stream.push_frame(frame)

    async def finish(self) -> tuple[list[int], list[int]]:
        """There is no more: all that was heard and read."""
        self.stream.end_input()
        await asyncio.wait_for(asyncio.shield(self.reading), 20)
        return self.heard, self.read


@contextlib.asynccontextmanager
async def open_stream(*plans: Plan, faults: tuple[Any, ...] = (), **options: Any) -> AsyncIterator[Stream]:
    async with Emulator(knobs=FAST, faults=faults) as server, TcpProxy(port_of(server), plans) as proxy:
        how = {"base_url": proxy.base_url, "heartbeat": HEARTBEAT, "conn_options": STUBBORN, **options}
        translator = Translator(target_language="de", api_key="sk-test", **how)
        opened = Stream(server, proxy, translator)
        try:
            yield opened
        finally:
            await asyncio.wait_for(translator.aclose(), 10)
            opened.reading.cancel()
            await asyncio.gather(opened.reading, return_exceptions=True)
        assert client_sockets(proxy.port) == 0


@pytest.fixture(autouse=True)
async def _nothing_is_left() -> AsyncIterator[None]:
    yield
    assert [task.get_name() for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_cut_at_any_byte_of_a_stream_loses_and_repeats_nothing(lost_seconds, way):
    async with open_stream(heartbeat=10.0) as stream:
        stream.push(said())
        assert await stream.finish() == (SAID, SAID)
        length = getattr(stream.proxy.connections[0], way).passed

    async def cut_at(byte: int) -> None:
        plan = Plan(**{way: Path(end="rst" if byte % 2 else "fin", after=byte)})
        async with open_stream(plan, heartbeat=10.0) as stream:
            stream.push(said())
            assert await stream.finish() == (SAID, SAID), byte
            assert all(error.recoverable for error in stream.errors)

    places = [length * step // PLACES_IN_A_STREAM // 2 * 2 + step % 2 for step in range(PLACES_IN_A_STREAM)]
    for some in (places[::2], places[1::2]):
        await asyncio.gather(*(cut_at(byte) for byte in some))
    assert lost_seconds("translation") == 0


@pytest.mark.parametrize("on", ["session.output_audio.delta", "session.output_transcript.delta"])
async def test_a_connection_that_drops_again_and_again_while_somebody_speaks(lost_seconds, on):
    drops = tuple(DropOn(on, nth=nth) for nth in (4, 9, 10, 14))
    async with open_stream(faults=drops, heartbeat=10.0) as stream:
        for first in range(0, len(SAID), 30):
            stream.push(said(first, first + 30))
            await asyncio.sleep(0.05)
        assert await stream.finish() == (SAID, SAID)
        assert len(stream.server.sessions) == 5
        assert lost_seconds("translation") == 0


async def test_a_half_open_connection_is_noticed_told_and_replaced(lost_seconds):
    async def stalls_in(way: str, end: str) -> None:
        async with open_stream() as stream:
            stream.push(said(0, 60))
            await stream.until(lambda: stream.heard)
            stream.proxy.change(**{way: Path(end=end)})
            stream.push(said(60))
            await stream.until(lambda: stream.errors)
            stream.proxy.cut("rst")  # the proxy, unlike the server, knows that nobody is there any more
            assert await stream.finish() == (SAID, SAID)
            assert "timeout" in str(stream.errors[0].error) or "1011" in str(stream.errors[0].error)

    await asyncio.gather(*(stalls_in(way, end) for way in ("up", "down") for end in ("stall", "swallow")))
    assert lost_seconds("translation") == 0


async def test_refused_for_a_while_then_back_with_all_that_was_said_meanwhile(lost_seconds):
    async with open_stream(heartbeat=10.0) as stream:
        stream.push(said(0, 60))
        await stream.until(lambda: stream.heard)
        stream.proxy.refuse()
        stream.proxy.cut("fin")
        stream.push(said(60))
        await stream.until(lambda: len(stream.errors) >= 3)
        await stream.proxy.accept()
        assert await stream.finish() == (SAID, SAID)
        assert lost_seconds("translation") == 0


async def test_what_is_too_much_to_keep_is_lost_from_the_oldest_on_and_counted(lost_seconds):
    async with open_stream(heartbeat=10.0, max_replay_audio=1.0) as stream:
        await stream.proxy.until(lambda: stream.proxy.connections)
        stream.proxy.refuse()
        stream.proxy.cut("rst")
        await stream.until(lambda: stream.errors)
        stream.push(said())
        await stream.proxy.accept()
        heard, read = await stream.finish()
        assert heard == read == SAID[-50:]
        assert lost_seconds("translation") == pytest.approx((len(SAID) - len(heard)) * 0.02)


async def test_a_slow_line_of_small_pieces_only_takes_longer():
    async with open_stream(Plan(Path(rate=400_000), Path(piece=997)), heartbeat=10.0) as stream:
        stream.push(said())
        assert await stream.finish() == (SAID, SAID)
        assert stream.errors == []


HOLE = Path(end="swallow")
CLOSED_IN = {
    "an upgrade nobody answers": Plan(HOLE, HOLE),
    "the middle of the upgrade": Plan(down=Path(end="stall", after=60)),
    "the middle of the first frame": Plan(down=Path(end="stall", after=700)),
    "a stall with full buffers": Plan(up=Path(end="stall", after=2_000)),
    "a line that trickles": Plan(Path(rate=1_000), Path(rate=1_000)),
}


@pytest.mark.parametrize("state", CLOSED_IN)
async def test_a_stream_closes_in(state):
    async with open_stream(CLOSED_IN[state], heartbeat=20.0) as stream:
        stream.push(said() * 6)
        await stream.proxy.until(
            lambda: (
                stream.proxy.connections
                and (stream.proxy.connections[0].up.passed or stream.proxy.connections[0].up.struck)
            )
        )
        await asyncio.wait_for(stream.stream.aclose(), 5)
        await asyncio.wait_for(stream.reading, 5)


async def test_a_stream_closes_while_connections_are_refused():
    async with open_stream() as stream:
        stream.proxy.refuse()
        stream.proxy.cut("rst")
        await stream.until(lambda: len(stream.errors) >= 2)
        await asyncio.wait_for(stream.stream.aclose(), 5)
        await asyncio.wait_for(stream.reading, 5)
