"""What a reply is made of: messages, speech, text and function calls, each told to the right reply and item.

Deltas name their response and their item, so replies that live at the same time never mix (livekit/agents#6817). A
delta for a reply that is over, or was given up, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import Failure
from ..wire import codec
from ..wire import server_events as ev
from . import effects as fx
from .effects import Effects
from .mirror import Mirror
from .record import Record
from .replies import Message, Replies, Reply
from .usage import ReplyUsage, total


def _as_said(record: Record, message: Message) -> Record:
    """The record of a message that is complete; one that was cut, or edited meanwhile, stays as it is."""
    if record.interrupted or record.origin is not None:
        return record
    record = record.with_item(record.item.with_text(message.text))
    return replace(record, audio_ms=message.audio_ms) if message.spoken else record


class Output:
    """Turns the events of live replies into effects, and remembers in the mirror what was said.

    `bytes_per_ms`: of the speech as it comes. `audible`: speech comes with its audio. Where that goes elsewhere, a
    transcript does not wait for it.
    """

    __slots__ = ("_audible", "_bytes_per_ms", "_mirror", "_replies")

    def __init__(self, replies: Replies, mirror: Mirror[Record], *, bytes_per_ms: int, audible: bool = True) -> None:
        self._replies = replies
        self._mirror = mirror
        self._bytes_per_ms = bytes_per_ms
        self._audible = audible

    def live(self, item_id: str) -> Message | None:
        """The message that is this item, while its reply is being made."""
        return next((reply.messages[item_id] for reply in self._replies if item_id in reply.messages), None)

    def end(
        self,
        reply: Reply,
        status: str,
        reason: str,
        now: float,
        *,
        usage: ReplyUsage | None = None,
        failure: Failure | None = None,
    ) -> Effects:
        """A reply is over: close what is open, remember what was said, and say so once."""
        effects = self.close(reply, whole=status == "completed")
        if reply.discarded:
            return []
        usage = total(reply.request.spent if reply.request is not None else None, usage)
        ended = fx.ReplyEnded(
            reply.shown_id, status, reason, reply.started_at, reply.first_output_at, now, usage, failure
        )
        return [*effects, ended]

    def close(self, reply: Reply, *, whole: bool) -> Effects:
        """Close what is open of a reply. `whole`: nothing is missing."""
        messages = reply.messages.items()
        return [effect for item_id, message in messages for effect in self._close(reply, item_id, message, whole=whole)]

    def _close(self, reply: Reply, item_id: str, message: Message, *, whole: bool) -> Effects:
        """`whole`: nothing is missing at its end, so text without speech is told as it is."""
        if message.ended:
            return []
        effects = self._begin(reply, item_id, message) if whole and message.text else []
        message.ended = True
        if not reply.aside:
            self._mirror.revise(item_id, lambda record: _as_said(record, message))
        if reply.discarded or not message.told:
            return []
        return [*effects, fx.MessageEnded(reply.shown_id, item_id)]

    def _begin(self, reply: Reply, item_id: str, message: Message) -> Effects:
        """The application is told of a message when there is something of it, not before."""
        if message.told:
            return []
        message.told = True
        if reply.discarded:
            return []
        reply.told = True
        held, message.held = message.held, []
        return [fx.MessageStarted(reply.shown_id, item_id, bool(message.spoken)), *held]

    def _first(self, reply: Reply, item_id: str, message: Message, now: float) -> Effects:
        """Something of a message can be heard or read, and it is the first of it."""
        if reply.first_output_at is None:
            reply.first_output_at = now
        return self._begin(reply, item_id, message)

    def _item_added(self, event: ev.OutputItemAdded, now: float) -> Effects:
        reply = self._replies.get(event.response_id)
        if reply is not None and event.item.type == "message":
            reply.messages.setdefault(event.item.id, Message(self._bytes_per_ms))
            reply.owing = False
        elif reply is not None and event.item.type == "mcp_call":
            reply.served.add(event.item.id)
            reply.owing = True
        elif reply is not None and event.item.type == "function_call":
            reply.calls.setdefault(event.item.id, False)
        return []

    def _part_added(self, event: ev.ContentPartAdded, now: float) -> Effects:
        found = self._replies.message(event.response_id, event.item_id)
        if found is not None:
            # GA says `text` here; a gateway that renames too eagerly says what the item's content says.
            found[1].settle(spoken=event.part.type not in ("text", "output_text"))
        return []

    def _written(self, event: ev.TextDelta, now: float) -> Effects:
        found = self._replies.message(event.response_id, event.item_id)
        if found is None:
            return []
        reply, message = found
        begin: Effects = []
        if not message.told:
            message.settle(spoken=False)
            begin = self._first(reply, event.item_id, message, now)
        message.text += event.delta
        text = fx.MessageText(reply.shown_id, event.item_id, event.delta)
        return [] if reply.discarded else [*begin, text]

    def _said(self, event: ev.AudioTranscriptDelta, now: float) -> Effects:
        """The transcript usually leads the audio. The caller hears nothing yet, so nothing is told yet."""
        found = self._replies.message(event.response_id, event.item_id)
        if found is None:
            return []
        reply, message = found
        begin: Effects = []
        if not message.told:
            message.settle(spoken=True)
            if not self._audible:
                begin = self._first(reply, event.item_id, message, now)
        message.text += event.delta
        text = fx.MessageText(reply.shown_id, event.item_id, event.delta, event.start_time)
        if not message.told:
            message.held.append(text)
            return []
        return [] if reply.discarded else [*begin, text]

    def audio(self, event: ev.AudioDelta, now: float) -> Effects:
        """A piece of speech; plays to whoever hears the reply."""
        found = self._replies.message(event.response_id, event.item_id)
        if found is None:
            return []
        reply, message = found
        try:
            speech = codec.b64decode(event.delta)
        except ValueError:
            return [fx.Noticed("malformed event", f"{event.type}: 'delta' is not base64")]
        begin: Effects = []
        if not message.told:
            message.settle(spoken=True)
            begin = self._first(reply, event.item_id, message, now)
        message.audio_bytes += len(speech)
        if reply.discarded:
            return []
        return [*begin, fx.MessageAudio(reply.shown_id, event.item_id, speech)]

    def item_done(self, event: ev.OutputItemDone, now: float) -> Effects:
        """A reply closed an item: a message ends, a function is called."""
        reply = self._replies.get(event.response_id)
        if reply is None:
            return []
        if event.item.type == "message":
            message = reply.messages.get(event.item.id)
            whole = event.item.status in ("", "completed")
            return self._close(reply, event.item.id, message, whole=whole) if message is not None else []
        if event.item.type != "function_call" or reply.calls.get(event.item.id):
            return []  # a call that is told twice would run twice
        # The item arrived without its arguments; a replay needs them.
        self._mirror.revise(event.item.id, lambda record: replace(record, item=event.item))
        if reply.discarded:
            return []
        if event.item.status not in ("", "completed"):
            # A call cut off half-way must never run (pipecat-ai/pipecat#2461).
            return [fx.Noticed("function call dropped", f"{event.item.name} ended {event.item.status}")]
        reply.told = reply.calls[event.item.id] = True
        return [fx.FunctionCalled(reply.shown_id, event.item)]


HANDLERS: Mapping[type[ev.ServerEvent], Callable[[Output, Any, float], Effects]] = {
    ev.OutputItemAdded: Output._item_added,
    ev.ContentPartAdded: Output._part_added,
    ev.TextDelta: Output._written,
    ev.AudioTranscriptDelta: Output._said,
    ev.AudioDelta: Output.audio,
}
