"""The conversation: events and requests in, effects out.

`Conversation` holds no socket and no clock. The shell tells it what happened (`opened`, `receive`, `closed`) and what
LiveKit wants (`answers.ask`, `sync`, `truncate`, ...); each call returns the effects to carry out, in order. `now` is
wall-clock seconds.

The history is sent right behind the configuration (`setup`). No reply is asked for before the connection is READY,
because the server would make it with its own defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeVar

from ..errors import Failure, Kind
from ..wire import client_events
from ..wire import server_events as ev
from ..wire.items import Item
from ..wire.session import BYTES_PER_MS, Payload
from . import answers, output, passing, server_tools
from . import effects as fx
from .answers import Answers
from .cuts import Cuts
from .effects import Effects
from .history import History
from .record import Record
from .server_tools import ServerTools
from .setup import Phase, Setup, failure_of
from .spoken import Spoken
from .turns import Turns, confidence
from .usage import transcription_usage


class Conversation:
    """One conversation over any number of connections. `wanted` is the first configuration (a `session` payload).

    `resume_replies`: whether a reply that was asked for, and of which nothing was told when its connection went, is
    asked for once more on the next one. `in_call`: see `call`. `heard_per_ms` and `spoken_per_ms`: bytes in a
    millisecond of the user's audio and of the agent's.
    """

    def __init__(
        self,
        wanted: Payload,
        *,
        resume_replies: bool = True,
        in_call: bool = False,
        heard_per_ms: int = BYTES_PER_MS,
        spoken_per_ms: int = BYTES_PER_MS,
    ) -> None:
        self._resume_replies = resume_replies
        event_id = self._event_id  # bound once for all
        self.setup = Setup(wanted, event_id)
        self.config = self.setup.config
        self.spoken = Spoken(bytes_per_ms=heard_per_ms)
        self.history = History(self.spoken.of, stays=in_call)
        self.mirror = self.history.mirror
        self.answers = Answers(self.setup, self.history, event_id, bytes_per_ms=spoken_per_ms, audible=not in_call)
        self.cuts = Cuts(self.history, self.answers.output, event_id)
        self.turns = Turns()
        self.server_tools = ServerTools(self.answers, self.history, event_id, self.turns, stays=in_call)
        self._serial = 0

    # -- what happens on the wire -------------------------------------------------------------------------------

    def opened(self, now: float, told: dict[str, Any] | None = None) -> Effects:
        """A new connection has a session. Sends the configuration, or what it was not `told` of it ahead, and, behind
        it, every item worth replaying.
        """
        return [*self.setup.opened(told), *self.history.opened()]

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        return HANDLERS[type(event)](self, event, now)

    def closed(self, now: float) -> Effects:
        """The connection is gone. What was told of live replies ends here; turns with a partial text become final with
        it."""
        self.setup.closed()
        self.cuts.closed()
        self.server_tools.closed()
        items = self._place_turns(now)
        replies = self.answers.lost(now, resume=self._resume_replies, speaking=self.turns.speaking)
        return [*items, *replies, *self._end_turns()]

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every reply ends."""
        self.setup.closed()
        self.server_tools.closed()
        self.server_tools.abandon()
        settled = [fx.Settled(key, failure) for key in (*self.config.abandon(), *self.history.abandon())]
        return [*self.answers.abandon(failure, now), *self._end_turns(), *settled]

    def _place_turns(self, now: float) -> Effects:
        """The server had made items of these turns, and had not come to tell."""
        effects: Effects = []
        for item_id in self.turns.committed_ids:
            if item_id not in self.mirror and self.spoken.of(item_id) is not None:
                item = Item(item_id, "message", role="user", content=({"type": "input_audio"},))
                effects += self.history.added(ev.ItemAdded(item, self.mirror.last_id), now)
        return effects

    def _end_turns(self) -> Effects:
        effects: Effects = []
        for item_id, content_index, text, started_at in self.turns.drain():
            self._transcribed(item_id, content_index, text, None)
            effects.append(fx.Transcript(item_id, text, True, None, started_at))
        return effects

    # -- what LiveKit wants --------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the current connection is."""
        return self.setup.phase

    @property
    def _turn_detection(self) -> Mapping[str, Any] | None:
        return ((self.config.wanted.get("audio") or {}).get("input") or {}).get("turn_detection")

    @property
    def server_vad(self) -> bool:
        """Whether the server detects turns."""
        return self._turn_detection is not None

    def configure(self, wanted: Payload, key: str | None = None) -> Effects:
        """Change the configuration; the request `key` is settled when the server answers."""
        return self.setup.configure(wanted, key)

    def sync(self, target: Sequence[Record], key: str) -> Effects:
        """Make the server's items equal to `target`; the request `key` is settled when all changes are answered."""
        return self.history.sync(target, key, connected=self.phase is not Phase.CLOSED)

    def show(self, payload: Mapping[str, Any]) -> Effects:
        """Add a frame of video, whose id begins with `FRAME_ID`. Without a READY connection it would be stale."""
        if self.phase is not Phase.READY:
            return []
        return [fx.Send(client_events.item_create(payload, event_id=self._event_id("show")))]

    def interrupt(self, now: float) -> Effects:
        """Cancel the reply that is being made in the default conversation, if any."""
        return self.answers.interrupt(now)

    def truncate(self, *item_ids: str, spoken: bool, audio_end_ms: int, heard: str | None) -> Effects:
        """Cut an assistant message to what was heard: `audio_end_ms` of it, whose text is `heard` (None: not known).

        Several that were played as one, with a space between their texts, are cut where that was.
        """
        connected = self.phase is not Phase.CLOSED
        return self.cuts.cut(*item_ids, spoken=spoken, audio_end_ms=audio_end_ms, heard=heard, connected=connected)

    # -- session -------------------------------------------------------------------------------------------------

    def _event_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}_{self._serial}"

    def _session_updated(self, event: ev.SessionUpdated, now: float) -> Effects:
        return [*self.setup.updated(event), *self.answers.release()]

    def _error(self, event: ev.Error, now: float) -> Effects:
        failure = failure_of(event.error)
        if failure.kind in (Kind.FATAL, Kind.RECONNECT):  # a close follows, or should
            return [fx.Disconnect(failure)]
        event_id = failure.client_event_id
        if (told := self.setup.refused(failure)) is not None:
            return told
        if event_id is not None and self.history.knows(event_id):
            return self.history.refused(event_id, failure)
        if event_id is not None and self.cuts.knows(event_id):
            return self.cuts.refused(event_id, failure)
        if (told := self.answers.refused(event_id, failure, now)) is not None:
            return told
        # Whatever is refused by name may be a commit, of which the outbox knows.
        unclaimed: Effects = [fx.CommitRefused(event_id)] if event_id is not None else []
        if failure.kind is Kind.BENIGN:
            noticed = fx.Noticed("benign error", failure.code or failure.message)
            return [noticed, *unclaimed, *self.answers.cancel_refused(failure.code, event_id)]
        return [fx.Report(failure), *unclaimed]

    def _item_added(self, event: ev.ItemAdded, now: float) -> Effects:
        self.server_tools.added(event.item)
        return self.history.added(event, now)

    def _output_item_done(self, event: ev.OutputItemDone, now: float) -> Effects:
        told = self.answers.output.item_done(event, now)
        return [*told, *self.server_tools.done(event.item, now)]

    def _audio(self, event: ev.AudioDelta, now: float) -> Effects:
        if not self.config.voice_fixed:
            self.setup.spoke()  # also by a reply that nobody is shown
        return self.answers.output.audio(event, now)

    # -- user turns ----------------------------------------------------------------------------------------------

    def _speech_started(self, event: ev.SpeechStarted, now: float) -> Effects:
        self.turns.started(event.item_id, now, event.audio_start_ms)
        effects: Effects = [fx.SpeechStarted(event.item_id)]
        # The answer to what is being said now is the one to that, too.
        for key in self.answers.replies.pending(lambda request: not request.own and not request.left):
            effects += self.answers.give_up(key, now)
        return effects

    def _item_deleted(self, event: ev.ItemDeleted, now: float) -> Effects:
        self.turns.forget(event.item_id)
        self.spoken.forget(event.item_id)
        return self.history.deleted(event.item_id)

    def _audio_committed(self, event: ev.AudioCommitted, now: float) -> Effects:
        turn, cut_short = self.turns.committed(event.item_id)
        # A commit in the middle of speech is answered without a speech_stopped.
        effects: Effects = [fx.SpeechStopped(event.item_id)] if cut_short else []
        if turn.end_ms is not None:  # the server ended the turn, and answers it if it was told to
            detection = self._turn_detection
            answers = detection is not None and detection.get("create_response") is not False
            self.answers.replies.owed_since = now if answers else None
        return [*effects, fx.AudioTaken(turn.end_ms, event.item_id, turn.start_ms)]

    def took(self, item_id: str, chunks: Sequence[bytes]) -> None:
        """What an `AudioTaken` took of the item's audio."""
        self.spoken.keep(item_id, chunks)

    def _speech_stopped(self, event: ev.SpeechStopped, now: float) -> Effects:
        self.turns.stopped(event.item_id, event.audio_end_ms)
        return [fx.SpeechStopped(event.item_id)]

    def _transcription_delta(self, event: ev.TranscriptionDelta, now: float) -> Effects:
        if not event.delta or self.turns.is_final(event.item_id, event.content_index):
            return []
        text = self.turns.grown(event.item_id, event.content_index, event.delta)
        return [fx.Transcript(event.item_id, text, final=False)]

    def _transcribed(self, item_id: str, content_index: int, text: str, certainty: float | None) -> None:
        def transcribed(record: Record) -> Record:
            item = record.item.with_transcript(content_index, text)
            return replace(record.with_item(item), transcribed=True, confidence=certainty)

        self.mirror.revise(item_id, transcribed)

    def _transcription_completed(self, event: ev.TranscriptionCompleted, now: float) -> Effects:
        if self.turns.is_final(event.item_id, event.content_index):
            return []  # sent twice: shown and billed once
        _, started_at = self.turns.finished(event.item_id, event.content_index)
        self.spoken.forget(event.item_id)
        certainty = confidence(event.logprobs)
        self._transcribed(event.item_id, event.content_index, event.transcript, certainty)
        effects: Effects = [fx.Transcript(event.item_id, event.transcript, True, certainty, started_at)]
        return [*effects, fx.TranscriptionBilled(event.event_id, transcription_usage(event.usage))]

    def _transcription_failed(self, event: ev.TranscriptionFailed, now: float) -> Effects:
        if self.turns.is_final(event.item_id, event.content_index):
            return []
        failure = failure_of(event.error)
        partial, started_at = self.turns.finished(event.item_id, event.content_index)
        effects: Effects = [fx.TranscriptionFailed(event.item_id, failure)]
        if partial is not None:  # whoever shows the partial text waits for a final one
            self._transcribed(event.item_id, event.content_index, partial, None)
            effects.append(fx.Transcript(event.item_id, partial, True, None, started_at))
        return effects


Part = TypeVar("Part")
Handlers = Mapping[type[ev.ServerEvent], Callable[[Conversation, Any, float], Effects]]


def _of(
    part: Callable[[Conversation], Part],
    handlers: Mapping[type[ev.ServerEvent], Callable[[Part, Any, float], Effects]],
) -> Handlers:
    """What a part of the conversation does with its events."""

    def at(handle: Callable[[Part, Any, float], Effects]) -> Callable[[Conversation, Any, float], Effects]:
        return lambda conversation, event, now: handle(part(conversation), event, now)

    return {kind: at(handle) for kind, handle in handlers.items()}


HANDLERS: Handlers = {
    **passing.PASSED_ON,
    **passing.NOTICED,
    **_of(attrgetter("answers"), answers.HANDLERS),
    **_of(attrgetter("answers.output"), output.HANDLERS),
    **_of(attrgetter("server_tools"), server_tools.HANDLERS),
    ev.SessionUpdated: Conversation._session_updated,
    ev.ItemAdded: Conversation._item_added,
    ev.ItemDone: lambda conversation, event, now: conversation.server_tools.done(event.item, now),
    ev.OutputItemDone: Conversation._output_item_done,
    ev.Error: Conversation._error,
    ev.ItemDeleted: Conversation._item_deleted,
    ev.TranscriptionDelta: Conversation._transcription_delta,
    ev.TranscriptionCompleted: Conversation._transcription_completed,
    ev.TranscriptionFailed: Conversation._transcription_failed,
    ev.AudioCommitted: Conversation._audio_committed,
    ev.SpeechStarted: Conversation._speech_started,
    ev.SpeechStopped: Conversation._speech_stopped,
    ev.AudioDelta: Conversation._audio,
}
"""What happens on each event; nothing but the conversation is different from one session to another."""
