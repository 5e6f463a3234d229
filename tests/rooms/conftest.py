"""A real livekit-server for the whole run; rooms, callers and agents on it for one test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.devtools.livekit_server import VERSION, LiveKitServer, find, is_pinned, livekit_server
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, speak

SERVER_VAD: dict[str, Any] = {"type": "server_vad", "prefix_padding_ms": 300, "silence_duration_ms": 400}
MISSING = "room tests skipped: there is no livekit-server here; `make livekit-server` installs one"
# So much of what the microphone takes waits in the track: an event loop that is late leaves no hole in it.
_AHEAD_SECONDS = 0.18
_SESSION_EVENTS = ("user_input_transcribed", "conversation_item_added", "function_tools_executed", "error", "close")


@pytest.fixture(scope="session")
def livekit() -> Iterator[LiveKitServer]:
    """The server that all room tests share; each has rooms of its own."""
    program = find()
    required = os.environ.get("ROOM_TESTS") == "required"
    if program is None:
        pytest.fail(MISSING) if required else pytest.skip(MISSING)
    if required and not is_pinned(program):
        pytest.fail(f"{program} is not livekit-server {VERSION}, which ROOM_TESTS=required asks for")
    with livekit_server(program) as server:
        yield server


@pytest.fixture
def room_name() -> str:
    return f"room-{uuid.uuid4().hex[:8]}"


class Microphone:
    """20 ms frames of int16 at the given rate and number of channels, at the pace of speech; silence in between."""

    def __init__(self, rate: int = 24000, channels: int = 1) -> None:
        self.rate = rate
        self.channels = channels
        self._said = bytearray()

    def play(self, pcm: bytes) -> None:
        """Play samples in the microphone's own format."""
        self._said += pcm

    def say(self, text: str, *, speed: float = 1.5) -> None:
        """Speak with the emulator's voice; only for a microphone of 24 kHz mono."""
        assert (self.rate, self.channels) == (24000, 1)
        self.play(speak(text, "alloy", speed))

    async def __aiter__(self) -> AsyncIterator[rtc.AudioFrame]:
        loop = asyncio.get_running_loop()
        samples = self.rate // 50
        size = samples * self.channels * 2
        due = loop.time() - _AHEAD_SECONDS
        while True:
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))
            piece = bytes(self._said[:size])
            del self._said[:size]
            yield rtc.AudioFrame(piece.ljust(size, b"\0"), self.rate, self.channels, samples)


@dataclass
class RoomCall:
    """An agent of this process in a room, and a caller who talks to it."""

    session: AgentSession[Any]
    agent: Agent
    agent_room: rtc.Room
    caller: RoomCaller
    microphone: Microphone
    events: list[tuple[str, Any]] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """The session is over."""

    def named(self, name: str) -> list[Any]:
        return [event for kind, event in self.events if kind == name]

    def texts(self, role: str) -> list[str]:
        items = self.session.history.items
        return [i.text_content or "" for i in items if isinstance(i, llm.ChatMessage) and i.role == role]


StartRoomCall = Callable[..., Awaitable[RoomCall]]


@pytest.fixture
async def start_room_call(livekit: LiveKitServer, room_name: str) -> AsyncIterator[StartRoomCall]:
    """Puts an agent on an emulator and a caller with a microphone into one room; all leave at the end of the test."""
    stack = contextlib.AsyncExitStack()

    async def start(
        server: Emulator,
        agent: Agent | None = None,
        *,
        model: llm.RealtimeModel | None = None,
        microphone: Microphone | None = None,
        room_options: Any = None,
        name: str = room_name,
        **options: Any,
    ) -> RoomCall:
        options = {"turn_detection": SERVER_VAD, **options}
        model = model or RealtimeModel(api_key="sk-test", base_url=server.base_url, **options)
        room = rtc.Room()
        await room.connect(livekit.url, livekit.token("agent", name, agent=True))
        stack.push_async_callback(room.disconnect)
        caller = await stack.enter_async_context(RoomCaller.join(livekit.url, livekit.token("caller", name)))
        microphone = microphone or Microphone()
        await caller.publish_microphone(microphone, rate=microphone.rate, channels=microphone.channels)
        session: AgentSession[Any] = AgentSession(llm=model, aec_warmup_duration=None)
        agent = agent or Agent(instructions="Be brief.")
        call = RoomCall(session, agent, room, caller, microphone)
        for kind in _SESSION_EVENTS:
            session.on(kind, lambda event, kind=kind: call.events.append((kind, event)))
        session.on("close", lambda _: call.closed.set())
        stack.push_async_callback(session.aclose)
        await session.start(agent, room=room, **({"room_options": room_options} if room_options else {}))
        return call

    async with stack:
        yield start
