"""Scenes of speech to text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit_plugins_openai_ga.emulator import Turn, speak
from livekit_plugins_openai_ga.emulator.faults import CloseOn, DelayTranscription, FailTranscription, RefuseHandshake

from .stage import Scene, frames
from .stt_stage import Kind, STTStage

SCENES: dict[str, Scene] = {}
ONE, TWO = "Hello there my friend.", "What is the weather in Rome?"
UPLOADS = {"use_realtime": False, "model": "gpt-transcribe"}


def scene(**how: Any) -> Callable[[Callable[[STTStage], Any]], None]:
    """Makes a scene of a function, under its name."""

    def keep(play: Callable[[STTStage], Any]) -> None:
        name = "stt: " + play.__name__.replace("_", " ")
        SCENES[name] = Scene(name, play, **how)

    return keep


def spoken(text: str) -> list[Any]:
    """A sentence that a detector of voices takes for one."""
    return frames(bytes(48 * 300) + speak(text, "alloy", 1.0) + bytes(48 * 1500))


@scene(turns=(Turn(heard=ONE), Turn(heard=TWO)))
async def two_sentences(do: STTStage) -> None:
    do.listen()
    for number, text in enumerate((ONE, TWO), 1):
        await do.say(text)
        await do.finals(number)


@scene(turns=(Turn(heard=ONE),), options={"in_full": True})
async def a_sentence_in_full(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.finals(1)


@scene(turns=(Turn(heard=ONE),), options={"model": "gpt-transcribe", "language": ["en", "de"], "keywords": ["ICE"]})
async def a_sentence_with_hints(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.finals(1)


@scene(turns=(Turn(heard=ONE),), options={"language": "", "detect_language": True, "prompt": "trains"})
async def a_sentence_in_an_unknown_language(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.finals(1)


@scene(
    turns=(Turn(heard=ONE),),
    options={"turn_detection": {"type": "server_vad", "silence_duration_ms": 400}, "noise_reduction_type": "far_field"},
)
async def a_stream_with_its_own_turn_detection(do: STTStage) -> None:
    do.listen(language="de")
    await do.say(ONE)
    await do.finals(1)


@scene(
    turns=(Turn(heard=ONE),),
    options={"model": "gpt-live-transcribe"},
    knobs={"keeps_default_detection": False, "transcription_latency": 0.05},
)
async def a_sentence_that_a_streaming_model_hears(do: STTStage) -> None:
    do.listen()
    await do.say(spoken(ONE))
    await do.told(Kind.FINAL_TRANSCRIPT.value)
    await do.told(Kind.END_OF_SPEECH.value)


@scene(turns=(Turn(heard=ONE), Turn(heard=TWO)), faults=(FailTranscription(),))
async def a_sentence_that_is_not_transcribed(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.server.wait_sent("conversation.item.input_audio_transcription.failed")
    await do.say(TWO)
    await do.finals(1)


@scene(turns=(Turn(heard=ONE), Turn(heard=TWO)), faults=(DelayTranscription(0.3),))
async def transcripts_that_overtake_each_other(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.say(TWO)
    await do.finals(2)


@scene(
    turns=(Turn(heard=ONE),),
    faults=(CloseOn("input_audio_buffer.append", 1001, "expired", error=("session_expired", "60 minutes."), nth=5),),
)
async def a_session_that_expires(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.until(lambda: do.events(Kind.RECOGNITION_USAGE.value) or do.events("the stream raises"))


@scene(turns=(Turn(heard=ONE), Turn(heard=TWO)))
async def a_connection_that_drops(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.finals(1)
    await do.server.drop()
    await do.told("error")
    await do.server.wait_sent("session.updated", count=2)
    await do.say(TWO)
    await do.finals(2)


@scene(turns=(Turn(heard=ONE),))
async def the_end_of_the_input(do: STTStage) -> None:
    do.listen()
    await do.say(ONE)
    await do.finals(1)
    assert do.stream is not None
    do.stream.end_input()
    await do.over()


@scene(faults=(RefuseHandshake(401, '{"error": {"message": "No.", "code": "invalid_api_key"}}', times=9),))
async def a_wrong_key(do: STTStage) -> None:
    do.listen()
    await do.told("the stream raises")


@scene(turns=(Turn(heard=ONE, languages=("pt",)),), options={**UPLOADS, "prompt": "trains"})
async def a_recording(do: STTStage) -> None:
    await do.recognize(ONE)


@scene(turns=(Turn(heard=ONE, languages=("pt",)),), options={**UPLOADS, "model": "whisper-1", "detect_language": True})
async def a_recording_in_an_unknown_language(do: STTStage) -> None:
    await do.recognize(ONE)


@scene(options=UPLOADS, faults=(RefuseHandshake(400, '{"error": {"message": "No.", "code": "invalid_value"}}'),))
async def a_recording_that_is_refused(do: STTStage) -> None:
    await do.recognize(ONE)
