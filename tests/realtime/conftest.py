"""A bare RealtimeSession on an emulator, with everything it emits written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.framework import PLAYS_ONE_MESSAGE

EVENTS = (
    "generation_created",
    "input_speech_started",
    "input_speech_stopped",
    "input_audio_transcription_completed",
    "remote_item_added",
    "metrics_collected",
    "session_reconnected",
    "call_ended",
    "error",
    "openai_server_event_received",
    "openai_client_event_queued",
)
QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)


needs_handoffs = pytest.mark.skipif(
    not hasattr(llm, "AgentHandoff"), reason="this release of LiveKit keeps no handoffs in a context"
)


class Watched:
    """A session and what it emitted, by event name."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.events: dict[str, list[Any]] = {name: [] for name in EVENTS}
        self._changed = asyncio.Event()
        for name in EVENTS:
            session.on(name, lambda event, name=name: self._note(name, event))

    def _note(self, name: str, event: Any) -> None:
        self.events[name].append(event)
        self._changed.set()

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until `condition` holds; it is asked again after every event."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), timeout)

    async def first(self, name: str, count: int = 1) -> Any:
        """The `count`-th event of this name, waited for."""
        await self.until(lambda: len(self.events[name]) >= count)
        return self.events[name][count - 1]

    @property
    def errors(self) -> list[llm.RealtimeModelError]:
        return self.events["error"]


async def read(reply: llm.GenerationCreatedEvent) -> list[tuple[str, float]]:
    """All messages of a reply: text, seconds of audio."""
    messages = []
    async for message in reply.message_stream:
        text = "".join([part async for part in message.text_stream])
        samples = sum([frame.samples_per_channel async for frame in message.audio_stream])
        messages.append((text, samples / 24000))
    return messages


@pytest.fixture
def reading():
    return read


def played(*messages: str) -> list[str]:
    """A reply's messages as `reading` gives them: one, where this release of LiveKit plays the first only."""
    return [" ".join(messages)] if PLAYS_ONE_MESSAGE else list(messages)


@pytest.fixture
def set_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that call a session themselves, as LiveKit from 1.5.17 on does: what they change first is waited for,
    with an older release, too. How those set an agent up is `in_steps` in `test_session.py`."""
    if not hasattr(llm.RealtimeSession, "_update_session"):
        monkeypatch.setattr(llm.RealtimeSession, "_update_session", RealtimeSession._update_session, raising=False)


@pytest.fixture
async def open_session(set_up_at_once: None) -> AsyncIterator[Callable[..., Watched]]:
    """Opens sessions and closes them at the end of the test. `max_retry` is small, so that failures come fast."""
    stack = AsyncExitStack()

    def start(server: Emulator, *, turn_detection_disabled: bool = False, **options: Any) -> Watched:
        options = {"api_key": "sk-test", "base_url": server.base_url, "conn_options": QUICK, **options}
        session = RealtimeModel(**options).session(turn_detection_disabled=turn_detection_disabled)
        stack.push_async_callback(session.aclose)
        return Watched(session)

    async with stack:
        yield start
