"""A whole `AgentSession`: what an application and its listeners are told. Its microphone and speaker know no time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice import io
from livekit.agents.voice.events import EventTypes

from .stage import OPTIONS, PLUGINS, Recorder, Scene, label, speech


class Microphone(io.AudioInput):
    """What is said into it reaches the agent at once."""

    def __init__(self) -> None:
        super().__init__(label="test microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    def say(self, text: str) -> None:
        for frame in speech(text):
            self._frames.put_nowait(frame)


class Speaker(io.AudioOutput):
    """Has played a reply as soon as it is complete; while it `holds`, only when it is interrupted, at `HEARD`."""

    HEARD = (0.6, "one two three")

    def __init__(self) -> None:
        super().__init__(label="test speaker", capabilities=io.AudioOutputCapabilities(pause=False))
        self.holds = False
        self.playing = asyncio.Event()
        self._queued = 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._queued:
            self.on_playback_started(created_at=time.time())
            self.playing.set()
        self._queued += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._queued and not self.holds:
            self._finish(self._queued, interrupted=False)

    def clear_buffer(self) -> None:
        if self._queued:
            position, text = self.HEARD
            self._finish(position, interrupted=True, synchronized_transcript=text)

    def _finish(self, position: float, **how: Any) -> None:
        self._queued = 0.0
        self.playing.clear()
        self.on_playback_finished(playback_position=position, **how)


class AgentStage(Recorder):
    """An agent in a call."""

    APART = frozenset({"metrics_collected", "session_usage_updated"})

    def __init__(self, server: Any, model: Any, session: AgentSession[None], agent: Agent) -> None:
        super().__init__(server, label(model))
        self.model = model
        self.session = session
        self.agent = agent
        self.microphone = Microphone()
        self.speaker = Speaker()
        self._closed = asyncio.Event()
        session.input.audio = self.microphone
        session.output.audio = self.speaker
        for name in get_args(EventTypes):
            session.on(name, lambda event, name=name: self.note(name, event))

    async def start(self) -> None:
        """Start the agent and wait for its connection, of which the framework is told with metrics."""
        await self.session.start(self.agent)
        await self.told("metrics_collected")
        await self.told("session_usage_updated")
        await self.server.wait_sent("session.updated")

    async def speaks(self, **how: Any) -> Any:
        """Let the agent reply and wait until it has been heard."""
        handle = self.session.generate_reply(**how)
        await asyncio.wait_for(handle.wait_for_playout(), 20)
        return handle

    async def listening(self) -> None:
        """Wait until the agent waits for the caller, and nobody is being answered."""
        await self.until(lambda: self.session.agent_state == "listening" and not self.session.current_speech)

    async def said(self, *texts: str) -> None:
        """Wait until the agent has said these sentences, and has fallen silent."""

        def spoken() -> list[str]:
            added = [event.item for event in self.events("conversation_item_added")]
            return [i.text_content for i in added if i.type == "message" and i.role == "assistant"]

        await self.until(lambda: spoken()[-len(texts) :] == list(texts))
        await self.listening()

    async def closed(self) -> None:
        """Wait for the session to close by itself; 2 s are enough to see that it does not."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._closed.wait(), 2.0)

    def note(self, kind: str, event: Any = None, **more: Any) -> None:
        if kind == "close":
            self._closed.set()
        super().note(kind, event, **more)

    async def record(self) -> list[str]:
        """Everything told and left behind."""
        self.lines += self.apart
        self.items("history", self.session.history.items)
        self.items("agent's history", self.session.current_agent.chat_ctx.items)
        if self.server.sessions:
            self.left_with()
        await self.session.aclose()
        return self.lines


@asynccontextmanager
async def agent_stage(scene: Scene, plugin: str) -> AsyncIterator[AgentStage]:
    """An agent on one plugin and an emulator of its own."""
    options = dict(scene.options)
    agent = options.pop("agent", lambda: Agent(instructions="Be brief."))()
    how = options.pop("session", {})
    records_start = options.pop("records_start", False)
    async with scene.server() as server:
        make = PLUGINS[plugin].realtime.RealtimeModel
        model = make(**{**OPTIONS, "base_url": server.base_url, **options})
        session: AgentSession[None] = AgentSession(llm=model, vad=None, aec_warmup_duration=None, **how)
        stage = AgentStage(server, model, session, agent)
        try:
            await stage.start()
            if not records_start:
                stage.forget()
            yield stage
        finally:
            await session.aclose()
            await model.aclose()
