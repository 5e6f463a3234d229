"""A stream of speech to text: what comes out of it, and what its STT reports."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from livekit import rtc
from livekit.agents import stt as lk
from livekit.agents import utils

from .normal import error
from .stage import PLUGINS, QUICK, TIMEOUT_S, Recorder, Scene, label, speech

Kind = lk.SpeechEventType
OPTIONS: dict[str, Any] = {
    "api_key": "sk-test",
    "model": "gpt-4o-transcribe",
    "language": "en",
    "use_realtime": True,
}
# The request of a metric is the stream there, the segment here; seconds are guessed from turn detection there.
_OWN_WAY = re.compile(r"(?<=^metrics_collected label=its own) request_id=#\d+| (usage\.)?audio_duration=[\d.]+")


class STTStage(Recorder):
    """One STT and, once `listen` was called, one stream of it."""

    def __init__(self, server: Any, made: lk.STT, *, in_full: bool) -> None:
        super().__init__(server, label(made))
        self._in_full = in_full
        self.stt = made
        self.stream: lk.RecognizeStream | None = None
        self.reading: asyncio.Task[None] | None = None
        self._interims = 0
        made.on("error", lambda event: self.note("error", event))
        made.on("metrics_collected", lambda event: self.note("metrics_collected", event))

    async def _read(self, stream: lk.RecognizeStream) -> None:
        try:
            async for event in stream:
                self.heard(event)
            self.note("the stream ends")
        except Exception as exc:
            self.note("the stream raises", None, error=error(exc))

    def heard(self, event: lk.SpeechEvent) -> None:
        """Write an event down. How often a growing text is told is each plugin's own; that it is told is not."""
        data = event.alternatives[0] if event.alternatives else None
        if event.type in (Kind.INTERIM_TRANSCRIPT, Kind.PREFLIGHT_TRANSCRIPT):
            self._interims += 1
            return
        more: dict[str, Any] = {}
        if event.type is Kind.FINAL_TRANSCRIPT or self._in_full:
            more["request_id"] = event.request_id or None
        if event.recognition_usage is not None:
            more["usage"] = event.recognition_usage
        if self._in_full and data is not None:
            more["has_a_place_in_the_audio"] = 0 <= data.start_time < data.end_time
        self.note(event.type.value, data, **more)

    def note(self, kind: str, event: Any = None, **more: Any) -> None:
        """As everywhere, without what differs in every scene alike; one scene shows it in full."""
        super().note(kind, event, **more)
        if not self._in_full:
            self.lines[-1] = _OWN_WAY.sub("", self.lines[-1])

    def listen(self, **how: Any) -> None:
        self.stream = self.stt.stream(conn_options=QUICK, **how)
        self.reading = asyncio.ensure_future(self._read(self.stream))

    async def say(self, sound: str | list[rtc.AudioFrame]) -> None:
        """Speak, with a pause behind it, as fast as the event loop turns."""
        assert self.stream is not None
        for frame in speech(sound) if isinstance(sound, str) else sound:
            with suppress(RuntimeError):  # a stream that has ended takes no more
                self.stream.push_frame(frame)
            await asyncio.sleep(0)

    async def finals(self, count: int) -> None:
        await self.told(Kind.FINAL_TRANSCRIPT.value, count)
        await self.told(Kind.RECOGNITION_USAGE.value, count)
        await self.told("metrics_collected", count)

    async def over(self, seconds: float = 2.0) -> None:
        """Wait for the end of the stream; 2 s are enough to see that it does not come."""
        assert self.reading is not None
        await asyncio.wait({self.reading}, timeout=seconds)

    async def recognize(self, text: str, **how: Any) -> None:
        try:
            waited = self.stt.recognize(speech(text), conn_options=QUICK, **how)
            self.heard(await asyncio.wait_for(waited, TIMEOUT_S))
        except Exception as exc:
            self.note("recognize raises", None, error=error(exc))
        for upload in self.server.uploads:
            self.note("uploaded", None, **dict(sorted(dict(upload.fields).items())))

    async def record(self) -> list[str]:
        if self._in_full:
            self.lines.append(self.normal.line("capabilities", self.stt.capabilities))
        if self.stream is not None and self.reading is not None:
            self.lines.append(f"growing texts are told: {self._interims > 0}")
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
            await self.stream.aclose()
        for session in self.server.sessions[-1:]:
            audio = session.config["audio"]["input"]
            self.lines += [
                f"server: {name} = {json.dumps(value, sort_keys=True)}" for name, value in sorted(audio.items())
            ]
        return self.lines


@asynccontextmanager
async def stt_stage(scene: Scene, plugin: str) -> AsyncIterator[STTStage]:
    """An STT of one plugin on an emulator of its own."""
    async with scene.server() as server, utils.http_context.open():
        options = dict(scene.options)
        in_full = options.pop("in_full", False)
        made = PLUGINS[plugin].STT(**{**OPTIONS, "base_url": server.base_url, **options})
        stage = STTStage(server, made, in_full=in_full)
        try:
            yield stage
        finally:
            if stage.stream is not None:
                await stage.stream.aclose()
            await made.aclose()
