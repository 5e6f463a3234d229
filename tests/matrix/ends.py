"""Both ends of a smoke test's call, on any release of LiveKit Agents: who speaks and listens, and who answers.

No pytest here, and nothing of the project but the installed package: this runs in the environment of a row.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession, llm, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice import io

from livekit_plugins_openai_ga.emulator import speak

RATE = 24000
SERVER_VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 300}


def frames(text: str, *, silence: float = 0.8) -> list[rtc.AudioFrame]:
    """A sentence and the silence after it, in frames of 20 ms."""
    pcm = speak(text, "alloy", 1.3) + bytes(int(silence * RATE) * 2)
    pieces = [pcm[start : start + 960] for start in range(0, len(pcm), 960)]
    return [rtc.AudioFrame(piece, RATE, 1, len(piece) // 2) for piece in pieces]


async def until(condition: Callable[[], Any], *, timeout: float = 12.0) -> None:
    """Wait for something that happens elsewhere; `timeout` (s) is for what never does."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"did not happen within {timeout:g} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)


class Microphone(io.AudioInput):
    """What is said into it reaches the agent at once."""

    def __init__(self) -> None:
        super().__init__(label="microphone")
        self._frames: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue()

    async def __anext__(self) -> rtc.AudioFrame:
        return await self._frames.get()

    def say(self, text: str) -> None:
        for frame in frames(text):
            self._frames.put_nowait(frame)


class Speaker(io.AudioOutput):
    """Plays at real-time pace, and knows how much of it was heard."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=io.AudioOutputCapabilities(pause=False))
        self.heard: list[tuple[float, bool]] = []  # seconds of each segment, whether it was interrupted
        self.started: float | None = None
        self._queued = 0.0
        self._end: asyncio.TimerHandle | None = None

    @property
    def played(self) -> float:
        """Seconds heard so far."""
        now = asyncio.get_running_loop().time()
        return sum(seconds for seconds, _ in self.heard) + (0.0 if self.started is None else now - self.started)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self.started is None:
            self.started = asyncio.get_running_loop().time()
            if hasattr(self, "on_playback_started"):
                self.on_playback_started(created_at=time.time())
        self._queued += frame.duration

    def flush(self) -> None:
        super().flush()
        if self.started is not None:
            at = self.started + self._queued
            self._end = asyncio.get_running_loop().call_at(at, self._finish, self._queued, False)

    def clear_buffer(self) -> None:
        if self.started is not None:
            played = asyncio.get_running_loop().time() - self.started
            self._finish(min(played, self._queued), True)

    def _finish(self, played: float, interrupted: bool) -> None:
        if self._end is not None:
            self._end.cancel()
        self.started, self._queued, self._end = None, 0.0, None
        self.heard.append((played, interrupted))
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Captions(io.TextOutput):
    """Takes the text that goes with the speech."""

    def __init__(self) -> None:
        super().__init__(label="captions", next_in_chain=None)

    async def capture_text(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class Echo(llm.LLM):
    """A language model that says what it was told."""

    def chat(self, *, chat_ctx: llm.ChatContext, tools: Any = None, **_: Any) -> llm.LLMStream:
        return _EchoStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=DEFAULT_API_CONNECT_OPTIONS)


class _EchoStream(llm.LLMStream):
    async def _run(self) -> None:
        items = reversed(self._chat_ctx.items)
        question = next(item.text_content for item in items if item.type == "message" and item.role == "user")
        delta = llm.ChoiceDelta(role="assistant", content=f"You said {question}.")
        self._event_ch.send_nowait(llm.ChatChunk(id="chunk", delta=delta))


class Voice(tts.TTS):
    """Says "yes", whatever there is to say, as playing takes its time."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(self, text: str, *, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS) -> tts.ChunkedStream:
        return _VoiceStream(tts=self, input_text=text, conn_options=conn_options)


class _VoiceStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(request_id="said", sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        output_emitter.push(speak("yes", "cedar", 1.5))
        output_emitter.flush()


def agent_session(**wanted: Any) -> AgentSession[None]:
    """An `AgentSession` with as much of `wanted` as this release has a keyword for."""
    known = inspect.signature(AgentSession.__init__).parameters
    return AgentSession(**{name: value for name, value in wanted.items() if name in known})
