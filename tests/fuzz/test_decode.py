"""Whatever a frame holds, it becomes a value. `make fuzz` does a million, `python -m tests.fuzz SEED` one again."""

from __future__ import annotations

from collections import Counter

import pytest

from livekit_plugins_openai_ga.wire import server_events as ev
from tests.fuzz.decoding import decode
from tests.fuzz.frames import CORPUS, frame

FRAMES = 8_000


def test_no_frame_raises_and_each_event_is_met() -> None:
    results = Counter(type(decode(frame(seed))) for seed in range(FRAMES))
    assert set(results) == {*ev.EVENTS.values(), ev.Ignored, ev.Unknown, ev.Malformed}


def test_a_seed_makes_the_same_frame_again() -> None:
    first = [frame(seed) for seed in range(2_000)]
    assert [frame(seed) for seed in range(2_000)] == first


def test_what_is_changed_were_events() -> None:
    decoded = [type(decode(text)) for text in CORPUS]
    assert ev.Malformed not in decoded
    assert set(ev.EVENTS.values()) < set(decoded)


@pytest.mark.parametrize("digits", [400, 4_000, 5_000, 1_000_000])
def test_a_number_of_many_digits_is_no_place_in_the_audio(digits: int) -> None:
    started = '{"type":"input_audio_buffer.speech_started","item_id":"a","audio_start_ms":' + "9" * digits + "}"
    assert decode(started) in (ev.SpeechStarted("a"), ev.Malformed("", "not valid JSON"))  # Python reads 4300 digits


@pytest.mark.parametrize("depth", [50, 900, 1_000, 20_000, 1_000_000])
@pytest.mark.parametrize("opens", ["[", '{"error":', '{"type":"error","error":'])
def test_what_is_never_closed_is_malformed_however_deep(opens: str, depth: int) -> None:
    assert decode(opens * depth) == ev.Malformed("", "not valid JSON")


@pytest.mark.parametrize("depth", [50, 300, 600, 900])
def test_what_is_nested_as_deeply_as_json_may_be_is_a_value(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for text in ('"code":' + nested, '"message":' + nested, '"param":' + nested):
        assert isinstance(decode('{"type":"error","error":{' + text + "}}"), (ev.Error, ev.Malformed))
