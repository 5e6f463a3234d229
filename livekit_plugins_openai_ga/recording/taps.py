"""Raw events that an application wrote down itself, from the taps `openai_server_event_received` and
`openai_client_event_queued` of this plugin or the official one, as a recording.

A line is an event (`{"type": ...}`), or one in a wrapper (`{"event" or "payload" or "data": {...}}`). Which way it went
is in the wrapper (`direction`, `source` or `name`), else known by its type. The time is in `t`, `time`, `timestamp` or
`ts`: in s, ms, us or ns, since 1970 or since any other moment, or as ISO 8601. Without one, the user audio that was
sent before an event says when it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from math import log
from typing import Any

from ..wire.values import value
from .entries import Direction, Entry, Header, Kind, Recording, audio_ms, number_in, rate_of

CLIENT_EVENTS = frozenset(
    {
        *("session.update", "session.close", "transcription_session.update"),
        *("input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear"),
        *("session.input_audio_buffer.append", "output_audio_buffer.clear", "response.create", "response.cancel"),
        *(f"conversation.item.{what}" for what in ("create", "truncate", "delete", "retrieve")),
    }
)
"""Types of events that a client sends; the server sends none of them."""

_TIMES = ("t", "time", "timestamp", "ts")
_WRAPPED = ("event", "payload", "data")
_WAYS = ("direction", "source", "name", "type")
# Looked for in this order, in any of `_WAYS`: "client_event_queued", "sent", ">", "received", "server", ...
_WORDS: tuple[tuple[str, Direction], ...] = (
    *((word, "out") for word in ("client", "queued", "sent", "send", "out", ">")),
    *((word, "in") for word in ("server", "receiv", "recv", "in", "<")),
)
_APPENDS = frozenset({"input_audio_buffer.append", "session.input_audio_buffer.append"})
_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta", "session.output_audio.delta"})
_FIRST_EPOCH_S = 1e9
"""2001. What is less is no time since 1970 in s. A thousand times that is one in ms, and so on."""

_LAST_EPOCH_S = 4e9
"""2096, beyond which the count began at another moment."""

_UNITS = (1000.0, 1.0, 1e-3, 1e-6)
"""Ms that a s, a ms, a us and a ns have."""

_LONG_CALL_MS = 2 * 3600 * 1000


@value
class Tap:
    """One event as it was written down; `time` in whatever unit."""

    event: Mapping[str, Any]
    direction: Direction
    time: float | None


def tapped(record: Mapping[str, Any]) -> Tap | None:
    """The event in a line; None when there is none."""
    for name in _WRAPPED:
        event = record.get(name)
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            return Tap(event, _way(record) or _known_way(event), _time(record) if _has_time(record) else _time(event))
    if not isinstance(record.get("type"), str):
        return None
    time = _time(record)
    event = {name: value for name, value in record.items() if name not in _TIMES}
    return Tap(event, _known_way(event), time)


def _way(wrapper: Mapping[str, Any]) -> Direction | None:
    for name in _WAYS:
        said = wrapper.get(name)
        if isinstance(said, str):
            for word, direction in _WORDS:
                if said.lower() == word or (len(word) > 3 and word in said.lower()):
                    return direction
    return None


def _known_way(event: Mapping[str, Any]) -> Direction:
    return "out" if event["type"] in CLIENT_EVENTS else "in"


def _has_time(record: Mapping[str, Any]) -> bool:
    return any(name in record for name in _TIMES)


def _time(record: Mapping[str, Any]) -> float | None:
    for name in _TIMES:
        value = record.get(name)
        if (number := number_in(value)) is not None:
            return number
        if isinstance(value, str):
            try:
                return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
            except (ValueError, OverflowError, OSError):  # no time, or one of no calendar
                continue
    return None


def assembled(found: Sequence[Tap]) -> Recording:
    """One recording of all of them, in their order."""
    header = _header(found)
    heard = _heard(found, header.input_format)
    told = [tap.time for tap in found if tap.time is not None]
    unit = _unit(told, heard[-1])
    first = min(told, default=0.0)
    entries: list[Entry] = []
    link, last = 0, 0.0
    for tap, place in zip(found, heard, strict=True):
        if tap.event["type"] == "session.created":
            link += 1
        if not told:
            last = place
        elif tap.time is not None:
            last = (tap.time - first) * unit
        entries.append(Entry(round(last, 3), link, tap.direction, tap.event))
    at = first * unit / 1000 if first * unit >= _FIRST_EPOCH_S * 1000 else 0.0
    return Recording(replace(header, at=at), tuple(entries))


def _heard(found: Sequence[Tap], form: str) -> list[float]:
    """The user audio that was sent before each event, itself included, in ms."""
    total, places = 0.0, []
    for tap in found:
        if tap.event["type"] in _APPENDS:
            total += audio_ms(tap.event.get("audio"), form)
        places.append(total)
    return places


def _unit(told: Sequence[float], heard_ms: float) -> float:
    """What turns the times into ms. Those since another moment than 1970 are taken in the unit in which they last as
    long as the audio does. Without audio, whole numbers are ms; us or ns, if that were more than two hours."""
    if not told:
        return 1.0
    span = max(told) - min(told)
    for unit in _UNITS:
        if all(_FIRST_EPOCH_S * 1000 <= time * unit <= _LAST_EPOCH_S * 1000 for time in (min(told), max(told))):
            return unit
    if heard_ms > 0 and span > 0:
        return min(_UNITS, key=lambda unit: abs(log(unit) + log(span) - log(heard_ms)))
    if span == 0 or not all(time.is_integer() for time in told):
        return 1000.0
    return next((unit for unit in _UNITS[1:] if span * unit <= _LONG_CALL_MS), 1.0)


def _header(found: Sequence[Tap]) -> Header:
    """What the events say of the session."""
    header = Header(kind=_kind(found))
    for tap in found:
        event, session = tap.event, tap.event.get("session")
        if event["type"] in _DELTAS or event["type"] in _APPENDS:
            header = replace(header, audio=header.audio or isinstance(_sound(event), str))
        if not isinstance(session, dict):
            continue
        if isinstance(session.get("model"), str):
            header = replace(header, model=session["model"])
        heard, spoken = _format(session, "input"), _format(session, "output")
        if heard:
            header = replace(header, input_format=heard, input_rate=rate_of(heard))
        if spoken:
            header = replace(header, output_format=spoken, output_rate=rate_of(spoken))
    return header


def _sound(event: Mapping[str, Any]) -> object:
    return event.get("audio", event.get("delta"))


def _kind(found: Sequence[Tap]) -> Kind:
    for tap in found:
        session = tap.event.get("session")
        if tap.event["type"].startswith(("session.output_", "session.input_")):
            return "translation"
        if isinstance(session, dict) and session.get("type") == "transcription":
            return "stt"
    return "realtime"


def _format(session: Mapping[str, Any], side: str) -> str:
    """`audio.input.format.type`, or that of the output; "" where it is not said."""
    value: Any = session.get("audio")
    for name in (side, "format", "type"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
