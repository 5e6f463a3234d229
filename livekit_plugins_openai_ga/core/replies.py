"""Replies: asked for, waiting, in flight, given up. The one place that decides when a `response.create` may leave.

GA allows one reply at a time in the default conversation and refuses another with
`conversation_already_has_active_response` (livekit/agents#6817). So a request waits here until the conversation is
free. Out-of-band replies ("asides", `conversation: "none"`) run beside it and never wait.

A reply of which nothing was told can be asked for again, when its connection is lost or the server failed to make it:
whoever waits for it then gets the next one under the first one's id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .effects import MessageText
from .usage import ReplyUsage

CORRELATION = "client_event_id"
"""Key in `response.metadata` that carries our request's key: the only way to know our reply from the server's own."""

MAX_QUEUED = 100
"""Requests that may wait; an application that asks for more without an answer is stuck in a loop."""

OWED_FOR_S = 60.0
"""How long after a turn of the user a lost connection means that its reply was lost. One that the server has not begun
by then was never meant to be."""

MAX_AGAIN = 3
"""How often one reply is asked for again after it had begun."""


@dataclass(slots=True, eq=False)
class Request:
    """A reply that is wanted. `params` is the `response` of the `response.create`.

    Attributes:
        own: asked for here; False for a reply the server began by itself, or owed, and that is asked for again.
        shown_as: id of the reply that is held open for it: it began before and nothing of it was told, or it goes on.
        began_at: when that was, wall-clock seconds.
        played: it is an aside that the room hears, so an interruption ends it.
        first_output_at: when something of it was said; None for nothing yet.
        spent: what it has cost so far.
        calls: of server-side tools, which have to end before it goes on.
        again: how often it was asked for again.
        left: it has left on this connection.
        given_up: it was sent, and is not wanted any more.
    """

    key: str
    params: dict[str, Any]
    aside: bool
    own: bool = True
    played: bool = False
    shown_as: str | None = None
    began_at: float = 0.0
    first_output_at: float | None = None
    spent: ReplyUsage | None = None
    calls: set[str] = field(default_factory=set)
    again: int = 0
    left: bool = False
    given_up: bool = False

    @property
    def in_room(self) -> bool:
        """Whether it is for the room's ears."""
        return self.played or not self.aside


@dataclass(slots=True)
class Message:
    """A message of a reply. `spoken` is None until the server told. `audio_bytes` counts the speech received, of which
    `bytes_per_ms` are a millisecond.

    `told` says that the application knows of it: at its first audio, or text that is not spoken. `held` is the
    transcript that came before that.
    """

    bytes_per_ms: int
    spoken: bool | None = None
    text: str = ""
    audio_bytes: int = 0
    told: bool = False
    held: list[MessageText] = field(default_factory=list)
    ended: bool = False

    def settle(self, *, spoken: bool) -> None:
        """What came shows whether it is spoken; the first that does counts."""
        if self.spoken is None:
            self.spoken = spoken

    @property
    def audio_ms(self) -> int:
        """Speech received so far, in whole ms."""
        return self.audio_bytes // self.bytes_per_ms


@dataclass(slots=True)
class Reply:
    """A reply the server is making. A `discarded` one was given up before it began; nothing of it is shown.

    `shown_id` is the id it is told under: its own, or that of the first attempt. `told` says that a message or a
    function call of it was. `cancel_id` is the event id of the `response.cancel` that was sent for it, None before.
    `over` says that the server had nothing to cancel: it has ended, and its `response.done` is late or lost.
    `calls` are its function calls by item id, and whether each was told; `size_seen` the `size` of the last look at it.
    `served` are its calls of server-side tools that have not ended; `owing` says that nothing was said since the last
    one began, and `asking` that one waits for an approval.
    """

    response_id: str
    shown_id: str
    request: Request | None
    aside: bool
    started_at: float
    discarded: bool = False
    cancel_id: str | None = None
    over: bool = False
    told: bool = False
    first_output_at: float | None = None
    messages: dict[str, Message] = field(default_factory=dict)
    calls: dict[str, bool] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)
    owing: bool = False
    asking: bool = False
    size_seen: int = 0

    @property
    def size(self) -> int:
        """Grows with all that comes of it."""
        return sum(message.audio_bytes + len(message.text) for message in self.messages.values())

    @property
    def calls_untold(self) -> list[str]:
        """Function calls nobody knows of: not complete, or of a reply that is not shown."""
        return [item_id for item_id, told in self.calls.items() if not told]

    @property
    def in_room(self) -> bool:
        """Whether the room hears it."""
        return not self.aside or (self.request is not None and self.request.played)

    @property
    def key(self) -> str | None:
        """The key of our request for it; None when the server began it by itself."""
        return self.request.key if self.request is not None else None


class Replies:
    """Every reply from request to end."""

    __slots__ = ("_blocked", "_let_go", "_live", "_queued", "_resting", "_sent", "owed_since")

    def __init__(self) -> None:
        self.owed_since: float | None = None  # the server ended a turn of the user then, and answers it by itself
        self._queued: list[Request] = []
        self._resting: dict[str, Request] = {}  # until the server has recovered
        self._sent: dict[str, Request] = {}
        self._live: dict[str, Reply] = {}
        self._blocked = False  # the server says that a reply is active which we do not know of
        self._let_go: dict[str, None] = {}  # calls of server-side tools whose replies were stopped

    def __iter__(self) -> Iterator[Reply]:
        return iter(list(self._live.values()))

    @property
    def _wanted(self) -> list[Request]:
        """Those on their way that somebody waits for."""
        return [request for request in self._sent.values() if not request.given_up]

    def owes(self, now: float) -> bool:
        """Whether the server has to begin a reply by itself."""
        return self.owed_since is not None and now - self.owed_since < OWED_FOR_S

    def get(self, response_id: str) -> Reply | None:
        """The live reply with this id."""
        return self._live.get(response_id)

    def message(self, response_id: str, item_id: str) -> tuple[Reply, Message] | None:
        """A live reply and its message that is this item, unless that has ended."""
        if (reply := self._live.get(response_id)) is None:
            return None
        message = reply.messages.get(item_id)
        return None if message is None or message.ended else (reply, message)

    def is_shown(self, response_id: str, key: object) -> bool:
        """Whether a reply other than that of the request `key` is told, or held, under this id."""
        held = (
            (request.shown_as, request.key)
            for request in (*self._sent.values(), *self._resting.values(), *self._queued)
        )
        live = ((reply.shown_id, reply.key) for reply in self._live.values())
        return any(shown == response_id and of != key for shown, of in (*held, *live))

    def asked_as(self, key: str) -> Reply | None:
        """The live reply of the request `key`."""
        return next((reply for reply in self._live.values() if reply.key == key), None)

    @property
    def free(self) -> bool:
        """Whether the default conversation can take a request now.

        A request on its way that was given up does not count: a server that never answered it must not block the rest.
        """
        return not (
            self._blocked
            or any(not (reply.aside or reply.over) for reply in self._live.values())
            or any(not (request.aside or request.given_up) for request in self._sent.values())
        )

    def cancelled_by(self, event_id: str | None) -> Reply | None:
        """The live reply that this `response.cancel` was for; without an id (some gateways lose it), any cancelled."""
        cancelled = (reply for reply in self if reply.cancel_id is not None)
        return next((reply for reply in cancelled if event_id in (None, reply.cancel_id)), None)

    def ask(self, request: Request) -> bool:
        """Queue a request; returns whether there is room for it."""
        if len(self._queued) >= MAX_QUEUED:
            return False
        self._queued.append(request)
        return True

    def release(self) -> list[Request]:
        """Requests that may leave now, marked as sent: every aside, and the first other one when there is room."""
        leaving: list[Request] = []
        for request in list(self._queued):
            if request.aside or self.free:
                self._queued.remove(request)
                self._sent[request.key] = request
                leaving.append(request)
        return leaving

    def left(self, key: str) -> bool:
        """An event with this id leaves; returns whether it is a request that somebody wants."""
        request = self._sent.get(key)
        if request is None or request.given_up:
            return False
        request.left = True
        return True

    def unwanted(self, key: str) -> bool:
        """Whether this request was given up on its way."""
        return key in self._sent and self._sent[key].given_up

    def give_up(self, key: str) -> Request | None:
        """Nobody wants this reply any more, and it does not live yet. Returns its request."""
        for request in self._queued:
            if request.key == key:
                self._queued.remove(request)
                self._blocked = False  # should the server be wrong about its active reply, the next request finds out
                return request
        if (sent := self._sent.get(key)) is not None:
            # Cancelling before response.created is a no-op, and the reply is made all the same (livekit/agents#6244).
            sent.given_up = True
            return sent
        return self._resting.pop(key, None)

    def withdrawn(self, key: str) -> None:
        """A request that was given up never left: the server will say nothing of it."""
        self._sent.pop(key, None)

    def pending(self, which: Callable[[Request], bool]) -> list[str]:
        """The keys of the requests that did not begin, and are wanted."""
        return [request.key for request in (*self._wanted, *self._resting.values(), *self._queued) if which(request)]

    def nameless(self) -> str | None:
        """The request that an answer without a name is for: gateways can lose `metadata` and event ids.

        Only when there is one on its way, and the server does not owe a reply of its own.
        """
        sent = [key for key, request in self._sent.items() if request.left and not request.aside]
        return sent[0] if len(sent) == 1 and self.owed_since is None else None

    def created(self, response_id: str, key: str | None, aside: bool, now: float) -> Reply:
        """The server began a reply."""
        request = self._sent.pop(key, None) if key is not None else None
        if not aside:  # whoever asked for it: it answers all that was said so far
            self.owed_since = None
        reply = Reply(
            response_id,
            (request.shown_as if request is not None else None) or response_id,
            request,
            request.aside if request is not None else aside,
            request.began_at if request is not None and request.shown_as is not None else now,
            discarded=request is not None and request.given_up,
            first_output_at=request.first_output_at if request is not None else None,
        )
        self._live[response_id] = reply
        return reply

    def refused(self, key: str, *, busy: bool) -> Request | None:
        """The server refused a request. With `busy` it waits for its turn again; else it is over, and returned."""
        request = self._sent.pop(key, None)
        if request is None or request.given_up:
            return None
        if busy:
            self._blocked = True
            request.left = False
            self._queued.insert(0, request)
            return None
        return request

    def knows(self, key: str | None) -> bool:
        """Whether `key` is a request on its way."""
        return key in self._sent

    def done(self, response_id: str) -> Reply | None:
        """The server ended a reply; None when it never began here."""
        self._blocked = False
        reply = self._live.pop(response_id, None)
        if reply is not None and reply.cancel_id is not None:
            self._let_go |= dict.fromkeys(reply.served)
        return reply

    # -- asking again --------------------------------------------------------------------------------------------

    def again(self, reply: Reply, owed: Callable[[], Request]) -> Request | None:
        """The request that asks for this reply once more; None when that must not be.

        `owed` makes the one for a reply that the server had begun by itself.
        """
        if reply.told or reply.discarded or reply.over or reply.cancel_id is not None:
            return None
        if reply.served:  # nobody knows whether the tool ran, and it might run twice
            return None
        request = reply.request
        if request is None and not reply.aside:
            request = owed()
        if request is None or request.again >= MAX_AGAIN:
            return None
        request.again += 1
        request.left = False
        request.shown_as, request.began_at = reply.shown_id, reply.started_at
        return request

    def rest(self, request: Request) -> None:
        """Ask for it later: see `rested`."""
        self._resting[request.key] = request

    def rested(self, key: str) -> None:
        """The time has come; a request that was given up meanwhile stays so."""
        if (request := self._resting.pop(key, None)) is not None:
            self._queued.insert(0, request)

    def let_go(self, key: str) -> None:
        """The request `key` was stopped: nobody is to speak of the calls that it waits for when they end."""
        if (request := self._resting.get(key)) is not None:
            self._let_go |= dict.fromkeys(request.calls)

    def call_ended(self, item_id: str) -> Request | bool:
        """A call of a server-side tool ended: returns the request that waited for it and no other; else whether it
        needs no reply of its own, because one that is live or held answers it, or nobody is to.
        """
        if item_id in self._let_go:
            del self._let_go[item_id]
            return True
        for reply in self:
            if item_id in reply.served:
                reply.served.discard(item_id)
                return True
        for request in self._resting.values():
            if item_id in request.calls:
                request.calls.discard(item_id)
                return True if request.calls else request
        return False

    def lost(self, begun: list[Request]) -> None:
        """The connection is gone, and every live reply. Those in `begun`, and those on their way, wait again."""
        self._live.clear()
        self._let_go.clear()
        self._blocked, self.owed_since = False, None
        for request in reversed([*begun, *self._wanted]):
            request.left = False
            self._queued.insert(0, request)
        self._sent.clear()

    def abandon(self) -> list[Request]:
        """The session is over; returns the requests that will never be answered."""
        requests = [*self._wanted, *self._resting.values(), *self._queued]
        self._queued.clear()
        self._resting.clear()
        self._sent.clear()
        return requests
