"""Where a scene is played: a plugin's session on an emulator of its own, and the record of what the framework is told.

A record is a list of lines in parts: events in their order; replies as they were read; and, at the end, the history on
both sides and the configuration the server was left with.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from livekit import rtc
from livekit.agents import APIConnectOptions, llm
from livekit.plugins import openai
from openai.types.realtime import AudioTranscription, realtime_audio_input_turn_detection

import livekit_plugins_openai_ga as ours
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import Fault
from livekit_plugins_openai_ga.emulator.voice import synthetic

from .normal import Normal, error, length_ms

PLUGINS: dict[str, Any] = {"official": openai, "ours": ours}

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.05, timeout=2.0)
# Transcripts come before the reply's first output, at any speed of the machine: the emulator keeps its order.
KNOBS: dict[str, Any] = {
    "pace": 50.0,
    "reply_latency": 0.06,
    "transcription_latency": 0.02,
    "rate_limits": "never",
    "speak": synthetic,
}
SERVER_VAD = realtime_audio_input_turn_detection.ServerVad(
    type="server_vad", threshold=0.5, prefix_padding_ms=300, silence_duration_ms=300
)
SEMANTIC_VAD = realtime_audio_input_turn_detection.SemanticVad(type="semantic_vad", eagerness="high")
# Objects of the openai SDK, as in code that is swapped. No defaults: they differ, which tests/test_docs.py knows.
OPTIONS: dict[str, Any] = {
    "api_key": "sk-test",
    "model": "gpt-realtime-2.1",
    "input_audio_transcription": AudioTranscription(model="gpt-4o-transcribe", language="en"),
    "turn_detection": SERVER_VAD,
    "conn_options": QUICK,
}
AZURE: dict[str, Any] = {"api_key": "test", "azure_deployment": "voice"}
TIMEOUT_S = 20.0
"""Only to end a scene that hangs; nothing is measured by it."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What happens: the emulator's script, knobs and faults, the plugin's options, and who does what."""

    name: str
    play: Callable[..., Any]
    turns: tuple[Turn, ...] = ()
    faults: tuple[Fault, ...] = ()
    knobs: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def server(self) -> Emulator:
        return Emulator(Script(self.turns), knobs=Knobs(**{**KNOBS, **self.knobs}), faults=self.faults)


def frames(pcm: bytes) -> list[rtc.AudioFrame]:
    """24 kHz mono frames of 20 ms."""
    pieces = [pcm[start : start + 960] for start in range(0, len(pcm), 960)]
    return [rtc.AudioFrame(piece, 24000, 1, len(piece) // 2) for piece in pieces]


def speech(text: str, *, silence_ms: int = 900) -> list[rtc.AudioFrame]:
    """A sentence and the pause behind it."""
    return frames(bytes(48 * 200) + synthetic(text) + bytes(48 * silence_ms))


class Recorder:
    """Lines, and whoever waits for them."""

    APART: frozenset[str] = frozenset()
    """Kinds of events whose place between the others is not told by the plugin: they are a part of their own."""

    def __init__(self, server: Emulator, label: str) -> None:
        self.server = server
        self.normal, self._apart = (Normal(label, urlsplit(server.base_url).netloc) for _ in range(2))
        self.lines: list[str] = []
        self.apart: list[str] = []
        self.seen: list[tuple[str, Any]] = []
        self._changed = asyncio.Event()

    def note(self, kind: str, event: Any = None, **more: Any) -> None:
        """Write an event down."""
        if kind in self.APART:
            self.apart.append(self._apart.line(kind, event, **more))
        else:
            self.lines.append(self.normal.line(kind, event, **more))
        self.seen.append((kind, event))
        self.stir()

    def stir(self) -> None:
        """Something may have come true."""
        self._changed.set()

    def forget(self) -> None:
        """What was told so far is not part of the record."""
        self.lines.clear()
        self.apart.clear()
        self.seen.clear()

    def events(self, kind: str) -> list[Any]:
        return [event for name, event in self.seen if name == kind]

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds; it is asked again after everything that is told."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), TIMEOUT_S)
        except asyncio.TimeoutError:
            raise AssertionError("did not happen; told:\n" + "\n".join(self.lines)) from None

    async def told(self, kind: str, count: int = 1) -> Any:
        """The `count`-th event of this kind, waited for."""
        await self.until(lambda: len(self.events(kind)) >= count)
        return self.events(kind)[count - 1]

    def items(self, part: str, items: list[Any]) -> None:
        for item in items:
            self.lines.append(self.normal.line(f"{part}: {item.type}", item))

    def left_with(self) -> None:
        """What the server has in the end: the conversation and what it was configured to be."""
        session: Any = self.server.sessions[-1]
        for item in session.items:
            shown = {key: value for key, value in item.items() if key not in ("object", "content")}
            parts = [
                part.get("text") or part.get("transcript") or f"<{part['type']}>" for part in item.get("content", ())
            ]
            self.lines.append(self.normal.line(f"server: {item['type']}", shown, content=parts))
        config = dict(session.config)
        for name in ("id", "object", "type", "expires_at", "client_secret"):
            config.pop(name, None)
        config["tools"] = [tool["name"] for tool in config["tools"]]
        for name, value in sorted(config.items()):
            self.lines.append(f"server: {name} = {json.dumps(value, sort_keys=True)}")


_EVENTS = (
    "generation_created",
    "input_speech_started",
    "input_speech_stopped",
    "input_audio_transcription_completed",
    "remote_item_added",
    "metrics_collected",
    "session_reconnected",
    "error",
)


class SessionStage(Recorder):
    """A bare realtime session; every reply is read to its end."""

    def __init__(self, server: Emulator, model: Any, session: Any) -> None:
        super().__init__(server, label(model))
        self.model = model
        self.session = session
        self.reading: list[asyncio.Task[list[str]]] = []
        self._last_event: str | None = None
        self.left: list[str] = []  # client events, in the order in which they were sent
        for name in _EVENTS:
            session.on(name, lambda event=None, name=name: self._told(name, event))
        session.on("openai_server_event_received", self._received)
        session.on("openai_client_event_queued", self._leaves)

    def _told(self, name: str, event: Any) -> None:
        self.note(name, event)
        if name == "generation_created":
            self.reading.append(asyncio.ensure_future(self._read(event)))

    def _received(self, event: dict[str, Any]) -> None:
        self._last_event = event.get("event_id")
        self.stir()

    def _leaves(self, event: dict[str, Any]) -> None:
        self.left.append(event["type"])
        self.stir()

    async def _read(self, reply: llm.GenerationCreatedEvent) -> list[str]:
        lines = []
        async for message in reply.message_stream:
            text = "".join([str(piece) async for piece in message.text_stream])
            audio = length_ms([frame async for frame in message.audio_stream])
            kinds = await message.modalities
            lines.append(
                self.normal.line("message", message_id=message.message_id, text=text, audio=audio, modalities=kinds)
            )
        lines += [self.normal.line("call", call) async for call in reply.function_stream]
        self.stir()
        return lines

    # What a scene does.

    def say(self, text: str, *, silence_ms: int = 900) -> None:
        for frame in speech(text, silence_ms=silence_ms):
            self.session.push_audio(frame)

    async def reply(self, **how: Any) -> Any:
        """Ask for a reply and wait until it begins; what becomes of the future is written down."""
        return await self.settles(self.session.generate_reply(**how))

    async def settles(self, future: asyncio.Future[Any]) -> Any:
        try:
            event = await asyncio.wait_for(future, TIMEOUT_S)
        except llm.RealtimeError as exc:
            self.note("the reply's future fails with", None, error=error(exc))
            return None
        except asyncio.CancelledError:
            self.note("the reply's future is cancelled")
            return None
        self.note("the reply's future gives", event)
        return event

    async def replies(self, count: int) -> None:
        """Wait until so many replies are over, with their metrics."""
        await self.until(lambda: len(self.reading) >= count and all(task.done() for task in self.reading))
        await self.until(
            lambda: len([m for m in self.events("metrics_collected") if m.type == "realtime_model_metrics"]) >= count
        )

    async def calm(self) -> None:
        """Wait until all that was sent has arrived, in both directions, and nothing is being said."""
        while not (self._all_received() and self._all_told()):
            await self.server.wait_until(self._all_received)
            await self.until(self._all_told)

    def _all_received(self) -> bool:
        return sum(len(session.received) for session in self.server.sessions) >= len(self.left)

    def _all_told(self) -> bool:
        session: Any = self.server.sessions[-1]
        return session.active_reply is None and self._last_event == session.sent[-1]["event_id"]

    async def record(self) -> list[str]:
        """Everything told, read and left behind."""
        for number, reading in enumerate(self.reading, 1):
            self.lines += [f"reply {number}: {line}" for line in await asyncio.wait_for(reading, TIMEOUT_S)]
        self.items("history", self.session.chat_ctx.items)
        self.lines.append(self.normal.line("capabilities", self.session.capabilities))
        if self.server.sessions:
            self.left_with()
        try:
            await self.session.aclose()
        except Exception as exc:
            self.note("closing the session raises", None, error=error(exc))
        return self.lines


def label(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__name__}"


@asynccontextmanager
async def session_stage(scene: Scene, plugin: str) -> AsyncIterator[SessionStage]:
    """A session of one plugin on an emulator of its own."""
    options = dict(scene.options)
    disabled = options.pop("turn_detection_disabled", False)
    async with scene.server() as server:
        make = PLUGINS[plugin].realtime.RealtimeModel
        if options.pop("azure", False):
            model = make.with_azure(**AZURE, azure_endpoint=server.azure_endpoint, **options)
        else:
            model = make(**{**OPTIONS, "base_url": server.base_url, **options})
        session = model.session(turn_detection_disabled=disabled)
        try:
            yield SessionStage(server, model, session)
        finally:
            with suppress(Exception):  # the official one raises what ended the session; that is in the record
                await session.aclose()
            await model.aclose()
