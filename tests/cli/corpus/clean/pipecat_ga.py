from pipecat.services.openai.realtime.events import AudioConfiguration, AudioInput, SessionProperties
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService


def make():
    properties = SessionProperties(
        audio=AudioConfiguration(input=AudioInput(turn_detection=False)),
        instructions="Help.",
    )
    return OpenAIRealtimeLLMService(api_key="x", session_properties=properties)
