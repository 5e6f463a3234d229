from openai import OpenAI

client = OpenAI()
# Chat Completions with audio: these are its own names, and it is not the realtime API.
request = {
    "model": "gpt-audio-1.5",
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "pcm16"},
    "temperature": 0.7,
    "messages": [{"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}],
}
completion = client.chat.completions.create(**request)
