"""Speech to text over a network that misbehaves: every sentence arrives once and in order, and closing is prompt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from livekit.agents import APIConnectOptions
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import InjectOn

from .conftest import HEARTBEAT, STUBBORN, audio_of, client_sockets, frames, port_of, speech
from .proxy import Path, Plan, TcpProxy

ONE, TWO = "hello there my friend", "what is the weather in rome"
SERVER, STREAMING = "gpt-transcribe", "gpt-live-transcribe"
FAST = Knobs(transcription_latency=0.02)
PAUSE = bytes(48 * 700)
PLACES_IN_A_STREAM = 10


class Stream:
    """A stream behind a proxy, what it told and what its STT reported."""

    def __init__(self, server: Emulator, proxy: TcpProxy, stt: STT, options: APIConnectOptions) -> None:
        self.server = server
        self.proxy = proxy
        self.errors: list[lk.STTError] = []
        self.texts: list[str] = []
        self.finals: list[tuple[float, float]] = []
        self._changed = asyncio.Event()
        stt.on("error", self._failed)
        self.stream = stt.stream(conn_options=options)
        self.reading = asyncio.create_task(self._read())

    def _failed(self, error: lk.STTError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def _read(self) -> None:
        async for event in self.stream:
            if event.type is lk.SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text:
                said = event.alternatives[0]
                self.finals.append((said.start_time, said.end_time))
                self.texts.append(said.text)
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

    async def finish(self) -> list[str]:
        """There is no more audio: all texts."""
        self.stream.end_input()
        await asyncio.wait_for(asyncio.shield(self.reading), 20)
        return self.texts

    @property
    def times(self) -> list[float]:
        """Where each text begins and ends. This tells which sentence it is of: the emulator does not understand
        speech, and gives audio that it hears again the script's next line."""
        return [time for final in self.finals for time in final]

    def got_it_all(self, pcm: bytes) -> bool:
        """Whether each connection got one piece of the audio without a gap, and all of them all of it."""
        reached = 0
        for session in self.server.sessions:
            piece = audio_of(session)
            start = pcm.find(piece)
            if not 0 <= start <= reached:
                return False
            reached = max(reached, start + len(piece))
        return reached == len(pcm)


@contextlib.asynccontextmanager
async def open_stream(*plans: Plan, model: str = SERVER, **options: Any) -> AsyncIterator[Stream]:
    conn_options = options.pop("conn_options", STUBBORN)
    script = Script([Turn(heard=ONE), Turn(heard=TWO), *[Turn(heard="said again")] * 4])
    async with Emulator(script, knobs=FAST) as server, TcpProxy(port_of(server), plans) as proxy:
        how = {"api_key": "sk-test", "base_url": proxy.base_url, "model": model, "heartbeat": HEARTBEAT, **options}
        stt = STT(**how)
        opened = Stream(server, proxy, stt, conn_options)
        try:
            yield opened
        finally:
            await asyncio.wait_for(opened.stream.aclose(), 10)
            await asyncio.wait_for(stt.aclose(), 10)
            opened.reading.cancel()
            await asyncio.gather(opened.reading, return_exceptions=True)
        assert client_sockets(proxy.port) == 0


def both() -> bytes:
    return speech(ONE) + PAUSE + speech(TWO) + PAUSE


@pytest.mark.parametrize(("model", "way"), [(SERVER, "up"), (SERVER, "down"), (STREAMING, "down")])
async def test_a_cut_at_any_byte_of_a_stream_loses_and_repeats_nothing(lost_seconds, model, way):
    async with open_stream(model=model, heartbeat=10.0) as stream:
        stream.push(both())
        assert await stream.finish() == [ONE, TWO]
        length = getattr(stream.proxy.connections[0], way).passed
        times = stream.times

    async def cut_at(byte: int) -> None:
        plan = Plan(**{way: Path(end="rst" if byte % 2 else "fin", after=byte)})
        async with open_stream(plan, model=model, heartbeat=10.0) as stream:
            stream.push(both())
            await stream.finish()
            assert stream.times == pytest.approx(times, abs=0.2), byte
            assert stream.got_it_all(both()), byte
            assert all(error.recoverable for error in stream.errors)

    places = [length * step // PLACES_IN_A_STREAM // 2 * 2 + step % 2 for step in range(PLACES_IN_A_STREAM)]
    for some in (places[::2], places[1::2]):
        await asyncio.gather(*(cut_at(byte) for byte in some))
    assert lost_seconds("stt") == 0


async def test_a_half_open_connection_is_noticed_told_and_replaced(lost_seconds):
    async def stalls_in(way: str, end: str) -> None:
        async with open_stream() as stream:
            stream.push(speech(ONE) + PAUSE)
            await stream.until(lambda: stream.texts == [ONE])
            stream.proxy.change(**{way: Path(end=end)})
            stream.push(speech(TWO) + PAUSE)
            await stream.until(lambda: stream.errors)
            # The proxy, unlike the server, knows that nobody is there any more.
            stream.proxy.cut("rst")
            first, second = await stream.finish()
            assert first == ONE
            assert second != ONE
            assert stream.finals[1][0] >= stream.finals[0][1]
            assert "1011" in str(stream.errors[0].error) or "timeout" in str(stream.errors[0].error)

    await asyncio.gather(*(stalls_in(way, end) for way in ("up", "down") for end in ("stall", "swallow")))
    assert lost_seconds("stt") == 0


async def test_refused_for_a_while_then_back_with_all_that_was_said_meanwhile(lost_seconds):
    async with open_stream(heartbeat=10.0) as stream:
        stream.push(speech(ONE) + PAUSE)
        await stream.until(lambda: stream.texts == [ONE])
        stream.proxy.refuse()
        stream.proxy.cut("fin")
        stream.push(speech(TWO) + PAUSE)
        await stream.until(lambda: len(stream.errors) >= 3)
        await stream.proxy.accept()
        assert await stream.finish() == [ONE, TWO]
        assert any("refused" in str(error.error) for error in stream.errors)
        assert lost_seconds("stt") == 0


async def test_a_slow_line_of_small_pieces_only_takes_longer(lost_seconds):
    async with open_stream(Plan(Path(rate=300_000), Path(piece=11)), heartbeat=10.0) as stream:
        stream.push(both())
        assert await stream.finish() == [ONE, TWO]
        assert stream.errors == []
        assert stream.got_it_all(both())


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
        stream.push(speech(ONE) * 12)
        await stream.proxy.until(
            lambda: (
                stream.proxy.connections
                and (stream.proxy.connections[0].up.passed or stream.proxy.connections[0].up.struck)
            )
        )
        await asyncio.wait_for(stream.stream.aclose(), 5)
        await asyncio.wait({stream.reading}, timeout=5)
        assert stream.reading.done()


async def test_a_stream_closes_while_connections_are_refused():
    async with open_stream() as stream:
        stream.proxy.refuse()
        stream.proxy.cut("rst")
        await stream.until(lambda: len(stream.errors) >= 2)
        await asyncio.wait_for(stream.stream.aclose(), 5)


@pytest.mark.parametrize("steps", range(16))
async def test_a_stream_that_closes_in_any_step_after_its_connection_was_given_up_leaves_nothing(steps):
    error = {"type": "error", "error": {"type": "server_error", "code": "session_expired", "message": "Over."}}
    async with Emulator(Script([]), knobs=FAST, faults=[InjectOn("session.updated", error)]) as server:
        stt = STT(api_key="sk-test", base_url=server.base_url, model=SERVER)
        stream = stt.stream(conn_options=STUBBORN)
        while not server.sent("error"):  # noqa: ASYNC110  # every step counts
            await asyncio.sleep(0)
        for _ in range(steps):  # of the event loop
            await asyncio.sleep(0)
        await asyncio.wait_for(stream.aclose(), 5)
        await asyncio.wait_for(stt.aclose(), 5)
        assert client_sockets(port_of(server)) == 0
