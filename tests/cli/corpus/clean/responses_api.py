from openai import OpenAI

client = OpenAI()
stream = client.responses.create(model="gpt-5", input="Hi", stream=True, temperature=1)
for event in stream:
    if event.type == "response.output_text.delta":
        print(event.delta, end="")
    elif event.type == "response.audio.delta":
        print("audio of the Responses API")
    elif event.type == "response.created":
        session = {"voice": "none", "temperature": 3}
