"""Segments: each grows, ends once, and waits its turn; none is waited for longer than its time. No clock is used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.segments import (
    FINAL_TIMEOUT_S,
    INTERIM_EVERY_S,
    OVERTAKEN_TIMEOUT_S,
    Commit,
    Ending,
    Segment,
    Segments,
    patience,
)
from livekit_plugins_openai_ga.core.usage import TranscriptionUsage

FAILED = errors.from_server_error("audio_unintelligible", "transcription_error", "no")
COST = TranscriptionUsage(seconds=2.0)


def begun(segments: Segments, item_id: str) -> Segment:
    segment = segments.get(item_id)
    assert segment is not None
    return segment


def committed(segments: Segments, *item_ids: str, now: float = 0.0) -> None:
    for item_id in item_ids:
        segments.committed(begun(segments, item_id), now)


def ended(segments: Segments, item_id: str, ending: Ending, now: float = 0.0) -> list[fx.Effect]:
    return segments.ended(begun(segments, item_id), ending, now)


def told(effects: list[fx.Effect]) -> list[tuple[str, str, str]]:
    """Item, stage and text of what is told; a failure without a text is `failed` and its code."""
    lines = []
    for effect in effects:
        if isinstance(effect, fx.Caption):
            lines.append((effect.item_id, effect.stage, effect.text))
        elif isinstance(effect, fx.SegmentFailed):
            lines.append((effect.item_id, "failed", effect.failure.code))
    return lines


# -- texts that grow -----------------------------------------------------------------------------------------------


def test_the_first_text_is_told_at_once_and_further_ones_at_a_pace() -> None:
    segments = Segments()
    segment = begun(segments, "a")
    assert told(segments.grown(segment, " Hello", 10.0)) == [("a", "interim", "Hello")]
    assert segments.grown(segment, " there", 10.01) == []
    assert segments.grown(segment, " my", 10.05) == []
    assert segments.due() == pytest.approx(10.0 + INTERIM_EVERY_S)
    assert told(segments.grown(segment, " friend", 10.2)) == [("a", "interim", "Hello there my friend")]
    assert segments.due() is None


def test_the_last_text_of_a_burst_is_told_when_its_time_has_come() -> None:
    segments = Segments()
    for word in (" one", " two", " three"):
        segments.grown(begun(segments, "a"), word, 10.0)
    assert segments.tick(10.05) == []
    assert told(segments.tick(10.11)) == [("a", "interim", "one two three")]
    assert segments.tick(10.3) == []


def test_interims_of_two_items_do_not_mix() -> None:
    segments = Segments()
    segments.grown(begun(segments, "a"), "one", 10.0)
    segments.grown(begun(segments, "b"), "eins", 10.0)
    segments.grown(begun(segments, "a"), " two", 10.0)
    segments.grown(begun(segments, "b"), " zwei", 10.0)
    assert told(segments.tick(10.11)) == [("a", "interim", "one two"), ("b", "interim", "eins zwei")]


def test_nothing_is_told_of_a_text_that_is_only_space() -> None:
    segments = Segments()
    assert told(segments.grown(begun(segments, "a"), " ", 10.0)) == []
    assert told(segments.grown(begun(segments, "a"), "one", 11.0)) == [("a", "interim", "one")]
    assert told(segments.grown(begun(segments, "a"), " ", 12.0)) == []  # the same text again


@given(deltas=st.lists(st.text("ab \n", max_size=4), max_size=20), gaps=st.lists(st.floats(0, 0.3), min_size=20))
def test_each_interim_begins_with_the_one_before(deltas: list[str], gaps: list[float]) -> None:
    segments = Segments()
    now, shown = 0.0, ""
    for delta, gap in zip(deltas, gaps, strict=False):
        now += gap
        for _, _, text in told(segments.grown(begun(segments, "a"), delta, now)) + told(segments.tick(now)):
            assert text.startswith(shown)
            shown = text
    for _, _, text in told(segments.tick(now + 1)):
        shown = text
    assert shown == "".join(deltas).strip()


def test_text_of_audio_that_is_not_committed_is_known() -> None:
    segments = Segments()
    assert not segments.whispering
    segments.grown(begun(segments, "a"), "psst", 10.0)
    assert segments.whispering
    committed(segments, "a")
    assert not segments.whispering


# -- preflight -----------------------------------------------------------------------------------------------------


def test_a_commit_tells_the_text_so_far_ahead_of_the_final_one() -> None:
    segments = Segments()
    segments.grown(begun(segments, "a"), "Hello", 10.0)
    segments.grown(begun(segments, "a"), " there", 10.0)  # not told yet
    assert told(segments.committed(begun(segments, "a"), 10.01)) == [("a", "preflight", "Hello there")]
    assert segments.tick(10.05) == []  # nothing of it is left to tell


def test_a_commit_without_a_text_has_no_preflight() -> None:
    segments = Segments()
    assert segments.committed(begun(segments, "a"), 10.0) == []


def test_only_the_oldest_open_item_has_a_preflight() -> None:
    """LiveKit puts it behind all finals so far: the text of an item between them would be missing."""
    segments = Segments()
    segments.grown(begun(segments, "a"), "one", 10.0)
    committed(segments, "a", now=10.0)
    segments.grown(begun(segments, "b"), "two", 11.0)
    assert segments.committed(begun(segments, "b"), 11.0) == []
    ended(segments, "a", Ending("one"), 12.0)
    ended(segments, "b", Ending("two"), 12.0)
    segments.grown(begun(segments, "c"), "three", 13.0)
    assert told(segments.committed(begun(segments, "c"), 13.0)) == [("c", "preflight", "three")]


# -- endings, in order ---------------------------------------------------------------------------------------------


def test_an_ending_tells_text_audio_and_cost() -> None:
    segments = Segments()
    segment = begun(segments, "a")
    segment.start_ms, segment.end_ms, segment.until_ms, segment.taken_ms = 100, 1900, 2200, 900
    committed(segments, "a")
    ending = Ending(" Hello. ", 0.5, ("en",), usage=COST)
    assert ended(segments, "a", ending) == [
        fx.Caption("a", "Hello.", "final", 100, 1900, 0.5, ("en",)),
        fx.AudioTaken(900),
        fx.SegmentBilled("a", COST, 1800),
    ]
    assert segments.told_ms == 2200  # with the silence behind the speech
    assert segments.get("a") is None
    assert not segments


def test_texts_come_in_committed_order_whatever_order_they_arrive_in() -> None:
    segments = Segments()
    committed(segments, "a", "b", "c")
    assert ended(segments, "c", Ending("three")) == []
    assert told(ended(segments, "a", Ending("one"))) == [("a", "final", "one")]
    assert told(ended(segments, "b", Ending("two"))) == [("b", "final", "two"), ("c", "final", "three")]
    assert not segments


def test_an_item_that_waits_for_its_turn_tells_no_interims_any_more() -> None:
    segments = Segments()
    segments.grown(begun(segments, "b"), "tw", 10.0)
    segments.grown(begun(segments, "b"), "o", 10.0)
    committed(segments, "a", "b", now=10.0)
    ended(segments, "b", Ending("two"), 10.0)
    assert segments.tick(10.2) == []


def test_a_failure_is_told_in_its_turn_too() -> None:
    segments = Segments()
    committed(segments, "a", "b")
    assert ended(segments, "b", Ending(failure=FAILED)) == []
    told_now = told(ended(segments, "a", Ending("one")))
    assert told_now == [("a", "final", "one"), ("b", "failed", "audio_unintelligible")]


def test_the_part_that_came_before_a_failure_is_the_final_text() -> None:
    segments = Segments()
    segments.grown(begun(segments, "a"), " Hello the", 10.0)
    committed(segments, "a", now=10.0)
    (caption,) = ended(segments, "a", Ending(failure=FAILED), 10.0)
    assert caption == fx.Caption("a", "Hello the", "final", failure=FAILED)


def test_an_item_without_an_answer_to_its_commit_is_committed_by_its_text() -> None:
    segments = Segments()
    committed(segments, "a")
    assert ended(segments, "b", Ending("two")) == []
    assert told(ended(segments, "a", Ending("one"))) == [("a", "final", "one"), ("b", "final", "two")]


# -- endings that do not come --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("audio_ms", "seconds"), [(0, FINAL_TIMEOUT_S), (4000, FINAL_TIMEOUT_S + 1), (30_000, 22.5)])
def test_a_long_segment_is_waited_for_longer(audio_ms: float, seconds: float) -> None:
    segments = Segments()
    segment = begun(segments, "a")
    segment.start_ms, segment.end_ms = 500, 500 + audio_ms
    committed(segments, "a", now=100.0)
    assert segments.due() == 100.0 + seconds == 100.0 + patience(audio_ms)
    assert segments.tick(100.0 + seconds - 0.01) == []
    assert told(segments.tick(100.0 + seconds)) == [("a", "failed", "transcription_overdue")]
    assert segments.due() is None


def test_text_that_grows_is_waited_for() -> None:
    segments = Segments()
    committed(segments, "a", now=100.0)
    segments.grown(begun(segments, "a"), "Hel", 110.0)
    assert segments.due() == 110.0 + FINAL_TIMEOUT_S


def test_text_of_a_later_segment_makes_nobody_wait_longer() -> None:
    segments = Segments()
    committed(segments, "a", now=100.0)
    for now in range(101, 130):
        if (due := segments.due()) is not None and due <= now:
            break
        segments.grown(begun(segments, "b"), f" {now}", float(now))
    assert told(segments.tick(100.0 + FINAL_TIMEOUT_S))[-1] == ("a", "failed", "transcription_overdue")


def test_a_segment_is_waited_for_from_when_the_one_before_it_has_ended() -> None:
    """They may be transcribed one after the other."""
    segments = Segments()
    committed(segments, "a", "b", now=100.0)
    ended(segments, "a", Ending("one"), 112.0)
    assert segments.due() == 112.0 + FINAL_TIMEOUT_S


def test_a_segment_that_was_overtaken_is_waited_for_shorter_and_from_the_first_time() -> None:
    segments = Segments()
    committed(segments, "a", "b", "c", now=100.0)
    ended(segments, "b", Ending("two"), 101.0)
    ended(segments, "c", Ending("three"), 103.0)
    assert segments.due() == 101.0 + OVERTAKEN_TIMEOUT_S
    assert told(segments.tick(101.0 + OVERTAKEN_TIMEOUT_S)) == [
        ("a", "failed", "transcription_overdue"),
        ("b", "final", "two"),
        ("c", "final", "three"),
    ]


def test_what_came_of_an_overdue_text_is_its_final_text() -> None:
    segments = Segments()
    segments.grown(begun(segments, "a"), "Hel", 100.0)
    committed(segments, "a", now=100.0)
    (caption, *_) = segments.tick(100.0 + FINAL_TIMEOUT_S)
    assert isinstance(caption, fx.Caption)
    assert (caption.text, caption.stage) == ("Hel", "final")
    assert caption.failure is not None
    assert caption.failure.code == "transcription_overdue"


def test_an_item_that_was_never_committed_is_not_overdue() -> None:
    segments = Segments()
    segments.grown(begun(segments, "a"), "Hel", 100.0)
    assert segments.due() is None
    assert segments.tick(1000.0) == []


def test_a_turn_that_stopped_and_is_never_committed_is_given_up() -> None:
    segments = Segments()
    segment = begun(segments, "a")
    segment.start_ms, segment.end_ms = 0, 4000
    segments.stopped(segment, 100.0)
    assert segments.due() == 100.0 + patience(4000)
    assert segments.tick(100.0 + patience(4000) - 0.01) == []
    assert told(segments.tick(100.0 + patience(4000) + 0.01)) == [("a", "failed", "transcription_overdue")]
    assert not segments


def test_a_turn_without_an_id_is_not_waited_for() -> None:
    """Some gateways leave it out; the item it becomes has one."""
    segments = Segments()
    segments.stopped(begun(segments, ""), 100.0)
    assert not segments
    assert segments.due() is None


def test_a_segment_that_was_given_up_is_billed_once_when_its_text_comes_after_all() -> None:
    segments = Segments()
    committed(segments, "a", now=100.0)
    segments.tick(1000.0)
    assert segments.get("a") is None
    assert segments.late_bill("a", COST) == [fx.SegmentBilled("a", COST, 0.0)]
    assert segments.late_bill("a", COST) == []


def test_a_segment_that_ended_is_not_billed_again() -> None:
    segments = Segments()
    committed(segments, "a")
    ended(segments, "a", Ending("one", usage=COST))
    assert segments.late_bill("a", COST) == []
    assert segments.late_bill("never heard of", COST) == []


# -- a connection that goes ----------------------------------------------------------------------------------------


def test_a_lost_connection_gives_back_the_commits_of_ours_that_have_no_text_yet() -> None:
    segments = Segments()
    ours = [Commit(f"commit_{n}", n * 1000, 0, 0, cut=False) for n in (1, 2, 3)]
    for item_id, commit in zip("abc", ours, strict=True):
        begun(segments, item_id).commit = commit
        begun(segments, item_id).until_ms = commit.at_ms
    segments.stopped(begun(segments, "server"), 0.0)
    committed(segments, "a", "b", "server", "c")
    begun(segments, "half")
    ended(segments, "a", Ending("one"))
    ended(segments, "c", Ending("three", usage=COST))  # held back: its text goes down with the connection
    commits, effects = segments.lost()
    assert commits == ours[1:]
    assert effects == [fx.SegmentBilled("c", COST, 0.0)]
    assert not segments
    assert segments.due() is None
    assert segments.told_ms == 1000
    assert segments.late_bill("b", COST) == []


def test_what_was_given_up_on_a_lost_connection_is_billed_no_more() -> None:
    segments = Segments()
    committed(segments, "a", now=100.0)
    segments.tick(1000.0)
    segments.lost()
    assert segments.late_bill("a", COST) == []


def test_ids_of_a_lost_connection_mean_nothing_on_the_next() -> None:
    segments = Segments()
    committed(segments, "a")
    ended(segments, "a", Ending("one"))
    segments.lost()
    assert begun(segments, "a").text == ""


def test_something_is_to_come_when_a_turn_has_stopped_also_before_it_is_an_item() -> None:
    segments = Segments()
    segment = begun(segments, "a")
    assert not segments
    segments.stopped(segment, 5.0)
    assert segments
    committed(segments, "a")
    assert segments
    ended(segments, "a", Ending(""))
    assert not segments
