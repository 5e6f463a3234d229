"""Subtitles: cues in order, readable, and files that a parser takes."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.devtools.captions import (
    MAX_COLUMNS,
    MAX_LINES,
    MIN_CUE_MS,
    VTT_HEADER,
    Captioner,
    Cue,
)
from livekit_plugins_openai_ga.devtools.display import clean, width

LONG = (
    "This is a rather long sentence that nobody could read in a single caption, so it is shown in several of them, "
    "one after the other, while it is being spoken."
)
SECONDS = st.floats(0, 4000, allow_nan=False)
TEXT = st.text(st.one_of(st.characters(), st.sampled_from("word -->&<> 漢字。\n")))
FINALS = st.lists(st.tuples(SECONDS, SECONDS, TEXT), max_size=6)

_TIME = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)[,.](\d{3})")


def milliseconds(clock: str) -> int:
    match = _TIME.fullmatch(clock)
    assert match is not None, clock
    hours, minutes, seconds, rest = map(int, match.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + rest


def parse(text: str, arrow: str = " --> ") -> list[tuple[str, int, int, str]]:
    """A strict reader of both formats: blocks between empty lines, each with a number, times, and text."""
    assert not text or text.endswith("\n\n")
    cues = []
    for block in text.removesuffix("\n\n").split("\n\n") if text else []:
        number, times, *lines = block.split("\n")
        start, end = times.split(arrow)
        assert lines
        assert all(lines)
        assert not any("-->" in line for line in lines)
        cues.append((number, milliseconds(start), milliseconds(end), "\n".join(lines)))
    return cues


def cues_of(finals: list[tuple[float, float, str]]) -> list[Cue]:
    captioner = Captioner()
    return [cue for start, end, text in finals for cue in captioner.add(start, end, text)]


def test_a_sentence_as_subrip_and_as_webvtt() -> None:
    (cue,) = Captioner().add(3.2, 4.75, "Hello there.")
    assert cue.srt() == "1\n00:00:03,200 --> 00:00:04,750\nHello there.\n\n"
    assert cue.vtt() == "1\n00:00:03.200 --> 00:00:04.750\nHello there.\n\n"
    assert VTT_HEADER == "WEBVTT\n\n"


def test_times_are_rounded_to_the_millisecond_and_carry_over() -> None:
    (cue,) = Captioner().add(3599.9996, 3661.0004, "One hour.")
    assert cue.srt().splitlines()[1] == "01:00:00,000 --> 01:01:01,000"


def test_what_the_formats_reserve_is_escaped() -> None:
    (cue,) = Captioner().add(0, 2, "a --> b ---> c & <i>d</i>")
    assert cue.srt().splitlines()[2] == "a -> b -> c & <i>d</i>"
    assert cue.vtt().splitlines()[2] == "a --&gt; b ---&gt; c &amp; &lt;i&gt;d&lt;/i&gt;"


def test_line_breaks_in_a_transcript_do_not_end_its_cue() -> None:
    (cue,) = Captioner().add(0, 2, "one\n\ntwo\r\n\x0bthree\u2028four")
    assert cue.lines == ("one two three four",)


def test_a_long_transcript_is_several_cues_that_share_its_time_by_length() -> None:
    cues = Captioner().add(10, 19, LONG)
    assert len(cues) == 2
    assert " ".join(line for cue in cues for line in cue.lines) == LONG
    assert (cues[0].start_ms, cues[-1].end_ms) == (10_000, 19_000)
    assert cues[0].end_ms == cues[1].start_ms
    share = (cues[0].end_ms - cues[0].start_ms) / 9000
    assert abs(share - sum(map(width, cues[0].lines)) / len(LONG)) < 0.03


def test_the_lines_of_a_cue_look_alike() -> None:
    (cue,) = Captioner().add(0, 3, "This sentence is just a little too long for one line.")
    assert len(cue.lines) == 2
    assert abs(len(cue.lines[0]) - len(cue.lines[1])) <= 6


def test_wide_characters_count_twice() -> None:
    (cue,) = Captioner().add(0, 5, "今日は天気がとても良いので散歩に行きましょう。明日は雨が降るそうです。")
    assert len(cue.lines) == 2
    assert max(map(width, cue.lines)) <= MAX_COLUMNS


def test_silence_has_no_cue_and_takes_no_number() -> None:
    captioner = Captioner()
    assert captioner.add(0, 1, "") == captioner.add(1, 2, " \n ") == []
    assert captioner.add(2, 3, "Now.")[0].number == 1


def test_speech_that_overlaps_is_shown_later() -> None:
    cues = cues_of([(0, 3, "First."), (2.5, 5, "Second."), (2, 4, "Third.")])
    times = [(cue.start_ms, cue.end_ms) for cue in cues]
    assert times == [(0, 3000), (3000, 5000), (5000, 5000 + MIN_CUE_MS)]


@given(FINALS)
@example([(0.0, 0.0, "word " * 100), (0.0, 0.0, "b")])
def test_any_finals_give_cues_in_order_that_never_overlap(finals: list[tuple[float, float, str]]) -> None:
    cues = cues_of(finals)
    assert [cue.number for cue in cues] == list(range(1, len(cues) + 1))
    assert all(cue.end_ms - cue.start_ms >= MIN_CUE_MS for cue in cues)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(cues))
    assert all(1 <= len(cue.lines) <= MAX_LINES for cue in cues)
    assert all(width(line) <= MAX_COLUMNS for cue in cues for line in cue.lines)
    told = "".join("".join(line for cue in cues for line in cue.lines).split())
    assert told == "".join("".join(clean(text) for _, _, text in finals).split())


@given(FINALS)
def test_any_finals_give_files_that_a_strict_reader_takes(finals: list[tuple[float, float, str]]) -> None:
    cues = cues_of(finals)
    expected = [(str(cue.number), cue.start_ms, cue.end_ms) for cue in cues]
    assert [block[:3] for block in parse("".join(cue.srt() for cue in cues))] == expected
    vtt = parse("".join(cue.vtt() for cue in cues))
    assert [block[:3] for block in vtt] == expected
    for *_, text in vtt:
        assert "<" not in text
        assert ">" not in text
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
