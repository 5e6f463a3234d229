import json
import requests


def synth(text, voice="alloy", temperature=0.7):
    payload = {"text": text, "voice": voice, "temperature": temperature, "output_format": "pcm16"}
    r = requests.post("https://api.elevenlabs.io/v1/tts", json=payload)
    return r.content


def chat(client):
    return client.chat.completions.create(
        model="gpt-4o-audio-preview",
        modalities=["text", "audio"],
        audio={"voice": "alloy", "format": "pcm16"},
        temperature=0.3,
        messages=[{"role": "assistant", "content": [{"type": "text", "text": "hello"}]}],
    )
