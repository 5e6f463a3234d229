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

from ..errors import Failure, Kind
from ..wire import client_events
from ..wire import server_events as ev
from . import effects as fx
from .effects import Effects
from .history import History
from .output import Output
from .record import Record
from .replies import CORRELATION, Replies, Reply, Request
from .setup import Phase, Setup, failure_of
from .turns import Turns, confidence
from .usage import reply_usage, transcription_usage


class Conversation:
    """One conversation over any number of connections. `wanted` is the first configuration (a `session` payload)."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self.setup = Setup(wanted, self._event_id)
        self.config = self.setup.config
        self.history = History()
        self.mirror = self.history.mirror
        self.replies = Replies()
        self.output = Output(self.replies, self.mirror)
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
        """The connection is gone. Live replies end here; turns that had partial text become final with it."""
        self.setup.closed()
        effects: Effects = []
        for reply in self.replies:
            effects += self.output.end(reply, "lost", "connection lost", now)
        self.replies.lost()
        for item_id, content_index, text, started_at in self.turns.drain():
            self._transcribed(item_id, content_index, text, None)
            effects.append(fx.Transcript(item_id, text, True, None, started_at))
        return effects

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every live reply ends."""
        effects = self.closed(now)
        keys = [*self.config.abandon(), *self.history.abandon(), *self.replies.abandon()]
        return effects + [fx.Settled(key, failure) for key in keys]

    # -- what LiveKit wants --------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the current connection is."""
        return self.setup.phase

    @property
    def server_vad(self) -> bool:
        """Whether the server detects turns."""
        return ((self.config.wanted.get("audio") or {}).get("input") or {}).get("turn_detection") is not None

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
        self.replies.ask(Request(key, {**params, **extra, "metadata": metadata}, aside))
        return self._release()

    def give_up(self, key: str) -> Effects:
        """Nobody waits for the reply `key` any more: it is never sent, or cancelled, or discarded when it begins."""
        reply = self.replies.give_up(key)
        return self._cancel(reply) if reply is not None else self._release()

    def interrupt(self) -> Effects:
        """Cancel the reply that is being made in the default conversation, if any."""
        return [effect for reply in self.replies if not reply.aside for effect in self._cancel(reply)]

    def truncate(self, *item_ids: str, spoken: bool, audio_end_ms: int, heard: str | None) -> Effects:
        """Cut an assistant message to what was heard: `audio_end_ms` of it, whose text is `heard` (None: not known).

        Several that were played as one, with a space between their texts, are cut where that was.
        """
        effects: Effects = []
        *before, last = item_ids
        for item_id in before:
            said, received = self._made(item_id)
            if audio_end_ms < (received or 0) if spoken else heard is not None and len(heard) < len(said):
                effects += self._cut(item_id, spoken, audio_end_ms, heard if heard is None else heard[: len(said)])
            audio_end_ms = max(0, audio_end_ms - (received or 0))
            heard = heard if heard is None else heard[len(said) + 1 :]
        return effects + self._cut(last, spoken, audio_end_ms, heard)

    def _made(self, item_id: str) -> tuple[str, int | None]:
        """A message's text and its audio received (ms); no audio: written, or brought back as text by a reconnect."""
        record, message = self.mirror.get(item_id), self.output.live(item_id)
        if message is not None:
            return message.text, message.audio_ms
        return ("", None) if record is None else (record.item.text, record.audio_ms)

    def _cut(self, item_id: str, spoken: bool, audio_end_ms: int, heard: str | None) -> Effects:
        # Never beyond the audio that was received: the server refuses more (livekit/agents#2106).
        record = self.mirror.get(item_id)
        if record is None:
            return []
        said, received = self._made(item_id)
        cut = replace(record.with_item(record.item.with_text(said if heard is None else heard)), interrupted=True)
        connected = self.phase is not Phase.CLOSED
        if not spoken or received is None:
            return self.history.rewrite(cut, connected=connected) if heard not in (None, said) else []
        end_ms = min(audio_end_ms, received)
        if end_ms <= 0:
            # 0 is refused, so what nobody heard is taken out altogether (livekit/agents#6157).
            return self.history.rewrite(cut.with_item(cut.item.with_text("")), connected=connected)
        self.mirror.update(cut)
        if not connected:
            return []
        return [fx.Send(client_events.item_truncate(item_id, end_ms, event_id=self._event_id("truncate")))]

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
        if event_id is not None and self.replies.knows(event_id):
            busy = failure.code == "conversation_already_has_active_response"
            over = self.replies.refused(event_id, busy=busy)
            return [fx.Settled(event_id, failure), *self._release()] if over else self._release()
        if failure.kind is Kind.BENIGN or (failure.code == "input_audio_buffer_commit_empty" and self.server_vad):
            noticed = fx.Noticed("benign error", failure.code or failure.message)
            return [noticed, *self._cancel_refused(failure.code, event_id)]
        return [fx.Report(failure)]

    # -- user turns ----------------------------------------------------------------------------------------------

    def _speech_started(self, event: ev.SpeechStarted, now: float) -> Effects:
        self.turns.started(event.item_id, now)
        return [fx.SpeechStarted(event.item_id)]

    def _item_deleted(self, event: ev.ItemDeleted, now: float) -> Effects:
        self.turns.forget(event.item_id)
        return self.history.deleted(event.item_id)

    def _audio_committed(self, event: ev.AudioCommitted, now: float) -> Effects:
        # A commit in the middle of speech is answered without a speech_stopped.
        stopped: Effects = [fx.SpeechStopped(event.item_id)] if self.turns.committed(event.item_id) else []
        return [*stopped, fx.AudioTaken(None)]

    def _speech_stopped(self, event: ev.SpeechStopped, now: float) -> Effects:
        self.turns.stopped()
        return [fx.SpeechStopped(event.item_id), fx.AudioTaken(event.audio_end_ms)]

    def _transcription_delta(self, event: ev.TranscriptionDelta, now: float) -> Effects:
        if not event.delta or self.turns.is_final(event.item_id, event.content_index):
            return []
        text = self.turns.grown(event.item_id, event.content_index, event.delta)
        return [fx.Transcript(event.item_id, text, final=False)]

    def _transcribed(self, item_id: str, content_index: int, text: str, certainty: float | None) -> None:
        record = self.mirror.get(item_id)
        if record is not None:
            item = record.item.with_transcript(content_index, text)
            self.mirror.update(replace(record.with_item(item), confidence=certainty))

    def _transcription_completed(self, event: ev.TranscriptionCompleted, now: float) -> Effects:
        if self.turns.is_final(event.item_id, event.content_index):
            return []  # sent twice: shown and billed once
        _, started_at = self.turns.finished(event.item_id, event.content_index)
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
        effects: Effects = []
        for request in self.replies.release():
            event = client_events.response_create(request.params, event_id=request.key)
            effects += [fx.ReplySent(request.key), fx.Send(event, in_turn=True)]
        return effects

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
                effects += self.output.end(reply, "cancelled", "its end was lost", now)
        return effects

    def _response_created(self, event: ev.ResponseCreated, now: float) -> Effects:
        if self.replies.get(event.response.id) is not None:
            return []
        before = self._end_those_over(now)
        key = (event.response.metadata or {}).get(CORRELATION)
        aside = event.response.conversation_id is None
        reply = self.replies.created(event.response.id, key if isinstance(key, str) else None, aside, now)
        if reply.discarded:
            return [*before, fx.Noticed("reply discarded", "it began after it was given up"), *self._cancel(reply)]
        return [*before, fx.ReplyStarted(reply.response_id, reply.key, reply.aside)]

    def _audio(self, event: ev.AudioDelta, now: float) -> Effects:
        self.setup.spoke()  # also by a reply that nobody is shown
        return self.output.handlers[ev.AudioDelta](event, now)

    def _response_done(self, event: ev.ResponseDone, now: float) -> Effects:
        details = event.response.status_details or ev.StatusDetails()
        failure = None
        if event.response.status == "failed":
            error = details.error or ev.ErrorDetail(message="The server gave no reason.")
            failure = failure_of(error)
        usage = reply_usage(event.response.usage)
        effects: Effects = []
        # After a fast interruption a reply can end that never began.
        if (reply := self.replies.done(event.response.id)) is not None:
            status = event.response.status or "completed"
            effects += self.output.end(reply, status, details.reason, now, usage=usage, failure=failure)
        if failure is not None:
            fatal = failure.kind is Kind.FATAL
            effects.append(fx.Disconnect(failure) if fatal else fx.Report(failure))
        return effects + self._release()
