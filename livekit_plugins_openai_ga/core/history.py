"""The conversation's items at the server: changes on their way, the requests that wait for them, replay.

The mirror shows every change at once, as if the server had made it already. The server answers changes in order; one it
refuses is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from ..errors import Failure, Kind
from ..wire import client_events, items
from ..wire import server_events as ev
from ..wire.items import Item
from . import effects as fx
from .effects import Effects
from .mirror import Change, Mirror
from .record import Record, identify, same_text

_NOBODY = ""
"""The key of changes that no request waits for. LiveKit is not told of their items: it has them."""

_SHOWN = frozenset({"message", "function_call", "function_call_output", "mcp_call"})
"""Other items are the server's own (lists and approvals of MCP tools); whoever syncs never heard of them."""


@dataclass(slots=True)
class _Sent:
    """A change on its way, and the key of the request it belongs to.

    Attributes:
        appended: an item that is to come last, whatever is in front of it.
        again: it was refused before, with the item that it was anchored to.
        gone: a creation whose item was deleted before the server came to tell of it.
    """

    event_id: str
    change: Change[Record]
    key: str
    appended: bool = False
    again: bool = False
    gone: bool = False


def _is_lost_if_deleted(record: Record) -> bool:
    return items.create_payload(record.item) is None


def _stays_put(record: Record) -> bool:
    """Whether an item is left where it stands when it should move: a frame is not worth sending again."""
    return record.is_frame or _is_lost_if_deleted(record)


def _brought_back(record: Record) -> list[Record]:
    """What stands for a record in a new session."""
    standing = items.brought_back(record.item)
    return [record] if standing == (record.item,) else [Record(item, record.created_at) for item in standing]


def _new_at_the_end(target: Sequence[Record], changes: Sequence[Change[Record]]) -> frozenset[str]:
    """The items that are created behind all that stays. A session that was there before has items nobody told of, so
    what comes last here has to be told to come last there, too, not behind the last one that is known.
    """
    created = {change.item_id for change in changes if change.value is not None}
    return frozenset(takewhile(created.__contains__, (record.id for record in reversed(target))))


def _is_gone(failure: Failure) -> bool:
    """Whether the deletion was refused because there is nothing to delete. Some gateways leave the code out."""
    return failure.code == "item_delete_invalid_item_id" or failure.message.endswith("does not exist.")


def _is_placeholder(record: Record, known: Record) -> bool:
    """Whether `record` is the empty copy LiveKit took of something spoken, before its text came.

    The context of a handoff is copied in the middle of a tool call: the transcript of what the user said, and the text
    of what the agent says in the same reply, often come after that.
    """
    spoken = known.is_user_speech or known.audio_ms is not None
    return spoken and not record.item.content


class History:
    """Every item from request to acknowledgement, on one connection after another.

    `audio_of(item_id)` gives the audio of a user's turn without a transcript, in base64, if it is known. `stays`: the
    server keeps the items when the connection goes, so only changes on their way are sent again. It may have
    others, too.
    """

    __slots__ = ("_audio_of", "_calls", "_frame", "_open", "_sent", "_serial", "_stays", "_waits", "mirror")

    def __init__(self, audio_of: Callable[[str], str | None] = lambda item_id: None, *, stays: bool = False) -> None:
        self._audio_of = audio_of
        self._stays = stays
        self.mirror: Mirror[Record] = Mirror(identify)
        self._serial = 0
        self._sent: dict[str, _Sent] = {}  # by event id
        self._open: dict[str, list[_Sent]] = {}  # the same by item, in the order in which the server answers
        self._waits: dict[str, int] = {}  # request key -> changes not answered yet
        self._frame: str | None = None  # the newest frame of video
        self._calls: dict[str, None] = {}  # calls of MCP servers' tools, or what stands for them, oldest first

    def opened(self) -> Effects:
        """A new connection, whose session has no items: creates all that can be created."""
        if self._stays:
            return self._resumed()
        keys = {sent.change.item_id: sent.key for sent in self._sent.values()}
        self._sent.clear()
        self._open.clear()
        self._waits = dict.fromkeys(self._waits, 0)
        standing = [(record.id in self._calls, again) for record in self.mirror for again in _brought_back(record)]
        records = [record for _, record in standing]
        self._calls = {record.id: None for of_call, record in standing if of_call}
        payloads = {record.id: self._payload(record) for record in records}
        stale = sum(record.is_frame and payloads[record.id] is None for record in records)
        effects: Effects = [fx.Noticed("video frame not replayed", "it was not the newest")] * stale
        for change in self.mirror.restart([record for record in records if payloads[record.id] is not None]):
            key = keys.get(change.item_id, _NOBODY)
            # Appended, not anchored: one refused item must not take those behind it with it.
            effects.append(self._send(change, key, payloads[change.item_id], append=True))
        return effects + self._done(*self._waits)

    def _resumed(self) -> Effects:
        unanswered = list(self._sent.values())
        self._sent.clear()
        self._open.clear()
        self._waits = dict.fromkeys(self._waits, 0)
        again: Effects = [self._send(s.change, s.key, append=s.appended, again=s.again) for s in unanswered]
        return again + self._done(*self._waits)

    @property
    def pending(self) -> int:
        """Changes that were sent and are not answered."""
        return len(self._sent)

    def waiting(self, key: str) -> int:
        """Changes of the request `key` that were sent and are not answered."""
        return self._waits.get(key, 0)

    def sync(self, target: Sequence[Record], key: str, *, connected: bool) -> Effects:
        """Make the server's items equal to `target`; the request `key` is settled when all changes are answered."""
        target = self._with_calls(target)
        start = self.mirror.beginning(target)
        wanted = [record for record in map(self._already_known, target[start:]) if self._can_be(record)]
        changes = self.mirror.sync(wanted, same_text, _stays_put, start=start)
        self._waits[key] = 0
        last = _new_at_the_end(wanted, changes) if self._stays else frozenset()
        effects: Effects = []
        for change in changes:
            append = change.item_id in last
            if connected:
                effects.append(self._send(change, key, append=append))
            elif change.value is not None or self._stays:  # sent by `opened`
                self._expect(change, key, append=append)
        return effects + self._done(key)

    def rewrite(self, record: Record, *, connected: bool) -> Effects:
        """Replace an item by `record`, or take it out when that has nothing to show."""
        changes: list[Change[Record]] = [Change(record.id, None)]
        if not _is_lost_if_deleted(record):
            changes.append(Change(record.id, record, self.mirror.before(record.id)))
        for change in changes:
            self.mirror.change(change)
        return [self._send(change, _NOBODY) for change in changes] if connected else []

    def abandon(self) -> list[str]:
        """The session is over; returns the requests that will never be answered."""
        keys = list(self._waits)
        self._waits.clear()
        self._sent.clear()
        self._open.clear()
        return keys

    # -- what the server says ------------------------------------------------------------------------------------

    def knows(self, event_id: str | None) -> bool:
        """Whether this event is a change on its way."""
        return event_id in self._sent

    def added(self, event: ev.ItemAdded, now: float) -> Effects:
        """An item of ours was acknowledged, or the server made one."""
        item = event.item
        sent = self._answered(item.id, created=True)
        if sent is not None and sent.gone:
            self.mirror.refused(sent.change)
            return self._settle(sent)
        known = self.mirror.get(item.id)
        there = known is not None or self.mirror.hidden(item.id) is not None
        if sent is None and (there or item.type not in _SHOWN):
            return []  # a gateway can send conversation.item.created as well as .added
        record = known or Record(item, now)
        self.mirror.added(record, event.previous_item_id, sent.change if sent is not None else None)
        if record.is_frame and record.id != self._frame:
            self._forget_picture()
            self._frame = record.id
        shown = sent is None or (known is not None and sent.key != _NOBODY)
        if item.type == "mcp_call":
            self._calls[item.id] = None
        told: Effects = [fx.ItemPlaced(self.mirror.before(item.id), record)] if shown else []
        return told + self._settle(sent)

    def deleted(self, item_id: str) -> Effects:
        """An item is gone."""
        before = list(self._open.get(item_id, ()))
        sent = self._answered(item_id, created=False)
        if sent is not None:
            for earlier in before[: before.index(sent)]:
                earlier.gone = earlier.change.value is not None
        self.mirror.removed(item_id, sent.change if sent is not None else None)
        return self._settle(sent)

    def refused(self, event_id: str, failure: Failure) -> Effects:
        """The server refused a change. The request goes on without it: an item is not worth failing a turn over."""
        sent = self._sent[event_id]
        self._forget(sent)
        change, anchor = sent.change, sent.change.previous_id
        if change.value is None:
            if _is_gone(failure):
                self.mirror.removed(change.item_id, change)
                return self._settle(sent)
            self.mirror.refused(change)
            return [fx.Report(failure), *self._settle(sent)]
        if failure.kind is Kind.BENIGN:  # it is there
            if self.mirror.hidden(change.item_id) is not None:  # but not as it was wanted: its deletion was refused
                self.mirror.refused(change)
                # The caller may have edited the very object that the old one was made from.
                self.mirror.revise(change.item_id, lambda record: replace(record, origin=None))
            else:
                self.mirror.added(change.value, self.mirror.before(change.item_id), change)
            return self._settle(sent)
        record, before = self.mirror.get(change.item_id), self.mirror.before(change.item_id)
        self.mirror.refused(change)
        unanchored = anchor is not None and (anchor not in self.mirror or self.mirror.is_pending(anchor))
        if not unanchored or sent.appended:
            return [fx.Report(failure), *self._settle(sent)]
        # The refused one is the anchor, or an anchor of the anchor. This one goes behind what is left.
        if record is None:
            return self._settle(sent)
        again = Change(record.id, record, before)
        self.mirror.change(again)
        # When many are refused, each would take all behind it with it: n items would be sent n * n / 2 times.
        return [self._send(again, sent.key, append=sent.again and self._comes_last(before), again=True)]

    def _comes_last(self, previous_id: str | None) -> bool:
        """Whether what is put behind this item comes last at the server, also when this one is refused."""
        on_its_way = self._open.get(previous_id or "", ())
        return self.mirror.ends_with(previous_id) or any(sent.appended for sent in on_its_way)

    def _forget_picture(self) -> None:
        """An hour of video would be hundreds of megabytes, and no model needs to see it again after a reconnect."""
        if self._frame is not None:
            self.mirror.revise(self._frame, lambda record: record.with_item(record.item.with_text("")))

    def answered(self, item: Item) -> Effects:
        """A call of an MCP server's tool has its result, or its arguments. Told once, when the result is there."""
        known = self.mirror.get(item.id)
        if known is None or known.item.is_answered:
            return []
        record = known.with_item(item)
        self.mirror.revise(item.id, lambda _: record)
        # LiveKit appends it: what came meanwhile stands in front of it there.
        return [fx.ItemPlaced(None, record)] if item.is_answered else []

    # -- bookkeeping ---------------------------------------------------------------------------------------------

    def _with_calls(self, target: Sequence[Record]) -> Sequence[Record]:
        """`target` with the calls of MCP servers' tools where they stand here, also with those that are missing in it.

        A call cannot be moved, and LiveKit has it behind what was said while it ran. LiveKit also leaves calls out of
        a context when it knows no function of that name (`ChatContext.copy(tools=...)`), so one that is missing is not
        one that shall go, unless the item in front of it does.
        """
        calls = [record for record in self.mirror if record.id in self._calls] if self._calls else []
        if not calls:
            return target
        given = {record.id: record for record in target}
        others = [record for record in target if record.id not in self._calls or record.id not in self.mirror]
        placed: set[str | None] = {None, *(record.id for record in others)}
        behind: dict[str | None, list[Record]] = {}  # last one first
        for call in calls:
            before = self.mirror.before(call.id)
            while call.id in given and before not in placed:  # that one goes
                before = self.mirror.before(before or "")
            if before in placed:
                placed.add(call.id)
                behind.setdefault(before, []).insert(0, given.get(call.id, call))
        whole: list[Record] = []
        rest = [*reversed(others), *behind.get(None, ())]
        while rest:
            whole.append(rest.pop())
            rest += behind.get(whole[-1].id, ())
        return whole

    def _already_known(self, record: Record) -> Record:
        """Keep what is known of an item that stays: `record` was made from a copy that LiveKit held meanwhile."""
        known = self.mirror.get(record.id)
        return known if known is not None and (_is_placeholder(record, known) or same_text(known, record)) else record

    def _can_be(self, record: Record) -> bool:
        """Whether the server has this item, or can be given it; an empty one is a placeholder of LiveKit's."""
        return self.mirror.get(record.id) is record or not _is_lost_if_deleted(record)

    def _payload(self, record: Record) -> dict[str, Any] | None:
        return items.create_payload(record.item, self._audio_of(record.id))

    def _expect(self, change: Change[Record], key: str, *, append: bool = False, again: bool = False) -> str:
        self._serial += 1
        sent = _Sent(f"item_{self._serial}", change, key, append, again)
        self._sent[sent.event_id] = sent
        self._open.setdefault(change.item_id, []).append(sent)
        if key in self._waits:
            self._waits[key] += 1
        return sent.event_id

    def _send(
        self,
        change: Change[Record],
        key: str,
        payload: Mapping[str, Any] | None = None,
        *,
        append: bool = False,
        again: bool = False,
    ) -> fx.Send:
        """`payload`: of the item, when it is known already."""
        event_id = self._expect(change, key, append=append, again=again)
        if change.value is None:
            return fx.Send(client_events.item_delete(change.item_id, event_id=event_id))
        if change.value.audio_ms is not None:  # whatever it was, it is made as text: there is no speech to cut any more
            self.mirror.update(replace(change.value, audio_ms=None))
        payload = payload or self._payload(change.value) or {}
        previous = None if append else change.previous_id or "root"
        return fx.Send(client_events.item_create(payload, event_id=event_id, previous_item_id=previous))

    def _answered(self, item_id: str, *, created: bool) -> _Sent | None:
        """The server answered the oldest change of this item, if there is one."""
        for sent in self._open.get(item_id, ()):
            if (sent.change.value is not None) == created:
                self._forget(sent)
                return sent
        return None

    def _forget(self, sent: _Sent) -> None:
        del self._sent[sent.event_id]
        of_item = self._open[sent.change.item_id]
        of_item.remove(sent)
        if not of_item:
            del self._open[sent.change.item_id]
        if sent.key in self._waits:
            self._waits[sent.key] -= 1

    def _settle(self, sent: _Sent | None) -> Effects:
        """A change was answered, and nothing was sent in its place: its request may wait for nothing more."""
        return self._done(sent.key) if sent is not None else []

    def _done(self, *keys: str) -> Effects:
        done = [key for key in keys if self._waits.get(key) == 0]
        for key in done:
            del self._waits[key]
        return [fx.Settled(key) for key in done]
