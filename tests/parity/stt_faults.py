"""Faults of speech to text."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from livekit_plugins_openai_ga.emulator import Turn
from livekit_plugins_openai_ga.emulator.faults import CloseOn, FailTranscription, InjectOn, error_event
from livekit_plugins_openai_ga.emulator.voice import synthetic

from .fault_stage import WATCH_S, Rows, arrived, audio, marked
from .stage import TIMEOUT_S, frames
from .stt_stage import Kind, STTStage

ROWS = Rows()
STT = "Speech to text"
ONE = "Hello there my friend."
EXPIRED = ("session_expired", "Your session hit the maximum duration of 60 minutes.")


async def transcribed(do: STTStage) -> list[str]:
    """What comes of one sentence."""
    do.listen()
    await do.say(ONE)
    return [*(await sentence(do)), *(["the stream raises"] if do.events("the stream raises") else [])]


async def sentence(do: STTStage, seconds: float = TIMEOUT_S) -> list[str]:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(do.until(lambda: finals(do) or do.events("the stream raises")), seconds)
    return ["the sentence comes" if finals(do) == [ONE] else "the sentence is lost"]


def finals(do: STTStage) -> list[str]:
    return [data.text for data in do.events(Kind.FINAL_TRANSCRIPT.value)]


ROWS(
    STT,
    "speech to text: the session expires in a sentence",
    turns=(Turn(heard=ONE),),
    faults=(CloseOn("input_audio_buffer.append", 1001, "expired", error=EXPIRED, nth=5),),
)(transcribed)
ROWS(
    STT,
    "speech to text: OpenAI reports a `server_error` in a sentence",
    turns=(Turn(heard=ONE),),
    faults=(InjectOn("input_audio_buffer.speech_started", error_event("server_error", "Sorry.", "server_error")),),
)(transcribed)


@ROWS(STT, "speech to text: the connection drops in a sentence", turns=(Turn(heard=ONE),))
async def dropped(do: STTStage) -> list[str]:
    pushed: list[int] = []

    def speak() -> None:
        assert do.stream is not None
        for number, frame in marked(len(pushed), 1.0):
            do.stream.push_frame(frame)
            pushed.append(number)

    do.listen()
    speak()
    await do.server.wait_until(
        lambda: bool(do.server.sessions) and len(arrived(do.server.sessions[0])) == 50, timeout=TIMEOUT_S
    )
    await do.server.drop()
    await do.told("error")
    speak()
    await do.say(frames(bytes(48 * 900)))
    await do.server.wait_sent("input_audio_buffer.committed", timeout=TIMEOUT_S)
    return [audio(pushed, arrived(do.server.sessions[-1]))]


@ROWS(
    STT,
    "speech to text: the server dies and the connection stays open",
    turns=(Turn(heard=ONE),),
    ours={"heartbeat": 0.5},
)
async def dead(do: STTStage) -> list[str]:
    do.listen()
    await do.server.wait_sent("session.updated", timeout=TIMEOUT_S)
    await do.server.freeze()
    await do.say(ONE)
    return await sentence(do, 2 * WATCH_S)


@ROWS(
    STT, "speech to text: OpenAI cannot transcribe a sentence", turns=(Turn(heard=ONE),), faults=(FailTranscription(),)
)
async def not_transcribed(do: STTStage) -> list[str]:
    do.listen()
    await do.say(ONE)
    await do.server.wait_sent("conversation.item.input_audio_transcription.failed", timeout=TIMEOUT_S)
    await do.over(1.0)
    return ["an error event" if do.events("error") else "nothing is told"]


@ROWS(STT, "speech to text: the input ends in a sentence", turns=(Turn(heard=ONE),), quoted=True)
async def the_input_ends(do: STTStage) -> list[str]:
    do.listen()
    await do.say(frames(synthetic(ONE)))
    assert do.stream is not None
    do.stream.end_input()
    await do.over()
    ended = "the stream ends" if do.reading and do.reading.done() else "the stream never ends"
    return ["the last words come" if finals(do) == [ONE] else "the last words are lost", ended]
