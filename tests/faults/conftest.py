"""A call, or a stream of speech to text, on an emulator behind a hostile TCP proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import prometheus_client
import psutil
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator, speak

from .proxy import Path, Plan, TcpProxy

HEARTBEAT = 0.3
STUBBORN = APIConnectOptions(max_retry=30, retry_interval=0.05, timeout=2.0)
"""Gives up later than any fault of these tests lasts."""

EVENTS = ("error", "session_reconnected", "generation_created", "openai_server_event_received")


def frames(pcm: bytes, ms: int = 20) -> list[rtc.AudioFrame]:
    """24 kHz mono audio in frames."""
    size = 48 * ms
    return [rtc.AudioFrame(pcm[i : i + size], 24000, 1, size // 2) for i in range(0, len(pcm), size)]


def speech(text: str = "Hello, are you there?") -> bytes:
    """Speech in whole frames of 20 ms."""
    pcm = speak(text, "alloy", 1.3)
    return pcm[: len(pcm) // 960 * 960]


def audio_of(session: Any) -> bytes:
    """All audio that one emulated session received."""
    appends = (event["audio"] for event in session.received if event["type"] == "input_audio_buffer.append")
    return b"".join(base64.b64decode(audio) for audio in appends)


def texts_of(session: Any) -> list[str]:
    """The emulated conversation's texts, in order; a user turn without a transcript is ""."""
    parts = [part for item in session.items for part in item.get("content", [])]
    return [part.get("text") or part.get("transcript") or "" for part in parts]


def texts_in(context: llm.ChatContext) -> list[str]:
    """The same of a chat context."""
    return [item.text_content or "" for item in context.items if item.type == "message"]


def client_sockets(port: int) -> int:
    """How many sockets of this process are connected to `port`."""
    return sum(bool(each.raddr) and each.raddr.port == port for each in psutil.Process().net_connections("tcp"))


class Call:
    """A session behind a proxy, and what it emitted."""

    def __init__(self, server: Emulator, proxy: TcpProxy, session: RealtimeSession) -> None:
        self.server = server
        self.proxy = proxy
        self.session = session
        self.events: dict[str, list[Any]] = {name: [] for name in EVENTS}
        self._changed = asyncio.Event()
        for name in EVENTS:
            session.on(name, lambda event, name=name: self._note(name, event))

    def _note(self, name: str, event: Any) -> None:
        self.events[name].append(event)
        self._changed.set()

    @property
    def reasons(self) -> list[str]:
        """What the `error` events say."""
        return [str(event.error) for event in self.events["error"]]

    async def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until `condition` holds; it is asked again after every event."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), timeout)

    async def failed(self, count: int = 1) -> Any:
        """The `count`-th `error` event, waited for."""
        await self.until(lambda: len(self.events["error"]) >= count)
        return self.events["error"][count - 1]

    async def reconnected(self, count: int = 1) -> None:
        """Wait until the session was configured again so many times."""
        await self.until(lambda: len(self.events["session_reconnected"]) >= count)

    def push(self, pcm: bytes) -> None:
        """The user says this, all at once."""
        for frame in frames(pcm):
            self.session.push_audio(frame)

    async def fill(self) -> bytes:
        """Stop the server from reading, and speak until nothing more leaves or the connection is given up."""
        left = 0

        def leaves(event: dict[str, Any]) -> None:
            nonlocal left
            left += len(base64.b64decode(event.get("audio", "")))
            self._changed.set()

        self.session.on("openai_client_event_queued", leaves)
        self.proxy.change(up=Path(end="stall"))
        said = b""
        while not self.events["error"] and len(said) < 200 * 48_000:
            piece = b"".join(len(said).to_bytes(4, "little") * 12_000 for _ in range(20))
            said += piece
            whole = len(said)
            self.push(piece)
            with contextlib.suppress(asyncio.TimeoutError):
                await self.until(lambda whole=whole: left >= whole or self.events["error"], timeout=0.5)
            if left < len(said):
                break
        self.session.off("openai_client_event_queued", leaves)
        return said

    async def reply(self) -> str:
        """Ask for a reply and read it to its end, wherever that is: what it says."""
        return (await read(await asyncio.wait_for(self.session.generate_reply(), 10)))[0]

    def same_history(self) -> bool:
        """Whether the server that is talked to now holds the conversation that LiveKit is shown."""
        return texts_of(self.server.sessions[-1]) == texts_in(self.session.chat_ctx)


async def read(reply: llm.GenerationCreatedEvent) -> tuple[str, float]:
    """A reply to its end: text, seconds of audio."""

    async def messages() -> tuple[str, float]:
        said, samples = "", 0
        async for message in reply.message_stream:
            async for part in message.text_stream:
                said += part
            async for frame in message.audio_stream:
                samples += frame.samples_per_channel
        return said, samples / 24000

    return await asyncio.wait_for(messages(), 20)


OpenCall = Callable[..., "contextlib.AbstractAsyncContextManager[Call]"]


@pytest.fixture
async def open_call() -> AsyncIterator[OpenCall]:
    """Opens a call: `async with open_call(emulator, plans) as call`. At its end no task or socket may be left."""

    @contextlib.asynccontextmanager
    async def opened(emulator: Emulator, *plans: Plan, **options: Any) -> AsyncIterator[Call]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(emulator)
            proxy = await stack.enter_async_context(TcpProxy(port_of(server), plans))
            defaults = {"api_key": "sk-test", "base_url": proxy.base_url, "conn_options": STUBBORN}
            session = RealtimeModel(**{**defaults, "heartbeat": HEARTBEAT, **options}).session()
            try:
                yield Call(server, proxy, session)
            finally:
                await asyncio.wait_for(session.aclose(), 10)
            assert client_sockets(proxy.port) == 0

    yield opened
    assert [task.get_name() for task in asyncio.all_tasks() if "openai_ga" in task.get_name()] == []


def port_of(server: Emulator) -> int:
    """Where an emulator listens."""
    return urlsplit(server.base_url).port or 0


@pytest.fixture
def lost_seconds() -> Callable[[str], float]:
    """User audio that was counted as lost since the test began, in seconds: of one kind of session."""

    def total(kind: str) -> float:
        return sum(
            sample.value
            for metric in prometheus_client.REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "livekit_openai_ga_lost_audio_seconds_total" and sample.labels["kind"] == kind
        )

    before = {kind: total(kind) for kind in ("realtime", "stt", "translation")}
    return lambda kind: total(kind) - before[kind]
