"""A real AgentSession over the emulator: fixtures that open both, and a loudspeaker that plays at real-time pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import Agent, AgentSession, llm, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice import io
from livekit.agents.voice.transcription import TranscriptSynchronizer

from livekit_plugins_openai_ga import STT, RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, speak

SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 300}


class Microphone(io.AudioInput):
    """What is said into it reaches the agent at once, in frames of 20 ms."""

    def __init__(self) -> None:
        super().__init__(label="test microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    def say(self, text: str, *, silence: float = 0.8) -> None:
        pcm = speak(text, "alloy") + bytes(int(silence * 24000) * 2)
        for start in range(0, len(pcm), 960):
            piece = pcm[start : start + 960]
            self._frames.put_nowait(rtc.AudioFrame(piece, 24000, 1, len(piece) // 2))


class Speaker(io.AudioOutput):
    """Plays what it is given at real-time pace, and knows how much of it was heard."""

    def __init__(self) -> None:
        super().__init__(label="test speaker", capabilities=io.AudioOutputCapabilities(pause=False))
        self.heard: list[tuple[float, bool]] = []  # seconds of each segment, whether it was interrupted
        self.loudness = 0.0
        self._queued = 0.0
        self._started: float | None = None
        self._end: asyncio.TimerHandle | None = None

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self._started is None:
            self._started = asyncio.get_running_loop().time()
            self.on_playback_started(created_at=time.time())  # LiveKit compares it with the wall clock
        self._queued += frame.duration
        self.loudness = max(self.loudness, float(np.abs(np.frombuffer(frame.data, np.int16)).max()))

    def flush(self) -> None:
        super().flush()
        if self._started is None:
            return
        loop = asyncio.get_running_loop()
        self._end = loop.call_at(self._started + self._queued, self._finish, self._queued, False)

    def clear_buffer(self) -> None:
        if self._started is None:
            return
        played = asyncio.get_running_loop().time() - self._started
        self._finish(min(played, self._queued), True)

    def _finish(self, played: float, interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
        self._started, self._queued, self._end = None, 0.0, None
        self.heard.append((played, interrupted))
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Captions(io.TextOutput):
    """Takes the text that goes with the speech."""

    def __init__(self) -> None:
        super().__init__(label="test captions", next_in_chain=None)

    async def capture_text(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


@dataclass
class Call:
    """One agent in a call with the test."""

    session: AgentSession[None]
    microphone: Microphone
    speaker: Speaker
    rt: llm.RealtimeSession[Any]
    events: list[tuple[str, Any]] = field(default_factory=list)

    def texts(self, role: str) -> list[str]:
        items = self.session.history.items
        return [i.text_content or "" for i in items if isinstance(i, llm.ChatMessage) and i.role == role]

    def named(self, name: str) -> list[Any]:
        return [event for kind, event in self.events if kind == name]

    async def until(self, condition: Callable[[], bool], timeout: float = 8.0) -> None:
        """Wait for something that the call's events bring about."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"did not happen within {timeout} s; events: {[kind for kind, _ in self.events]}")
            await asyncio.sleep(0.01)


_SESSION_EVENTS = ("user_input_transcribed", "conversation_item_added", "function_tools_executed", "error", "close")
_RT_EVENTS = ("generation_created", "session_reconnected", "input_speech_started")

StartCall = Callable[..., Awaitable[Call]]


@pytest.fixture
async def start_call() -> AsyncIterator[StartCall]:
    """Starts an agent on an emulator; closes it at the end of the test."""
    stack = AsyncExitStack()

    async def start(
        server: Emulator, agent: Agent | None = None, *, model: llm.RealtimeModel | None = None, **options: Any
    ) -> Call:
        options = {"turn_detection": SERVER_VAD, **options}
        model = model or RealtimeModel(api_key="sk-test", base_url=server.base_url, **options)
        session: AgentSession[None] = AgentSession(llm=model, aec_warmup_duration=None)
        microphone, speaker = Microphone(), Speaker()
        session.input.audio = microphone
        # As in a room: text keeps pace with the speech, so that LiveKit knows what was heard.
        paced = TranscriptSynchronizer(next_in_chain_audio=speaker, next_in_chain_text=Captions())
        session.output.audio = paced.audio_output
        session.output.transcription = paced.text_output
        events: list[tuple[str, Any]] = []
        for name in _SESSION_EVENTS:
            session.on(name, lambda event, name=name: events.append((name, event)))
        stack.push_async_callback(paced.aclose)
        stack.push_async_callback(session.aclose)
        agent = agent or Agent(instructions="Be brief.")
        await session.start(agent)
        rt = agent.realtime_llm_session
        assert isinstance(rt, llm.RealtimeSession)
        for name in _RT_EVENTS:
            rt.on(name, lambda event, name=name: events.append((name, event)))
        return Call(session, microphone, speaker, rt, events)

    async with stack:
        yield start


class Echo(llm.LLM):
    """A language model that says what it was told, and remembers each question."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def chat(
        self, *, chat_ctx: llm.ChatContext, tools: Any = None, conn_options: Any = None, **_: Any
    ) -> llm.LLMStream:
        return _EchoStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=DEFAULT_API_CONNECT_OPTIONS)


class _EchoStream(llm.LLMStream):
    async def _run(self) -> None:
        assert isinstance(self._llm, Echo)
        question = next(m.text_content or "" for m in reversed(self._chat_ctx.messages()) if m.role == "user")
        self._llm.asked.append(question)
        delta = llm.ChoiceDelta(role="assistant", content=f"You said {question}.")
        self._event_ch.send_nowait(llm.ChatChunk(id="chunk", delta=delta))


class Voice(tts.TTS):
    """Speaks with the emulator's voice; `brief`: a mere "yes", whatever there is to say, as playing takes its time."""

    def __init__(self, *, brief: bool = True) -> None:
        capabilities = tts.TTSCapabilities(streaming=False)
        super().__init__(capabilities=capabilities, sample_rate=24000, num_channels=1)
        self.brief = brief

    def synthesize(self, text: str, *, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS) -> tts.ChunkedStream:
        return _VoiceStream(tts=self, input_text=text, conn_options=conn_options)


class _VoiceStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(request_id="said", sample_rate=24000, num_channels=1, mime_type="audio/pcm")
        assert isinstance(self._tts, Voice)
        output_emitter.push(speak("yes" if self._tts.brief else self._input_text, "cedar", 1.5))
        output_emitter.flush()


@dataclass
class Pipeline(Call):
    """A call whose agent is made of our STT, a language model and a voice."""

    rt: Any = None
    stt: STT = field(kw_only=True)
    model: Echo = field(kw_only=True)


StartPipeline = Callable[..., Awaitable[Pipeline]]


@pytest.fixture
async def start_pipeline() -> AsyncIterator[StartPipeline]:
    """Starts an agent with our STT on an emulator, and whatever ends its turns; closes it at the end of the test."""
    stack = AsyncExitStack()

    async def start(
        server: Emulator, *, turn_detection: Any = "stt", vad: Any = None, brief: bool = True, **options: Any
    ) -> Pipeline:
        keyterms = options.pop("keyterms", [])
        stt = STT(**{"api_key": "sk-test", "base_url": server.base_url, **options})
        model = Echo()
        session: AgentSession[None] = AgentSession(
            stt=stt,
            llm=model,
            tts=Voice(brief=brief),
            vad=vad,
            turn_handling={"turn_detection": turn_detection, "endpointing": {"min_delay": 0.1, "max_delay": 1.0}},
            stt_context_options={"keyterms": keyterms},
            aec_warmup_duration=None,
            session_close_transcript_timeout=0.1,
        )
        microphone, speaker = Microphone(), Speaker()
        session.input.audio = microphone
        session.output.audio = speaker
        events: list[tuple[str, Any]] = []
        for name in (*_SESSION_EVENTS, "user_state_changed", "agent_state_changed"):
            session.on(name, lambda event, name=name: events.append((name, event)))
        stack.push_async_callback(stt.aclose)
        stack.push_async_callback(session.aclose)
        await session.start(Agent(instructions="Be brief."))
        return Pipeline(session, microphone, speaker, events=events, stt=stt, model=model)

    async with stack:
        yield start
