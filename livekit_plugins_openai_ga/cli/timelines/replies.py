"""The model's replies: when they were asked for, begun and ended, what was said, which tools, what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ... import models
from ...core.usage import reply_usage
from .facts import Reply, Speech, ToolCall
from .spoken import Piece, Playing
from .texts import Growing, number, said
from .told import Told


class Replies:
    """Replies and tool calls, by id."""

    def __init__(self, told: Told) -> None:
        self.replies: dict[str, Reply] = {}
        self.tools: dict[str, ToolCall] = {}
        self.playing = Playing()
        self._told = told
        self._asked: list[tuple[int, Mapping[str, Any]]] = []  # response.create events without an answer
        self._texts: dict[tuple[str, str, str], Growing] = {}  # by response, item, content index
        self._interrupted: tuple[int, float] | None = None  # the last event that ends what is said, and when

    def asked(self, at: int, event: Mapping[str, Any]) -> None:
        """response.create."""
        wanted = event.get("response")
        self._asked.append((at, wanted if isinstance(wanted, Mapping) else {}))

    def refused(self, at: int, event: Mapping[str, Any]) -> None:
        """error: the event that it answers will have no other answer."""
        error = event.get("error")
        name = error.get("event_id") if isinstance(error, Mapping) else None
        entries = self._told.recording.entries
        self._asked = [one for one in self._asked if name is None or entries[one[0]].event.get("event_id") != name]
        self._told.problem(at, "network", error)

    def lost(self, at: int, event: Mapping[str, Any]) -> None:
        """The connection is gone, or there is a new one: what was asked for on the last has no answer, or no end."""
        self._asked = []
        for reply in self.replies.values():
            if reply.done_ms is None:
                reply.lost = True

    def created(self, at: int, event: Mapping[str, Any]) -> None:
        """response.created."""
        response = _object(event, "response")
        reply = self._of(str(response.get("id", "")), at)
        reply.events.append(at)
        reply.apart = "conversation_id" in response and response["conversation_id"] is None
        metadata = response.get("metadata") or None
        for place, (asked, wanted) in enumerate(self._asked):
            if (wanted.get("metadata") or None) == metadata:
                reply.asked_ms = self._told.at_ms(asked)
                reply.events.insert(0, asked)
                del self._asked[place]
                break

    def audio(self, at: int, event: Mapping[str, Any]) -> None:
        """A piece of speech."""
        now, name = self._told.at_ms(at), str(event.get("response_id", ""))
        length, heard = self._told.output_audio(event.get("delta"))
        reply = self._of(name, at)
        if reply.first_ms is None:
            reply.first_ms = now
        self.playing.came(now, name, str(event.get("item_id", "")), length, heard)

    def growing(self, at: int, event: Mapping[str, Any]) -> None:
        """A piece of text, of what is spoken or written."""
        reply = self._of(str(event.get("response_id", "")), at)
        if reply.first_ms is None and self._told.type_of(at).startswith("response.output_text"):
            reply.first_ms = self._told.at_ms(at)
        self._text(event).add(event.get("delta"))

    def whole(self, at: int, event: Mapping[str, Any]) -> None:
        """All of a text."""
        self._text(event).whole(event.get("transcript", event.get("text")))

    def _text(self, event: Mapping[str, Any]) -> Growing:
        key = (str(event.get("response_id", "")), str(event.get("item_id", "")), str(event.get("content_index", 0)))
        return self._texts.setdefault(key, Growing())

    def item_done(self, at: int, event: Mapping[str, Any]) -> None:
        """response.output_item.done: a function call is there whole."""
        item = _object(event, "item")
        kind, reply = item.get("type"), str(event.get("response_id", ""))
        if kind == "function_call":
            call = self._call(str(item.get("call_id", "")), item, at, reply)
            call.arguments = said(item.get("arguments"))
        elif kind == "mcp_call":
            call = self._call(str(item.get("id", "")), item, at, reply)
            call.arguments, call.output = said(item.get("arguments")), said(item.get("output"))
            call.error = said(_object(item, "error").get("message"))
            if call.end_ms is None and (call.output or call.error):
                call.end_ms = self._told.at_ms(at)

    def item_added(self, at: int, event: Mapping[str, Any]) -> None:
        """response.output_item.added: an MCP call begins."""
        item = _object(event, "item")
        if item.get("type") == "mcp_call":
            self._call(str(item.get("id", "")), item, at, str(event.get("response_id", "")))

    def mcp_ended(self, at: int, event: Mapping[str, Any]) -> None:
        """response.mcp_call.completed or failed."""
        call = self.tools.get(str(event.get("item_id", "")))
        if call is not None:
            call.end_ms = self._told.at_ms(at)
            call.events.append(at)
            if self._told.type_of(at).endswith("failed"):
                call.error = call.error or "failed"

    def _call(self, name: str, item: Mapping[str, Any], at: int, reply: str) -> ToolCall:
        call = self.tools.get(name)
        if call is None:
            server = str(item.get("server_label") or "")
            call = ToolCall(name, str(item.get("name", "")), self._told.at_ms(at), server=server, reply=reply)
            self.tools[name] = call
            if reply in self.replies:
                self.replies[reply].tools.append(call.name)
        call.events.append(at)
        return call

    def answered(self, at: int, event: Mapping[str, Any]) -> None:
        """conversation.item.create with the output of a function; what a reconnect brings back counts once."""
        item = _object(event, "item")
        call = self.tools.get(str(item.get("call_id", "")))
        if item.get("type") == "function_call_output" and call is not None and call.end_ms is None:
            call.end_ms, call.output = self._told.at_ms(at), said(item.get("output"))
            call.events.append(at)

    def interrupted(self, at: int, event: Mapping[str, Any]) -> None:
        """speech_started or response.cancel: what is cancelled next was cut by it."""
        self._interrupted = (at, self._told.at_ms(at))

    def truncated(self, at: int, event: Mapping[str, Any]) -> None:
        """conversation.item.truncate: how much was heard."""
        heard = number(event.get("audio_end_ms"))
        if heard is not None:
            self.playing.truncated(self._told.at_ms(at), str(event.get("item_id", "")), max(0.0, heard), at)

    def buffer(self, at: int, event: Mapping[str, Any]) -> None:
        """output_audio_buffer.started, stopped or cleared: in a call, the server plays."""
        now, name = self._told.at_ms(at), str(event.get("response_id", ""))
        what = self._told.type_of(at).rpartition(".")[2]
        if what == "started":
            reply = self._of(name, at)
            reply.first_ms = now if reply.first_ms is None else min(now, reply.first_ms)
            self.playing.buffer_started(now, name)
        else:
            self.playing.buffer_ended(now, name, cleared=what == "cleared")

    def done(self, at: int, event: Mapping[str, Any]) -> None:
        """response.done."""
        response, now = _object(event, "response"), self._told.at_ms(at)
        reply = self._of(str(response.get("id", "")), at)
        reply.events.append(at)
        reply.done_ms, reply.status = now, str(response.get("status", ""))
        details = _object(response, "status_details")
        reply.reason = str(details.get("reason") or "")
        usage = response.get("usage")
        reply.usage = reply_usage(usage if isinstance(usage, Mapping) else None)
        reply.model = self._told.model
        if reply.usage is not None:
            reply.cost_usd = models.cost(reply.usage, reply.model).total
        if reply.status == "failed":
            problem = self._told.problem(at, "agent", details.get("error"))
            reply.reason = problem.code
        if reply.status == "cancelled":
            since = self._interrupted
            after = since is not None and since[1] >= reply.created_ms
            self.playing.stopped(since[1] if since is not None and after else now, reply.id)

    def ended(self, at_ms: float) -> tuple[list[Reply], list[Piece]]:
        """The replies with what was said in them; and everything that was played, for a drawing."""
        speeches, pieces = self.playing.ended(at_ms)
        for speech in speeches:
            owner = self.replies.get(speech.reply)
            if owner is not None:
                owner.speeches.append(speech)
        for reply in self.replies.values():
            texts = {key[1]: text.text for key, text in self._texts.items() if key[0] == reply.id}
            reply.text = " ".join(filter(None, texts.values()))
            reply.speeches = [self._with_text(speech, texts, reply) for speech in reply.speeches]
        return sorted(self.replies.values(), key=lambda one: one.created_ms), pieces

    def _with_text(self, speech: Speech, texts: Mapping[str, str], reply: Reply) -> Speech:
        text = texts.get(speech.id, reply.text if speech.id == reply.id else "")
        return replace(speech, text=text, events=[*reply.events, *speech.events])

    def _of(self, name: str, at: int) -> Reply:
        reply = self.replies.get(name)
        if reply is None:
            reply = self.replies[name] = Reply(name, self._told.at_ms(at), model=self._told.model)
        return reply


def _object(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = event.get(name)
    return value if isinstance(value, Mapping) else {}
