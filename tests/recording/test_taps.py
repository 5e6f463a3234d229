"""Raw events that applications wrote down themselves, in whatever way, are recordings, too."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from livekit_plugins_openai_ga.recording import Recording, Unreadable
from livekit_plugins_openai_ga.recording.reader import parse
from livekit_plugins_openai_ga.recording.taps import CLIENT_EVENTS
from tests.recording.test_scrub import CLIENT_EVENTS as KNOWN_CLIENT_EVENTS

SECOND = base64.b64encode(bytes(48000)).decode()
CREATED = {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime-2.1"}}
APPEND = {"type": "input_audio_buffer.append", "audio": SECOND}
DONE = {"type": "response.done", "response": {"id": "resp_1"}}


def recording(*records: Any) -> Recording:
    return parse(b"".join(json.dumps(record).encode() + b"\n" for record in records))


def times(*records: Any) -> list[float]:
    return [entry.t_ms for entry in recording(*records).entries]


def test_a_bare_event_went_the_way_that_its_type_says():
    found = recording(CREATED, APPEND, DONE)
    assert [(e.direction, e.event) for e in found.entries] == [("in", CREATED), ("out", APPEND), ("in", DONE)]
    assert (found.header.model, found.header.kind, found.header.audio) == ("gpt-realtime-2.1", "realtime", True)


def test_every_client_event_is_known_by_its_type():
    assert set(KNOWN_CLIENT_EVENTS) <= CLIENT_EVENTS


@pytest.mark.parametrize(
    ("wrapper", "direction"),
    [
        ({"name": "openai_client_event_queued"}, "out"),
        ({"name": "openai_server_event_received"}, "in"),
        ({"type": "openai_client_event_queued"}, "out"),
        ({"direction": "sent"}, "out"),
        ({"direction": "in"}, "in"),
        ({"source": "server"}, "in"),
        ({"direction": "<"}, "in"),
        ({"source": "my agent"}, "in"),
    ],
)
@pytest.mark.parametrize("inside", ["event", "payload", "data"])
def test_a_wrapper_says_which_way_an_event_went(wrapper, direction, inside):
    (entry,) = recording({"ts": 1.5, **wrapper, inside: DONE}).entries
    assert (entry.direction, entry.event) == (direction, DONE)


@pytest.mark.parametrize(
    "stamps",
    [
        (1700000000.0, 1700000001.0, 1700000003.5),
        (1700000000000, 1700000001000, 1700000003500),
        (1700000000000000, 1700000001000000, 1700000003500000),
        (1700000000000000000, 1700000001000000000, 1700000003500000000),
        (10.0, 11.0, 13.5),
        (500, 1500, 4000),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:01Z", "2026-11-21T10:00:03.500Z"),
    ],
)
@pytest.mark.parametrize("name", ["t", "time", "timestamp", "ts"])
def test_times_are_understood_in_seconds_and_milliseconds_since_1970_and_any_moment(stamps, name):
    events = [{**event, name: stamp} for event, stamp in zip((CREATED, APPEND, DONE), stamps, strict=True)]
    assert times(*events) == [0.0, 1000.0, 3500.0]
    assert recording(*events).entries[2].event == DONE, "the time is no part of the event"


def test_seconds_and_milliseconds_are_told_apart_by_how_long_the_audio_is():
    assert times({**CREATED, "t": 0}, *({**APPEND, "t": second} for second in range(1, 6)))[-1] == 5000.0
    assert times({**CREATED, "t": 0}, *({**APPEND, "t": second * 1000} for second in range(1, 6)))[-1] == 5000.0


@pytest.mark.parametrize("of_a_second", [1e3, 1e6, 1e9])
def test_smaller_units_since_any_moment_are_told_apart_by_the_audio_or_by_how_long_a_call_may_be(of_a_second):
    begun, seconds = 7_800_000 * of_a_second, range(1, 6)
    sent = [{**APPEND, "t": int(begun + second * of_a_second)} for second in seconds]
    assert times({**CREATED, "t": int(begun)}, *sent)[-1] == 5000.0
    done = [{**DONE, "t": int(begun + second * 60 * of_a_second)} for second in seconds]
    assert times({**CREATED, "t": int(begun)}, *done)[-1] == 300_000.0


def test_a_time_that_is_none_is_refused_with_its_line():
    with pytest.raises(Unreadable, match="Line 3 of the recording is months behind another one"):
        recording({**CREATED, "ts": 1700000000.0}, {**DONE, "ts": 1700000001.0}, {**DONE, "ts": 1e300})


def test_a_time_since_1970_is_when_the_recording_began():
    assert recording({**CREATED, "ts": 1700000000.25}).header.at == 1700000000.25
    assert recording({**CREATED, "ts": 12.5}).header.at == 0.0


def test_without_times_the_audio_that_was_sent_says_when():
    assert times(CREATED, APPEND, APPEND, DONE) == [0.0, 1000.0, 2000.0, 2000.0]


def test_without_times_audio_that_was_not_kept_counts_too():
    short = {"type": "input_audio_buffer.append", "audio": {"bytes": 960, "ms": 20.0, "sha256": "x"}}
    assert times(CREATED, short, DONE) == [0.0, 20.0, 20.0]


def test_each_session_that_was_created_is_a_connection():
    assert [entry.link for entry in recording(APPEND, CREATED, DONE, CREATED, DONE).entries] == [0, 1, 1, 2, 2]


def test_formats_and_kind_are_those_of_the_session():
    audio = {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcma"}}}
    header = recording({"type": "session.updated", "session": {"audio": audio}}).header
    assert (header.input_format, header.input_rate, header.output_format) == ("audio/pcmu", 8000, "audio/pcma")
    assert recording({"type": "session.update", "session": {"type": "transcription"}}).header.kind == "stt"
    assert recording({"type": "session.output_transcript.delta", "delta": "Guten"}).header.kind == "translation"
