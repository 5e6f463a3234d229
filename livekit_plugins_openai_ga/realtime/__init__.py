"""OpenAI's GA Realtime API as LiveKit's `RealtimeModel` and `RealtimeSession`."""

from .model import RealtimeModel
from .session import RealtimeSession

__all__ = ["RealtimeModel", "RealtimeSession"]
