"""The agent's replies, from the wish for one to its end: when each is asked for, and when it is asked for again.

`Replies` remembers them, `Output` tells what is in them; here is what follows from what happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import Failure, Kind, from_exception
from ..wire import client_events
from ..wire import server_events as ev
from . import effects as fx
from .effects import Effects
from .history import History
from .output import Output
from .replies import CORRELATION, Replies, Reply, Request
from .setup import Phase, Setup, failure_of
from .usage import ReplyUsage, reply_usage, total

BUSY = "conversation_already_has_active_response"

RETRY_DELAYS_S = (0.5, 1.0, 2.0)
"""How long a server that could not make a reply is left in peace before it is asked again."""

LONGEST_REST_S = 10.0
"""A server that wants more is not asked again: nobody waits that long on the phone."""

REMEMBERED = 16
"""Replies whose usage was told and that are still known: what is told twice is billed once."""

_GOES_ON_WITH = ("output_modalities", "audio", "max_output_tokens", "reasoning", "tools", "parallel_tool_calls")
"""What the rest of a reply keeps, and the metadata. Instructions were followed, and a forced call was made."""

_LOST = replace(
    from_exception(ConnectionError("The connection was lost before the reply began.")),
    kind=Kind.REPLY_FAILED,
    remedy="Ask again.",
)
_UNENDED = replace(from_exception(TimeoutError()), message="The server did not end a reply that was cancelled.")
_TOO_MANY = Failure(
    Kind.REQUEST_FAILED,
    "too_many_requests",
    "",
    "Too many replies are waiting to be asked for.",
    "Wait for one before you ask for the next.",
)


class Answers:
    """Owns `Replies` and `Output`. `event_id` makes ids of a kind; `bytes_per_ms` and `audible` as in `Output`."""

    __slots__ = ("_billed", "_event_id", "_history", "_refused", "_setup", "output", "replies")

    def __init__(
        self,
        setup: Setup,
        history: History,
        event_id: Callable[[str], str],
        *,
        bytes_per_ms: int,
        audible: bool = True,
    ) -> None:
        self.replies = Replies()
        self.output = Output(self.replies, history.mirror, bytes_per_ms=bytes_per_ms, audible=audible)
        self._setup = setup
        self._history = history
        self._event_id = event_id
        self._billed: tuple[str, ...] = ()  # the newest responses that were billed
        self._refused: Failure | None = None  # why nothing is asked for any more

    def ask(self, key: str, params: Mapping[str, Any], *, aside: bool = False, played: bool = False) -> Effects:
        """Ask for a reply. It leaves when the connection is READY and no other reply occupies the conversation.

        `aside`: it is no part of the conversation and waits for none. `played`: the room hears it all the same.
        """
        metadata = {**(params.get("metadata") or {}), CORRELATION: key}
        extra = {"conversation": "none"} if aside else {}
        if not self.replies.ask(Request(key, {**params, **extra, "metadata": metadata}, aside, played=played)):
            return [fx.Settled(key, _TOO_MANY)]
        return self.release()

    def left(self, key: str) -> bool:
        """An event with this id leaves; returns whether it asks for a reply that somebody wants."""
        return self.replies.left(key)

    def waits_again(self, key: str) -> bool:
        """Whether the request `key`, which had left, has to leave again: on another connection, or behind a reply.

        A server that says it is busy, although no reply is known here, is not waited for without end.
        """
        busy = any(not reply.aside for reply in self.replies)
        return not self.replies.knows(key) and (busy or self._setup.phase is not Phase.READY)

    def rested(self, key: str) -> Effects:
        """The delay of a `ReplyAgain` is over."""
        self.replies.rested(key)
        return self.release()

    def give_up(self, key: str, now: float, status: str = "cancelled") -> Effects:
        """Nobody waits for the reply `key` any more: it is never sent, or cancelled, or discarded when it begins.

        One that was asked for again ends with `status`.
        """
        if (reply := self.replies.asked_as(key)) is not None:
            return self._cancel(reply)
        request = self.replies.give_up(key)
        ended = self._over(request, status, now)
        return [*ended, fx.Withdraw(key), *self.release()] if request is not None else []

    def withdrawn(self, key: str) -> Effects:
        """The request `key`, which was given up, had not left and never will."""
        self.replies.withdrawn(key)
        return self.release()

    def refuse(self, failure: Failure, now: float) -> Effects:
        """From now on nothing is asked for: whoever waits for what has not left is told `failure`, which is also how a
        reply ends that was to be asked for again, or to go on. What the server has been asked for goes on to its end.
        """
        self._refused = failure
        effects: Effects = []
        for key in self.replies.pending(lambda request: not request.left):
            effects += [*self._over(self.replies.give_up(key), "failed", now, failure), fx.Withdraw(key)]
        return effects

    def interrupt(self, now: float) -> Effects:
        """Cancel the replies that are being made for the room; also those that are asked for again."""
        effects = [effect for reply in self.replies if reply.in_room for effect in self._cancel(reply)]
        return effects + self._stop(lambda r: r.in_room and (r.shown_as is not None or not r.own), now)

    def cancel(self, response_id: str, now: float) -> Effects:
        """Cancel the reply that is told under this id, also one that is asked for again. Does nothing when it ended."""
        effects = [effect for reply in self.replies if reply.shown_id == response_id for effect in self._cancel(reply)]
        return effects + self._stop(lambda request: request.shown_as == response_id, now)

    def _stop(self, which: Callable[[Request], bool], now: float) -> Effects:
        """Give these up. What their calls of server-side tools bring waits for the next reply."""
        effects: Effects = []
        for key in self.replies.pending(which):
            self.replies.let_go(key)
            effects += self.give_up(key, now)
        return effects

    def lost(self, now: float, *, resume: bool, speaking: bool, unsay: bool = True) -> Effects:
        """The connection is gone. What was told of live replies ends here.

        With `resume`, the others are asked for again on the next connection. `speaking`: the user was. `unsay`: what
        was not told leaves the conversation.
        """
        resume = resume and self._refused is None
        effects: Effects = []
        for key in self.replies.pending(lambda request: bool(request.calls)):  # nobody will tell how these ended
            effects += self._over(self.replies.give_up(key), "lost", now)
        if not resume:
            for key in self.replies.pending(lambda request: request.left):
                effects += self._over(self.replies.give_up(key), "lost", now, self._refused or _LOST)
        begun: list[Request] = []
        for reply in self.replies:
            # What the server began by itself answers a user who speaks again: that is answered anew.
            wanted = resume and (reply.request is not None or not speaking)
            request = self.replies.again(reply, self._owed) if wanted else None
            effects += self._unsay(reply) if unsay else []
            if request is None:
                effects += self.output.end(reply, "lost", "connection lost", now)
            else:
                begun.append(request)
        if resume and self.replies.owes(now) and not speaking:
            begun.append(self._owed())
        self.replies.lost(begun)
        return effects + [fx.ReplyAgain(request.key, "connection lost") for request in begun]

    def abandon(self, failure: Failure, now: float) -> Effects:
        """The session is over: every open request fails with `failure`, every reply ends."""
        effects: Effects = []
        for reply in self.replies:
            effects += self.output.end(reply, "lost", "connection lost", now)
        self.replies.lost([])
        for request in self.replies.abandon():
            effects += self._over(request, "lost", now, failure)
        return effects

    def refused(self, event_id: str | None, failure: Failure, now: float) -> Effects | None:
        """The server refused something; None when it was no request for a reply."""
        busy = failure.code == BUSY
        key = self.replies.nameless() if busy and event_id is None else event_id
        if busy and event_id is None and key is None:
            self.replies.owed_since = None  # it was the server itself that could not answer
        if key is None or not self.replies.knows(key):
            return None
        request = self.replies.refused(key, busy=busy and self._refused is None)
        failure = (self._refused if busy else None) or failure
        told = self._over(request, "failed", now, failure)
        # Nobody waits for a reply that was asked for again; so it is told as what it is.
        reported = [] if request is None or self._is_waited_for(request) else [fx.Report(failure)]
        return [*told, *reported, *self.release()]

    def release(self) -> Effects:
        """Send the requests that may leave now."""
        if self._setup.phase is not Phase.READY:
            return []
        return [
            fx.Send(client_events.response_create(self._params(request), event_id=request.key), in_turn=True)
            for request in self.replies.release()
        ]

    def _params(self, request: Request) -> dict[str, Any]:
        """What is asked of the server: out of band, without those of the session's tools that the server runs. Such a
        call would end the reply, and nobody could go on with the result.
        """
        params, wanted = request.params, self._setup.config.wanted
        tools = wanted.get("tools") or ()
        own = [tool for tool in tools if tool.get("type") != "mcp"]
        if not request.aside or len(own) == len(tools) or "tools" in params or params.get("tool_choice") == "none":
            return params
        choice = wanted.get("tool_choice")
        impossible = choice.get("type") == "mcp" if isinstance(choice, Mapping) else not own
        return {**({"tool_choice": "none"} if impossible else {}), **params, "tools": own}

    def _owed(self) -> Request:
        """The request for a reply that the server would have made by itself."""
        key = self._event_id("again")
        return Request(key, {"metadata": {CORRELATION: key}}, False, own=False)

    def _over(self, request: Request | None, status: str, now: float, failure: Failure | None = None) -> Effects:
        """A request will not be answered: whoever has its reply, or waits for one, is told."""
        if request is None:
            return []
        if request.shown_as is not None:
            times = (request.began_at, request.first_output_at, now)
            return [fx.ReplyEnded(request.shown_as, status, "", *times, request.spent, failure)]
        return [fx.Settled(request.key, failure)] if failure is not None and self._is_waited_for(request) else []

    def _is_waited_for(self, request: Request) -> bool:
        return request.own and request.shown_as is None

    def _cancel(self, reply: Reply) -> Effects:
        if reply.cancel_id is not None or self._setup.phase is Phase.CLOSED:
            return []
        reply.cancel_id = self._event_id("cancel")
        return [fx.Send(client_events.response_cancel(reply.response_id, event_id=reply.cancel_id))]

    def cancel_refused(self, code: str, event_id: str | None) -> Effects:
        """The reply that was to be cancelled has ended. Its `response.done`, with the usage, may still come; should it
        be lost, the requests that wait for it must not wait for ever."""
        if code != "response_cancel_not_active" or (reply := self.replies.cancelled_by(event_id)) is None:
            return []
        reply.over = True
        return self.release()

    def unended(self, cancel_id: str, now: float) -> Effects | None:
        """The server had time to end the reply that this `response.cancel` was for. When it has not, it ends here, or
        (when nothing was said to the cancel at all) with the connection.

        None: it still comes in, over a slow line, so it deserves as much time again.
        """
        if (reply := self.replies.cancelled_by(cancel_id)) is None:
            return []
        if reply.over:
            return self._end_those_over(now)
        before, reply.size_seen = reply.size_seen, reply.size
        return None if reply.size != before else [fx.Disconnect(_UNENDED)]

    def _end_those_over(self, now: float) -> Effects:
        effects: Effects = []
        for reply in self.replies:
            if reply.over:
                self.replies.done(reply.response_id)
                effects += [*self.output.end(reply, "cancelled", "its end was lost", now), *self._unsay(reply)]
        return effects

    def _unsay(self, reply: Reply) -> Effects:
        """What nobody heard was not said: messages and calls of which nothing was told leave the conversation."""
        if reply.aside:
            return []
        unheard = [*(i for i, message in reply.messages.items() if not message.told), *reply.calls_untold]
        records = [record for item_id in unheard if (record := self._history.mirror.get(item_id)) is not None]
        connected = self._setup.phase is not Phase.CLOSED
        empty = [record.with_item(record.item.unsaid()) for record in records if record.origin is None]
        return [effect for record in empty for effect in self._history.rewrite(record, connected=connected)]

    def _response_created(self, event: ev.ResponseCreated, now: float) -> Effects:
        if self.replies.get(event.response.id) is not None:
            return []
        before = self._end_those_over(now)
        metadata = event.response.metadata
        aside = event.response.conversation_id is None
        key = self.replies.nameless() if metadata is None and not aside else (metadata or {}).get(CORRELATION)
        if self.replies.is_shown(event.response.id, key):
            return before  # an id that a server uses twice would end the one that has it
        reply = self.replies.created(event.response.id, key if isinstance(key, str) else None, aside, now)
        if reply.request is None and not aside:  # it answers all that was said so far, also what is asked for again
            for pending in self.replies.pending(lambda request: not request.own):
                before += self.give_up(pending, now)
        if reply.discarded:
            return [*before, fx.Noticed("reply discarded", "it began after it was given up"), *self._cancel(reply)]
        if reply.request is not None and reply.request.shown_as is not None:
            return [*before, fx.ReplyResumed(reply.shown_id, reply.request.key)]
        return [*before, fx.ReplyStarted(reply.shown_id, reply.key, reply.aside)]

    def _response_done(self, event: ev.ResponseDone, now: float) -> Effects:
        details = event.response.status_details or ev.StatusDetails()
        failure = None
        if event.response.status == "failed":
            error = details.error or ev.ErrorDetail(message="The server gave no reason.")
            failure = failure_of(error)
        # After a fast interruption a reply can end that never began.
        reply = self.replies.done(event.response.id)
        usage = reply_usage(event.response.usage)
        effects = self._bill(event.response, usage, reply)
        if failure is not None and reply is not None and (again := self._once_more(reply, failure, usage)):
            return [*effects, *again, *self.release()]
        if reply is not None:
            status = event.response.status or "completed"
            if status == "completed" and (more := self._more(reply, usage)) is not None:
                return [*self.output.close(reply, whole=True), *effects, *self._held(more)]
            effects += self.output.end(reply, status, details.reason, now, usage=usage, failure=failure)
            effects += [] if status == "completed" else self._unsay(reply)
        if failure is not None:
            fatal = failure.kind is Kind.FATAL
            effects.append(fx.Disconnect(failure) if fatal else fx.Report(failure))
        return effects + self.release()

    def _bill(self, response: ev.Response, usage: ReplyUsage | None, reply: Reply | None) -> Effects:
        if response.id in self._billed:
            return []
        if usage is not None:
            if response.id:  # some gateways leave it out
                self._billed = (*self._billed, response.id)[-REMEMBERED:]
            return [fx.ReplyBilled(usage)]
        # Told twice, or never begun; and what failed before anything came was not made, as far as anybody can tell.
        made = reply is not None and (response.status not in ("failed", "cancelled") or reply.size or reply.calls)
        return [fx.ReplyBilled(None)] if made else []

    # -- server-side tools ---------------------------------------------------------------------------------------
    #
    # A call ends the response, and the server makes no other one of its result: the client has to ask for it, when the
    # response and the call have ended, in whatever order (OpenAI's examples/realtime/mcp_approval.rb in openai-ruby).

    def _more(self, reply: Reply, usage: ReplyUsage | None) -> Request | None:
        """The request for the rest of a reply that ended with such calls; None when it is complete, or when its rest
        comes as a reply of its own: an approval can take for ever, and function calls are answered by LiveKit.
        """
        if not reply.owing or (reply.asking and reply.served) or reply.calls or self._refused is not None:
            return None
        if reply.aside or reply.discarded or reply.cancel_id is not None:
            return None
        request = self._going_on(reply.request)
        request.shown_as, request.began_at = reply.shown_id, reply.started_at
        request.first_output_at = reply.first_output_at
        request.spent = total(reply.request.spent if reply.request is not None else None, usage)
        request.calls = set(reply.served)
        return request

    def _going_on(self, request: Request | None) -> Request:
        key = self._event_id("more")
        params = request.params if request is not None else {}
        kept = {name: params[name] for name in _GOES_ON_WITH if name in params}
        if self._setup.config.wanted.get("tool_choice") not in (None, "auto", "none"):
            kept["tool_choice"] = "auto"  # it would call for ever
        metadata = {**params.get("metadata", {}), CORRELATION: key}
        return Request(key, {**kept, "metadata": metadata}, False, own=False)

    def _held(self, request: Request) -> Effects:
        self.replies.rest(request)
        return self.release() if request.calls else self.rested(request.key)

    def call_ended(self, item_id: str) -> Effects | None:
        """A call of a server-side tool ended. None when no reply waits for it."""
        waited = self.replies.call_ended(item_id)
        if isinstance(waited, Request):
            return self.rested(waited.key)
        return [] if waited else None

    def go_on(self) -> Effects:
        """Ask for a reply to what a server-side tool brought; nothing when one is asked for already."""
        if self._refused is not None:
            return []
        if not self.replies.pending(lambda request: not (request.own or request.aside or request.left)):
            self.replies.ask(self._going_on(None))
        return self.release()

    def asked(self, now: float) -> Effects:
        """A call of a server-side tool needs an approval: no reply is held open for it."""
        for reply in self.replies:
            reply.asking = True
        effects: Effects = []
        for key in self.replies.pending(lambda request: bool(request.calls)):
            effects += self._over(self.replies.give_up(key), "completed", now)
        return effects

    def _once_more(self, reply: Reply, failure: Failure, usage: ReplyUsage | None) -> Effects:
        """Ask again for a reply that the server could not make just now; nothing when that must not be."""
        if failure.kind is not Kind.REPLY_FAILED or (failure.retry_after or 0.0) > LONGEST_REST_S:
            return []
        if self._refused is not None:
            return []
        request = self.replies.again(reply, self._owed)
        if request is None:
            return []
        request.spent = total(request.spent, usage)
        self.replies.rest(request)
        delay = max(RETRY_DELAYS_S[request.again - 1], failure.retry_after or 0.0)
        return [*self._unsay(reply), fx.ReplyAgain(request.key, failure.sentence(), delay)]


HANDLERS: Mapping[type[ev.ServerEvent], Callable[[Answers, Any, float], Effects]] = {
    ev.ResponseCreated: Answers._response_created,
    ev.ResponseDone: Answers._response_done,
}
