"""A speech-to-text stream on an emulator: speech whose place is known goes in, everything that comes out is kept."""

from __future__ import annotations

import asyncio
import base64
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, speak

RATE = 24000
QUICK = APIConnectOptions(max_retry=3, retry_interval=0.05, timeout=2.0)
Kind = lk.SpeechEventType


def loud(pcm: bytes) -> tuple[float, float]:
    """From where to where somebody speaks, in seconds."""
    samples = np.abs(np.frombuffer(pcm, "<i2").astype(np.float64))
    above = np.nonzero(samples > 1000)[0]
    return above[0] / RATE, above[-1] / RATE


class Recording:
    """24 kHz mono audio, put together piece by piece. `spoken` says from where to where each sentence goes (s)."""

    def __init__(self, *sentences: str, before: float = 0.0, pause: float = 0.7, after: float | None = None) -> None:
        self.pcm = b""
        self.spoken: list[tuple[float, float]] = []
        self.silence(before)
        for number, sentence in enumerate(sentences):
            last = number == len(sentences) - 1
            self.say(sentence).silence(pause if not last or after is None else after)

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / RATE

    def say(self, text: str) -> Recording:
        speech = speak(text, "alloy", 1.3)
        start, end = loud(speech)
        self.spoken.append((self.seconds + start, self.seconds + end))
        self.pcm += speech
        return self

    def silence(self, seconds: float) -> Recording:
        self.pcm += bytes(round(seconds * RATE) * 2)
        return self

    def frames(self, *, ms: int = 20, rate: int = RATE, channels: int = 1) -> Iterator[rtc.AudioFrame]:
        samples = np.frombuffer(self.pcm, "<i2")
        if rate != RATE:
            places = np.arange(len(samples) * rate // RATE) * RATE / rate
            samples = np.interp(places, np.arange(len(samples)), samples).astype("<i2")
        step = rate * ms // 1000
        for start in range(0, len(samples), step):
            piece = np.repeat(samples[start : start + step], channels).tobytes()
            yield rtc.AudioFrame(piece, rate, channels, len(piece) // 2 // channels)


class Listener:
    """One stream, what it told, and what its STT reported."""

    def __init__(self, stt: STT, stream: lk.RecognizeStream) -> None:
        self.stt = stt
        self.stream = stream
        self.events: list[lk.SpeechEvent] = []
        self.errors: list[lk.STTError] = []
        self.metrics: list[Any] = []
        self._changed = asyncio.Event()
        stt.on("error", self._errors)
        stt.on("metrics_collected", self._metrics)
        self.reading = asyncio.create_task(self._read())

    def _errors(self, error: lk.STTError) -> None:
        self.errors.append(error)
        self._changed.set()

    def _metrics(self, metrics: Any) -> None:
        self.metrics.append(metrics)
        self._changed.set()

    async def _read(self) -> None:
        try:
            async for event in self.stream:
                self.events.append(event)
                self._changed.set()
        finally:
            self._changed.set()

    async def push(self, recording: Recording, *, pace: float = 0.0, **how: int) -> None:
        """One frame at a time: `pace` times as fast as a microphone; 0: as fast as the event loop turns."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, frame in enumerate(recording.frames(**how)):
            await asyncio.sleep(max(0.0, begun + number * 0.02 / pace - loop.time()) if pace else 0)
            self.stream.push_frame(frame)

    async def say(self, *sentences: str, pace: float = 0.0, **how: Any) -> Recording:
        recording = Recording(*sentences, **how)
        await self.push(recording, pace=pace)
        return recording

    async def ended(self, timeout: float = 5.0) -> None:
        """Wait for the end of the iteration; raises what came out of it."""
        await asyncio.wait({self.reading}, timeout=timeout)
        assert self.reading.done(), f"the stream did not end within {timeout} s; it told {self.kinds()}"
        self.reading.result()

    async def finish(self, timeout: float = 5.0) -> None:
        """There is no more audio: wait until the stream has told everything."""
        self.stream.end_input()
        await self.ended(timeout)

    async def until(self, condition: Callable[[], object], timeout: float = 5.0) -> None:
        """Wait until `condition` holds; it is asked again after everything that is told."""

        async def wait() -> None:
            while not condition():
                if self.reading.done():
                    self.reading.result()
                    raise AssertionError(f"the stream ended before; it told {self.kinds()}")
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), timeout)
        except asyncio.TimeoutError:
            raise AssertionError(f"did not happen; told: {self.kinds()}, {self.texts()}") from None

    async def heard(self, *texts: str) -> None:
        """Wait until exactly these finals were told."""
        await self.until(lambda: len(self.texts()) >= len(texts))
        assert self.texts() == list(texts)

    def of(self, kind: lk.SpeechEventType) -> list[lk.SpeechEvent]:
        return [event for event in self.events if event.type is kind]

    @property
    def finals(self) -> list[lk.SpeechEvent]:
        """Those with a text; committed silence has none."""
        return [event for event in self.of(Kind.FINAL_TRANSCRIPT) if event.alternatives[0].text]

    def texts(self) -> list[str]:
        return [event.alternatives[0].text for event in self.finals]

    def kinds(self) -> list[str]:
        """What was told, several of a kind in a row counted once."""
        kinds: list[str] = []
        for event in self.events:
            if kinds[-1:] != [event.type.value]:
                kinds.append(event.type.value)
        return kinds


def audio_of(session: Any) -> bytes:
    """All audio that one emulated session received."""
    appends = (event["audio"] for event in session.received if event["type"] == "input_audio_buffer.append")
    return b"".join(base64.b64decode(audio) for audio in appends)


@pytest.fixture
def recording() -> type[Recording]:
    return Recording


@pytest.fixture
def sent_audio() -> Callable[[Any], bytes]:
    return audio_of


@pytest.fixture
async def make_stt() -> AsyncIterator[Callable[..., STT]]:
    """Makes STTs on an emulator (or any base URL) and closes them at the end of the test."""
    stack = AsyncExitStack()

    def make(where: Emulator | str, model: str = "gpt-transcribe", **options: Any) -> STT:
        base_url = where if isinstance(where, str) else where.base_url
        made = STT(**{"api_key": "sk-test", "base_url": base_url, "model": model, **options})
        stack.push_async_callback(made.aclose)
        return made

    async with stack:
        yield make


@pytest.fixture
async def listen(make_stt: Callable[..., STT]) -> AsyncIterator[Callable[..., Listener]]:
    """Opens streams, on a new STT or (`stt=`) a given one."""
    readers: list[asyncio.Task[None]] = []
    stream_options = set(inspect.signature(STT.stream).parameters) - {"self", "language"}

    def start(where: Emulator | str = "", model: str = "gpt-transcribe", *, stt: STT | None = None, **options: Any):
        how = {name: options.pop(name) for name in stream_options & set(options)}
        if stt is None:
            stt = make_stt(where, model, **options)
        else:
            how |= options
        listener = Listener(stt, stt.stream(**{"conn_options": QUICK, **how}))
        readers.append(listener.reading)
        return listener

    yield start
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
