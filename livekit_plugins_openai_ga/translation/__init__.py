"""Live interpretation with `gpt-realtime-translate`: speech in any language in, speech and text in another one out."""

from ..info import SessionInfo
from .events import CostLimitReached, CostWarning, Reconnected, TranslatedText, TranslationUsage, TranslatorError
from .stream import TranslationStream
from .translator import Translator

__all__ = [
    "CostLimitReached",
    "CostWarning",
    "Reconnected",
    "SessionInfo",
    "TranslatedText",
    "TranslationStream",
    "TranslationUsage",
    "Translator",
    "TranslatorError",
]
