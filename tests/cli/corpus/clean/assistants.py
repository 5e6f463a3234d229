"""The Assistants API had a beta header as well; nothing here is realtime."""
import httpx
from openai import OpenAI

HEADERS = {"OpenAI-Beta": "assistants=v2"}
client = OpenAI()
assistant = client.beta.assistants.create(model="gpt-4o", temperature=0.2, name="realtime-ish")
thread = client.beta.threads.create()


def runs(key):
    return httpx.get("https://api.openai.com/v1/threads", headers={**HEADERS, "Authorization": key})
