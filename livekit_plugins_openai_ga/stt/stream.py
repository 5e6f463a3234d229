"""LiveKit's stream of speech: frames in, events out. The session behind it does the talking with the server.

Listening (resampling, voice detection, segment ends) goes on by itself, whatever the connection does, so nothing that
was said while it was down is lost.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from livekit import rtc
from livekit.agents import APIConnectOptions, APIError, stt, vad
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import aio, is_given

from ..audio import InputAudio, to_frame
from ..core.bill import SessionUsage
from ..framework import fair_retries, real_reason, report_acquired
from ..info import SessionInfo
from ..log import logger
from ..transport.line import first_of
from ..transport.link import Link
from .options import Options
from .session import Change, TranscriptionSession

if TYPE_CHECKING:
    from .model import STT

VAD_LAG_STEPS = 4
"""Audio that comes faster than real time waits for the detector, so that segments end where speech does."""

VAD_PATIENCE_S = 3.0
"""How long it waits for one sign of life of the detector. A busy machine is slow; sentences that it hears too late
become one segment."""


class SpeechStream(stt.RecognizeStream):
    """One stream, made by `STT.stream`. Any sample rate and channel count; the rate must stay the same.

    `end_input` commits what is left (100 ms at least), waits for its text, and ends the iteration. `flush` commits now.
    """

    def __init__(
        self, *, stt: STT, options: Options, detector: vad.VAD | None, conn_options: APIConnectOptions
    ) -> None:
        super().__init__(stt=stt, conn_options=conn_options)
        self._model = stt
        self._own_offset = 0.0
        self._session = TranscriptionSession(
            options,
            detects=lambda wanted: stt.detector(wanted) is not None,
            timeout=conn_options.timeout,
            dial=self._dial,
            emit=self._tell,
            report=stt.complain,
            taken_back=stt.take_back,
            offset=lambda: self.start_time_offset,
            tell=stt.tell,
        )
        self._intake = self._session.intake
        self._audio = InputAudio(options.input_format, chunk_ms=options.input_chunk_ms)
        self._follows = False  # all that was pushed was heard, and more need not wait for anything
        self._detector = detector
        self._ears: vad.VADStream | None = None
        self._ears_task: asyncio.Task[None] | None = None
        self._ears_from_ms = 0.0
        self._ears_at_ms = 0.0
        self._ears_moved = asyncio.Event()
        self._ears_mute = False
        self._listening = asyncio.create_task(self._listen(), name="openai_ga.SpeechStream")
        self._task.add_done_callback(lambda _: self._stop_listening())

    @property
    def options(self) -> Options:
        """What this stream asks for. Frozen; `update_options` replaces it."""
        return self._session.wanted

    @property
    def info(self) -> SessionInfo:
        """How the stream's session and its connection are right now. Made when asked for; safe to log."""
        return self._session.info

    @property
    def usage(self) -> SessionUsage:
        """What the stream has used and cost so far, over all of its connections. Made when asked for."""
        return self._session.usage

    # LiveKit moves the offset on by the time that passed when it tries again. Here times count the audio of the whole
    # stream, also of what is sent again, so only the caller moves it.

    @property
    def start_time_offset(self) -> float:
        """Seconds added to all times of this stream."""
        return self._own_offset

    @start_time_offset.setter
    def start_time_offset(self, value: float) -> None:
        """Set it; raises ValueError for less than 0."""
        if value < 0:
            raise ValueError(f"start_time_offset={value!r} is negative: use the seconds before this stream's audio.")
        self._own_offset = value

    def update_options(self, *, language: NotGivenOr[str | list[str]] = NOT_GIVEN) -> None:
        """Set the language of this stream alone. Raises ValueError for one the model does not take."""
        if is_given(language):
            self.use({"language": language})

    def use(self, change: Change) -> None:
        """Go on with changed options, and with the detector they need. Raises ValueError."""
        self._session.use(change)
        self._detector = self._model.detector(self.options) or self._detector

    async def _run(self) -> None:
        with fair_retries(self):
            await self._session.run()

    async def __anext__(self) -> stt.SpeechEvent:
        with real_reason():
            return await super().__anext__()

    async def _dial(self, options: Options, timeout: float) -> Link:
        started = time.perf_counter()
        link, reused = await self._model.dial(options, timeout)
        report_acquired(self, time.perf_counter() - started, reused)
        return link

    def _tell(self, event: stt.SpeechEvent) -> None:
        if not self._event_ch.closed:
            self._event_ch.send_nowait(event)

    # -- listening -----------------------------------------------------------------------------------------------

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Take audio: any rate, which must stay the same, any channel count and length. Never blocks.

        Raises RuntimeError when the stream was ended or closed, ValueError for another rate.
        """
        # A microphone is heard in this step: the task that takes a frame out of LiveKit's channel costs more than the
        # frame. What has to wait for anything, and what LiveKit refuses, goes that way.
        if not self._follows or frame.sample_rate != self._pushed_sr:
            super().push_frame(frame)
            self._follows = False
            return
        try:
            for chunk in self._audio.push(frame):
                if self._intake.put(chunk) if self._detector is None else self._hear(chunk):
                    self._follows = False
        except Exception as exc:
            self._broken(exc)

    def flush(self) -> None:
        """End the segment here."""
        super().flush()
        self._follows = False

    async def _listen(self) -> None:
        try:
            async for item in self._input_ch:
                if isinstance(item, rtc.AudioFrame):
                    if not self._intake.put_ms:
                        self.start_time = time.time()
                    await self._hear_in_time(self._audio.push(item))
                else:
                    await self._hear_in_time(self._audio.flush())
                    await self._ears_caught_up()
                    self._session.flush()
                over = self._input_ch.closed
                self._follows = not over and self._input_ch.empty() and not self._intake.rushing
            self._session.finish()
        except Exception as exc:
            self._broken(exc)

    def _broken(self, exc: Exception) -> None:
        self._follows = False
        logger.error("the stream ended by an error of this plugin; please report it", exc_info=exc)
        self._session.break_off(APIError(f"Listening failed: {type(exc).__name__}.", retryable=False))

    def _hear(self, chunk: bytes) -> bool:
        """Returns whether audio comes faster than anybody speaks."""
        ears = self._open_ears()
        rushing = self._intake.put(chunk)
        if ears is not None:
            ears.push_frame(to_frame(chunk, self._audio.form))
        return rushing

    async def _hear_in_time(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._hear(chunk)
            await self._ears_caught_up()
            await self._intake.room()

    def _open_ears(self) -> vad.VADStream | None:
        if self._detector is None or not self._session.wants_detector:
            self._close_ears()
        elif self._ears is None:
            self._ears = self._detector.stream()
            self._ears_from_ms = self._ears_at_ms = self._intake.put_ms
            self._ears_task = asyncio.create_task(self._follow(self._ears), name="openai_ga.SpeechStream.vad")
        return self._ears

    async def _follow(self, ears: vad.VADStream) -> None:
        try:
            async for event in ears:
                self._detected(event)
        except Exception as exc:
            # Without it no segment would end, and nobody would know why.
            logger.exception("the voice activity detector failed")
            self._session.break_off(APIError(f"The vad failed: {type(exc).__name__}.", retryable=False))
        finally:
            self._ears_at_ms = float("inf")
            self._ears_moved.set()

    def _detected(self, event: vad.VADEvent) -> None:
        at_ms = self._ears_from_ms + event.timestamp * 1000
        self._ears_at_ms = max(self._ears_at_ms, at_ms)
        self._ears_mute = False
        self._ears_moved.set()
        if event.type == vad.VADEventType.START_OF_SPEECH:
            self._session.speech(True, max(0.0, at_ms - event.speech_duration * 1000))
        elif event.type == vad.VADEventType.END_OF_SPEECH:
            self._session.speech(False, max(0.0, at_ms - event.silence_duration * 1000))

    async def _ears_caught_up(self) -> None:
        """Let a file wait until the detector is a few of its steps behind at most, or shows no sign of life."""
        steps_ms = 0.0 if self._detector is None else VAD_LAG_STEPS * self._detector.capabilities.update_interval * 1000
        while (
            self._ears is not None
            and self._intake.rushing
            and not self._ears_mute
            and self._intake.put_ms - self._ears_at_ms > steps_ms
        ):
            self._ears_moved.clear()
            await first_of(self._ears_moved, timeout=VAD_PATIENCE_S)
            self._ears_mute = not self._ears_moved.is_set()

    def _close_ears(self) -> None:
        if self._ears is not None and self._ears_task is not None:
            self._ears.end_input()
            self._ears_task.cancel()
            closing = asyncio.ensure_future(self._ears.aclose())
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._ears = self._ears_task = None

    def _stop_listening(self) -> None:
        self._follows = False
        self._model.forget(self)
        self._listening.cancel()
        self._close_ears()
        self._session.close()

    async def aclose(self) -> None:
        """Close the stream at once; texts still to come are not waited for."""
        self._follows = False
        await super().aclose()
        await aio.cancel_and_wait(self._listening)
        if self._ears is not None and self._ears_task is not None:
            await aio.cancel_and_wait(self._ears_task)
            await self._ears.aclose()
        self._session.close()

    async def __aexit__(self, *exc: Any) -> None:
        await self.aclose()
