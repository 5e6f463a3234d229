"""One whole utterance over a socket: one segment on one connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from livekit import rtc
from livekit.agents import APIError, stt
from livekit.agents.utils import AudioBuffer

from ..audio import InputAudio
from ..transport.link import Link
from .options import Options
from .session import TranscriptionSession


async def transcribe(
    options: Options,
    buffer: AudioBuffer,
    *,
    dial: Callable[[Options, float], Awaitable[tuple[Link, bool]]],
    timeout: float,
) -> stt.SpeechEvent:
    """Have an utterance transcribed; the event carries the usage, too. Raises `APIError`, and asks no second time."""
    frame = rtc.combine_audio_frames(buffer)
    events: list[stt.SpeechEvent] = []
    problems: list[APIError] = []

    async def open_link(options: Options, timeout: float) -> Link:
        return (await dial(options, timeout))[0]

    session = TranscriptionSession(
        replace(options.changed({"turn_detection": None, "max_segment_length": None}), max_cost=None),
        detects=lambda _: False,
        timeout=timeout,
        dial=open_link,
        emit=events.append,
        report=problems.append,
        keep_ms=frame.duration * 1000 + 1000,
    )
    audio = InputAudio(options.input_format)
    for chunk in [*audio.push(frame), *audio.flush()]:
        session.intake.put(chunk)
    session.finish()
    try:
        await session.run()
    finally:
        session.close()
    final = next((event for event in events if event.type is stt.SpeechEventType.FINAL_TRANSCRIPT), None)
    if final is None and problems:
        raise problems[0]
    if final is None:  # shorter than the 100 ms that the server takes
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=options.language, text="")],
        )
    usages = (event.recognition_usage for event in events)
    final.recognition_usage = next((usage for usage in usages if usage is not None), None)
    return final
