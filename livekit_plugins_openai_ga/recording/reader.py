"""Reads recordings: those of the recorder, and raw events that an application wrote down itself, one a line."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ..wire import codec
from . import taps
from .entries import DIRECTIONS, VERSION
from .entries import Entry as Entry
from .entries import Header as Header
from .entries import Recording as Recording


class Unreadable(ValueError):
    """A file that is no recording; the text says which line, and what to do."""


def read(path: str | PathLike[str]) -> Recording:
    """Read a whole file.

    What an application wrote with the raw event taps of this plugin or the official one is read, too: an event a line,
    bare or wrapped; see `taps`. A last line that was cut off is left out.

    Raises `Unreadable` for anything else, and OSError for a file that cannot be opened.
    """
    with open(path, "rb") as file:
        return parse(file.read(), name=str(path))


def parse(data: bytes, *, name: str = "the recording") -> Recording:
    """`read`, for what is in memory. `name` is what an error calls it. Raises `Unreadable`."""
    numbered = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    records: list[tuple[int, dict[str, Any]]] = []
    for number, line in numbered:
        record = _parsed(line)
        if record is not None:
            records.append((number, record))
        elif number != numbered[-1][0] or data.endswith(b"\n") or number == 1:
            raise Unreadable(f"Line {number} of {name} is no JSON object: pass a recording, or events as JSON lines.")
    if not records:
        raise Unreadable(f"{name} is empty: nothing was recorded.")
    (_, first), rest = records[0], records[1:]
    if "recording" not in first:
        return _foreign(records, name)
    header = _header(first, name)
    return Recording(header, tuple(_entry(number, record, name) for number, record in rest))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = codec.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _header(line: dict[str, Any], name: str) -> Header:
    version = line["recording"]
    if not isinstance(version, int) or version > VERSION:
        is_newer = f"is a recording of version {version!r:.20}, and this reads {VERSION}"
        raise Unreadable(f"{name} {is_newer}: update the plugin.")
    return Header.of(line)


def _entry(number: int, record: dict[str, Any], name: str) -> Entry:
    at, link = record.get("t"), record.get("link")
    for direction in DIRECTIONS:
        event = record.get(direction)
        if isinstance(event, dict) and isinstance(at, (int, float)) and isinstance(link, int):
            return Entry(float(at), link, direction, event)
    wanted = '"t" (ms), "link" and one of "in", "out" and "note"'
    raise Unreadable(f"Line {number} of {name} is no entry of a recording: it needs {wanted}.")


def _foreign(records: list[tuple[int, dict[str, Any]]], name: str) -> Recording:
    found = []
    for number, record in records:
        tap = taps.tapped(record)
        if tap is None:
            what = "neither an entry of a recording nor an event with a `type`"
            raise Unreadable(f"Line {number} of {name} is {what}: pass a recording, or events as JSON lines.")
        found.append(tap)
    return taps.assembled(found)
