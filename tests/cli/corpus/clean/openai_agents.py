from agents.realtime import RealtimeAgent, RealtimeRunner

agent = RealtimeAgent(name="Desk", instructions="Help.")
runner = RealtimeRunner(
    starting_agent=agent,
    config={
        "model_settings": {
            "model_name": "gpt-realtime-2.1",
            "voice": "ash",
            "modalities": ["audio"],
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": "gpt-transcribe"},
            "turn_detection": {"type": "semantic_vad", "interrupt_response": True},
        }
    },
)
