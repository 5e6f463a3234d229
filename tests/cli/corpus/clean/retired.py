"""Refuses models that OpenAI shut down (gpt-4o-realtime-preview and its family)."""

REPLACED = {
    "gpt-4o-realtime-preview": "gpt-realtime-2.1",
    "gpt-4o-mini-realtime-preview": "gpt-realtime-2.1-mini",
}


def check(model: str) -> str:
    if model in REPLACED:
        raise ValueError("gpt-4o-realtime-preview is gone, and so is the header OpenAI-Beta: realtime=v1: see the guide")
    return model
