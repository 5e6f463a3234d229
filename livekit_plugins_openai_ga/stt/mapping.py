"""Effects of the core as LiveKit's events."""

from __future__ import annotations

from collections.abc import Callable

from livekit.agents import stt

from ..core import effects as fx
from ..core.usage import TranscriptionUsage
from ..framework import PREFLIGHT_TRANSCRIPT, LanguageCode, make

_STAGES = {
    "interim": stt.SpeechEventType.INTERIM_TRANSCRIPT,
    "preflight": PREFLIGHT_TRANSCRIPT,
    "final": stt.SpeechEventType.FINAL_TRANSCRIPT,
}


def speech_event(effect: fx.Speech, heard: float | None) -> stt.SpeechEvent:
    """Somebody began to speak, or stopped; `heard` in seconds since 1970."""
    if effect.speaking:
        event = make(stt.SpeechEvent, type=stt.SpeechEventType.START_OF_SPEECH, speech_start_time=heard)
    else:
        event = make(stt.SpeechEvent, type=stt.SpeechEventType.END_OF_SPEECH, speech_end_time=heard)
    event.request_id = effect.item_id
    return event


def caption_event(
    effect: fx.Caption, language: LanguageCode, seconds: Callable[[float | None], float]
) -> stt.SpeechEvent:
    """A text, final or not. `language`: when the server names none; `seconds`: the time of a place in the audio."""
    languages = [LanguageCode(code) for code in effect.languages]
    data = make(
        stt.SpeechData,
        language=languages[0] if languages else language,
        text=effect.text,
        start_time=seconds(effect.start_ms),
        end_time=seconds(effect.end_ms) if effect.stage == "final" else 0.0,
        confidence=effect.confidence or 0.0,
        source_languages=languages or None,
    )
    if effect.failure is not None:
        data.metadata = {"incomplete": True, "code": effect.failure.code}
    return stt.SpeechEvent(type=_STAGES[effect.stage], request_id=effect.item_id, alternatives=[data])


def usage_event(item_id: str, used: TranscriptionUsage, audio_ms: float) -> stt.SpeechEvent:
    """What a segment of this length cost."""
    usage = make(
        stt.RecognitionUsage,
        audio_duration=used.seconds or audio_ms / 1000,
        input_tokens=used.input,
        output_tokens=used.output,
    )
    kind = stt.SpeechEventType.RECOGNITION_USAGE
    return stt.SpeechEvent(type=kind, request_id=item_id, recognition_usage=usage)
