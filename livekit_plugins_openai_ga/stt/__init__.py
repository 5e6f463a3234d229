"""LiveKit's `STT` on GA transcription sessions."""

from .model import STT
from .stream import SpeechStream

__all__ = ["STT", "SpeechStream"]
