"""What leaves, in which order, and which audio comes back after a reconnect. 48 bytes are one millisecond."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livekit_plugins_openai_ga.transport.outbox import BYTES_PER_MS, IDLE_KEEP_MS, MAX_EVENTS, WAIT_MS, Outbox
from livekit_plugins_openai_ga.wire.client_events import Append


def pcm(ms: float, mark: int = 0) -> bytes:
    return bytes([mark]) * int(ms * BYTES_PER_MS)


def event(name: str) -> dict[str, Any]:
    return {"type": name}


def drain(outbox: Outbox) -> list[str]:
    """What leaves now: names of events, and audio as `audio <mark>`."""
    left = []
    while (sent := outbox.next()) is not None:
        if sent["type"] == "input_audio_buffer.append":
            left.append(f"audio {base64.b64decode(sent['audio'])[0]}")
        else:
            left.append(sent["type"])
    return left


def ready(**given: Any) -> Outbox:
    outbox = Outbox(**given)
    outbox.configured()
    return outbox


# -- lanes --------------------------------------------------------------------------------------------------------


def test_audio_leaves_as_an_append_of_its_base64() -> None:
    outbox = ready()
    outbox.put_audio(b"\x01\x02" * 480)
    assert outbox.next() == {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(b"\x01\x02" * 480).decode(),
    }
    assert outbox.next() is None


def passed(outbox: Outbox, audio: bytes) -> bool:
    """Whether audio goes past the lanes, as a line sends it."""
    if outbox.drained:
        outbox.kept.sent(audio, outbox.ahead)
    return outbox.drained


def test_audio_passes_when_nothing_is_before_it_and_counts_as_sent() -> None:
    outbox = ready()
    assert drain(outbox) == []
    assert passed(outbox, pcm(20, 1))
    assert (outbox.put_ms, outbox.waiting_ms, outbox.kept_ms, outbox.sent_ms) == (20.0, 0.0, 20.0, 20.0)
    outbox.lost()
    assert not outbox.drained
    outbox.configured()
    assert drain(outbox) == ["audio 1"]


PUTS: dict[str, Callable[[Outbox], None]] = {
    "audio": lambda outbox: outbox.put_audio(pcm(20, 1)),
    "a reply": lambda outbox: outbox.put(event("reply"), in_turn=True),
    "control": lambda outbox: outbox.put(event("control")),
    "the application's": lambda outbox: outbox.put_foreign(event("foreign")),
    "a commit": lambda outbox: outbox.put_commit(commit("commit_1")),
    "a clear": lambda outbox: outbox.put_clear(event("clear")),
}


@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
def test_audio_does_not_pass_what_was_put_before_it(put: Callable[[Outbox], None]) -> None:
    outbox = ready()
    drain(outbox)
    put(outbox)
    assert not passed(outbox, pcm(20, 2))
    assert outbox.next() is not None
    assert not passed(outbox, pcm(20, 2))  # whoever sends it may still be told of it
    assert outbox.next() is None
    assert passed(outbox, pcm(20, 2))


def test_audio_does_not_pass_before_the_configuration_nor_behind_a_close() -> None:
    outbox = Outbox()
    assert outbox.next() is None
    assert not outbox.drained
    outbox.configured()
    assert outbox.next() is None
    assert outbox.drained
    outbox.put_close(event("close"))
    assert not outbox.drained
    assert drain(outbox) == ["close"]
    assert not outbox.drained


def test_audio_of_another_format_is_counted_by_its_own_bytes() -> None:
    outbox = ready(keep_ms=30, wait_ms=40, bytes_per_ms=8)
    for mark in range(1, 4):
        outbox.put_audio(bytes([mark]) * 160)
    assert (outbox.put_ms, outbox.waiting_ms, outbox.audio.dropped) == (60, 40, 20)
    assert drain(outbox) == ["audio 2", "audio 3"]
    assert (outbox.sent_ms, outbox.kept_ms, outbox.position_ms) == (40, 20, 40)
    assert outbox.session_ms(30) == 50
    outbox.lost()
    assert (outbox.audio.dropped, outbox.waiting_ms) == (40, 20)


def test_configuration_leaves_before_the_session_is_configured_and_turns_wait() -> None:
    outbox = Outbox()
    outbox.put_audio(pcm(20, 1))
    outbox.put(event("reply"), in_turn=True)
    outbox.put(event("session.update"))
    outbox.put(event("item"))
    assert drain(outbox) == ["session.update", "item"]
    outbox.configured()
    assert drain(outbox) == ["audio 1", "reply"]


def test_control_overtakes_waiting_audio() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    outbox.put(event("cancel"))
    assert drain(outbox) == ["cancel", "audio 1"]


def test_a_reply_and_an_applications_event_keep_their_place_behind_audio_and_commit() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    outbox.put_foreign(event("foreign"))
    outbox.put_audio(pcm(20, 2))
    outbox.put_commit(event("commit"))
    outbox.put(event("reply"), in_turn=True)
    assert drain(outbox) == ["audio 1", "foreign", "audio 2", "commit", "reply"]


@pytest.mark.parametrize("bad", [{"type": object()}, {"type": b"x"}])
def test_an_event_that_is_not_json_is_refused_where_it_is_made(bad: dict[str, Any]) -> None:
    outbox = ready()
    with pytest.raises(TypeError):
        outbox.put_foreign(bad)
    assert outbox.next() is None


# -- what a lost connection leaves behind ---------------------------------------------------------------------------


def test_audio_that_no_item_has_is_sent_again_before_newer_audio() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    outbox.put_audio(pcm(20, 2))
    assert drain(outbox) == ["audio 1", "audio 2"]
    outbox.put_audio(pcm(20, 3))
    outbox.lost()
    outbox.put_audio(pcm(20, 4))
    assert drain(outbox) == []
    outbox.configured()
    assert drain(outbox) == ["audio 1", "audio 2", "audio 3", "audio 4"]
    assert (outbox.sent_ms, outbox.audio.replayed, outbox.audio.dropped) == (120.0, 40.0, 0.0)


def test_what_the_core_makes_anew_is_forgotten_and_an_applications_event_is_not() -> None:
    outbox = Outbox()
    outbox.put(event("session.update"))
    outbox.put(event("reply"), in_turn=True)
    outbox.put_foreign(event("foreign"))
    outbox.put_clear(event("clear"))
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["foreign"]


def test_a_request_can_be_taken_back_until_it_leaves() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    outbox.put({"type": "reply", "event_id": "k1"}, in_turn=True)
    outbox.put({"type": "reply", "event_id": "k2"}, in_turn=True)
    assert outbox.withdraw("k1")
    assert not outbox.withdraw("k1")
    assert drain(outbox) == ["audio 1", "reply"]
    assert not outbox.withdraw("k2")


def test_events_that_wait_for_a_connection_are_bounded_and_the_oldest_go() -> None:
    outbox = Outbox()
    outbox.put_commit(event("commit"))
    outbox.put(event("reply"), in_turn=True)
    for number in range(MAX_EVENTS + 1):
        outbox.put_foreign(event(f"e{number}"))
    assert outbox.events_dropped == 2
    outbox.configured()
    assert drain(outbox)[:2] == ["reply", "e1"]


def test_what_has_left_does_not_leave_again_unless_it_is_audio_or_its_commit() -> None:
    outbox = ready()
    outbox.put_foreign(event("foreign"))
    outbox.put_audio(pcm(120, 1))
    outbox.put_commit(event("commit"))
    outbox.put(event("reply"), in_turn=True)
    drain(outbox)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 1", "commit"]


def test_a_second_loss_brings_the_same_audio_back_once_more() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    for _ in range(3):
        assert drain(outbox) == ["audio 1"]
        outbox.lost()
        outbox.configured()
    assert drain(outbox) == ["audio 1"]
    assert outbox.audio.replayed == 60.0


# -- what the server has -------------------------------------------------------------------------------------------


def test_audio_up_to_the_end_of_a_turn_needs_no_keeping() -> None:
    outbox = ready()
    for mark in (1, 2, 3):
        outbox.put_audio(pcm(20, mark))
    drain(outbox)
    outbox.taken(50)  # in the middle of the third chunk, which therefore stays
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3"]


def test_a_confirmed_commit_takes_the_audio_before_it() -> None:
    outbox = ready()
    outbox.put_audio(pcm(120, 1))
    outbox.put_commit(event("commit 1"))
    outbox.put_audio(pcm(120, 2))
    outbox.put_commit(event("commit 2"))
    outbox.put_audio(pcm(20, 3))
    drain(outbox)
    outbox.taken(None)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 2", "commit 2", "audio 3"]
    outbox.taken(None)
    outbox.taken(None)  # a commit of the server's own: it tells nothing about ours
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3"]


def test_what_is_taken_is_handed_over_from_where_the_turn_begins() -> None:
    outbox = ready()
    for mark in range(5):
        outbox.put_audio(pcm(20, mark))
    drain(outbox)
    taken = outbox.taken(80, since_ms=30)  # in the middle of the second chunk, which therefore comes along
    assert [chunk[0] for chunk in taken] == [1, 2, 3]
    assert outbox.taken(None) == []


def test_milliseconds_of_the_server_count_from_the_start_of_its_own_connection() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100, 1))
    drain(outbox)
    outbox.taken(100)
    outbox.lost()
    outbox.put_audio(pcm(20, 2))
    outbox.put_audio(pcm(20, 3))
    outbox.configured()
    drain(outbox)
    outbox.taken(20)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3"]


# -- bounds --------------------------------------------------------------------------------------------------------


def test_waiting_audio_is_bounded_and_the_oldest_goes_first() -> None:
    outbox = Outbox(keep_ms=50)
    for mark in (1, 2, 3):
        outbox.put_audio(pcm(20, mark))
        outbox.put_foreign(event(f"foreign {mark}"))
    assert outbox.waiting_ms == 40.0
    assert outbox.audio.dropped == 20.0
    outbox.configured()
    assert drain(outbox) == ["foreign 1", "audio 2", "foreign 2", "audio 3", "foreign 3"]


def test_kept_audio_is_bounded_and_counts_as_dropped_only_when_the_connection_goes() -> None:
    outbox = ready(keep_ms=50)
    for mark in (1, 2, 3, 4):
        outbox.put_audio(pcm(20, mark))
        drain(outbox)
    assert outbox.audio.dropped == 0.0
    outbox.lost()
    assert outbox.audio.dropped == 40.0
    outbox.configured()
    assert drain(outbox) == ["audio 3", "audio 4"]


def test_a_long_turn_that_reaches_its_item_drops_nothing() -> None:
    outbox = ready(keep_ms=50)
    for mark in (1, 2, 3, 4):
        outbox.put_audio(pcm(20, mark))
        drain(outbox)
    outbox.put_commit(event("commit"))
    drain(outbox)
    outbox.taken(None)
    outbox.lost()
    assert outbox.audio.dropped == 0.0


def test_a_confirmed_turn_is_no_loss_and_what_came_after_it_is() -> None:
    outbox = ready(keep_ms=50)
    outbox.put_audio(pcm(40, 1))
    outbox.put_commit(event("commit"))
    drain(outbox)
    for mark in (2, 3, 4, 5):
        outbox.put_audio(pcm(20, mark))
        drain(outbox)
    outbox.taken(None)
    outbox.lost()
    outbox.configured()
    assert outbox.audio.dropped == 40.0
    assert drain(outbox) == ["audio 4", "audio 5"]


def test_kept_and_waiting_audio_share_one_bound_after_a_loss() -> None:
    outbox = ready(keep_ms=60)
    for mark in (1, 2, 3):
        outbox.put_audio(pcm(20, mark))
    drain(outbox)
    outbox.put_audio(pcm(20, 4))
    outbox.lost()
    assert (outbox.waiting_ms, outbox.audio.dropped) == (60.0, 20.0)
    outbox.configured()
    assert drain(outbox) == ["audio 2", "audio 3", "audio 4"]


@pytest.mark.parametrize("keep_ms", [0, 5])
def test_a_bound_below_one_chunk_keeps_nothing_for_the_next_connection_and_ends(keep_ms: float) -> None:
    outbox = ready(keep_ms=keep_ms)
    outbox.put_audio(pcm(20, 1))
    assert drain(outbox) == ["audio 1"]
    outbox.lost()
    outbox.put_audio(pcm(20, 2))
    outbox.configured()
    assert drain(outbox) == []
    assert outbox.audio.dropped == 40.0


def test_the_bound_of_what_is_kept_is_not_the_bound_of_what_waits_for_a_slow_line() -> None:
    outbox = ready(keep_ms=60)
    for mark in range(1, 102):
        outbox.put_audio(pcm(100, mark))
    assert (outbox.waiting_ms, outbox.audio.dropped) == (WAIT_MS, 100.0)
    outbox.lost()
    assert outbox.waiting_ms == 0.0  # chunks of 100 ms do not fit into 60


def test_in_silence_a_short_tail_is_kept_and_the_rest_is_no_loss() -> None:
    outbox = ready()
    outbox.listen(idle=True)
    for mark in range(1, 41):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.lost()
    outbox.configured()
    kept = drain(outbox)
    assert len(kept) == IDLE_KEEP_MS / 100
    assert kept[-1] == "audio 40"
    assert outbox.audio.dropped == 0.0


def silent(outbox: Outbox, chunks: int) -> list[str]:
    """Put so many chunks of 100 ms in and send them while nobody seems to speak."""
    outbox.listen(idle=True)
    for mark in range(1, chunks + 1):
        outbox.put_audio(pcm(100, mark))
    return drain(outbox)


def test_what_was_said_to_a_dead_peer_is_kept_as_long_as_it_may_go_unnoticed() -> None:
    """Nobody tells of that speech, so it seems that nobody speaks."""
    outbox = ready(dead_for=3)
    silent(outbox, 80)
    outbox.lost()
    outbox.configured()
    kept = drain(outbox)
    assert len(kept) == (IDLE_KEEP_MS + 3000) / 100
    assert kept[-1] == "audio 80"
    assert outbox.audio.dropped == 0.0


def test_a_bound_on_what_is_kept_goes_before_the_time_a_peer_may_be_dead() -> None:
    outbox = ready(keep_ms=1000, dead_for=3)
    silent(outbox, 80)
    outbox.lost()
    outbox.configured()
    assert len(drain(outbox)) == 10


def test_speech_is_kept_whole() -> None:
    outbox = ready()
    outbox.listen(idle=True)
    outbox.put_audio(pcm(100, 1))
    drain(outbox)
    outbox.listen(idle=False)
    for mark in range(2, 42):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == [f"audio {mark}" for mark in range(1, 42)]


# -- clearing ------------------------------------------------------------------------------------------------------


def test_cleared_audio_never_leaves_again() -> None:
    outbox = ready()
    outbox.put_audio(pcm(20, 1))
    drain(outbox)
    outbox.put_audio(pcm(20, 2))
    outbox.put_foreign(event("foreign"))
    outbox.put_clear(event("clear"))
    assert outbox.waiting_ms == 0.0
    outbox.put_audio(pcm(20, 3))
    assert drain(outbox) == ["foreign", "clear", "audio 3"]
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3"]


def test_clearing_leaves_a_turn_alone_whose_commit_still_waits() -> None:
    outbox = ready()
    outbox.put_audio(pcm(60, 1))
    drain(outbox)
    outbox.put_audio(pcm(60, 2))
    outbox.put_commit(event("commit"))
    outbox.put_audio(pcm(20, 3))
    outbox.put_clear(event("clear"))
    assert outbox.waiting_ms == 60.0
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 1", "audio 2", "commit"]


def test_clearing_leaves_a_turn_alone_whose_commit_is_on_its_way() -> None:
    outbox = ready()
    outbox.put_audio(pcm(120, 1))
    outbox.put_commit(event("commit 1"))
    outbox.put_audio(pcm(20, 2))
    drain(outbox)
    outbox.put_clear(event("clear"))
    outbox.put_audio(pcm(120, 3))
    outbox.put_commit(event("commit 2"))
    assert drain(outbox) == ["clear", "audio 3", "commit 2"]
    outbox.taken(None)  # the first commit
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3", "commit 2"]


# -- the promise ---------------------------------------------------------------------------------------------------


class AudioNeverGoesMissing(RuleBasedStateMachine):
    """Whatever happens, each chunk is in an item, waits, is kept, or is counted as dropped; and none leaves twice."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(keep_ms=10, wait_ms=10)
        self.sizes: list[int] = []
        self.on_this_connection: list[int] = []
        self.confirmed: set[int] = set()
        self.commits: list[int] = []  # chunks sent when a commit left
        self.is_open = False

    @rule(size=st.integers(1, 60))
    def push(self, size: int) -> None:
        mark = len(self.sizes)
        self.sizes.append(4 * size)
        self.outbox.put_audio(mark.to_bytes(4, "big") * size)

    @rule()
    def commit(self) -> None:
        self.outbox.put_commit(event("commit"))

    @rule()
    def configure(self) -> None:
        self.is_open = True
        self.outbox.configured()

    @rule(count=st.integers(1, 20))
    def send(self, count: int) -> None:
        for _ in range(count):
            if (sent := self.outbox.next()) is None:
                return
            assert self.is_open
            if sent["type"] == "commit":
                self.commits.append(len(self.on_this_connection))
            else:
                mark = int.from_bytes(base64.b64decode(sent["audio"])[:4], "big")
                assert mark not in self.confirmed
                assert not self.on_this_connection or mark > self.on_this_connection[-1]  # in order, and once
                self.on_this_connection.append(mark)

    @rule(sizes=st.lists(st.integers(30, 60), min_size=1, max_size=6), commit_after=st.integers(0, 6))
    def talk(self, sizes: list[int], commit_after: int) -> None:
        for index, size in enumerate(sizes):
            self.push(size)
            if index == commit_after:
                self.commit()
            self.send(10)

    @precondition(lambda self: self.commits)
    @rule()
    def server_confirms_a_commit(self) -> None:
        self.confirmed |= set(self.on_this_connection[: self.commits.pop(0)])
        self.outbox.taken(None)

    @rule()
    def lose(self) -> None:
        self.outbox.lost()
        self.is_open = False
        self.on_this_connection, self.commits = [], []

    @invariant()
    def waiting_is_bounded(self) -> None:
        assert 0 <= self.outbox.waiting_ms <= 10

    def teardown(self) -> None:
        self.lose()
        self.configure()
        self.send(10_000)
        total = sum(self.sizes)
        arrived = sum(self.sizes[mark] for mark in self.confirmed | set(self.on_this_connection))
        assert round(self.outbox.audio.dropped * BYTES_PER_MS) == total - arrived


TestAudioNeverGoesMissing = AudioNeverGoesMissing.TestCase


@given(chunks=st.lists(st.integers(1, 2000), max_size=40), drops=st.sets(st.integers(0, 40)))
def test_everything_sent_counts_as_sent_and_what_came_again_as_replayed(chunks: list[int], drops: set[int]) -> None:
    outbox = ready(keep_ms=1_000_000)
    left = replays = 0
    for index, size in enumerate(chunks):
        outbox.put_audio(bytes(size))
        if index in drops:
            outbox.lost()
            outbox.configured()
            replays += sum(chunks[:index])
        while outbox.next() is not None:
            left += 1
    assert round(outbox.sent_ms * BYTES_PER_MS) == sum(chunks) + replays
    assert round(outbox.audio.replayed * BYTES_PER_MS) == replays
    assert left >= len(chunks)


# -- places in all the audio ---------------------------------------------------------------------------------------


def test_places_of_the_first_connection_are_places_of_all_audio() -> None:
    outbox = ready()
    assert outbox.session_ms(0) == 0.0
    outbox.put_audio(pcm(100))
    outbox.put_audio(pcm(20.5))
    drain(outbox)
    assert [outbox.session_ms(ms) for ms in (0, 50, 100, 120)] == [0.0, 50.0, 100.0, 120.0]
    assert outbox.put_ms == 120.5


def test_a_place_of_a_later_connection_counts_from_the_audio_it_began_with() -> None:
    outbox = ready()
    for mark in range(1, 11):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.taken(700)
    outbox.lost()
    outbox.configured()
    outbox.put_audio(pcm(100, 11))
    assert drain(outbox) == ["audio 8", "audio 9", "audio 10", "audio 11"]
    assert [outbox.session_ms(ms) for ms in (0, 250, 400)] == [700.0, 950.0, 1100.0]


def test_a_place_behind_audio_that_was_dropped_counts_the_gap() -> None:
    outbox = ready(keep_ms=300, wait_ms=300)
    for mark in (1, 2):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    for mark in range(3, 9):  # the socket takes nothing: the oldest that waits goes
        outbox.put_audio(pcm(100, mark))
    assert drain(outbox) == ["audio 6", "audio 7", "audio 8"]
    assert outbox.audio.dropped == 300.0
    assert [outbox.session_ms(ms) for ms in (150, 250, 450)] == [150.0, 550.0, 750.0]


def test_a_place_behind_a_clear_counts_what_was_sent_again() -> None:
    """The server counts all that was written, so audio sent twice counts twice there."""
    outbox = ready()
    for mark in range(1, 6):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.put_clear(event("clear"), keep_ms=200)
    outbox.put_audio(pcm(100, 6))
    assert drain(outbox) == ["clear", "audio 4", "audio 5", "audio 6"]
    assert [outbox.session_ms(ms) for ms in (450, 550, 750)] == [450.0, 350.0, 550.0]


def test_places_beyond_what_was_sent_are_its_end() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100))
    assert outbox.session_ms(50) == 0.0  # nothing was sent yet
    drain(outbox)
    assert outbox.session_ms(10**400) == outbox.session_ms(5000) == 100.0
    assert outbox.session_ms(-(10**400)) == 0.0
    outbox.taken(10**400)
    assert outbox.kept_ms == 0.0


def test_what_was_put_counts_once_however_often_it_leaves() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100))
    drain(outbox)
    outbox.lost()
    outbox.configured()
    drain(outbox)
    outbox.put_clear(event("clear"), keep_ms=100)
    assert outbox.put_ms == 100.0


# -- clearing all but the newest -----------------------------------------------------------------------------------


def test_a_clear_sends_the_newest_again_in_whole_chunks() -> None:
    outbox = ready()
    for mark in range(1, 6):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.put_audio(pcm(100, 6))
    outbox.put_clear(event("clear"), keep_ms=250)  # three chunks hold as much
    assert (outbox.waiting_ms, outbox.kept_ms) == (300.0, 0.0)
    outbox.put_audio(pcm(100, 7))
    assert drain(outbox) == ["clear", "audio 4", "audio 5", "audio 6", "audio 7"]
    assert (outbox.waiting_ms, outbox.kept_ms) == (0.0, 400.0)


def test_a_clear_of_less_audio_than_is_to_stay_forgets_none() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100, 1))
    outbox.put_audio(pcm(100, 2))
    drain(outbox)
    outbox.put_clear(event("clear"), keep_ms=1000)
    assert drain(outbox) == ["clear", "audio 1", "audio 2"]


@pytest.mark.parametrize("left", [True, False])
def test_what_a_clear_keeps_survives_a_reconnect_and_the_clear_does_not(left: bool) -> None:
    outbox = ready()
    for mark in range(1, 5):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.put_clear(event("clear"), keep_ms=200)
    if left:
        drain(outbox)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3", "audio 4"]
    assert outbox.audio.dropped == 0.0  # nobody wants the rest


def test_what_a_clear_keeps_is_behind_the_last_commit() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100, 1))
    outbox.put_commit(commit("one"))
    outbox.put_audio(pcm(100, 2))
    drain(outbox)
    outbox.put_clear(event("clear"), keep_ms=1000)
    assert drain(outbox) == ["clear", "audio 2"]
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 1", "one", "audio 2"]


# -- commits without a text ----------------------------------------------------------------------------------------


def commit(name: str) -> dict[str, Any]:
    return {"type": name, "event_id": name}


def spoken(*names: str) -> Outbox:
    """An outbox that has sent 200 ms of audio and a commit under each name; marks are 1, 2, ..."""
    outbox = ready()
    for mark, name in enumerate(names, 1):
        outbox.put_audio(pcm(200, mark))
        outbox.put_commit(commit(name))
    drain(outbox)
    return outbox


def test_a_commit_without_a_text_is_sent_again_behind_its_audio_exactly_once() -> None:
    outbox = spoken("one", "two")
    outbox.put_audio(pcm(100, 3))
    outbox.lost()
    assert drain(outbox) == []
    outbox.configured()
    assert drain(outbox) == ["audio 1", "one", "audio 2", "two", "audio 3"]
    assert drain(outbox) == []


def test_a_commit_is_sent_again_also_when_its_audio_could_not_be_kept() -> None:
    """Whoever made it waits for an answer, be it a refusal."""
    outbox = ready(keep_ms=300)
    outbox.put_audio(pcm(200, 1))
    outbox.put_commit(commit("one"))
    for mark in (2, 3, 4):
        outbox.put_audio(pcm(100, mark))
    drain(outbox)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["one", "audio 2", "audio 3", "audio 4"]
    assert outbox.audio.dropped == 200.0


def test_texts_take_commits_from_the_oldest_on_every_connection_anew() -> None:
    outbox = spoken("one", "two", "three")
    outbox.taken(None)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 2", "two", "audio 3", "three"]
    outbox.taken(None)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 3", "three"]
    outbox.taken(None)
    assert outbox.kept_ms == 0.0


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_refused_commit_is_not_sent_again_and_its_audio_is_still_unclaimed(name: str) -> None:
    outbox = spoken("one", "two", "three")
    outbox.refused(name)
    outbox.lost()
    outbox.configured()
    expected = ["audio 1", "one", "audio 2", "two", "audio 3", "three"]
    expected.remove(name)
    assert drain(outbox) == expected


def test_the_commit_behind_a_refused_one_claims_the_audio_of_both() -> None:
    outbox = spoken("one", "two")
    outbox.refused("one")
    outbox.taken(None)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == []


def test_a_refusal_of_something_else_changes_nothing() -> None:
    outbox = spoken("one")
    outbox.refused("session_1")
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 1", "one"]


def test_a_turn_the_server_ended_takes_no_commit_that_is_on_its_way() -> None:
    outbox = spoken("one")
    outbox.taken(150)
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == ["audio 1", "one"]


class BytesLeaveInOrder(RuleBasedStateMachine):
    """Audio, commits, clears and losses in any order: between two clears each place leaves once on a connection, in
    order, and `session_ms` knows where it is. Every commit that has no answer leaves on each connection, once."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(keep_ms=100_000)
        self.put_bytes = 0
        self.sent_bytes = 0  # on this connection
        self.floor = 0  # up to here audio has left since the last clear or loss
        self.names = 0
        self.unanswered: list[str] = []  # commits that were put and have no answer, oldest first
        self.left: list[str] = []  # those of them that left on this connection
        self.made_at: dict[str, int] = {}  # how much audio was before them
        self.is_open = False

    def audio(self, samples: int) -> bytes:
        # Every sample says which one it is, as far as two bytes go.
        numbers = range(self.put_bytes // 2, self.put_bytes // 2 + samples)
        self.put_bytes += 2 * samples
        return b"".join((number % 65536).to_bytes(2, "big") for number in numbers)

    @rule(samples=st.integers(1, 2400))
    def put_audio(self, samples: int) -> None:
        self.outbox.put_audio(self.audio(samples))
        assert round(self.outbox.put_ms * BYTES_PER_MS) == self.put_bytes

    @rule(samples=st.integers(1, 2400))
    def pass_audio(self, samples: int) -> None:
        audio = self.audio(samples)
        if passed(self.outbox, audio):
            assert self.is_open
            self._audio_left(audio)
        else:
            self.outbox.put_audio(audio)
        assert round(self.outbox.put_ms * BYTES_PER_MS) == self.put_bytes

    @rule(samples=st.integers(1, 2400))
    def put_commit(self, samples: int) -> None:
        self.put_audio(samples)  # nobody commits nothing
        self.names += 1
        name = f"commit_{self.names}"
        self.made_at[name] = self.put_bytes
        self.outbox.put_commit(commit(name))
        self.unanswered.append(name)

    @rule(keep_ms=st.sampled_from([0, 30, 1000]))
    def put_clear(self, keep_ms: float) -> None:
        self.outbox.put_clear(event("clear"), keep_ms=keep_ms)

    @rule()
    def configured(self) -> None:
        self.is_open = True
        self.outbox.configured()

    @rule(count=st.integers(1, 30))
    def send(self, count: int) -> None:
        for _ in range(count):
            if (sent := self.outbox.next()) is None:
                return
            assert self.is_open
            if sent["type"] == "clear":
                self.floor = 0
            elif sent["type"].startswith("commit"):
                self.left.append(sent["type"])
                assert self.left == self.unanswered[: len(self.left)]
                assert self.floor == self.made_at[sent["type"]]  # its audio is before it
            else:
                self._audio_left(base64.b64decode(sent["audio"]))

    def _audio_left(self, data: bytes) -> None:
        self.sent_bytes += len(data)
        end = round(self.outbox.session_ms(self.sent_bytes / BYTES_PER_MS) * BYTES_PER_MS)
        start = end - len(data)
        assert self.floor <= start
        assert end <= self.put_bytes
        assert int.from_bytes(data[:2], "big") == start // 2 % 65536
        assert int.from_bytes(data[-2:], "big") == (end // 2 - 1) % 65536
        self.floor = end

    @precondition(lambda self: self.left)
    @rule()
    def a_commit_has_its_text(self) -> None:
        self.unanswered.remove(self.left.pop(0))
        self.outbox.taken(None)

    @precondition(lambda self: self.left)
    @rule(which=st.integers(0, 3))
    def a_commit_is_refused(self, which: int) -> None:
        name = self.left.pop(which % len(self.left))
        self.unanswered.remove(name)
        self.outbox.refused(name)

    @rule()
    def lost(self) -> None:
        self.outbox.lost()
        self.is_open = False
        self.left, self.floor, self.sent_bytes = [], 0, 0

    def teardown(self) -> None:
        self.lost()
        self.configured()
        self.send(100_000)
        assert self.left == self.unanswered
        assert self.outbox.audio.dropped == 0.0
        assert self.outbox.waiting_ms == 0.0


TestBytesLeaveInOrder = BytesLeaveInOrder.TestCase


# -- the end of the server's session -------------------------------------------------------------------------------


def test_a_close_leaves_behind_earlier_audio_and_what_is_later_waits_for_the_next_connection() -> None:
    outbox = ready()
    outbox.put_audio(pcm(100, 1))
    outbox.put_close(event("close"))
    outbox.put_audio(pcm(100, 2))
    assert drain(outbox) == ["audio 1", "close"]
    assert outbox.position_ms == 100.0
    outbox.taken(10**400)
    outbox.lost()
    outbox.put(event("configure"))
    assert drain(outbox) == ["configure"]
    outbox.configured()
    assert drain(outbox) == ["audio 2"]


def test_a_close_that_did_not_leave_is_forgotten_with_its_connection() -> None:
    outbox = ready()
    outbox.put_close(event("close"))
    outbox.lost()
    outbox.configured()
    assert drain(outbox) == []


def test_while_a_session_is_ended_as_asked_two_minutes_wait_until_the_next_one_is_configured() -> None:
    outbox = ready(keep_ms=1_000, wait_ms=1_000)
    outbox.put_close(event("close"))
    assert drain(outbox) == ["close"]
    for _ in range(1_210):
        outbox.put_audio(pcm(100, 1))
    outbox.lost()
    assert (outbox.waiting_ms, outbox.audio.dropped) == (120_000, 1_000)
    outbox.configured()
    assert len(drain(outbox)) == 1_200
    outbox.lost()
    outbox.put_audio(pcm(100, 1))
    assert outbox.waiting_ms == 1_000


def test_audio_leaves_in_whatever_event_the_session_takes() -> None:
    outbox = ready(append=Append("other.append"))
    outbox.put_audio(b"\x01\x02")
    assert outbox.head == b'{"type":"other.append","audio":"'
    assert outbox.next() == {"type": "other.append", "audio": "AQI="}
