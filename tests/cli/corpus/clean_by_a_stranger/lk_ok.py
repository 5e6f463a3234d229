from livekit.agents import AgentSession
from livekit.plugins import openai

session = AgentSession(
    llm=openai.realtime.RealtimeModel(
        model="gpt-realtime-2.1",
        voice="marin",
        modalities=["audio"],
        temperature=0.8,
        turn_detection=None,
        input_audio_noise_reduction="near_field",
    ),
    tts=openai.TTS(voice="ash", model="gpt-4o-mini-tts"),
)
