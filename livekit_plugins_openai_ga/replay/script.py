"""A recording as a script of the emulator: what was heard and said, turn by turn, to be read and changed by hand.

A script knows nothing of the order in which things crossed, of refusals, and of connections that were lost; a `Replay`
does. What is left out is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..emulator import named_faults
from ..emulator.knobs import Knobs
from ..recording.entries import Entry, Recording
from . import fit
from .filling import filled

NOT_TRANSCRIBED = "(not transcribed)"
"""What stands for words of the user that were never written down."""

_DONE = {"response.output_audio_transcript.done": "transcript", "response.output_text.done": "text"}
_FIRST_OUTPUT = frozenset(
    {"response.output_audio.delta", "response.output_text.delta", "response.function_call_arguments.delta"}
)


@dataclass(slots=True)
class _Reply:
    """What is known of one reply. `heard`: the items of the user that it answers."""

    began_ms: float
    heard: list[str]
    aside: bool
    first_ms: float | None = None
    messages: dict[str, str] = field(default_factory=dict)
    tools: list[dict[str, Any]] = field(default_factory=list)
    mcp: list[dict[str, Any]] = field(default_factory=list)
    ending: dict[str, Any] = field(default_factory=dict)


def to_script(recording: Recording) -> tuple[dict[str, Any], list[str]]:
    """The script, as `emulator.Script.load` reads it from JSON, and what it leaves out, a sentence each.

    Raises ValueError for what cannot be read.
    """
    fit.check(recording.entries, understood=True)
    if recording.header.kind == "translation":
        return _translation(recording)
    reader = _Reader()
    if recording.header.redacted:
        reader.leave_out("texts", "The texts, which the recording does not have: each x stands for a character.")
    for entry in recording.entries:
        reader.read(entry)
    return reader.script(), [*reader.left_out.values()]


class _Faults:
    """What went wrong, as `emulate --fault` takes it. It is told of each entry before it is asked about it."""

    def __init__(self) -> None:
        self._began: dict[int, float] = {}
        self._heard_ms = 0.0
        self._dialled = self._accepted = 0
        self._counts: dict[str, int] = {}
        self._sent: dict[str, str] = {}
        self._begun: dict[int, int] = {}  # how many replies there were when the last one of a link began

    def read(self, entry: Entry, event: Mapping[str, Any]) -> None:
        """Take one entry in."""
        kind = str(event["type"])
        if entry.direction == "note":
            if kind == "opened":
                self._began[entry.link] = entry.t_ms
                self._accepted += 1
            self._dialled += kind in ("opened", "failed")
            return
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if entry.direction == "out":
            self._sent[str(event.get("event_id"))] = f"{kind}:{count}"
            return
        self._heard_ms = entry.t_ms
        if kind == "response.created":
            self._begun[entry.link] = count

    def lost(self, entry: Entry, code: str) -> str:
        """A connection ended. A time is one of the first session; in a later one its last reply stands for it."""
        if code == "session_expired":
            return f"expire@connection:{max(entry.link, 1)}:{self._time(entry, entry.t_ms)}"
        name = "freeze" if code == "timeout" else "drop"
        number = code.removeprefix("close_")
        argument = f":{number}" if number.isdecimal() and number != "1006" else ""
        name = "close" if argument else name
        place = self._time(entry, self._heard_ms if name == "freeze" else entry.t_ms)
        if entry.link > 1:
            begun = self._begun.get(entry.link)
            place = f"reply:{begun}" if begun else f"connection:{entry.link}"
        return f"{name}@{place}{argument}"

    def failed(self, code: str, kind: str) -> str:
        """A connection did not come about; "" when no server answered."""
        if code.startswith("http_"):
            return f"http@connection:{self._dialled}:{code.removeprefix('http_')}"
        if kind != "fatal":
            return ""
        self._accepted += 1
        return f"reject@connection:{self._accepted}:{code}"

    def refused(self, entry: Entry, error: Mapping[str, Any]) -> str:
        """An `error` came, as the answer to something or by itself."""
        place = self._sent.get(str(error.get("event_id")))
        if place is not None:
            return f"refuse@{place}:{error.get('code')}"
        return f"error@{self._time(entry, entry.t_ms)}:{error.get('code')}" if entry.link <= 1 else ""

    def _time(self, entry: Entry, t_ms: float) -> str:
        return f"{max(t_ms - self._began.get(entry.link, 0.0), 0.0) / 1000:.1f}s"


def _with(told: str, fault: str) -> str:
    """What happened, and the fault that brings it back, when there is one that `emulate` takes."""
    try:
        named_faults.fault(fault)
    except ValueError:
        return f"{told}: no fault of the emulator does that."
    return f"{told}: --fault {fault} does that."


class _Reader:
    """Goes through a recording once."""

    def __init__(self) -> None:
        self._faults = _Faults()
        self.left_out: dict[str, str] = {}
        self._replies: dict[str, _Reply] = {}
        self._pending: list[str] = []  # items of the user that nothing has answered yet
        self._transcripts: dict[str, str] = {}
        self._alone: list[str] = []  # items that were transcribed, in their order
        self._asides = False

    def read(self, entry: Entry) -> None:
        """Take one entry in."""
        event = filled(entry.event)
        kind = event["type"]
        self._faults.read(entry, event)
        if entry.direction == "note":
            self._note(entry, event)
        elif entry.direction == "out":
            self._sent(kind, event)
        elif kind == "input_audio_buffer.committed":
            self._pending.append(str(event.get("item_id")))
            self._alone.append(str(event.get("item_id")))
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._transcripts[str(event.get("item_id"))] = str(event.get("transcript") or "")
        elif kind == "conversation.item.input_audio_transcription.failed":
            self._not_transcribed(event)
        elif kind == "error":
            error = event.get("error") or {}
            told = f"The server refused something ({error.get('code')})"
            self.leave_out(f"error {entry.t_ms}", _with(told, self._faults.refused(entry, error)))
        elif kind == "response.created":
            self._begin(entry, event)
        elif kind.startswith("response."):
            self._reply(entry, kind, event)

    def _note(self, entry: Entry, event: Mapping[str, Any]) -> None:
        if event["type"] in ("lost", "failed") and not event.get("planned"):
            code, lost = str(event.get("code")), event["type"] == "lost"
            fault = self._faults.lost(entry, code) if lost else self._faults.failed(code, str(event.get("kind")))
            told = f"A connection {'ended' if lost else 'was refused'} with {code} after {entry.t_ms / 1000:.1f} s"
            self.leave_out(f"note {entry.t_ms}", _with(told, fault))

    def _not_transcribed(self, event: Mapping[str, Any]) -> None:
        item, code = str(event.get("item_id")), (event.get("error") or {}).get("code")
        turn = self._alone.index(item) + 1 if item in self._alone else 0
        told = f"A turn of the user was not transcribed ({code})"
        self.leave_out(f"untold {item}", _with(told, f"fail-transcript@turn:{turn}:{code}"))

    def _sent(self, kind: str, event: Mapping[str, Any]) -> None:
        if kind == "response.create":
            self._asides = (event.get("response") or {}).get("conversation") == "none"
        elif kind in ("response.cancel", "conversation.item.truncate"):
            told = "A reply was interrupted: it has only the text that had come by then. Who interrupts is the client."
            self.leave_out("cut", told)

    def leave_out(self, what: str, told: str) -> None:
        """Tell once that this cannot be said."""
        self.left_out.setdefault(what, told)

    def _begin(self, entry: Entry, event: Mapping[str, Any]) -> None:
        response = event.get("response") or {}
        aside, self._asides = self._asides and not response.get("conversation_id"), False
        heard = [] if aside else self._pending
        self._replies[str(response.get("id"))] = _Reply(entry.t_ms, heard, aside)
        if not aside:
            self._pending = []

    def _reply(self, entry: Entry, kind: str, event: Mapping[str, Any]) -> None:
        response = event.get("response") or {}
        reply = self._replies.get(str(event.get("response_id") or response.get("id")))
        if reply is None:
            return
        if kind in _FIRST_OUTPUT and reply.first_ms is None:
            reply.first_ms = entry.t_ms
        if kind in _DONE:
            reply.messages[str(event.get("item_id"))] = str(event.get(_DONE[kind]) or "")
        elif kind == "response.output_audio_transcript.delta" or kind == "response.output_text.delta":
            item = str(event.get("item_id"))
            reply.messages[item] = reply.messages.get(item, "") + str(event.get("delta") or "")
        elif kind == "response.output_item.done":
            _add_item(reply, event.get("item") or {})
        elif kind == "response.done":
            reply.ending = _ending(response)

    def script(self) -> dict[str, Any]:
        """What came of it."""
        turns: list[dict[str, Any]] = []
        asides: list[dict[str, Any]] = []
        for reply in self._replies.values():
            (asides if reply.aside else turns).append(self._turn(reply))
        if not self._replies:  # only written down
            turns = [{"heard": self._words([item])} for item in self._alone]
        elif self._pending:
            turns.append({"heard": self._words(self._pending)})
        return {"turns": turns, **({"out_of_band": asides} if asides else {})}

    def _words(self, items: list[str]) -> str:
        known = [text for item in items if (text := self._transcripts.get(item))]
        if not known:
            self.leave_out("words", f"Words of the user were not transcribed: {NOT_TRANSCRIBED!r} stands for them.")
        return " ".join(known) or NOT_TRANSCRIBED

    def _turn(self, reply: _Reply) -> dict[str, Any]:
        turn: dict[str, Any] = {"heard": self._words(reply.heard)} if reply.heard else {}
        texts = [text for text in reply.messages.values() if text]
        turn |= {"say": texts[0]} if len(texts) == 1 else {"messages": texts} if texts else {}
        turn |= {"tool": reply.tools[0]} if len(reply.tools) == 1 else {"tools": reply.tools} if reply.tools else {}
        turn |= {"mcp": reply.mcp} if reply.mcp else {}
        if reply.first_ms is not None:
            # A turn's comes on top of the emulator's own.
            latency = round((reply.first_ms - reply.began_ms) / 1000 - Knobs().reply_latency, 2)
            turn |= {"latency": latency} if latency > 0 else {}
        return {**turn, **reply.ending}


def _add_item(reply: _Reply, item: Mapping[str, Any]) -> None:
    if item.get("type") == "function_call":
        reply.tools.append({"name": str(item.get("name")), "arguments": _arguments(item)})
    elif item.get("type") == "mcp_call":
        call = {"server": str(item.get("server_label")), "name": str(item.get("name")), "arguments": _arguments(item)}
        reply.mcp.append({**call, "output": str(item.get("output") or "")})


def _arguments(item: Mapping[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(str(item.get("arguments") or "{}"))
    except ValueError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _ending(response: Mapping[str, Any]) -> dict[str, Any]:
    details = response.get("status_details") or {}
    if response.get("status") == "failed":
        error = details.get("error") or {}
        return {"failure": [str(error.get(name) or "server_error") for name in ("type", "code", "message")]}
    if response.get("status") == "incomplete":
        return {"incomplete": str(details.get("reason") or "max_output_tokens")}
    return {}


def _translation(recording: Recording) -> tuple[dict[str, Any], list[str]]:
    said = {"session.input_transcript.delta": "", "session.output_transcript.delta": ""}
    language, reader = "", _Reader()
    for entry in recording.entries:
        event = filled(entry.event)
        if event["type"] in said:
            said[event["type"]] += str(event.get("delta") or "")
        elif event["type"] == "session.update":
            spoken = ((event.get("session") or {}).get("audio") or {}).get("output") or {}
            language = str(spoken.get("language") or language)
        elif entry.direction == "note":
            reader.read(entry)
    heard, say = (text.strip() for text in said.values())
    turns = [{"heard": heard or NOT_TRANSCRIBED, "say": say}] if say else []
    told = "All that was translated is one turn: a translation has none."
    translations = {"translations": {language: turns}} if language else {}
    return {"turns": [] if language else turns, **translations}, [told, *reader.left_out.values()]
