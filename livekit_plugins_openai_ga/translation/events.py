"""What a stream of translation gives out and tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from livekit.agents import APIError

from ..core.bill import SessionUsage
from ..spending import CostLimitReached as CostLimitReached
from ..spending import CostWarning as CostWarning

StreamEvents = Literal["error", "reconnected", "metrics_collected", "closed", "cost_warning", "cost_limit_reached"]


@dataclass(frozen=True, slots=True)
class TranslatedText:
    """More text, of the translation or of its source. Put texts one behind the other as they are, without spaces.

    Attributes:
        text: The new text.
        at: How far the model was in the source, in s of the audio that was pushed or filled in. What it says is made of
            what it had heard by then, so the words it stands for are a little earlier. Several texts may have the same.
    """

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class TranslatorError:
    """The event `error`.

    Attributes:
        timestamp: When, in s since 1970.
        label: Names the class that tells it.
        error: What went wrong, in LiveKit's family of errors; `error.body` is the `Failure`.
        recoverable: False: the stream is over, and its iterators raise the same error.
    """

    timestamp: float
    label: str
    error: APIError
    recoverable: bool


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The event `reconnected`: the stream goes on with another connection.

    Attributes:
        planned: The old one had become old, and was brought to its end first.
        session_id: OpenAI's id (`sess_...`) of the new session.
        behind: Source audio that waits for the new session to catch up, in s.
    """

    planned: bool
    session_id: str
    behind: float


@dataclass(frozen=True, slots=True)
class TranslationUsage(SessionUsage):
    """What a stream has used so far. OpenAI bills translation by the length of the audio, silence included.

    Attributes:
        audio_in: Source audio sent, in s: with the silence that was filled in, and what a reconnect sent again.
        audio_out: Translated audio that was given out, in s.
    """

    audio_in: float = 0.0
    audio_out: float = 0.0
