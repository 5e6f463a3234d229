"""Recordings are read whole, torn ones too; what is none is refused with the number of its line."""

from __future__ import annotations

import json
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
    ("value", "form", "ms"),
    [
        ("AAAA" * 160, "audio/pcm", 10.0),
        ("AAAA" * 160, "audio/pcmu", 60.0),
        ({"bytes": 1, "ms": 2.5}, "audio/pcm", 2.5),
    ],
)
def test_the_length_of_audio_is_known_whether_it_was_kept_or_not(value, form, ms):
    assert audio_ms(value, form) == ms
