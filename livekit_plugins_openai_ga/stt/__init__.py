"""LiveKit's `STT` on GA transcription sessions."""

from ..audio import NUM_CHANNELS as NUM_CHANNELS
from ..audio import SAMPLE_RATE as SAMPLE_RATE
from .model import STT
from .stream import SpeechStream

__all__ = ["STT", "SpeechStream"]
