"""LiveKit's `STT` on GA transcription sessions."""

from ..audio import NUM_CHANNELS as NUM_CHANNELS
from ..audio import SAMPLE_RATE as SAMPLE_RATE
from ..core.bill import SessionUsage
from ..spending import CostLimitReached, CostWarning
from .model import STT
from .stream import SpeechStream

__all__ = ["STT", "CostLimitReached", "CostWarning", "SessionUsage", "SpeechStream"]
