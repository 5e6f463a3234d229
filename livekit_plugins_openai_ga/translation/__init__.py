"""Live interpretation with `gpt-realtime-translate`: speech in any language in, speech and text in another one out."""

from ..info import SessionInfo
from .events import Reconnected, TranslatedText, TranslationUsage, TranslatorError
from .stream import TranslationStream
from .translator import Translator

__all__ = [
    "Reconnected",
    "SessionInfo",
    "TranslatedText",
    "TranslationStream",
    "TranslationUsage",
    "Translator",
    "TranslatorError",
]
