"""OpenAI's GA Realtime API for LiveKit Agents.

`RealtimeModel` lets a LiveKit agent speak through OpenAI. It takes the keywords of
`livekit.plugins.openai.realtime.RealtimeModel`, and is reachable as `livekit.plugins.openai_ga`, too.
"""

from livekit.agents import Plugin

from . import realtime
from .log import logger
from .realtime import RealtimeModel, RealtimeSession
from .version import __version__

__all__ = ["RealtimeModel", "RealtimeSession", "__version__", "realtime"]


class OpenAIGAPlugin(Plugin):
    """Tells LiveKit that this plugin is here."""

    def __init__(self) -> None:
        super().__init__(__name__, __version__, __package__ or __name__, logger)


Plugin.register_plugin(OpenAIGAPlugin())
