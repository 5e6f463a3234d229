from pipecat.services.openai.realtime.events import AudioConfiguration, AudioOutput, SessionProperties
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

props = SessionProperties(audio=AudioConfiguration(output=AudioOutput(voice="alloy")))
llm = OpenAIRealtimeLLMService(api_key="k", model="gpt-realtime", session_properties=props)  # expect: model-ending
