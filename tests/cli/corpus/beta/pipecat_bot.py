from pipecat.services.openai_realtime_beta import (  # expect: pipecat-beta
    InputAudioTranscription,
    OpenAIRealtimeBetaLLMService,
    SessionProperties,
)


def make():
    properties = SessionProperties(
        input_audio_transcription=InputAudioTranscription(),
        instructions="You are a helpful bot.",
    )
    return OpenAIRealtimeBetaLLMService(api_key="x", session_properties=properties)  # expect: pipecat-beta
