"""OpenAI's GA Realtime API as LiveKit's `RealtimeModel` and `RealtimeSession`."""

from typing import TYPE_CHECKING

from .. import elsewhere
from . import realtime_model as realtime_model
from . import utils as utils
from .model import RealtimeModel
from .session import RealtimeSession
from .shell import ModelChanged

__all__ = ["ModelChanged", "RealtimeModel", "RealtimeSession"]

if not TYPE_CHECKING:
    __getattr__ = elsewhere.attribute(__name__)
