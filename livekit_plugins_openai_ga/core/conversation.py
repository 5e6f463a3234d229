"""The conversation: events and requests in, effects out.

`Conversation` holds no socket and no clock. The shell tells it what happened (`opened`, `receive`, `closed`) and what
LiveKit wants (`ask`, `sync`, `truncate`, ...); each call returns the effects to carry out, in order. `now` is
wall-clock seconds.

A connection goes through three phases: CLOSED, CONFIGURING (the configuration was sent, with the history behind it)
and READY (the server confirmed it). No reply is asked for before READY, because the server would make it with its
own defaults.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import errors
from ..errors import Failure, Kind
from ..wire import client_events, items, session
from ..wire import server_events as ev
from . import effects as fx
from .config import Config
from .mirror import Change, Mirror
from .output import Output
from .record import Record, identify, same_text
from .replies import CORRELATION, Replies, Reply, Request
from .turns import Turns, confidence
from .usage import reply_usage, transcription_usage

Effects = list[fx.Effect]

_REPLAY = "replay"  # the request that item changes of a reconnect belong to; nobody waits for it


class Phase(enum.Enum):
    """How far the current connection is."""

    CLOSED = "closed"
    CONFIGURING = "configuring"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class _ItemRequest:
    """An item change on its way. `key` is the request it belongs to."""

    change: Change[Record]
    key: str


class Conversation:
    """One conversation over any number of connections. `wanted` is the first configuration (a `session` payload)."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        self.config = Config(wanted)
        self.mirror: Mirror[Record] = Mirror(identify)
        self.replies = Replies()
        self.output = Output(self.replies, self.mirror)
        self.turns = Turns()
        self.phase = Phase.CLOSED
        self._connections = 0
        self._serial = 0
        self._item_requests: dict[str, _ItemRequest] = {}  # by event id
        self._item_waits: dict[str, set[str]] = {}  # request key -> event ids not answered yet
        self._handlers: Mapping[type[ev.ServerEvent], Callable[[Any, float], Effects]] = {
            ev.SessionCreated: lambda event, now: [],
            ev.SessionUpdated: self._session_updated,
            ev.Error: self._error,
            ev.ItemAdded: self._item_added,
            ev.ItemDone: self._item_done,
            ev.ItemDeleted: self._item_deleted,
            ev.TranscriptionDelta: self._transcription_delta,
            ev.TranscriptionCompleted: self._transcription_completed,
            ev.TranscriptionFailed: self._transcription_failed,
            ev.AudioCommitted: lambda event, now: [fx.AudioTaken(None)],
            ev.SpeechStarted: self._speech_started,
            ev.SpeechStopped: self._speech_stopped,
            ev.ResponseCreated: self._response_created,
            ev.ResponseDone: self._response_done,
            **self.output.handlers,
            ev.Ignored: lambda event, now: [],
            ev.Unknown: lambda event, now: [fx.Noticed("unknown event", event.name)],
            ev.Malformed: lambda event, now: [
                fx.Noticed("malformed event", f"{event.name or 'frame'}: {event.problem}")
            ],
        }

    # -- what happens on the wire -------------------------------------------------------------------------------

    def opened(self, now: float) -> Effects:
        """A new connection has a session. Sends the configuration and, behind it, every item worth replaying."""
        self.phase = Phase.CONFIGURING
        self._connections += 1
        update = self.config.opened(self._event_id("session"))
        effects: Effects = [fx.Send(client_events.session_update(update.change, event_id=update.event_id))]
        waiting = {request.change.item_id: request.key for request in self._item_requests.values()}
        self._item_requests.clear()
        self._item_waits = {key: set() for key in self._item_waits}
        previous: str | None = None
        for record in list(self.mirror):
            if items.create_payload(record.item) is None:
                self.mirror.remove(record.id)  # nothing of it can be brought back
                continue
            effects.append(self._send_change(Change(record.id, record, previous), waiting.get(record.id, _REPLAY)))
            previous = record.id
        return effects + self._settle_item_waits()

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        return self._handlers[type(event)](event, now)

    def closed(self, now: float) -> Effects:
        """The connection is gone. Live replies end here; turns that had partial text become final with it."""
        self.phase = Phase.CLOSED
        effects: Effects = []
        for reply in self.replies:
            effects += self.output.end(reply, "lost", "connection lost", now)
        self.replies.lost()
        for item_id, text, started_at in self.turns.drain():
            self._transcribed(item_id, 0, text, None)
            effects.append(fx.Transcript(item_id, text, True, None, started_at))
        return effects

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every live reply ends."""
        effects = self.closed(now)
        keys = [*self.config.abandon(), *self._item_waits, *self.replies.abandon()]
        self._item_waits.clear()
        self._item_requests.clear()
        return effects + [fx.Settled(key, failure) for key in keys]

    # -- what LiveKit wants --------------------------------------------------------------------------------------

    @property
    def server_vad(self) -> bool:
        """Whether the server detects turns."""
        return ((self.config.wanted.get("audio") or {}).get("input") or {}).get("turn_detection") is not None

    def configure(self, wanted: Mapping[str, Any], key: str | None = None) -> Effects:
        """Change the configuration; the request `key` is settled when the server answers."""
        self.config.want(wanted)
        if self.phase is Phase.CLOSED:
            if key is not None:
                self.config.wait(key)
            return []
        update = self.config.next_update(self._event_id("session"), key)
        if update is not None:
            return [fx.Send(client_events.session_update(update.change, event_id=update.event_id))]
        return [fx.Settled(key)] if key is not None and not self.config.is_waited_for(key) else []

    def sync(self, target: Sequence[Record], key: str) -> Effects:
        """Make the server's items equal to `target`; the request `key` is settled when all changes are answered."""
        known = [self._already_known(record) for record in target]
        changes = self.mirror.sync([record for record in known if self._worth_creating(record)], same_text)
        self._item_waits[key] = set()
        if self.phase is Phase.CLOSED:
            for change in changes:  # sent by `opened`, which replays the whole mirror
                if change.value is not None:
                    event_id = self._event_id("item")
                    self._item_requests[event_id] = _ItemRequest(change, key)
                    self._item_waits[key].add(event_id)
            return self._settle_item_waits()
        effects: Effects = [self._send_change(change, key) for change in changes]
        return effects + self._settle_item_waits()

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

    def truncate(self, item_id: str, *, spoken: bool, audio_end_ms: int, heard: str | None) -> Effects:
        """Cut an assistant message to what was heard: `audio_end_ms` of it, whose text is `heard` (None: not known).

        `audio_end_ms` never exceeds the audio that was received; the server refuses more (livekit/agents#2106).
        """
        record = self.mirror.get(item_id)
        if record is None:
            return []
        text = heard if heard is not None else record.item.text
        cut = replace(record.with_item(record.item.with_text(text)), interrupted=True)
        if not spoken:
            if heard is None or heard == record.item.text:
                return []
            target = [cut if r.id == item_id else r for r in self.mirror]
            return self.sync(target, self._event_id("cut"))
        received = self.output.received_ms(item_id)
        end_ms = min(audio_end_ms, received) if received is not None else audio_end_ms
        if end_ms <= 0:
            # 0 is refused, so what nobody heard is taken out altogether (livekit/agents#6157).
            change: Change[Record] = Change(item_id, None)
            self.mirror.remove(item_id)
            return [self._send_change(change, "cut")] if self.phase is not Phase.CLOSED else []
        self.mirror.update(cut)
        if self.phase is Phase.CLOSED:
            return []
        return [fx.Send(client_events.item_truncate(item_id, end_ms, event_id=self._event_id("truncate")))]

    # -- session -------------------------------------------------------------------------------------------------

    def _event_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}_{self._serial}"

    def _session_updated(self, event: ev.SessionUpdated, now: float) -> Effects:
        update = self.config.accepted()
        if update is None:
            return []
        effects: Effects = []
        if differences := session.mismatches(update.change, event.session):
            effects.append(fx.ConfigDiffers(differences))
        effects += [fx.Settled(key) for key in update.keys]
        if self.phase is Phase.CONFIGURING:
            self.phase = Phase.READY
            effects.append(fx.Ready(again=self._connections > 1))
        return effects + self._release()

    def _error(self, event: ev.Error, now: float) -> Effects:
        detail = event.error
        failure = errors.from_server_error(
            detail.code, detail.type, detail.message, param=detail.param, client_event_id=detail.client_event_id
        )
        if failure.kind in (Kind.FATAL, Kind.RECONNECT):  # a close follows, or should
            return [fx.Disconnect(failure)]
        event_id = detail.client_event_id
        if (update := self.config.refused(event_id, detail.param)) is not None:
            if self.phase is Phase.CONFIGURING:  # nothing is configured: the session would run on the server's defaults
                return [fx.Disconnect(replace(failure, kind=Kind.FATAL))]
            told: Effects = [fx.Settled(key, failure) for key in update.keys] or [fx.Report(failure)]
            return [fx.ConfigRefused(update.change), *told]
        if event_id in self._item_requests:
            return self._item_refused(event_id or "", failure)
        if event_id is not None and self.replies.knows(event_id):
            busy = failure.code == "conversation_already_has_active_response"
            over = self.replies.refused(event_id, busy=busy)
            return [fx.Settled(event_id, failure), *self._release()] if over else self._release()
        if failure.kind is Kind.BENIGN or (failure.code == "input_audio_buffer_commit_empty" and self.server_vad):
            return [fx.Noticed("benign error", failure.code or failure.message)]
        return [fx.Report(failure)]

    # -- items ---------------------------------------------------------------------------------------------------

    def _already_known(self, record: Record) -> Record:
        """Keep what is known of an item that stays: `record` was made from a copy that LiveKit held meanwhile."""
        known = self.mirror.get(record.id)
        return known if known is not None and same_text(known, record) else record

    def _worth_creating(self, record: Record) -> bool:
        """An empty item that the server does not have is a placeholder of LiveKit's."""
        return record.id in self.mirror or items.create_payload(record.item) is not None

    def _send_change(self, change: Change[Record], key: str) -> fx.Send:
        event_id = self._event_id("item")
        self._item_requests[event_id] = _ItemRequest(change, key)
        if key in self._item_waits:
            self._item_waits[key].add(event_id)
        if change.value is None:
            return fx.Send(client_events.item_delete(change.item_id, event_id=event_id))
        payload = items.create_payload(change.value.item) or {}
        previous = change.previous_id or "root"
        return fx.Send(client_events.item_create(payload, event_id=event_id, previous_item_id=previous))

    def _settle_item_waits(self) -> Effects:
        done = [key for key, open_events in self._item_waits.items() if not open_events]
        for key in done:
            del self._item_waits[key]
        return [fx.Settled(key) for key in done]

    def _answered(self, item_id: str, *, created: bool) -> str | None:
        """The server answered the oldest change of this item; returns the request it belongs to, None without one."""
        for event_id, request in self._item_requests.items():
            if request.change.item_id == item_id and (request.change.value is not None) == created:
                del self._item_requests[event_id]
                self._item_waits.get(request.key, set()).discard(event_id)
                return request.key
        return None

    def _item_added(self, event: ev.ItemAdded, now: float) -> Effects:
        known = self.mirror.get(event.item.id)
        if (key := self._answered(event.item.id, created=True)) is not None:
            previous = self.mirror.place(known, event.previous_item_id) if known is not None else None
            placed: Effects = [fx.ItemPlaced(previous, known)] if known is not None and key != _REPLAY else []
            return placed + self._settle_item_waits()
        if known is not None:
            return []  # a gateway that sends conversation.item.created as well as .added
        record = Record(event.item, now)
        previous = self.mirror.place(record, event.previous_item_id)
        return [fx.ItemPlaced(previous, record)]

    def _item_done(self, event: ev.ItemDone, now: float) -> Effects:
        """Take the final form of an item, without losing what came meanwhile (a transcript, a cut)."""
        known = self.mirror.get(event.item.id)
        if known is not None and event.item.type == "function_call":
            self.mirror.update(replace(known, item=event.item))
        return []

    def _item_deleted(self, event: ev.ItemDeleted, now: float) -> Effects:
        self.turns.forget(event.item_id)
        if self._answered(event.item_id, created=False) is None:
            self.mirror.remove(event.item_id)
        return self._settle_item_waits()

    def _item_refused(self, event_id: str, failure: Failure) -> Effects:
        request = self._item_requests.pop(event_id)
        self._item_waits.get(request.key, set()).discard(event_id)
        if failure.kind is Kind.BENIGN:  # it is there already, as the create wanted
            return self._settle_item_waits()
        value, previous = request.change.value, request.change.previous_id
        if value is not None and previous is not None and previous not in self.mirror and value.id in self.mirror:
            # It was to stand behind an item that was itself refused; now it stands behind the one before that.
            again = Change(value.id, value, self.mirror.before(value.id))
            return [self._send_change(again, request.key)]
        if value is not None:
            self.mirror.remove(value.id)
        # A refused item is not worth failing the turn over, so the request goes on without it.
        return [fx.Report(failure), *self._settle_item_waits()]

    # -- user turns ----------------------------------------------------------------------------------------------

    def _speech_started(self, event: ev.SpeechStarted, now: float) -> Effects:
        if event.item_id:
            self.turns.started(event.item_id, now)
        return [fx.SpeechStarted(event.item_id, event.audio_start_ms)]

    def _speech_stopped(self, event: ev.SpeechStopped, now: float) -> Effects:
        return [fx.SpeechStopped(event.item_id, event.audio_end_ms), fx.AudioTaken(event.audio_end_ms)]

    def _transcription_delta(self, event: ev.TranscriptionDelta, now: float) -> Effects:
        if not event.delta:
            return []
        text = self.turns.grown(event.item_id, event.content_index, event.delta)
        return [fx.Transcript(event.item_id, text, final=False)]

    def _transcribed(self, item_id: str, content_index: int, text: str, certainty: float | None) -> None:
        record = self.mirror.get(item_id)
        if record is not None:
            item = record.item.with_transcript(content_index, text)
            self.mirror.update(replace(record.with_item(item), confidence=certainty))

    def _transcription_completed(self, event: ev.TranscriptionCompleted, now: float) -> Effects:
        _, started_at = self.turns.finished(event.item_id, event.content_index)
        certainty = confidence(event.logprobs)
        self._transcribed(event.item_id, event.content_index, event.transcript, certainty)
        effects: Effects = [fx.Transcript(event.item_id, event.transcript, True, certainty, started_at)]
        if (usage := transcription_usage(event.usage)) is not None:
            effects.append(fx.TranscriptionBilled(event.event_id, usage))
        return effects

    def _transcription_failed(self, event: ev.TranscriptionFailed, now: float) -> Effects:
        detail = event.error
        failure = errors.from_server_error(detail.code, detail.type, detail.message, param=detail.param)
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
        if reply.cancelling or self.phase is Phase.CLOSED:
            return []
        reply.cancelling = True
        return [fx.Send(client_events.response_cancel(reply.response_id, event_id=self._event_id("cancel")))]

    def _response_created(self, event: ev.ResponseCreated, now: float) -> Effects:
        key = (event.response.metadata or {}).get(CORRELATION)
        aside = event.response.conversation_id is None
        reply = self.replies.created(event.response.id, key if isinstance(key, str) else None, aside, now)
        if reply.discarded:
            return [fx.Noticed("reply discarded", "it began after it was given up"), *self._cancel(reply)]
        return [fx.ReplyStarted(reply.response_id, reply.key, reply.aside)]

    def _response_done(self, event: ev.ResponseDone, now: float) -> Effects:
        reply = self.replies.done(event.response.id)
        if reply is None:
            return self._release()
        details = event.response.status_details or ev.StatusDetails()
        failure = None
        if event.response.status == "failed":
            error = details.error or ev.ErrorDetail(message="The server gave no reason.")
            failure = errors.from_server_error(error.code, error.type, error.message, param=error.param)
        usage = reply_usage(event.response.usage)
        effects = self.output.end(reply, event.response.status, details.reason, now, usage=usage, failure=failure)
        if failure is not None:
            fatal = failure.kind is Kind.FATAL
            effects.append(fx.Disconnect(failure) if fatal else fx.Report(failure))
        return effects + self._release()
