"""A translation on an emulator, in virtual time: a scene takes no longer than its events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError

from livekit_plugins_openai_ga import TranslatedText, TranslationStream, Translator
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator.voice import synthetic
from tests.simulation.network import Network, Path
from tests.simulation.run import simulate

GREETING = Turn(heard="Good morning everybody", say="Guten Morgen allerseits")
QUICK = APIConnectOptions(max_retry=3, retry_interval=0.1, timeout=2.0)
EVENTS = ("error", "reconnected", "metrics_collected", "closed")


class Scene:
    """One stream, what it gave out and what it told. `speak` takes as long as it takes to say it."""

    def __init__(self, server: Emulator, translator: Translator, *, reads: bool) -> None:
        self.server = server
        self.translator = translator
        self.stream: TranslationStream = translator.stream()
        self.frames: list[rtc.AudioFrame] = []
        self.texts: list[TranslatedText] = []
        self.sources: list[TranslatedText] = []
        self.raised: list[APIError] = []
        self.told: dict[str, list[Any]] = {name: [] for name in EVENTS}
        for name in EVENTS:
            self.stream.on(name, lambda *what, name=name: self.told[name].append(what[0] if what else None))
        pairs = ((self.stream.audio, self.frames), (self.stream.transcript, self.texts))
        both = (*pairs, (self.stream.source_transcript, self.sources))
        self.readers = [asyncio.ensure_future(self._read(*pair)) for pair in both] if reads else []

    async def _read(self, given: Any, kept: list[Any]) -> None:
        try:
            async for each in given:
                kept.append(each)
        except APIError as exc:
            self.raised.append(exc)

    async def push(self, pcm: bytes, *, rate: int = 24000, channels: int = 1, ms: int = 20) -> None:
        """As a microphone does."""
        step = rate * ms // 1000
        samples = np.frombuffer(pcm, "<i2")
        if rate != 24000:
            samples = np.repeat(samples, rate // 24000)
        for start in range(0, len(samples), step):
            piece = np.repeat(samples[start : start + step], channels).tobytes()
            self.stream.push_frame(rtc.AudioFrame(piece, rate, channels, len(piece) // 2 // channels))
            await asyncio.sleep(ms / 1000)

    async def speak(self, text: str = "Good morning everybody", **how: int) -> bytes:
        pcm = synthetic(text)
        await self.push(pcm, **how)
        return pcm

    async def finish(self) -> None:
        """There is no more; wait for the iterators to end."""
        self.stream.end_input()
        await asyncio.wait_for(asyncio.gather(*self.readers), 300)
        await asyncio.sleep(1)  # the socket is closed behind it

    @property
    def text(self) -> str:
        return "".join(told.text for told in self.texts)

    @property
    def source(self) -> str:
        return "".join(told.text for told in self.sources)

    @property
    def speech(self) -> bytes:
        """All translated audio, without the silence around what was said."""
        return b"".join(bytes(frame.data) for frame in self.frames).strip(b"\0")

    @property
    def received(self) -> list[bytes]:
        """What each session was sent, in events of audio."""
        return [event["audio"] for event in self.server.received("session.input_audio_buffer.append")]


@pytest.fixture
def play() -> Callable[..., None]:
    def run(
        scene: Callable[[Scene], Awaitable[None]],
        *,
        turns: Sequence[Turn] = (GREETING,),
        translations: dict[str, list[Turn]] | None = None,
        faults: Sequence[Any] = (),
        paths: Sequence[Path] = (),
        knobs: dict[str, Any] | None = None,
        reads: bool = True,
        log: bool = False,
        **options: Any,
    ) -> None:
        async def call(_: object) -> None:
            script = Script(turns, translations=translations or {})
            async with Emulator(script, knobs=Knobs(speak=synthetic, **(knobs or {})), faults=faults) as server:
                given = {"target_language": "de", "api_key": "sk-test", "base_url": server.base_url, **options}
                translator = Translator(**{"conn_options": QUICK, **given})
                made = Scene(server, translator, reads=reads)
                try:
                    await scene(made)
                finally:
                    await translator.aclose()
                    await asyncio.gather(*made.readers)
            for _ in range(5):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        assert simulate(1, Network(paths=list(paths)), call, log=log).violations == []

    return run
