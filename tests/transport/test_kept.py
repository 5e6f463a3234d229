"""What one connection was sent: bytes, places, commits. The outbox's tests have the rest."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from livekit_plugins_openai_ga.transport.kept import SLACK, Kept


def test_audio_goes_when_it_is_taken_and_comes_back_from_behind_a_place() -> None:
    kept = Kept(1_000)
    for audio in (b"aaaa", b"bbbb", b"cccc"):
        kept.sent(audio, 0)
    assert kept.taken(8, 4) == [b"bbbb"]
    assert (kept.size, kept.position) == (4, 12)
    assert kept.lost() == ([(8, b"cccc")], 0)
    assert (kept.size, kept.position) == (0, 0)


def test_what_is_not_kept_is_lost_unless_nobody_spoke() -> None:
    kept = Kept(4)
    kept.keep(4, idle=True)
    kept.sent(b"aaaa", 0)
    kept.sent(b"bbbb", 0)
    assert kept.lost() == ([(4, b"bbbb")], 0)
    kept.keep(4, idle=False)
    kept.sent(b"bbbb", 4)
    kept.sent(b"cccc", 4)
    assert kept.lost() == ([(8, b"cccc")], 4)


def test_what_went_while_somebody_spoke_is_lost_also_when_nobody_speaks_any_more() -> None:
    kept = Kept(4)
    kept.sent(b"aaaa", 0)
    kept.sent(b"bbbb", 0)
    kept.keep(4, idle=True)
    kept.sent(b"cccc", 0)
    assert kept.size == 4
    assert kept.lost() == ([(8, b"cccc")], 4)


def test_a_turn_is_taken_whole_in_the_step_in_which_its_speaker_stops() -> None:
    kept = Kept(6)
    kept.sent(b"aa", 0)
    kept.sent(b"bb", 0)
    kept.keep(2, idle=True)
    assert kept.size == 2
    assert kept.taken(4, 0) == [b"aa", b"bb"]
    assert (kept.size, kept.lost()) == (0, ([], 0))


def test_the_bound_holds_for_whoever_looks_and_memory_is_given_back_soon() -> None:
    kept = Kept(10_000)
    first = bytes(1_000)
    unused = sys.getrefcount(first)
    kept.sent(first, 0)
    for _ in range(1, 12):
        kept.sent(bytes(1_000), 0)
    assert (kept.size, kept.position) == (10_000, 12_000)
    for _ in range(12, 12 + SLACK // 1_000):
        kept.sent(bytes(1_000), 0)
    assert sys.getrefcount(first) == unused


def send(kept: Kept, size: int) -> None:
    for _ in range(size // 1_000):
        kept.sent(bytes(1_000), 0)


def test_memory_is_given_back_with_the_next_piece_when_the_bound_sinks() -> None:
    kept = Kept(100_000)
    first = bytes(1_000)
    unused = sys.getrefcount(first)
    kept.sent(first, 0)
    send(kept, 90_000)
    assert sys.getrefcount(first) > unused
    kept.keep(1_000, idle=False)
    send(kept, 1_000)
    assert sys.getrefcount(first) == unused


@pytest.mark.parametrize("between", [lambda kept: None, lambda kept: kept.lost()])
def test_memory_is_given_back_each_time_the_bound_is_passed(between: Callable[[Kept], object]) -> None:
    kept = Kept(10_000)
    for _ in range(3):
        first = bytes(1_000)
        unused = sys.getrefcount(first)
        kept.sent(first, 0)
        send(kept, 10_000 + SLACK)
        assert sys.getrefcount(first) == unused
        between(kept)


@pytest.mark.parametrize(
    ("before", "left"),
    [
        (lambda kept: kept.taken(8_000, 0), 1_000),
        (lambda kept: kept.cleared(), 0),
        (lambda kept: kept.keep(10_000, idle=False), 9_000),
        (lambda kept: send(kept, 1_000 + SLACK + 1_000), 10_000),
    ],
)
def test_nothing_goes_before_the_bound_is_passed_by_a_second_whatever_was_before(
    before: Callable[[Kept], object], left: int
) -> None:
    kept = Kept(10_000)
    send(kept, 9_000)
    before(kept)
    assert kept.size == left
    begins, more = kept.position, 10_000 + SLACK - left
    send(kept, more)
    assert len(kept.taken(kept.position, begins)) == more // 1_000


def test_what_was_cleared_is_not_lost() -> None:
    kept = Kept(4)
    kept.sent(b"aaaa", 0)
    kept.sent(b"bbbb", 0)
    assert kept.cleared() == [(4, b"bbbb")]
    assert kept.lost() == ([], 0)


def test_a_clear_leaves_what_a_commit_has_claimed_and_that_comes_back_in_order() -> None:
    kept = Kept(1_000)
    first, second = {"type": "commit", "event_id": "1"}, {"type": "commit", "event_id": "2"}
    kept.sent(b"aaaa", 0)
    kept.committed(first)
    kept.sent(b"bbbb", 0)
    kept.committed(second)
    kept.sent(b"cccc", 0)
    assert kept.cleared() == [(8, b"cccc")]
    assert kept.lost() == ([(0, b"aaaa"), first, (4, b"bbbb"), second], 0)


def test_the_oldest_commit_is_told_of_once_and_a_refused_one_never() -> None:
    kept = Kept(1_000)
    for name in ("1", "2", "3"):
        kept.sent(b"aaaa", 0)
        kept.committed({"type": "commit", "event_id": name})
    kept.refused("2")
    assert [kept.take_commit() for _ in range(3)] == [4, 12, None]


def test_a_place_is_told_in_all_the_audio_also_behind_a_jump() -> None:
    kept = Kept(1_000)
    kept.sent(b"aaaa", 100)
    kept.sent(b"bbbb", 196)
    assert [kept.place(own) for own in (0, 3, 4, 7)] == [100, 103, 200, 203]
