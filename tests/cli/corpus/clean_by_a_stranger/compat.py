"""Understands both: response.audio.delta was renamed."""
RENAMED = {
    "response.audio.delta": "response.output_audio.delta",
    "response.text.delta": "response.output_text.delta",
    "conversation.item.created": "conversation.item.added",
}


def is_audio(event):
    # beta: response.audio.delta
    return event["type"] in ("response.audio.delta", "response.output_audio.delta")
