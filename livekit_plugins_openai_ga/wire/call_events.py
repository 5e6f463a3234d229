"""Server events of WebRTC and SIP calls only, where the server itself plays what the model says."""

from __future__ import annotations

from typing import ClassVar

from .values import ServerEvent, value


@value
class PlaybackStarted(ServerEvent):
    """The server began to play a reply to whoever is called."""

    type: ClassVar[str] = "output_audio_buffer.started"
    response_id: str = ""


@value
class PlaybackStopped(ServerEvent):
    """All of a reply was played."""

    type: ClassVar[str] = "output_audio_buffer.stopped"
    response_id: str = ""


@value
class PlaybackCleared(PlaybackStopped):
    """The same, but what was left of it is not played: it was interrupted."""

    type: ClassVar[str] = "output_audio_buffer.cleared"
