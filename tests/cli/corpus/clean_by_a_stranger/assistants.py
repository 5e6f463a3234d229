from openai import OpenAI
from openai.types.beta.threads import Message

client = OpenAI(default_headers={"OpenAI-Beta": "assistants=v2"})
thread = client.beta.threads.create()
session = {"voice": "x", "temperature": 0.2, "type": "client"}
run = client.beta.threads.runs.create(thread_id=thread.id, assistant_id="a", temperature=0.5)
