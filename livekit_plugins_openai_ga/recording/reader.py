"""Reads recordings: those of the recorder, and raw events that an application wrote down itself, one a line."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from os import PathLike
from typing import Any

from ..wire import codec
from . import taps
from .entries import DIRECTIONS, LONGEST_MS, VERSION, number_in, unlikely
from .entries import Entry as Entry
from .entries import Header as Header
from .entries import Recording as Recording

_MOST_LINKS = 1_000_000


class Unreadable(ValueError):
    """A file that is no recording; the text says which line, and what to do."""


def read(path: str | PathLike[str]) -> Recording:
    """Read a whole file.

    What an application wrote with the raw event taps of this plugin or the official one is read, too: an event a line,
    bare or wrapped; see `taps`. A last line that was cut off is left out.

    Raises `Unreadable` for anything else, and OSError for a file that cannot be opened.
    """
    with open(path, "rb") as file:
        return _recording(_records(file, str(path)), str(path))


def parse(data: bytes, *, name: str = "the recording") -> Recording:
    """`read`, for what is in memory. `name` is what an error calls it. Raises `Unreadable`."""
    return _recording(_records(io.BytesIO(data), name), name)


def _records(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object. One at a time: a file with audio is large."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _parsed(line)
        if record is not None:
            yield number, record
        elif line.endswith(b"\n") or number == 1:
            raise Unreadable(f"Line {number} of {name} is no JSON object: pass a recording, or events as JSON lines.")


def _recording(records: Iterator[tuple[int, dict[str, Any]]], name: str) -> Recording:
    number, first = next(records, (0, {}))
    if not number:
        raise Unreadable(f"{name} is empty: nothing was recorded.")
    if "recording" not in first:
        return _foreign(number, first, records, name)
    header = _header(number, first, name)
    return Recording(header, tuple(_entry(number, record, name) for number, record in records))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = codec.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _header(number: int, line: dict[str, Any], name: str) -> Header:
    version = line["recording"]
    if not isinstance(version, int) or version > VERSION:
        is_newer = f"is a recording of version {version!r:.20}, and this reads {VERSION}"
        raise Unreadable(f"{name} {is_newer}: update the plugin.")
    header = Header.of(line)
    if odd := unlikely(header):
        raise Unreadable(f"Line {number} of {name} says {odd}, which no recording does: mend or remove it.")
    return header


def _entry(number: int, record: dict[str, Any], name: str) -> Entry:
    at, link = _time(record.get("t")), _link(record.get("link"))
    for direction in DIRECTIONS:
        event = record.get(direction)
        if isinstance(event, dict) and isinstance(event.get("type"), str) and at is not None and link is not None:
            return Entry(at, link, direction, event)
    wanted = '"t" (ms since the beginning), "link" and one of "in", "out" and "note" with a "type"'
    raise Unreadable(f"Line {number} of {name} is no entry of a recording: it needs {wanted}.")


def _time(value: object) -> float | None:
    at = number_in(value)
    return at if at is not None and 0 <= at <= LONGEST_MS else None


def _link(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= _MOST_LINKS else None


def _foreign(number: int, first: dict[str, Any], rest: Iterable[tuple[int, dict[str, Any]]], name: str) -> Recording:
    found, numbers = [], []
    for line, record in chain([(number, first)], rest):
        tap = taps.tapped(record)
        if tap is None:
            what = "neither an entry of a recording nor an event with a `type`"
            raise Unreadable(f"Line {line} of {name} is {what}: pass a recording, or events as JSON lines.")
        found.append(tap)
        numbers.append(line)
    recording = taps.assembled(found)
    for line, entry in zip(numbers, recording.entries, strict=True):
        if entry.t_ms > LONGEST_MS:
            raise Unreadable(f"Line {line} of {name} is months behind another one: mend or remove its time.")
    return recording
