"""The conversation: events and requests in, effects out.

`Conversation` holds no socket and no clock. The shell tells it what happened (`opened`, `receive`, `closed`) and what
LiveKit wants (`ask`, `sync`, `truncate`, ...); each call returns the effects to carry out, in order. `now` is
wall-clock seconds.

The history is sent right behind the configuration (`setup`). No reply is asked for before the connection is READY,
because the server would make it with its own defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import Failure, Kind, from_exception
from ..wire import client_events
from ..wire import server_events as ev
from . import effects as fx
from .cuts import Cuts
from .effects import Effects
from .history import History
from .output import Output
from .record import Record
from .replies import CORRELATION, Replies, Reply, Request
from .setup import Phase, Setup, failure_of
from .spoken import Spoken
from .turns import Turns, confidence
from .usage import reply_usage, transcription_usage

RETRY_DELAYS_S = (0.5, 1.0, 2.0)
"""How long a server that could not make a reply is left in peace before it is asked again."""

LONGEST_REST_S = 10.0
"""A server that wants more is not asked again: nobody waits that long on the phone."""

_LOST = replace(
    from_exception(ConnectionError("The connection was lost before the reply began.")),
    kind=Kind.REPLY_FAILED,
    remedy="Ask again.",
)
_TOO_MANY = Failure(
    Kind.REQUEST_FAILED,
    "too_many_requests",
    "",
    "Too many replies are waiting to be asked for.",
    "Wait for one before you ask for the next.",
)


class Conversation:
    """One conversation over any number of connections. `wanted` is the first configuration (a `session` payload).

    `resume_replies`: whether a reply that was asked for, and of which nothing was told when its connection went, is
    asked for once more on the next one.
    """

    def __init__(self, wanted: Mapping[str, Any], *, resume_replies: bool = True) -> None:
        self._resume_replies = resume_replies
        self.setup = Setup(wanted, self._event_id)
        self.config = self.setup.config
        self.spoken = Spoken()
        self.history = History(self.spoken.of)
        self.mirror = self.history.mirror
        self.replies = Replies()
        self.output = Output(self.replies, self.mirror)
        self.cuts = Cuts(self.history, self.output, self._event_id)
        self.turns = Turns()
        self._serial = 0
        self._handlers: Mapping[type[ev.ServerEvent], Callable[[Any, float], Effects]] = {
            ev.SessionCreated: lambda event, now: [],
            ev.SessionUpdated: self._session_updated,
            ev.Error: self._error,
            ev.ItemAdded: self.history.added,
            ev.ItemDeleted: self._item_deleted,
            ev.TranscriptionDelta: self._transcription_delta,
            ev.TranscriptionCompleted: self._transcription_completed,
            ev.TranscriptionFailed: self._transcription_failed,
            ev.AudioCommitted: self._audio_committed,
            ev.SpeechStarted: self._speech_started,
            ev.SpeechStopped: self._speech_stopped,
            ev.InputTimeout: lambda event, now: [
                fx.InputTimeout(event.item_id, event.audio_start_ms, event.audio_end_ms)
            ],
            ev.RateLimitsUpdated: lambda event, now: [fx.RateLimits(event.rate_limits)],
            ev.ResponseCreated: self._response_created,
            ev.ResponseDone: self._response_done,
            **self.output.handlers,
            ev.AudioDelta: self._audio,
            ev.Ignored: lambda event, now: [],
            ev.Unknown: lambda event, now: [fx.Noticed("unknown event", event.name)],
            ev.Malformed: lambda event, now: [
                fx.Noticed("malformed event", f"{event.name or 'frame'}: {event.problem}")
            ],
        }

    # -- what happens on the wire -------------------------------------------------------------------------------

    def opened(self, now: float) -> Effects:
        """A new connection has a session. Sends the configuration and, behind it, every item worth replaying."""
        return [*self.setup.opened(), *self.history.opened()]

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        return self._handlers[type(event)](event, now)

    def closed(self, now: float) -> Effects:
        """The connection is gone. What was told of live replies ends here; turns with a partial text become final with
        it."""
        effects: Effects = []
        if not self._resume_replies:
            for key in self.replies.pending(lambda request: request.left):
                effects += self._over(self.replies.give_up(key), "lost", now, _LOST)
        return effects + self._lose(now, resume=self._resume_replies)

    def _lose(self, now: float, *, resume: bool) -> Effects:
        self.setup.closed()
        effects: Effects = []
        begun: list[Request] = []
        for reply in self.replies:
            # What the server began by itself answers a user who may be speaking again: that is answered anew.
            wanted = resume and (reply.request is not None or not self.turns.speaking)
            request = self.replies.again(reply, self._owed) if wanted else None
            effects += self._unsay(reply)
            if request is None:
                effects += self.output.end(reply, "lost", "connection lost", now)
            else:
                begun.append(request)
                effects.append(fx.ReplyAgain(request.key, "connection lost"))
        if resume and self.replies.owed and not self.turns.speaking:
            begun.append(request := self._owed())
            effects.append(fx.ReplyAgain(request.key, "connection lost"))
        self.replies.lost(begun)
        for item_id, content_index, text, started_at in self.turns.drain():
            self._transcribed(item_id, content_index, text, None)
            effects.append(fx.Transcript(item_id, text, True, None, started_at))
        return effects

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every reply ends."""
        effects = self._lose(now, resume=False)
        for request in self.replies.abandon():
            effects += self._over(request, "lost", now, failure)
        return effects + [fx.Settled(key, failure) for key in (*self.config.abandon(), *self.history.abandon())]

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

    def configure(self, wanted: Mapping[str, Any], key: str | None = None) -> Effects:
        """Change the configuration; the request `key` is settled when the server answers."""
        return self.setup.configure(wanted, key)

    def sync(self, target: Sequence[Record], key: str) -> Effects:
        """Make the server's items equal to `target`; the request `key` is settled when all changes are answered."""
        return self.history.sync(target, key, connected=self.phase is not Phase.CLOSED)

    def show(self, payload: Mapping[str, Any]) -> Effects:
        """Add an item of the moment (a video frame). Without a READY connection it is dropped: it would be stale."""
        if self.phase is not Phase.READY:
            return []
        return [fx.Send(client_events.item_create(payload, event_id=self._event_id("show")))]

    def ask(self, key: str, params: Mapping[str, Any], *, aside: bool = False) -> Effects:
        """Ask for a reply. It leaves when the connection is READY and no other reply occupies the conversation."""
        metadata = {**(params.get("metadata") or {}), CORRELATION: key}
        extra = {"conversation": "none"} if aside else {}
        if not self.replies.ask(Request(key, {**params, **extra, "metadata": metadata}, aside)):
            return [fx.Settled(key, _TOO_MANY)]
        return self._release()

    def left(self, key: str) -> bool:
        """An event with this id leaves; returns whether it asks for a reply that somebody wants."""
        return self.replies.left(key)

    def rested(self, key: str) -> Effects:
        """The delay of a `ReplyAgain` is over."""
        self.replies.rested(key)
        return self._release()

    def give_up(self, key: str, now: float, status: str = "cancelled") -> Effects:
        """Nobody waits for the reply `key` any more: it is never sent, or cancelled, or discarded when it begins.

        One that was asked for again ends with `status`.
        """
        if (reply := self.replies.asked_as(key)) is not None:
            return self._cancel(reply)
        request = self.replies.give_up(key)
        ended = self._over(request, status, now)
        return [*ended, fx.Withdraw(key), *self._release()] if request is not None else []

    def withdrawn(self, key: str) -> Effects:
        """The request `key`, which was given up, had not left and never will."""
        self.replies.withdrawn(key)
        return self._release()

    def interrupt(self, now: float) -> Effects:
        """Cancel the reply that is being made in the default conversation, if any; also one that is asked for again."""
        effects = [effect for reply in self.replies if not reply.aside for effect in self._cancel(reply)]
        for key in self.replies.pending(lambda r: not r.aside and (r.shown_as is not None or not r.own)):
            effects += self.give_up(key, now)
        return effects

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
        return [*self.setup.updated(event), *self._release()]

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
        busy = failure.code == "conversation_already_has_active_response"
        asked = self.replies.nameless() if busy and event_id is None else event_id
        if asked is not None and self.replies.knows(asked):
            request = self.replies.refused(asked, busy=busy)
            told = self._over(request, "failed", now, failure)
            unasked = request is not None and not any(isinstance(effect, fx.Settled) for effect in told)
            return [*told, *([fx.Report(failure)] if unasked else []), *self._release()]
        if failure.kind is Kind.BENIGN or (failure.code == "input_audio_buffer_commit_empty" and self.server_vad):
            noticed = fx.Noticed("benign error", failure.code or failure.message)
            return [noticed, *self._cancel_refused(failure.code, event_id)]
        return [fx.Report(failure)]

    # -- user turns ----------------------------------------------------------------------------------------------

    def _speech_started(self, event: ev.SpeechStarted, now: float) -> Effects:
        self.turns.started(event.item_id, now, event.audio_start_ms)
        effects: Effects = [fx.SpeechStarted(event.item_id)]
        # The answer to what is being said now is the one to that, too.
        for key in self.replies.pending(lambda request: not request.own and not request.left):
            effects += self.give_up(key, now)
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
            self.replies.owed = detection is not None and detection.get("create_response") is not False
        return [*effects, fx.AudioTaken(turn.end_ms, event.item_id, turn.start_ms)]

    def took(self, item_id: str, chunks: Sequence[str]) -> None:
        """What an `AudioTaken` took: base64 chunks of the item's audio."""
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
            return replace(record.with_item(item), confidence=certainty)

        self.mirror.revise(item_id, transcribed)

    def _transcription_completed(self, event: ev.TranscriptionCompleted, now: float) -> Effects:
        if self.turns.is_final(event.item_id, event.content_index):
            return []  # sent twice: shown and billed once
        _, started_at = self.turns.finished(event.item_id, event.content_index)
        self.spoken.forget(event.item_id)
        certainty = confidence(event.logprobs)
        self._transcribed(event.item_id, event.content_index, event.transcript, certainty)
        effects: Effects = [fx.Transcript(event.item_id, event.transcript, True, certainty, started_at)]
        if (usage := transcription_usage(event.usage)) is not None:
            effects.append(fx.TranscriptionBilled(event.event_id, usage))
        return effects

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

    # -- replies -------------------------------------------------------------------------------------------------

    def _release(self) -> Effects:
        if self.phase is not Phase.READY:
            return []
        return [
            fx.Send(client_events.response_create(request.params, event_id=request.key), in_turn=True)
            for request in self.replies.release()
        ]

    def _owed(self) -> Request:
        """The request for a reply that the server would have made by itself."""
        key = self._event_id("again")
        return Request(key, {"metadata": {CORRELATION: key}}, False, own=False)

    def _over(self, request: Request | None, status: str, now: float, failure: Failure | None = None) -> Effects:
        """A request will not be answered: whoever has its reply, or waits for one, is told."""
        if request is None:
            return []
        if request.shown_as is not None:
            return [fx.ReplyEnded(request.shown_as, status, "", request.began_at, None, now, None, failure)]
        return [fx.Settled(request.key, failure)] if request.own and failure is not None else []

    def _cancel(self, reply: Reply) -> Effects:
        if reply.cancel_id is not None or self.phase is Phase.CLOSED:
            return []
        reply.cancel_id = self._event_id("cancel")
        return [fx.Send(client_events.response_cancel(reply.response_id, event_id=reply.cancel_id))]

    def _cancel_refused(self, code: str, event_id: str | None) -> Effects:
        """The reply that was to be cancelled has ended. Its `response.done`, with the usage, may still come; should it
        be lost, the requests that wait for it must not wait for ever."""
        if code != "response_cancel_not_active" or (reply := self.replies.cancelled_by(event_id)) is None:
            return []
        reply.over = True
        return self._release()

    def _end_those_over(self, now: float) -> Effects:
        effects: Effects = []
        for reply in self.replies:
            if reply.over:
                self.replies.done(reply.response_id)
                effects += [*self.output.end(reply, "cancelled", "its end was lost", now), *self._unsay(reply)]
        return effects

    def _unsay(self, reply: Reply) -> Effects:
        """What nobody heard was not said: the messages of a reply of which nothing was told leave the conversation."""
        unheard = [] if reply.aside else [i for i, message in reply.messages.items() if not message.told]
        records = [record for item_id in unheard if (record := self.mirror.get(item_id)) is not None]
        connected = self.phase is not Phase.CLOSED
        empty = [record.with_item(record.item.with_text("")) for record in records if record.origin is None]
        return [effect for record in empty for effect in self.history.rewrite(record, connected=connected)]

    def _response_created(self, event: ev.ResponseCreated, now: float) -> Effects:
        if self.replies.get(event.response.id) is not None:
            return []
        before = self._end_those_over(now)
        metadata = event.response.metadata
        aside = event.response.conversation_id is None
        key = self.replies.nameless() if metadata is None and not aside else (metadata or {}).get(CORRELATION)
        reply = self.replies.created(event.response.id, key if isinstance(key, str) else None, aside, now)
        if reply.discarded:
            return [*before, fx.Noticed("reply discarded", "it began after it was given up"), *self._cancel(reply)]
        if reply.request is not None and reply.request.shown_as is not None:
            return [*before, fx.ReplyResumed(reply.shown_id, reply.request.key)]
        return [*before, fx.ReplyStarted(reply.shown_id, reply.key, reply.aside)]

    def _audio(self, event: ev.AudioDelta, now: float) -> Effects:
        self.setup.spoke()  # also by a reply that nobody is shown
        return self.output.handlers[ev.AudioDelta](event, now)

    def _response_done(self, event: ev.ResponseDone, now: float) -> Effects:
        details = event.response.status_details or ev.StatusDetails()
        failure = None
        if event.response.status == "failed":
            error = details.error or ev.ErrorDetail(message="The server gave no reason.")
            failure = failure_of(error)
        # After a fast interruption a reply can end that never began.
        reply = self.replies.done(event.response.id)
        if failure is not None and reply is not None and (again := self._once_more(reply, failure)):
            return [*again, *self._release()]
        effects: Effects = []
        if reply is not None:
            status = event.response.status or "completed"
            usage = reply_usage(event.response.usage)
            effects += self.output.end(reply, status, details.reason, now, usage=usage, failure=failure)
            effects += [] if status == "completed" else self._unsay(reply)
        if failure is not None:
            fatal = failure.kind is Kind.FATAL
            effects.append(fx.Disconnect(failure) if fatal else fx.Report(failure))
        return effects + self._release()

    def _once_more(self, reply: Reply, failure: Failure) -> Effects:
        """Ask again for a reply that the server could not make just now; nothing when that must not be."""
        if failure.kind is not Kind.REPLY_FAILED or (failure.retry_after or 0.0) > LONGEST_REST_S:
            return []
        request = self.replies.again(reply, self._owed)
        if request is None:
            return []
        self.replies.rest(request)
        delay = max(RETRY_DELAYS_S[request.again - 1], failure.retry_after or 0.0)
        return [*self._unsay(reply), fx.ReplyAgain(request.key, failure.sentence(), delay)]
