"""OpenAI's GA Realtime API for LiveKit Agents.

`RealtimeModel` lets a LiveKit agent speak through OpenAI. It takes the keywords of
`livekit.plugins.openai.realtime.RealtimeModel`. `STT` turns speech into text while it is spoken, and takes those of
`livekit.plugins.openai.STT`. `Translator` interprets speech while it is spoken. `rest` has client secrets, calls and
webhooks. The package is reachable as `livekit.plugins.openai_ga`, too.
"""

from typing import TYPE_CHECKING

from livekit.agents import Plugin

from . import elsewhere, realtime, recording, stt
from .log import logger
from .prices import Price
from .realtime import MCPTool, RealtimeModel, RealtimeSession
from .recording import Recorder
from .stt import STT, SpeechStream
from .version import __version__

if TYPE_CHECKING:
    from . import rest, translation
    from .translation import TranslatedText, TranslationStream, Translator

__all__ = [
    "STT",
    "MCPTool",
    "Price",
    "RealtimeModel",
    "RealtimeSession",
    "Recorder",
    "SpeechStream",
    "TranslatedText",
    "TranslationStream",
    "Translator",
    "__version__",
    "realtime",
    "recording",
    "rest",
    "stt",
    "translation",
]


class OpenAIGAPlugin(Plugin):
    """Tells LiveKit that this plugin is here."""

    def __init__(self) -> None:
        super().__init__(__name__, __version__, __package__ or __name__, logger)


Plugin.register_plugin(OpenAIGAPlugin())

# What neither a conversation nor speech to text needs is imported when it is first asked for. What a call needs is here
# before it begins: an import holds the event loop.
_LATER = {
    "rest": "rest",
    "translation": "translation",
    "TranslatedText": "translation",
    "TranslationStream": "translation",
    "Translator": "translation",
}

if not TYPE_CHECKING:  # a type checker shall go on finding misspelt names
    __getattr__ = elsewhere.attribute(__name__, _LATER)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
