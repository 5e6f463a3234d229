"""Sees all of a call while it runs, and keeps what broke a promise at once."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents import llm

from livekit_plugins_openai_ga import RealtimeSession
from livekit_plugins_openai_ga.core.replies import MAX_QUEUED
from livekit_plugins_openai_ga.core.setup import Phase
from livekit_plugins_openai_ga.core.spoken import KEPT_MS
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.transport.outbox import MAX_EVENTS

from .application import CHUNK_MS, Application, Asked, listen
from .network import Network
from .schedule import Schedule

KEEP_MS = 30_000
MAX_CONTROL = 100
"""Changes of configuration and history that wait; a call makes a dozen, and each is a few events."""


class Watch:
    """Sees everything while the call runs, and remembers what broke a promise at once."""

    def __init__(
        self, session: RealtimeSession, app: Application, server: Emulator, network: Network, planned: Schedule
    ) -> None:
        self.session, self.app, self.server, self.network = session, app, server, network
        self.planned = planned
        self.broken: list[str] = []
        self.reconnected = 0
        self.confirmed: list[float] = []  # when the client was told that its configuration is in force
        self._received = 0
        self._sent = 0
        self.committed: set[str] = set()  # ids of items that the client was told to be made of audio
        self.turns: dict[str, bytes] = {}  # the audio of every item that the client was told of
        self.keys: dict[str, Asked] = {}
        self.left: dict[str, float] = {}  # when the latest request with this key left
        listen(session, "openai_client_event_queued", self._leaving)
        if planned.seed % 2:
            session.watches_audio = False  # or no audio would take the way that it takes in nearly every call
        listen(session, "openai_server_event_received", self._came)
        listen(session, "generation_created", self._began)
        listen(session, "session_reconnected", self._again)

    def activity(self) -> tuple[int, ...]:
        """Changes whenever something happens."""
        open_calls = sum(not call.done() for call in self.app.calls)
        open_replies = sum(not asked.future.done() for asked in self.app.asked)
        reading = self.app.pieces
        return (self._received, self._sent, len(self.network.dials), open_calls, open_replies, reading)

    def settled(self) -> bool:
        """Whether the session is over, or has a connection that is configured."""
        return is_over(self) or self.session._conversation.phase is Phase.READY

    def facts(self) -> dict[str, int]:
        """Counts that show that schedules are not idle."""
        return {
            "connections": len(self.server.sessions),
            "reconnected": self.reconnected,
            "replies heard": len(self.app.heard),
            "futures failed": sum(a.future.done() and failed(a.future) for a in self.app.asked),
            "client events": self._sent,
            "server events": self._received,
            "chunks": self.app.pushed,
            "fatal": int(is_over(self)),
            "restarts": self.app.restarts,
            "closed early": int(self.app.closed_at is not None),
            "errors": len(self.app.errors),
        }

    def _again(self, _: Any) -> None:
        self.reconnected += 1

    def _came(self, event: dict[str, Any]) -> None:
        self._received += 1
        if event.get("type") == "session.updated":
            self.confirmed.append(asyncio.get_running_loop().time())
        elif event.get("type") == "input_audio_buffer.committed":
            self.committed.add(event["item_id"])
        elif event.get("type") == "conversation.item.added":
            self.turns.setdefault(event["item"]["id"], self._spoken(event["item"]["id"]))

    def _spoken(self, item_id: str) -> bytes:
        found = (session.conversation.find(item_id) for session in self.server.sessions)  # type: ignore[union-attr]
        return bytes(next((item.audio for item in found if item is not None), b""))

    def _leaving(self, event: dict[str, Any]) -> None:
        self._sent += 1
        if self._sent % 8 == 0:  # a queue without a bound is long for more than a moment
            self._bounds()
        if event.get("type") == "response.create" and (asked := self._asked(event)) is not None:
            key = str(event.get("event_id"))
            self.keys[key] = asked
            self.left[key] = asyncio.get_running_loop().time()
            # One that was resolved may be asked for again: what came of that is judged at the end.
            if asked.future.done() and failed(asked.future):
                self.broken.append(f"a response.create left for {asked.marker}, whose future was {state(asked.future)}")

    def _bounds(self) -> None:
        outbox, conversation = self.session._outbox, self.session._conversation
        holds = {
            "ms kept": (outbox.kept_ms, KEEP_MS),
            "ms waiting": (outbox.waiting_ms, KEEP_MS + CHUNK_MS),
            "ms of turns": (conversation.spoken.ms, KEPT_MS),
            "control events": (len(outbox._control or ()), MAX_CONTROL),
            "events": (len(outbox._turn), MAX_EVENTS + MAX_QUEUED + (KEEP_MS + CHUNK_MS) // CHUNK_MS),
            "requests": (len(conversation.answers.replies.pending(lambda request: True)), MAX_QUEUED + 2),
        }
        self.broken += [f"a queue holds {held} {what}" for what, (held, limit) in holds.items() if held > limit]

    def _asked(self, event: dict[str, Any]) -> Asked | None:
        instructions = (event.get("response") or {}).get("instructions") or ""
        return next((asked for asked in self.app.asked if asked.marker in instructions), None)

    def _began(self, event: llm.GenerationCreatedEvent) -> None:
        key = next(
            (
                (sent["response"].get("metadata") or {}).get("client_event_id")
                for sent in self.server.sent("response.created")
                if sent["response"]["id"] == event.response_id
            ),
            None,
        )
        asked = self.keys.get(key or "")
        if asked is None:
            return
        future = asked.future
        if future.done() and (failed(future) or future.result().response_id != event.response_id):
            self.broken.append(f"ghost: {event.response_id} began for {asked.marker}, whose future was {state(future)}")


def failed(future: asyncio.Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def state(future: asyncio.Future[Any]) -> str:
    if not future.done():
        return "pending"
    return "cancelled" if future.cancelled() else f"failed ({future.exception()!r})" if failed(future) else "resolved"


def is_over(watch: Watch) -> bool:
    return watch.app.closed_at is not None or any(not error.recoverable for error in watch.app.errors)
