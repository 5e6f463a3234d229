from pipecat.pipeline.pipeline import Pipeline
from pipecat.services.openai_realtime_beta import (  # expect: pipecat-beta
    InputAudioTranscription,
    OpenAIRealtimeBetaLLMService,
    SessionProperties,
    TurnDetection,
)
from pipecat.services.openai_realtime_beta.events import SemanticTurnDetection  # expect: pipecat-beta

props = SessionProperties(
    input_audio_transcription=InputAudioTranscription(),
    turn_detection=TurnDetection(silence_duration_ms=1000),
    voice="alloy",
)
llm = OpenAIRealtimeBetaLLMService(  # expect: pipecat-beta
    api_key="k",
    model="gpt-4o-realtime-preview-2024-10-01",  # expect: model-gone
    session_properties=props,
)
pipeline = Pipeline([llm])
