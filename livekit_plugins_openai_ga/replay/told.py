"""What an application was told, as lines that are the same each time: without ids and times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any

from livekit import rtc
from livekit.agents import llm, stt

from ..realtime import RealtimeSession
from ..redaction import redact
from ..stt.stream import SpeechStream
from ..translation.stream import TranslationStream

_MOST = 400


class Told:
    """Listens to one session. `end` is the code of the error that ended it, None for none.

    What comes in streams stands where they began: a task reads them, and when it gets its turn says nothing.
    """

    def __init__(self) -> None:
        self._places: list[list[str]] = []
        self._failed: list[str] = []
        self.end: str | None = None
        self._reading: list[asyncio.Future[None]] = []

    @property
    def lines(self) -> list[str]:
        """All of it, in order; calls that failed stand at the end."""
        return [line for place in (*self._places, self._failed) for line in place]

    def line(self, text: str) -> None:
        """Write one down."""
        self._place().append(_short(text))

    def failed(self, text: str) -> None:
        """Write down that a call raised."""
        self._failed.append(_short(text))

    def _place(self) -> list[str]:
        self._places.append([])
        return self._places[-1]

    def read(self, reading: Any) -> None:
        """Let this coroutine run until the session is over."""
        self._reading.append(asyncio.ensure_future(reading))

    async def finish(self) -> None:
        """What is not over by now is not waited for."""
        for task in self._reading:
            if not task.done():
                task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)

    # -- speech to speech ----------------------------------------------------------------------------------------

    def to_session(self, session: RealtimeSession) -> None:
        """Write down what LiveKit hears of a conversation."""
        tell: dict[Any, Callable[[Any], None]] = {
            "input_speech_started": lambda event: self.line("the user begins to speak"),
            "input_speech_stopped": lambda event: self.line("the user stops"),
            "input_audio_transcription_completed": self._transcript,
            "generation_created": self._generation,
            "remote_item_added": lambda event: self.line(f"item: {_item(event.item)}"),
            "session_reconnected": lambda event: self.line("connected again"),
            "model_changed": lambda event: self.line(f"{event.refused} was refused, going on with {event.model}"),
            "response_incomplete": lambda event: self.line(f"the reply is incomplete: {event.reason}"),
            "input_audio_timeout_triggered": lambda event: self.line("the user was silent for too long"),
            "metrics_collected": self._metrics,
            "error": self._error,
        }
        for name, listener in tell.items():
            session.on(name, listener)

    def _transcript(self, event: llm.InputTranscriptionCompleted) -> None:
        self.line(f"{'user' if event.is_final else 'user, so far'}: {event.transcript}")

    def _metrics(self, event: Any) -> None:
        if hasattr(event, "ttft") and event.request_id:
            ended = "the reply was cancelled" if event.cancelled else "the reply is over"
            self.line(f"{ended}: {event.input_tokens} tokens in, {event.output_tokens} out")

    def _error(self, event: Any) -> None:
        code = code_of(event.error)
        if event.recoverable:
            self.line(f"error {code}")
        else:
            self._over(code)

    def _over(self, code: str) -> None:
        self.line(f"error {code}, and the session is over")
        self.end = code

    def _generation(self, event: llm.GenerationCreatedEvent) -> None:
        self.line(f"a reply begins, {'asked for' if event.user_initiated else 'by the server'}")
        self.read(_messages(event.message_stream, self._place()))
        self.read(_calls(event.function_stream, self._place()))

    # -- speech to text, translation -----------------------------------------------------------------------------

    def to_stream(self, stream: SpeechStream) -> None:
        """Write down what LiveKit hears of a stream of speech."""
        self.read(self._events(stream))

    async def _events(self, stream: SpeechStream) -> None:
        kinds = stt.SpeechEventType
        try:
            async for event in stream:
                text = event.alternatives[0].text if event.alternatives else ""
                if event.type == kinds.FINAL_TRANSCRIPT:
                    self.line(f"text: {text}")
                elif event.type == kinds.RECOGNITION_USAGE and event.recognition_usage is not None:
                    self.line(f"usage: {event.recognition_usage.audio_duration:.2f} s of audio")
                elif event.alternatives:
                    self.line(f"text, so far: {text}")
                else:
                    self.line("speech begins" if event.type == kinds.START_OF_SPEECH else "speech ends")
        except Exception as error:
            self._over(code_of(error))

    def to_translation(self, stream: TranslationStream) -> None:
        """Write down what comes of a translation."""
        stream.on("error", self._error)
        stream.on("reconnected", lambda event: self.line("connected again"))
        self.read(self._translated("source", stream.source_transcript, self._place()))
        self.read(self._translated("translation", stream.transcript, self._place()))
        self.read(self._translated_speech(stream.audio, self._place()))

    async def _translated(self, what: str, texts: AsyncIterable[Any], into: list[str]) -> None:
        said: list[str] = []
        try:
            async for text in texts:
                said.append(text.text)
        except Exception as error:
            into.append(_short(f"{what}: error {code_of(error)}"))
        finally:
            if said:
                into.append(_short(f"{what}: {''.join(said)}"))

    async def _translated_speech(self, frames: AsyncIterable[rtc.AudioFrame], into: list[str]) -> None:
        seconds: list[float] = []
        try:
            await _seconds(frames, seconds)
        except Exception as error:
            into.append(_short(f"audio: error {code_of(error)}"))
        finally:
            if seconds:
                into.append(f"audio: {sum(seconds):.2f} s of translated speech")


def code_of(error: Any) -> str:
    """The code of a failure in what LiveKit is told; else the name of its class."""
    body = getattr(error, "body", None)
    return getattr(body, "label", "") or getattr(error, "code", None) or type(error).__name__


def _item(item: llm.ChatItem) -> str:
    if item.type == "message":
        return f"{item.role} {item.text_content or ''}".rstrip()
    return f"{item.type} {getattr(item, 'name', '')}".rstrip()


def _short(text: str) -> str:
    text = redact(text)  # raw events that an application wrote down itself have keys in them
    return text if len(text) <= _MOST else f"{text[:_MOST]}... ({len(text)} characters)"


async def _messages(messages: AsyncIterable[llm.MessageGeneration], into: list[str]) -> None:
    async for message in messages:
        texts: list[str] = []
        seconds: list[float] = []
        await asyncio.gather(_all_texts(message.text_stream, texts), _seconds(message.audio_stream, seconds))
        spoken = f" ({sum(seconds):.2f} s of speech)" if seconds else ""
        into.append(_short(f"agent: {''.join(texts)}{spoken}"))


async def _calls(calls: AsyncIterable[llm.FunctionCall], into: list[str]) -> None:
    async for call in calls:
        into.append(_short(f"tool: {call.name}({call.arguments})"))


async def _all_texts(stream: AsyncIterable[str], into: list[str]) -> None:
    async for piece in stream:
        into.append(str(piece))


async def _seconds(stream: AsyncIterable[rtc.AudioFrame], into: list[float]) -> None:
    async for frame in stream:
        into.append(frame.samples_per_channel / frame.sample_rate)
