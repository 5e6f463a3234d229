"""One translation as its user sees it: frames in, three iterators and some events out."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents.metrics import STTMetrics
from livekit.agents.utils import aio

from ..api_errors import to_api_error
from ..audio import to_frame
from ..errors import Failure
from ..framework import Metadata, is_heard
from ..info import SessionInfo
from ..log import logger
from ..spending import CostEvents
from .events import Reconnected, StreamEvents, TranslatedText, TranslationUsage, TranslatorError
from .options import Options
from .session import TranslationSession
from .unread import Unread

if TYPE_CHECKING:
    from .translator import Translator

UNREAD_AUDIO_S = 300.0
"""Translated audio that waits to be read, at most; beyond that the oldest goes. 14 MB."""

UNREAD_TEXTS = 5_000
"""The same for each of the two kinds of text."""


class TranslationStream(rtc.EventEmitter[StreamEvents]):
    """One session on OpenAI; made by `Translator.stream`. Opens at once.

    Emits `error` (`TranslatorError`), `reconnected` (`Reconnected`), `metrics_collected` (LiveKit's `STTMetrics`: the
    seconds of source audio, about every minute and at the end), `closed`, without anything, when it is over, and
    with `max_cost` `cost_warning` (`CostWarning`) and `cost_limit_reached` (`CostLimitReached`).
    """

    def __init__(self, translator: Translator, options: Options) -> None:
        super().__init__()
        self._translator = translator
        self._session = TranslationSession(options, _Audience(self), translator.dial)
        lost = functools.partial(self._session.log.warning, "nobody reads `%s` as fast as it comes: the oldest is lost")
        self._audio: Unread[rtc.AudioFrame] = Unread(UNREAD_AUDIO_S, lambda: lost("audio"))
        self._texts: Unread[TranslatedText] = Unread(UNREAD_TEXTS, lambda: lost("transcript"))
        self._source_texts: Unread[TranslatedText] = Unread(UNREAD_TEXTS, lambda: lost("source_transcript"))
        self._ended = False
        self._session.running.add_done_callback(lambda _: self._closed())

    @property
    def audio(self) -> AsyncIterator[rtc.AudioFrame]:
        """Translated speech: 24 kHz mono int16 frames of any length, as they come, which is in bursts. For one reader.

        Up to five minutes wait for the reader; beyond that the oldest goes. Ends after `end_input` and all that
        belongs to it, or with `aclose`. Raises `APIError` when the stream ended by an error.
        """
        return self._audio

    @property
    def transcript(self) -> AsyncIterator[TranslatedText]:
        """The text of the translation. As `audio` in all else."""
        return self._texts

    @property
    def source_transcript(self) -> AsyncIterator[TranslatedText]:
        """The text of what was said, in its own language; with `transcribe_source` only. As `audio` in all else."""
        return self._source_texts

    @property
    def options(self) -> Options:
        """What is asked for. Frozen; `update_options` replaces it."""
        return self._session.options

    @property
    def info(self) -> SessionInfo:
        """How the stream's session and its connection are right now. Made when asked for; safe to log."""
        return self._session.info

    @property
    def usage(self) -> TranslationUsage:
        """What was used and cost so far, over all connections."""
        session = self._session
        bill = session.usage
        seconds, heard = session.sent_ms / 1000, session.translated_ms / 1000
        return TranslationUsage(bill.model_usage, bill.cost_usd, bill.cost_complete, bill.prices_date, seconds, heard)

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Translate this. int16 audio of any rate, channel count and length; never blocks.

        Push frames as they are recorded. While none come, silence is filled in. What waits to be sent has its bound:
        `max_replay_audio`, and at least 10 s while there is a connection. Beyond that the oldest is lost, so wait for
        `room` before each frame of a file. Raises RuntimeError after `end_input`, `aclose`, or an error that ended the
        stream.
        """
        if self._ended:
            raise RuntimeError("push_frame: this stream was ended, closed, or has failed; open another stream.")
        self._session.hear(frame)

    async def room(self) -> None:
        """Wait until the next frame of a file can be pushed and nothing is lost. Returns when the stream is over, too.

        Waits for a connection, too, so do not wait for it with the frames of a microphone. A file is read as fast as
        the model goes, and as it was spoken at the slowest.
        """
        await self._session.room()

    def end_input(self) -> None:
        """There will be no more frames. The rest is translated, then the iterators end by themselves."""
        self._ended = True
        self._session.finish()

    def update_options(self, *, target_language: str) -> None:
        """Go on in another language; takes effect within a word or two. One that the server refuses is told by `error`,
        and the old one stays. Raises ValueError for what is no language code."""
        self._session.use(self._session.options.with_language(target_language))

    async def aclose(self) -> None:
        """Close the stream at once. What has not been read is dropped."""
        self._ended = True
        self._session.close()
        for unread in (self._audio, self._texts, self._source_texts):
            unread.clear()
        self._end(None)
        await aio.cancel_and_wait(self._session.running)

    async def __aenter__(self) -> TranslationStream:
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.aclose()

    def _end(self, error: BaseException | None) -> None:
        for unread in (self._audio, self._texts, self._source_texts):
            unread.end(error)

    def _closed(self) -> None:
        self._end(None)
        self._translator.forget(self)
        self.tell("closed")

    def tell(self, event: StreamEvents, *what: object) -> None:
        """Emit. LiveKit logs what a listener raises, but lets a TypeError through, out of whatever told it."""
        try:
            self.emit(event, *what)
        except TypeError:
            logger.exception("a listener of %s raised an error", event)


class _Audience:
    """Gives a stream what its session tells."""

    def __init__(self, stream: TranslationStream) -> None:
        self._stream = stream

    def translated(self, pcm: bytes) -> None:
        frame = to_frame(pcm)
        if frame.samples_per_channel:
            self._stream._audio.put(frame, frame.duration)

    def text(self, text: str, at_ms: float, source: bool) -> None:
        told = TranslatedText(text, at_ms / 1000)
        (self._stream._source_texts if source else self._stream._texts).put(told, 1)

    def failed(self, failure: Failure, recoverable: bool) -> None:
        error = to_api_error(failure)
        if not recoverable:
            self._stream._ended = True
            self._stream._end(error)
        label = self._stream._translator.label
        self._stream.tell("error", TranslatorError(time.time(), label, error, recoverable))

    def reconnected(self, planned: bool, session_id: str, behind_ms: float) -> None:
        self._stream.tell("reconnected", Reconnected(planned, session_id, behind_ms / 1000))

    def used(self, seconds: float, session_id: str) -> None:
        translator = self._stream._translator
        metrics = STTMetrics(
            request_id=session_id,
            timestamp=time.time(),
            duration=0.0,
            label=translator.label,
            audio_duration=seconds,
            streamed=True,
            metadata=Metadata(model_name=translator.model, model_provider=translator.provider),
        )
        self._stream.tell("metrics_collected", metrics)

    def cost(self, event: CostEvents, what: object) -> bool:
        self._stream.tell(event, what)
        return is_heard(self._stream, event)

    def finished(self) -> None:
        self._stream._end(None)
