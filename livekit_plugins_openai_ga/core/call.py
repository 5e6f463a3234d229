"""A conversation whose audio runs elsewhere: in a WebRTC or SIP call, to which this connection is a sideband.

Nothing of its sound comes here. The server plays the replies, tells when it does, and cuts what was not heard. The call
goes on while our connection is down, and has all of the conversation when the next one comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import Failure
from ..wire import client_events
from ..wire import server_events as ev
from . import effects as fx
from .conversation import Conversation
from .effects import Effects
from .setup import Phase


class CallConversation(Conversation):
    """The conversation of a call. `wanted` is what is to be changed of its configuration; the rest stays."""

    def __init__(self, wanted: Mapping[str, Any]) -> None:
        super().__init__(wanted, resume_replies=False, in_call=True)
        self._playing: set[str] = set()  # responses

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        before: Effects = []
        if isinstance(event, ev.PlaybackStarted):
            before = self._played()  # one is played at a time
            self._playing.add(event.response_id)
        elif isinstance(event, ev.PlaybackStopped):
            self._playing.discard(event.response_id)
        return [*before, *super().receive(event, now)]

    def closed(self, now: float) -> Effects:
        """The connection is gone, and the call goes on: replies end here only, and user turns not even that."""
        self.setup.closed()
        self.server_tools.closed()
        lost = self.answers.lost(now, resume=False, speaking=False, unsay=False)
        return [*self._played(), *lost]

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every reply ends."""
        return [*self._played(), *super().abandon(failure, now)]

    def _played(self) -> Effects:
        playing, self._playing = self._playing, set()
        return [fx.Played(response_id, playing=False) for response_id in sorted(playing)]

    def interrupt(self, now: float) -> Effects:
        """Cancel the reply that is being made, and stop what is played of it."""
        cancels = super().interrupt(now)
        heard = self._playing or any(not reply.aside for reply in self.answers.replies)
        if not heard or self.phase is Phase.CLOSED:
            return cancels
        return [*cancels, fx.Send(client_events.playback_clear(event_id=self._event_id("playback")))]

    def truncate(self, *item_ids: str, spoken: bool, audio_end_ms: int, heard: str | None) -> Effects:
        """Remember what LiveKit takes for heard. The server knows better what was played, and has cut it."""
        for item_id in item_ids:
            record, live = self.mirror.get(item_id), self.answers.output.live(item_id)
            if record is None or heard is None:
                break
            said = live.text if live is not None else record.item.text
            if len(heard) < len(said):
                self.mirror.update(replace(record.with_item(record.item.with_text(heard)), interrupted=True))
            heard = heard[len(said) + 1 :]  # several that were played as one have a space between them
        return []
