"""A conversation whose audio runs elsewhere: in a WebRTC or SIP call, to which this connection is a sideband.

Nothing of its sound comes here. The server plays the replies, tells when it does, and cuts what was not heard. The call
goes on while our connection is down, and has all of the conversation when the next one comes.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import Failure
from ..wire import client_events
from ..wire import server_events as ev
from ..wire.session import Payload
from . import effects as fx
from .conversation import Conversation
from .effects import Effects
from .setup import Phase


class CallConversation(Conversation):
    """The conversation of a call. `wanted` is what is to be changed of its configuration; the rest stays.

    A reply that goes on (behind a tool of an MCP server) is several responses, which are told under the first one's id
    and played one after the other. The next may be complete long before the one in front of it was heard, so how it
    ended is told when it is played.
    """

    def __init__(self, wanted: Payload) -> None:
        super().__init__(wanted, resume_replies=False, in_call=True)
        self._heard: str | None = None  # the response that is played
        self._shown: str | None = None  # the id under which it is told
        self._due: dict[str, Effects] = {}  # responses that go on with it, and how they ended

    def receive(self, event: ev.ServerEvent, now: float) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        if isinstance(event, ev.PlaybackStarted):
            return self._starts(event.response_id)
        if isinstance(event, ev.PlaybackStopped):
            return self._stops(event.response_id, cleared=isinstance(event, ev.PlaybackCleared))
        if isinstance(event, ev.AudioTranscriptDelta):
            self._goes_on(event.response_id)
        effects = super().receive(event, now)
        return self._hold(event, effects) if self._due else effects

    def _starts(self, response_id: str) -> Effects:
        reply = self.answers.replies.get(response_id)
        shown = self._shown if response_id in self._due else reply.shown_id if reply is not None else response_id
        ended = self._due.pop(response_id, [])
        # One is played at a time: should the end of the last one be lost, this one ends it.
        before = self._silent() if shown == self._shown else self._over()
        self._heard, self._shown = response_id, shown
        return [*before, fx.Played(shown or response_id, playing=True), *ended]

    def _stops(self, response_id: str, *, cleared: bool) -> Effects:
        if cleared:
            return self._over()
        ended = self._silent() if response_id == self._heard else self._due.pop(response_id, [])
        return ended if self._heard is not None or self._due else [*ended, *self._over()]

    def _silent(self) -> Effects:
        """Nothing is played, for now."""
        heard, self._heard = self._heard, None
        return [fx.Played(self._shown, playing=False)] if heard is not None and self._shown is not None else []

    def _over(self) -> Effects:
        """Nothing more is played of the reply."""
        effects = self._silent()
        for ended in self._due.values():
            effects += ended
        self._due.clear()
        self._shown = None
        return effects

    def _goes_on(self, response_id: str) -> None:
        """This response will be heard."""
        reply = self.answers.replies.get(response_id)
        if reply is not None and reply.shown_id == self._shown and response_id != self._heard:
            self._due.setdefault(response_id, [])

    def _hold(self, event: ev.ServerEvent, effects: Effects) -> Effects:
        """Keep the ends of what is not played yet; returns the other effects."""
        response = event.response.id if isinstance(event, ev.ResponseDone) else getattr(event, "response_id", None)
        last = list(self._due)[-1]
        rest: Effects = []
        for effect in effects:
            if isinstance(effect, fx.MessageEnded) and response in self._due:
                self._due[response].append(effect)
            elif isinstance(effect, fx.ReplyEnded) and effect.response_id == self._shown:
                self._due[last].append(effect)
            else:
                rest.append(effect)
        return rest

    def closed(self, now: float) -> Effects:
        """The connection is gone, and the call goes on: replies end here only, and user turns not even that."""
        self.setup.closed()
        self.server_tools.closed()
        item_id = self.turns.unheard()
        stopped: Effects = [] if item_id is None else [fx.SpeechStopped(item_id)]
        lost = self.answers.lost(now, resume=False, speaking=False, unsay=False)
        return [*self._over(), *stopped, *lost]

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every reply ends."""
        return [*self._over(), *super().abandon(failure, now)]

    def interrupt(self, now: float) -> Effects:
        """Cancel the reply that is being made, and stop what is played of it."""
        effects = super().interrupt(now)
        heard = self._shown is not None or any(not reply.aside for reply in self.answers.replies)
        if not heard or self.phase is Phase.CLOSED:
            return effects
        if self._heard is None:  # nothing is cleared, so nothing would be told of that
            effects += self._over()
        return [*effects, fx.Send(client_events.playback_clear(event_id=self._event_id("playback")))]

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
