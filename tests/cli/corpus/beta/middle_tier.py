"""Stands between the browser and the API, and changes sessions on their way."""
import json


class MiddleTier:
    voice_choice = "shimmer"

    async def to_server(self, message):
        if message["type"] == "session.update":
            session = message["session"]
            session["voice"] = self.voice_choice  # expect: session-field
            session["max_response_output_tokens"] = 800  # expect: session-field
            session["tool_choice"] = "auto"
        return json.dumps(message)

    async def to_client(self, message):
        if message["type"] == "conversation.item.created":  # expect: server-event
            return None
        return message
