"""What the agent said, cut to what was heard; and what is done when the server does not cut.

What nobody heard must not stand in the model's history. So an item that the server refuses to cut is deleted and made
anew, as the text that was heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import Failure, Kind
from ..failures import FAILURES
from ..wire import client_events
from ..wire.values import value
from . import effects as fx
from .effects import Effects
from .history import History
from .output import Output
from .record import Record

MAX_OPEN = 16
"""How many cuts are remembered in case they are refused: the answer to one comes before the agent is cut so often."""


@value
class _Cut:
    """A cut that was sent: the record before it, and the text that was heard (None: not known)."""

    before: Record
    heard: str | None


class Cuts:
    """Cuts of assistant messages. `event_id` makes ids of a kind."""

    __slots__ = ("_event_id", "_history", "_mirror", "_output", "_sent")

    def __init__(self, history: History, output: Output, event_id: Callable[[str], str]) -> None:
        self._history = history
        self._mirror = history.mirror
        self._output = output
        self._event_id = event_id
        self._sent: dict[str, _Cut] = {}  # by event id

    def cut(self, *item_ids: str, spoken: bool, audio_end_ms: int, heard: str | None, connected: bool) -> Effects:
        """Cut a message to what was heard: `audio_end_ms` of it, whose text is `heard` (None: not known).

        Several that were played as one, with a space between their texts, are cut where that was. Without a connection
        the cut is made here only: the next connection gets what is left.
        """
        effects: Effects = []
        *before, last = item_ids
        for item_id in before:
            said, received = self._made(item_id)
            if audio_end_ms < (received or 0) if spoken else heard is not None and len(heard) < len(said):
                left = heard if heard is None else heard[: len(said)]
                effects += self._cut(item_id, spoken, audio_end_ms, left, connected)
            audio_end_ms = max(0, audio_end_ms - (received or 0))
            heard = heard if heard is None else heard[len(said) + 1 :]
        return effects + self._cut(last, spoken, audio_end_ms, heard, connected)

    def _made(self, item_id: str) -> tuple[str, int | None]:
        """A message's text and its audio (ms), as far as they were received and not cut off before.

        No audio: it was written, or brought back as text by a reconnect.
        """
        record, message = self._mirror.get(item_id), self._output.live(item_id)
        if message is not None and not (record is not None and record.interrupted):
            return message.text, message.audio_ms
        return ("", None) if record is None else (record.item.text, record.audio_ms)

    def _cut(self, item_id: str, spoken: bool, audio_end_ms: int, heard: str | None, connected: bool) -> Effects:
        record = self._mirror.get(item_id)
        if record is None:
            return []
        said, received = self._made(item_id)
        cut = replace(record.with_item(record.item.with_text(said if heard is None else heard)), interrupted=True)
        if not spoken or received is None:
            return self._history.rewrite(cut, connected=connected) if heard not in (None, said) else []
        # Never beyond the audio that was received: the server refuses more (livekit/agents#2106).
        end_ms = min(audio_end_ms, received)
        if end_ms <= 0:
            # 0 is refused, so what nobody heard is taken out altogether (livekit/agents#6157).
            return self._history.rewrite(cut.with_item(cut.item.with_text("")), connected=connected)
        if record.interrupted and end_ms == received:
            return []  # an earlier cut left no more than this
        self._mirror.update(replace(cut, audio_ms=end_ms))
        if not connected:
            return []
        event_id = self._event_id("truncate")
        self._sent[event_id] = _Cut(record, heard)
        if len(self._sent) > MAX_OPEN:
            del self._sent[next(iter(self._sent))]
        return [fx.Send(client_events.item_truncate(item_id, end_ms, event_id=event_id))]

    def closed(self) -> None:
        """The connection is gone: none will be refused any more."""
        self._sent.clear()

    def knows(self, event_id: str) -> bool:
        """Whether this event is a cut that was sent."""
        return event_id in self._sent

    def refused(self, event_id: str, failure: Failure) -> Effects:
        """The server refused a cut."""
        cut = self._sent.pop(event_id)
        harmless = failure.kind is Kind.BENIGN
        told: Effects = [
            fx.Noticed("benign error", failure.code or failure.message) if harmless else fx.Report(failure)
        ]
        item_id = cut.before.id
        record = self._mirror.get(item_id)
        if record is None or record.audio_ms is None:
            return told  # since then it was taken out, or made anew as text
        if failure.meaning == FAILURES["audio_already_shorter"].meaning:
            return told  # the server has even less of it than was heard
        self._mirror.update(cut.before)  # what the server has
        message = self._output.live(item_id)
        may_grow = message is not None and not message.ended
        if cut.heard is None or (cut.heard == cut.before.item.text and not may_grow):
            return told
        return [*told, *self._history.rewrite(record, connected=True)]
