"""Faults by name: `fault("drop@3s")` is what somebody writes on a command line, or in a test in any language.

    NAME[@WHEN][xTIMES][:ARGUMENT]

WHEN is a time after a session began (`3s`, `250ms`), or an occasion and which one it is (`reply:2`), or an event of
the protocol, the server's or the client's (`response.output_audio.delta:3`). TIMES is how many in a row, 1 unless said.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from ..wire import server_events
from . import faults, schema
from .faults import After, Fault, error_event

OCCASIONS = {
    "connection": "session.created",
    "update": "session.update",
    "speech": "input_audio_buffer.speech_started",
    "turn": "input_audio_buffer.committed",
    "tool": "response.function_call_arguments.done",
    "reply": "response.created",
    "audio": "response.output_audio.delta",
    "done": "response.done",
}
"""What happens in a conversation, and the event that it is known by."""

_CLIENT = frozenset({*schema.EVENTS, "output_audio_buffer.clear"})
_SERVER = frozenset(
    {
        *server_events.EVENTS,
        *server_events.IGNORED,
        *("session.output_audio.delta", "session.output_transcript.delta", "session.input_transcript.delta"),
        "session.closed",
    }
)
_EVENTS = _CLIENT | _SERVER
_MOST = 99
_SHAPE = re.compile(
    r"(?P<name>[^@:]*)"
    r"(?:@(?P<when>\d+(?:\.\d+)?(?:ms|s)|[A-Za-z_.]+?(?::(?P<nth>\d+)(?=$|[:x]))?)(?:x(?P<times>\d+))?)?"
    r"(?::(?P<argument>.*))?"
)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
ON_PURPOSE = "This failed on purpose: somebody asked the emulator for it."
"""What named faults say for themselves."""


@dataclass(frozen=True, slots=True)
class When:
    """When a fault strikes: `seconds` into a session, or at an `event`; `nth` and `times` count sessions or events."""

    event: str = ""
    seconds: float | None = None
    nth: int = 1
    times: int = 1


@dataclass(frozen=True, slots=True)
class Argument:
    """What can be said behind a fault's name: what it is, how it is read, and what it is when it is not said."""

    name: str
    read: Callable[[str], Any]
    default: str


@dataclass(frozen=True, slots=True)
class NamedFault:
    """One row of the table: a name, what it does, and where it strikes when that is not said.

    `events` are those that WHEN can be; with `timed`, it can also be a time. Without either, WHEN is `default`.
    """

    name: str
    does: str
    make: Callable[[When, Any], Fault]
    default: str = "reply"
    argument: Argument | None = None
    events: frozenset[str] = frozenset()
    timed: bool = False

    @property
    def written(self) -> str:
        """The whole of it, with all that can be left out: `close@reply:1:1011`."""
        place = f"{self.name}@{self.default}:1"
        return place if self.argument is None else f"{place}:{self.argument.default}"


def duration(text: str) -> float:
    """Seconds in `80ms` or `1.5s`. Raises ValueError, one sentence."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time: write 80ms or 1.5s.")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def _status(text: str) -> int:
    if text not in {str(status.value) for status in HTTPStatus if status >= 400}:
        raise ValueError(f"{text!r} is not an HTTP status that refuses: write 401, 429 or 503.")
    return int(text)


def _close_code(text: str) -> int:
    code = int(text) if text.isdecimal() else 0
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
        raise ValueError(f"{text!r} is not a code that a WebSocket can be closed with: write 1001, 1011 or 4000.")
    return code


def _code(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", text):
        raise ValueError(f"{text!r} is not an error code: write one such as server_error.")
    return text


_TIME = Argument("TIME", duration, "1s")


def _error_code(default: str) -> Argument:
    return Argument("CODE", _code, default)


def _any_time(name: str, does: str, make: Callable[[str, Any], Any], argument: Argument | None = None) -> NamedFault:
    """A fault that needs no event: it strikes behind one, or at a time."""

    def planned(when: When, value: Any) -> Fault:
        fault = make(when.event, value)
        if when.seconds is not None:
            return After(when.seconds, fault, when.nth, when.times)
        placed: Fault = replace(fault, nth=when.nth, times=when.times)
        return placed

    return NamedFault(name, does, planned, argument=argument, events=_EVENTS, timed=True)


def _to_an_event(
    name: str,
    does: str,
    make: Callable[[str, Any], Any],
    events: frozenset[str],
    default: str,
    argument: Argument | None = None,
) -> NamedFault:
    """A fault that is something done to an event."""
    return NamedFault(
        name,
        does,
        lambda when, value: replace(make(when.event, value), nth=when.nth, times=when.times),
        default,
        argument,
        events,
    )


def _of_its_own(
    name: str, does: str, make: Callable[[Any], Any], occasion: str, argument: Argument | None = None
) -> NamedFault:
    """A fault that has one occasion and knows it."""
    return NamedFault(
        name, does, lambda when, value: replace(make(value), nth=when.nth, times=when.times), occasion, argument
    )


NAMED = (
    _any_time("drop", "break the TCP connection (1006)", lambda on, _: faults.DropOn(on)),
    _any_time("freeze", "stay connected and dead: no data, no pongs", lambda on, _: faults.FreezeOn(on)),
    _any_time(
        "close",
        "close the WebSocket with CODE",
        lambda on, code: faults.CloseOn(on, code, ON_PURPOSE),
        Argument("CODE", _close_code, "1011"),
    ),
    _any_time("slow", "hold everything back for TIME", lambda on, seconds: faults.DelayOn(on, seconds), _TIME),
    _any_time(
        "error",
        "send an error event that answers nothing",
        lambda on, code: faults.InjectOn(on, error_event(code, ON_PURPOSE, "server_error")),
        _error_code("server_error"),
    ),
    _any_time(
        "unknown",
        "send an event of a type that nobody knows yet",
        lambda on, _: faults.InjectOn(on, {"type": "response.surprise", "event_id": "event_fault"}),
    ),
    _any_time("garbage", "send a frame that is not JSON", lambda on, _: faults.InjectOn(on, "{this is not JSON")),
    _to_an_event(
        "lose", "send no such event; a client's: do not act on it", lambda on, _: faults.SwallowOn(on), _EVENTS, "done"
    ),
    _to_an_event("duplicate", "send the event twice", lambda on, _: faults.RepeatOn(on), _SERVER, "done"),
    _to_an_event(
        "reorder", "send the event behind the next one", lambda on, _: faults.PostponeOn(on), _SERVER, "reply"
    ),
    _to_an_event(
        "refuse",
        "answer the client's event with an error",
        lambda on, code: faults.RejectOn(on, code, ON_PURPOSE),
        _CLIENT,
        "update",
        _error_code("invalid_value"),
    ),
    _of_its_own(
        "http",
        "answer the upgrade, or a request, with STATUS",
        lambda status: faults.RefuseHandshake(status, ON_PURPOSE),
        "connection",
        Argument("STATUS", _status, "503"),
    ),
    _of_its_own(
        "reject",
        "accept the upgrade, then send an error and close",
        lambda code: faults.RejectHandshake(code, ON_PURPOSE, 3000 if code == "invalid_api_key" else 4000),
        "connection",
        _error_code("invalid_model"),
    ),
    _of_its_own(
        "expire",
        "let the session end TIME after it began",
        lambda seconds: faults.ExpireAfter(seconds),
        "connection",
        _TIME,
    ),
    _of_its_own(
        "fail-reply",
        "end the reply as failed, before any output",
        lambda code: faults.FailResponse(code, ON_PURPOSE),
        "reply",
        _error_code("server_error"),
    ),
    _of_its_own(
        "rate-limit",
        "end the reply as failed: too many requests",
        lambda _: faults.FailResponse("rate_limit_exceeded", ON_PURPOSE, "rate_limit_error"),
        "reply",
    ),
    _of_its_own(
        "fail-transcript",
        "have no transcript of the user's turn",
        lambda code: faults.FailTranscription(code, ON_PURPOSE),
        "turn",
        _error_code("audio_unintelligible"),
    ),
    _of_its_own(
        "slow-transcript",
        "tell the user's turn TIME later than usual",
        lambda seconds: faults.DelayTranscription(seconds),
        "turn",
        _TIME,
    ),
    _of_its_own("fail-tools", "let the MCP server not list its tools", lambda _: faults.FailToolList(), "list"),
)
_BY_NAME = {row.name: row for row in NAMED}


def fault(text: str) -> Fault:
    """The fault that `text` asks for. Raises ValueError, one sentence that says what to write."""
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a fault: write NAME[@WHEN][xTIMES][:ARGUMENT], such as drop@3s or http:503.")
    row = _BY_NAME.get(found["name"])
    if row is None:
        raise ValueError(f"{found['name']!r} is no fault. {_nearest(found['name'], _BY_NAME)}")
    if found["argument"] is None:
        value = row.argument and row.argument.read(row.argument.default)
    elif row.argument is None:
        raise ValueError(f"{row.name} takes nothing behind a colon: write {row.name}, or {row.written}.")
    else:
        value = row.argument.read(found["argument"])
    times = int(found["times"] or 1)
    nth = int(found["nth"] or 1)
    if not 1 <= nth <= _MOST or not 1 <= times <= _MOST:
        raise ValueError(f"{text!r}: faults are counted from 1 to {_MOST}; the whole form is {row.written}.")
    return row.make(replace(_when(row, (found["when"] or row.default).partition(":")[0]), nth=nth, times=times), value)


def _when(row: NamedFault, place: str) -> When:
    if place[0].isdigit():
        if not row.timed:
            raise ValueError(f"{row.name} strikes at no time but at {_kind(row)}: write {row.written}.")
        return When(seconds=duration(place))
    if not row.events:
        if place != row.default:
            raise ValueError(f"{row.name} strikes at a {row.default} only: write {row.written}.")
        return When()
    event = OCCASIONS.get(place, place)
    if event in row.events:
        return When(event)
    if event in _EVENTS:
        raise ValueError(f"{row.name} has nothing to do with {place}: it takes {_kind(row)}, as in {row.written}.")
    raise ValueError(f"{place!r} is no occasion and no event. {_nearest(place, [*OCCASIONS, *row.events])}")


def _kind(row: NamedFault) -> str:
    if not row.events:
        return f"a {row.default}"
    kinds = {_EVENTS: "an event", _SERVER: "an event of the server's", _CLIENT: "an event of the client's"}
    return kinds[row.events]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]}?" if near else "See --list-faults."


def as_json() -> dict[str, Any]:
    """The table as data: each fault with its whole form, what it does and whether WHEN can be a time; the occasions."""
    rows = [{"name": row.name, "written": row.written, "does": row.does, "timed": row.timed} for row in NAMED]
    return {"faults": rows, "occasions": OCCASIONS}


def table() -> str:
    """The table as text: a line for each fault with what it does and its whole form, then the occasions."""
    rows = [("fault", "written out", "what the server does"), *((row.name, row.written, row.does) for row in NAMED)]
    timed = ", ".join(row.name for row in NAMED if row.timed)
    places = [("@3s, @250ms", f"so long after a session began ({timed})")]
    places += [(f"@{name}:N", f"the Nth {event}") for name, event in OCCASIONS.items()]
    places += [("@EVENT:N", "the Nth event of this type, the server's or the client's, over all sessions")]
    return "\n".join(
        [
            *_columns(rows),
            "",
            "In place of @reply:1, @done:1 and @update:1:",
            *_columns(places),
            "",
            "x3 behind it: three in a row, as in http@connection:1x3:503.",
        ]
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
