"""What is drawn: levels and waveforms, lanes, rows of what overlaps, and how much of it there may be."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from livekit_plugins_openai_ga.cli.timelines import drawing, marks, page, shown, sound, story, waves
from livekit_plugins_openai_ga.formats import PCMU
from livekit_plugins_openai_ga.recording.entries import Entry
from livekit_plugins_openai_ga.recording.scrub import Scrub

from .tape import Tape, silence, tone


def test_a_level_is_the_loudest_sample_of_ten_ms_in_any_format() -> None:
    samples = np.repeat(np.array([0, 16384, -32768, 0], "<i2"), 240)
    heard = sound.levels(base64.b64encode(samples.tobytes()).decode(), "audio/pcm")
    assert heard is not None
    assert heard.tolist() == [0, 128, 255, 0]
    telephone = PCMU.encode(np.repeat(np.array([0, 16384], "<i2"), 80))
    heard = sound.levels(base64.b64encode(telephone).decode(), "audio/pcmu")
    assert heard is not None
    assert heard.tolist() == pytest.approx([0, 128], abs=2)


@pytest.mark.parametrize("audio", [{"bytes": 4800, "ms": 100}, None, "abc"])
def test_audio_that_was_not_kept_has_no_levels(audio: object) -> None:
    assert sound.levels(audio, "audio/pcm") is None


def test_the_last_loud_level_is_above_the_rooms_noise() -> None:
    assert sound.last_loud(np.array([3, 200, 180, 12, 4, 2], np.uint8)) == 3
    assert sound.last_loud(np.array([2, 3, 1], np.uint8)) is None
    assert sound.last_loud(np.array([], np.uint8)) is None


def test_an_outline_goes_around_each_stretch_of_sound() -> None:
    assert waves.outline(np.array([0, 255, 255, 0, 64, 0], np.uint8)) == "M1 4h1h1V196h-1h-1zM4 52h1V148h-1z"
    assert waves.outline(np.zeros(5, np.uint8)) == ""


def test_a_waveform_lies_where_its_pieces_are_and_is_silent_without_audio() -> None:
    loud = np.full(10, 255, np.uint8)
    wave = waves.wave([(500.0, 600.0, loud), (700.0, 800.0, None)], 1000.0)
    assert wave is not None
    assert wave.units == 100
    assert wave.path.startswith("M50 ")
    assert waves.wave([(0.0, 1000.0, None)], 1000.0) is None


def test_calls_at_the_same_time_are_below_each_other() -> None:
    tape = Tape().opened().begins("a", 0)
    for number in range(2):
        call = {"type": "function_call", "call_id": f"c{number}", "name": "look", "arguments": "{}"}
        output = {"type": "function_call_output", "call_id": f"c{number}", "output": "1"}
        tape.server(100 + number, "response.output_item.done", response_id="a", item=call)
        tape.client(900, "conversation.item.create", item=output)
    facts = tape.facts()
    _, rows = drawing.lanes(facts, marks.marks(facts), {})
    heights = {row.lane: row.height for row in rows}
    assert heights["tools"] == 2 * heights["network"]


def test_speech_to_text_has_no_lanes_that_it_cannot_use() -> None:
    facts = Tape(kind="stt").opened().listens(0, 2000).says("u", 100, 900, "Hi").facts()
    _, rows = drawing.lanes(facts, marks.marks(facts), {})
    assert [row.lane for row in rows] == ["user", "network"]


@pytest.mark.parametrize(("ms", "label"), [(0, "0:00.0"), (59_960, "1:00.0"), (3_725_400, "1:02:05.4")])
def test_times_are_minutes_and_seconds(ms: float, label: str) -> None:
    assert drawing.moment(ms) == label


@pytest.mark.parametrize(
    ("ms", "length"), [(854.4, "854 ms"), (2_940, "2.9 s"), (182_000, "3 min 02 s"), (3_725_000, "1 h 02 min 05 s")]
)
def test_lengths_have_the_unit_that_fits(ms: float, length: str) -> None:
    assert marks.seconds(ms) == length


def test_an_event_is_shown_without_its_audio_and_with_a_part_of_a_long_text() -> None:
    event = {"type": "session.update", "audio": silence(100), "session": {"instructions": "a" * 5000}}
    text = shown.as_text(Entry(0.0, 1, "out", event), Scrub())
    assert '"ms": 100.0' in text
    assert "[3,000 more characters]" in text
    assert len(text) < 2500


def test_the_page_has_a_waveform_for_each_side_whose_audio_was_kept() -> None:
    tape = Tape(audio=True).opened().listens(0, 1000, tone(100)).begins("a", 1200)
    names = {"response_id": "a", "item_id": "i", "output_index": 0, "content_index": 0}
    tape.server(1300, "response.output_audio.delta", delta=tone(400), **names).ends("a", 1400)
    recording = tape.recording()
    text = page.page(story.tell(recording), name="call.jsonl", entries=recording.entries)
    assert re.findall(r'<svg class="wave (\w+)"', text) == ["user", "agent"]
    assert tone(100) not in text


def test_a_call_of_an_hour_makes_a_page_that_can_be_opened() -> None:
    tape = Tape().opened().listens(0, 3_600_000)
    for number in range(400):
        at = number * 9000
        tape.says(f"u{number}", at + 500, at + 2500, "A question about one thing or the other.")
        reply = f"r{number}"
        tape.begins(reply, at + 3010).speaks(reply, at + 3300, *[200] * 20, text="An answer to it.").ends(
            reply, at + 4400
        )
    recording = tape.recording()
    assert len(recording.entries) > 40_000
    text = page.page(story.tell(recording), name="call.jsonl", entries=recording.entries)
    assert len(text) < 3_500_000
