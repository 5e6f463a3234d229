from google import genai

config = {
    "response_modalities": ["AUDIO"],
    "speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}}},
    "temperature": 0.7,
    "realtime_input_config": {"turn_detection": None},
}
session = genai.Client().aio.live.connect(model="gemini-live", config=config)
