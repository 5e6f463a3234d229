"""Routes OpenAI realtime events by name."""
import logging

logger = logging.getLogger(__name__)
DEFAULT_MODEL = "gpt-4o-realtime-preview-2024-12-17"  # expect: model-gone


class Dispatcher:
    def __init__(self, connection, model=DEFAULT_MODEL):
        self.connection = connection
        connection.on("response.audio.done", self.done)  # expect: server-event
        connection.on("conversation.item.created", self.created)  # expect: server-event

    def route(self, name, payload):
        if name.startswith("response.audio_transcript."):  # expect: server-event
            return self.transcript(payload)
        if name in ("response.text.delta", "response.text.done"):  # expect: server-event, server-event
            return self.text(payload)
        logger.info("nothing waits for %s (conversation.item.created?)", name)
