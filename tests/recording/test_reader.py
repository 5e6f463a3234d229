"""Recordings are read whole, torn ones too; what is none is refused with the number of its line."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from livekit_plugins_openai_ga.recording import Entry, Header, Unreadable, read
from livekit_plugins_openai_ga.recording.entries import audio_ms
from livekit_plugins_openai_ga.recording.reader import parse

HEADER = {
    "recording": 1,
    "at": 1700000000.5,
    "kind": "stt",
    "model": "gpt-transcribe",
    "audio": True,
    "input_rate": 8000,
}
ENTRY = {"t": 1.5, "link": 1, "in": {"type": "session.created"}}


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_a_recording_is_its_header_and_its_entries(tmp_path):
    path = tmp_path / "call.jsonl"
    note = {"t": 2, "link": 1, "note": {"type": "closed"}}
    path.write_bytes(lines(HEADER, ENTRY, note))
    recording = read(path)
    expected = Header(at=1700000000.5, kind="stt", model="gpt-transcribe", audio=True, input_rate=8000)
    assert recording.header == expected
    assert recording.entries == (
        Entry(1.5, 1, "in", {"type": "session.created"}),
        Entry(2.0, 1, "note", {"type": "closed"}),
    )


@pytest.mark.parametrize("torn", [b'{"t": 3, "li', b'{"t": 3, "link": 1, "in": {"type": "\xc3', b"\n", b""])
def test_a_last_line_that_was_cut_off_is_left_out(torn):
    assert len(parse(lines(HEADER, ENTRY) + torn).entries) == 1


def test_what_a_header_lacks_or_has_of_another_type_is_as_by_default():
    assert parse(lines({"recording": 1, "model": 7, "audio": 1, "new": "x"})).header == Header()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "call.jsonl is empty: nothing was recorded."),
        (b"hello\n", "Line 1 of call.jsonl is no JSON object: pass a recording, or events as JSON lines."),
        (b'{"recor', "Line 1 of call.jsonl is no JSON object: pass a recording, or events as JSON lines."),
        (lines(HEADER) + b"oops\n" + lines(ENTRY), "Line 2 of call.jsonl is no JSON object"),
        (lines(HEADER, ENTRY) + b"oops\n", "Line 3 of call.jsonl is no JSON object"),
        (lines(HEADER, ENTRY, {"t": 1, "link": 1}), 'Line 3 of call.jsonl is no entry of a recording: it needs "t"'),
        (
            lines({**HEADER, "recording": 2}),
            "call.jsonl is a recording of version 2, and this reads 1: update the plugin.",
        ),
        (lines({"hello": 1}), "Line 1 of call.jsonl is neither an entry of a recording nor an event with a `type`"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(data, sentence):
    with pytest.raises(Unreadable) as refused:
        parse(data, name="call.jsonl")
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    "odd",
    [
        {"in": {}},
        {"in": {"type": ["session.created"]}},
        {"note": {"type": None}},
        {"t": -1},
        {"t": 1e300},
        {"t": 10**400},
        {"t": float("nan")},
        {"t": True},
        {"link": -1},
        {"link": 10**30},
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_its_line(odd):
    with pytest.raises(Unreadable, match=r"^Line 3 of the recording is no entry of a recording: it needs .*\.$"):
        parse(lines(HEADER, ENTRY, {"t": 2, "link": 1, **({} if "note" in odd else {"in": ENTRY["in"]}), **odd}))


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"kind": "call"}, "kind='call'"),
        ({"at": 1e300}, "at=1e\\+300"),
        ({"at": float("inf")}, "at=inf"),
        ({"at": -1}, "at=-1"),
        ({"input_rate": 0}, "input_rate=0"),
        ({"output_rate": 10**12}, "output_rate=1000000000000"),
    ],
)
def test_a_header_that_cannot_be_is_refused(odd, told):
    with pytest.raises(Unreadable, match=f"^Line 1 of the recording says {told}, which no recording does: mend"):
        parse(lines({**HEADER, **odd}, ENTRY))


@pytest.mark.parametrize("length", [-1, 1e300, 10**400, float("nan"), True, "2", None])
def test_a_length_that_cannot_be_is_none(length):
    assert audio_ms({"bytes": 1, "ms": length}) == 0.0


def test_a_file_is_held_once_while_it_is_read(tmp_path):
    """Where tracemalloc sees: the text of each line, its object, and what is in the recording."""
    path, size = tmp_path / "long.jsonl", 64 * 1024
    with path.open("wb") as file:
        file.write(lines({**HEADER, "audio": False}))
        for number in range(100):
            file.write(lines({"t": number, "link": 1, "in": {"type": "x", "other": [0] * 20, "audio": "A" * size}}))
    tracemalloc.start()
    recording = read(path)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(recording.entries) == 100
    assert most - kept < 20 * size


@pytest.mark.parametrize(
    ("value", "form", "ms"),
    [
        ("AAAA" * 160, "audio/pcm", 10.0),
        ("AAAA" * 160, "audio/pcmu", 60.0),
        ({"bytes": 1, "ms": 2.5}, "audio/pcm", 2.5),
    ],
)
def test_the_length_of_audio_is_known_whether_it_was_kept_or_not(value, form, ms):
    assert audio_ms(value, form) == ms
