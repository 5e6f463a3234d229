"""Reads a realtime gateway that may still relay the beta's names."""

RENAMED = {
    "response.audio.delta": "response.output_audio.delta",
    "response.text.delta": "response.output_text.delta",
    "conversation.item.created": "conversation.item.added",
}


def name(event):
    return RENAMED.get(event["type"], event["type"])


def is_audio(event):
    return event["type"] in ("response.output_audio.delta", "response.audio.delta")
