"""A session attached to a call that runs on OpenAI, WebRTC or SIP: everything but the audio, which runs elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from livekit import rtc
from livekit.agents import utils

from ..core.call import CallConversation
from ..core.conversation import Conversation
from ..errors import Failure, Kind, from_server_error
from ..failures import CALL_CLOSES, NO_SUCH_CALL
from ..transport.link import Link, LinkFailed
from ..wire import client_events
from . import events
from .session import RealtimeSession

_ELSEWHERE = from_server_error("audio_runs_elsewhere", None, None)
_AGENTS = ("instructions", "tools")
"""What LiveKit gives every session, also when there is none."""


class CallSession(RealtimeSession):
    """What `RealtimeModel(call_id=...).session()` gives: tools, instructions, transcripts and replies of a call.

    A lost connection attaches to the same call again; what happened in it meanwhile is not told. The call's end ends
    the session with the event `call_ended`.
    """

    _refused = False  # the application was told that audio is
    _given: frozenset[str] = frozenset()  # which of `_AGENTS` it had once

    def _begin(self) -> Conversation:
        return CallConversation(self._payload())

    def _payload(self) -> dict[str, Any]:
        """An agent that has no tools, or no instructions, leaves those of the call; but it can take back its own."""
        payload = super()._payload()
        self._given |= {name for name in _AGENTS if payload.get(name)}
        return {name: value for name, value in payload.items() if name not in _AGENTS or name in self._given}

    @property
    def _attached(self) -> bool:
        return self._telling.counters.count("connections") > 0

    async def _dial(self) -> Link:
        try:
            return await super()._dial()
        except LinkFailed as exc:
            if self._attached and exc.failure.http_status == NO_SUCH_CALL:
                raise LinkFailed(replace(exc.failure, kind=Kind.FATAL)) from None
            raise

    def _is_end(self, failure: Failure) -> bool:
        over = failure.code in _CLOSED or failure.http_status == NO_SUCH_CALL
        return over and self._attached

    def link_lost(self, failure: Failure | None) -> None:
        """The link is gone. When the call is, too, what was asked for ends with that, in `gave_up`."""
        if failure is not None and self._is_end(failure):
            self._telling.lost(None)
        else:
            super().link_lost(failure)

    def gave_up(self, failure: Failure) -> None:
        """There will be no further attempt: the call is over, or cannot be reached."""
        if not self._is_end(failure):
            super().gave_up(failure)
            return
        self._telling.log.info("the call has ended: %s", failure, extra=failure.fields())
        self._end(failure)
        self.emit("call_ended", events.CallEnded(self._options.call_id, failure.sentence()))

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Refused: the first time with an `error` event, and a line in the log. It does not raise, since LiveKit calls
        it for every frame of a room."""
        if not self._refused and self._over is None:
            self._refused = True
            self._telling.report(_ELSEWHERE)

    def commit_audio(self) -> None:
        """Make a user turn of what the caller said since the last one, where the call's turn detection is off."""
        self._outbox.put(client_events.audio_commit(event_id=utils.shortuuid("commit_")), in_turn=True)
        self._supervisor.wake()


_CLOSED = frozenset(f"close_{code}" for code in CALL_CLOSES)
