from livekit.agents import AgentSession
from livekit.plugins import openai
from openai.types.realtime import AudioTranscription

OPTIONS = {
    "voice": "marin",
    "modalities": ["audio"],
    "input_audio_transcription": AudioTranscription(model="gpt-transcribe"),
    "turn_detection": None,
}


def session() -> AgentSession:
    model = openai.realtime.RealtimeModel(model="gpt-realtime-2.1", **OPTIONS)
    other = openai.realtime.RealtimeModel(
        voice="cedar", input_audio_transcription=None, input_audio_noise_reduction="near_field", turn_detection=None
    )
    return AgentSession(llm=model or other)


def test_options(make):
    for options in ({"input_audio_transcription": {"model": "gpt-transcribe"}}, {"input_audio_noise_reduction": "far_field"}):
        make(options, voice="ash", realtime=True)
