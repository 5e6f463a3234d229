"""Replies: asked for, waiting, in flight, given up. The one place that decides when a `response.create` may leave.

GA allows one reply at a time in the default conversation and refuses another with
`conversation_already_has_active_response` (livekit/agents#6817). So a request waits here until the conversation is
free. Out-of-band replies ("asides", `conversation: "none"`) run beside it and never wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..wire.session import BYTES_PER_MS

CORRELATION = "client_event_id"
"""Key in `response.metadata` that carries our request's key: the only way to know our reply from the server's own."""


@dataclass(frozen=True, slots=True)
class Request:
    """A reply somebody asked for. `params` is the `response` of the `response.create`."""

    key: str
    params: dict[str, Any]
    aside: bool


@dataclass(slots=True)
class Message:
    """A message of a reply. `spoken` is None until the server told. `audio_bytes` counts PCM received."""

    spoken: bool | None = None
    text: str = ""
    audio_bytes: int = 0
    ended: bool = False

    @property
    def audio_ms(self) -> int:
        """Speech received so far, in whole ms."""
        return self.audio_bytes // BYTES_PER_MS


@dataclass(slots=True)
class Reply:
    """A reply the server is making. A `discarded` one was given up before it began; nothing of it is shown.

    `cancel_id` is the event id of the `response.cancel` that was sent for it, None before. `over` says that the server
    had nothing to cancel: it has ended, and its `response.done` is late or lost.
    """

    response_id: str
    key: str | None
    aside: bool
    started_at: float
    discarded: bool = False
    cancel_id: str | None = None
    over: bool = False
    first_output_at: float | None = None
    messages: dict[str, Message] = field(default_factory=dict)


class Replies:
    """Every reply from request to end."""

    def __init__(self) -> None:
        self._queued: deque[Request] = deque()
        self._sent: dict[str, Request] = {}
        self._given_up: set[str] = set()  # sent, and not wanted any more
        self._live: dict[str, Reply] = {}
        self._blocked = False  # the server says that a reply is active which we do not know of

    def __iter__(self) -> Iterator[Reply]:
        return iter(list(self._live.values()))

    def get(self, response_id: str) -> Reply | None:
        """The live reply with this id."""
        return self._live.get(response_id)

    @property
    def free(self) -> bool:
        """Whether the default conversation can take a request now.

        A request on its way that was given up does not count: a server that never answered it must not block the rest.
        """
        return not (
            self._blocked
            or any(not (reply.aside or reply.over) for reply in self._live.values())
            or any(not request.aside for key, request in self._sent.items() if key not in self._given_up)
        )

    def cancelled_by(self, event_id: str | None) -> Reply | None:
        """The live reply that this `response.cancel` was for; without an id (some gateways lose it), any cancelled."""
        cancelled = (reply for reply in self if reply.cancel_id is not None)
        return next((reply for reply in cancelled if event_id in (None, reply.cancel_id)), None)

    def ask(self, request: Request) -> None:
        """Queue a request."""
        self._queued.append(request)

    def release(self) -> list[Request]:
        """Requests that may leave now, marked as sent: every aside, and the first other one when there is room."""
        leaving: list[Request] = []
        for request in list(self._queued):
            if request.aside or self.free:
                self._queued.remove(request)
                self._sent[request.key] = request
                leaving.append(request)
        return leaving

    def give_up(self, key: str) -> Reply | None:
        """Nobody wants this reply any more. Returns it when it lives already and has to be cancelled."""
        for request in self._queued:
            if request.key == key:
                self._queued.remove(request)
                self._blocked = False  # should the server be wrong about its active reply, the next request finds out
                return None
        if key in self._sent:
            # Cancelling before response.created is a no-op, and the reply is made all the same (livekit/agents#6244).
            self._given_up.add(key)
            return None
        return next((reply for reply in self._live.values() if reply.key == key), None)

    def created(self, response_id: str, key: str | None, aside: bool, now: float) -> Reply:
        """The server began a reply."""
        request = self._sent.pop(key, None) if key is not None else None
        reply = Reply(
            response_id,
            key if request is not None else None,
            request.aside if request is not None else aside,
            now,
            discarded=key is not None and key in self._given_up,
        )
        self._given_up.discard(key or "")
        self._live[response_id] = reply
        return reply

    def refused(self, key: str, *, busy: bool) -> bool:
        """The server refused a request. With `busy` it waits for its turn again; returns whether it is over."""
        request = self._sent.pop(key, None)
        wanted = key not in self._given_up
        self._given_up.discard(key)
        if request is None or not wanted:
            return False
        if busy:
            self._blocked = True
            self._queued.appendleft(request)
            return False
        return True

    def knows(self, key: str) -> bool:
        """Whether `key` is a request on its way."""
        return key in self._sent

    def done(self, response_id: str) -> Reply | None:
        """The server ended a reply; None when it never began here."""
        self._blocked = False
        return self._live.pop(response_id, None)

    def lost(self) -> None:
        """The connection is gone, and every live reply with it; requests that never began wait again."""
        self._live.clear()
        self._blocked = False
        for request in reversed([r for key, r in self._sent.items() if key not in self._given_up]):
            self._queued.appendleft(request)
        self._sent.clear()
        self._given_up.clear()

    def abandon(self) -> list[str]:
        """The session is over; returns the requests that will never be answered."""
        keys = [*(key for key in self._sent if key not in self._given_up), *(r.key for r in self._queued)]
        self._queued.clear()
        self._sent.clear()
        self._given_up.clear()
        return keys
