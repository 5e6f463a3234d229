"""What is billed in a conversation: summed, counted and told, as LiveKit's metrics too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import effects as fx
from ..core.bill import Reached, SessionUsage
from ..core.usage import ReplyUsage
from ..options import Options
from . import mapping
from .listening import Listening
from .spending import ConversationSpending
from .telling import Telling

if TYPE_CHECKING:
    from .model import RealtimeModel


class Billing(Listening):
    """A session that knows what it costs. Its parts are made by `Shell`."""

    _model: RealtimeModel
    _options: Options
    _spending: ConversationSpending
    _telling: Telling

    @property
    def usage(self) -> SessionUsage:
        """What the session has used and cost so far, over all of its connections. Made when asked for."""
        return self._spending.usage()

    def _reply_billed(self, effect: fx.ReplyBilled) -> None:
        self._billed(self._options.model, effect.usage)

    def _transcription_billed(self, effect: fx.TranscriptionBilled) -> None:
        model = (self._options.values.get("input_audio_transcription") or {}).get("model")
        self._billed(model or "", effect.usage.counts if effect.usage is not None else None)
        if effect.usage is None:
            return
        metrics = mapping.transcription_metrics(
            effect.event_id, effect.usage, label=self._model.label, model=model, provider=self._model.provider
        )
        self.emit("metrics_collected", metrics)

    def _billed(self, model: str, usage: ReplyUsage | None) -> None:
        reached = self._spending.add(model, usage, self._telling.counters, self._telling.log)
        if reached is not None:
            self._reached(reached)

    def _reached(self, reached: Reached) -> None:
        """The session comes near its limit, or has reached it. How it ends then is the business of `limit`."""

    def _tell_reply(self, effect: fx.ReplyEnded) -> None:
        """Metrics of a reply that is over, for LiveKit."""
        self._spending.ended(effect)
        self._telling.counters.replied(effect)
        metrics = mapping.reply_metrics(
            effect, label=self._model.label, model=self._options.model, provider=self._model.provider
        )
        self.emit("metrics_collected", metrics)
