"""Speech to text over any number of connections, in virtual time.

First single behaviours, then two promises over everything that may happen: whatever the server says, every committed
item ends once and in order; and with a server that is honest, every bit of speech is in exactly one text.
"""

from __future__ import annotations

import base64
import itertools
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.hearing import KEPT_SILENCE_MS, MIN_COMMIT_MS, RESUME_S, Hearing
from livekit_plugins_openai_ga.core.segments import FINAL_TIMEOUT_S, patience
from livekit_plugins_openai_ga.errors import Kind
from livekit_plugins_openai_ga.transport.outbox import Outbox
from livekit_plugins_openai_ga.wire.server_events import from_payload
from livekit_plugins_openai_ga.wire.session import transcription_payload

E = TypeVar("E", bound=fx.Effect)
ITEM = "conversation.item.input_audio_transcription"
WANTED = transcription_payload({"transcription": {"model": "gpt-transcribe"}, "turn_detection": None}, {})
SECONDS = {"type": "duration", "seconds": 3.2}

# Who ends segments of speech.
SERVER = {"server_turns": True, "local_vad": False}
LOCAL = {"server_turns": False, "local_vad": True}
NOBODY = {"server_turns": False, "local_vad": False}
BOTH = {"server_turns": True, "local_vad": True}


class Ear:
    """Drives one `Hearing`. Every call returns its effects and remembers them; `now` is set by the test."""

    def __init__(
        self, who: dict[str, bool], *, max_ms: float | None = 30_000, place: Callable[[float], float] | None = None
    ) -> None:
        self.shift = 0.0  # where the connection's audio begins in the stream's
        self.hearing = Hearing(WANTED, **who, max_segment_ms=max_ms, place=place or (lambda ms: ms + self.shift))
        self.now = 0.0
        self.put_ms = 0.0
        self.effects: list[fx.Effect] = []

    def note(self, effects: list[fx.Effect]) -> list[fx.Effect]:
        self.effects += effects
        return effects

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def captions(self, stage: str) -> list[tuple[str, str]]:
        return [(effect.item_id, effect.text) for effect in self.all(fx.Caption) if effect.stage == stage]

    @property
    def finals(self) -> list[tuple[str, str]]:
        return self.captions("final")

    @property
    def told(self) -> list[str]:
        """What LiveKit would hear, in order, without interims: START, END, final and preflight texts, FAILED."""
        names = []
        for effect in self.effects:
            if isinstance(effect, fx.Speech):
                names.append("START" if effect.speaking else "END")
            elif isinstance(effect, fx.Caption) and effect.stage != "interim":
                names.append(effect.text if effect.stage == "final" else f"({effect.text})")
            elif isinstance(effect, fx.SegmentFailed):
                names.append("FAILED")
        return names

    @property
    def commits(self) -> list[str]:
        """Ids of the commits so far."""
        return [effect.event["event_id"] for effect in self.all(fx.CommitAudio)]

    # -- us ------------------------------------------------------------------------------------------------------

    def ready(self) -> Ear:
        """Open a connection and confirm its configuration."""
        self.note(self.hearing.opened(self.now))
        self.says("session.updated", session=WANTED)
        return self

    def put(self, ms: float, *, step: float = 100) -> list[fx.Effect]:
        """Put audio in, in chunks of `step` ms."""
        told: list[fx.Effect] = []
        until = self.put_ms + ms
        while self.put_ms < until:
            self.put_ms = min(until, self.put_ms + step)
            told += self.note(self.hearing.put(self.put_ms, self.now))
        return told

    def speech(self, speaking: bool, at_ms: float | None = None) -> list[fx.Effect]:
        return self.note(self.hearing.speech(speaking, self.put_ms if at_ms is None else at_ms, self.now))

    def flush(self) -> list[fx.Effect]:
        return self.note(self.hearing.flush(self.now))

    def finish(self) -> list[fx.Effect]:
        return self.note(self.hearing.finish(self.now))

    def closed(self) -> list[fx.Effect]:
        self.shift = self.put_ms
        return self.note(self.hearing.closed(self.now))

    def leave(self) -> None:
        """Everything we have to send leaves."""
        for event_id in self.commits:
            self.hearing.sent(event_id, self.now)

    def wait(self, seconds: float) -> list[fx.Effect]:
        """Time passes, with a tick whenever one is due."""
        told: list[fx.Effect] = []
        until = self.now + seconds
        for _ in range(10_000):
            due = self.hearing.due()
            if due is None or due > until:
                self.now = until
                return told
            self.now = max(self.now, due) + 1e-9
            told += self.note(self.hearing.tick(self.now))
        raise AssertionError("something is due for ever")

    # -- the server ----------------------------------------------------------------------------------------------

    def says(self, name: str, **fields: Any) -> list[fx.Effect]:
        return self.note(self.hearing.receive(from_payload({"type": name, **fields}), self.now))

    def starts(self, item_id: str, at_ms: float) -> list[fx.Effect]:
        return self.says("input_audio_buffer.speech_started", item_id=item_id, audio_start_ms=int(at_ms))

    def stops(self, item_id: str, at_ms: float) -> list[fx.Effect]:
        return self.says("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=int(at_ms))

    def commits_item(self, item_id: str) -> list[fx.Effect]:
        return self.says("input_audio_buffer.committed", item_id=item_id, previous_item_id=None)

    def turn(self, item_id: str, start: float, end: float) -> None:
        """A turn that the server's turn detection found."""
        self.starts(item_id, start)
        self.stops(item_id, end)
        self.commits_item(item_id)

    def delta(self, item_id: str, text: str) -> list[fx.Effect]:
        return self.says(f"{ITEM}.delta", item_id=item_id, delta=text)

    def completes(self, item_id: str, text: str, **more: Any) -> list[fx.Effect]:
        return self.says(f"{ITEM}.completed", item_id=item_id, transcript=text, **more)

    def fails(self, item_id: str) -> list[fx.Effect]:
        error = {"type": "transcription_error", "code": "audio_unintelligible", "message": "no"}
        return self.says(f"{ITEM}.failed", item_id=item_id, error=error)

    def refuses(self, event_id: str | None, code: str = "input_audio_buffer_commit_empty") -> list[fx.Effect]:
        error = {"type": "invalid_request_error", "code": code, "message": "no", "event_id": event_id}
        return self.says("error", error=error)


def of(kind: type[E], effects: list[fx.Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


# -- a turn, in each of the three modes ---------------------------------------------------------------------------


def test_a_turn_of_the_server_goes_through_start_end_and_a_final_text() -> None:
    ear = Ear(SERVER).ready()
    ear.put(3000)
    ear.starts("a", 400)
    ear.stops("a", 2900)
    ear.commits_item("a")
    ear.completes("a", " hello there ")
    assert ear.told == ["START", "END", "hello there"]
    start, end = ear.all(fx.Speech)
    assert (start.item_id, start.at_ms) == ("a", 400)
    assert (end.item_id, end.at_ms) == ("a", 2900)
    final = ear.all(fx.Caption)[-1]
    assert (final.start_ms, final.end_ms) == (400, 2900)
    assert ear.all(fx.AudioTaken) == [fx.AudioTaken(2900)]
    assert ear.hearing.quiet


def test_a_turn_that_the_detector_here_heard_is_committed_at_its_end() -> None:
    ear = Ear(LOCAL).ready()
    ear.put(2000)
    ear.speech(True, 400)
    ear.put(1000)
    assert not ear.commits
    told = ear.speech(False, 2500)
    assert [type(effect) for effect in told] == [fx.Speech, fx.CommitAudio]
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "hello")
    assert ear.told == ["START", "END", "hello"]
    final = ear.all(fx.Caption)[-1]
    assert (final.start_ms, final.end_ms) == (400, 2500)
    assert ear.all(fx.AudioTaken) == [fx.AudioTaken(None)]


def test_where_nobody_detects_speech_it_begins_and_ends_with_its_text() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.delta("a", "hel")
    ear.put(1000)
    ear.flush()
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "hello")
    assert ear.told == ["START", "(hel)", "END", "hello"]
    final = ear.all(fx.Caption)[-1]
    assert (final.start_ms, final.end_ms) == (0, 2000)


def test_where_nobody_detects_speech_it_goes_on_while_its_text_grows() -> None:
    ear = Ear(NOBODY).ready()
    for word in ("one ", "two ", "three "):
        ear.put(1000)
        ear.delta("a", word)
        ear.delta("a", word)
        ear.wait(1.0)
    assert ear.told == ["START"]
    assert len(ear.captions("interim")) == 6


def test_where_nobody_detects_speech_a_failure_ends_it_too() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.delta("a", " ")
    ear.flush()
    ear.leave()
    ear.commits_item("a")
    ear.fails("a")
    assert ear.told == ["START", "END", "FAILED"]


def test_where_nobody_detects_speech_it_starts_where_its_segment_does() -> None:
    """A model without text before the commit: the audio behind the commit is not where the speech began."""
    ear = Ear(NOBODY).ready()
    ear.put(2000)
    ear.flush()
    ear.leave()
    ear.commits_item("a")
    ear.put(700)
    ear.delta("a", "hello")
    assert ear.all(fx.Speech) == [fx.Speech(True, "a", 0)]


def test_the_detector_here_tells_of_speech_also_when_the_server_ends_the_turns() -> None:
    ear = Ear(BOTH).ready()
    ear.put(1000)
    ear.speech(True, 300)
    ear.starts("a", 400)
    ear.put(1000)
    ear.speech(False, 1800)
    ear.stops("a", 1900)
    ear.commits_item("a")
    assert [effect.at_ms for effect in ear.all(fx.Speech)] == [300, 1800]
    assert not ear.commits


def test_it_is_not_quiet_while_the_server_hears_what_the_detector_here_does_not() -> None:
    """Audio of that turn must be kept, and the connection left as it is."""
    ear = Ear(BOTH).ready()
    ear.put(1000)
    ear.starts("a", 400)
    assert not ear.hearing.quiet
    ear.stops("a", 900)
    ear.commits_item("a")
    assert not ear.hearing.quiet
    ear.completes("a", "psst")
    assert ear.hearing.quiet


@pytest.mark.parametrize("who", [LOCAL, BOTH])
def test_it_is_not_quiet_while_the_detector_here_hears_somebody(who: dict[str, bool]) -> None:
    ear = Ear(who).ready()
    ear.put(1000)
    ear.speech(True)
    assert not ear.hearing.quiet
    assert not ear.hearing.behind


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY, BOTH])
def test_it_is_quiet_at_first_and_when_all_is_told(who: dict[str, bool]) -> None:
    ear = Ear(who).ready()
    assert ear.hearing.quiet
    ear.put(1000)
    ear.flush()
    assert not ear.hearing.quiet
    assert ear.hearing.behind
    ear.commits_item("a")
    assert not ear.hearing.quiet
    ear.completes("a", "one")
    assert ear.hearing.quiet
    assert not ear.hearing.behind


def test_a_detector_that_is_not_asked_tells_nothing() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    assert ear.speech(True) == ear.speech(False) == []


def test_languages_confidence_and_usage_come_with_the_text() -> None:
    ear = Ear(SERVER).ready()
    ear.put(2000)
    ear.turn("a", 0, 1900)
    found = [{"code": "de"}, {"code": ""}, {"code": 7}, "x", {}]
    ear.completes("a", "hallo", languages=found, logprobs=[{"logprob": 0.0}], usage=SECONDS)
    final = ear.all(fx.Caption)[-1]
    assert (final.languages, final.confidence) == (("de",), 1.0)
    (bill,) = ear.all(fx.SegmentBilled)
    assert (bill.item_id, bill.usage.seconds, bill.audio_ms) == ("a", 3.2, 1900)


def test_a_confidence_nobody_asked_for_is_not_invented() -> None:
    ear = Ear(SERVER).ready()
    ear.turn("a", 0, 1900)
    ear.completes("a", "hallo", languages=None, logprobs=None, usage={"type": "guess"})
    final = ear.all(fx.Caption)[-1]
    assert (final.confidence, final.languages) == (None, ())
    assert [bill.usage for bill in ear.all(fx.SegmentBilled)] == [None]


def test_a_text_that_comes_twice_is_told_and_billed_once() -> None:
    ear = Ear(NOBODY).ready()
    for item_id in "ab":
        ear.put(1000)
        ear.flush()
        ear.leave()
        ear.commits_item(item_id)
    ear.completes("b", "two", usage=SECONDS)  # waits for its turn
    ear.completes("b", "zwei", usage={"type": "duration", "seconds": 7.0})
    ear.fails("b")
    ear.completes("a", "one")
    ear.completes("a", "eins", usage=SECONDS)
    assert ear.finals == [("a", "one"), ("b", "two")]
    assert [(bill.item_id, bill.usage and bill.usage.seconds) for bill in ear.all(fx.SegmentBilled)] == [
        ("a", None),
        ("b", 3.2),
    ]


def test_text_behind_the_end_of_its_item_is_nothing() -> None:
    ear = Ear(NOBODY).ready()
    for item_id in "ab":
        ear.put(1000)
        ear.flush()
        ear.leave()
        ear.commits_item(item_id)
    ear.delta("b", "tw")
    ear.fails("b")  # waits for its turn
    ear.delta("b", "elve")
    ear.completes("a", "one")
    ear.delta("a", "s")
    assert ear.finals == [("a", "one"), ("b", "tw")]
    assert "elve" not in "".join(text for _, text in ear.captions("interim"))


def test_a_text_that_comes_when_its_item_was_given_up_is_billed_once_and_not_told() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.flush()
    ear.leave()
    ear.commits_item("a")
    ear.wait(patience(1000) + 1)
    for _ in range(2):
        ear.completes("a", "one", usage=SECONDS)
    assert ear.told == ["FAILED"]
    assert [bill.item_id for bill in ear.all(fx.SegmentBilled)] == ["a"]


def test_silence_that_was_committed_ends_in_an_empty_text() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.flush()
    ear.commits_item("a")
    ear.completes("a", "")
    assert ear.finals == [("a", "")]


def test_places_of_a_later_connection_are_places_of_the_stream() -> None:
    ear = Ear(SERVER).ready()
    ear.put(5000)
    ear.closed()
    ear.ready()
    ear.put(3000)
    ear.turn("b", 400, 2900)
    ear.completes("b", "again")
    final = ear.all(fx.Caption)[-1]
    assert (final.start_ms, final.end_ms) == (5400, 7900)
    assert ear.all(fx.AudioTaken) == [fx.AudioTaken(2900)]  # the server's own count


# -- what the server's turn detection adds to speech ---------------------------------------------------------------


def padded(detection: dict[str, Any] | None, *, who: dict[str, bool] = SERVER) -> Ear:
    """An ear whose server confirmed this turn detection."""
    ear = Ear(who)
    ear.note(ear.hearing.opened(0.0))
    session = transcription_payload({"transcription": {"model": "gpt-transcribe"}, "turn_detection": detection}, {})
    ear.says("session.updated", session=session)
    return ear


VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 600, "silence_duration_ms": 350}


def test_speech_is_where_somebody_spoke_and_not_where_the_padding_is() -> None:
    ear = padded(VAD)
    ear.put(5000)
    ear.turn("a", 1000, 3000)
    ear.completes("a", "one")
    assert [effect.at_ms for effect in ear.all(fx.Speech)] == [1600, 2650]
    final = ear.all(fx.Caption)[-1]
    assert (final.start_ms, final.end_ms) == (1600, 2650)
    assert ear.all(fx.AudioTaken) == [fx.AudioTaken(3000)]


@pytest.mark.parametrize(("starts", "begins"), [(0, 0), (2000, 2000), (1800, 2000), (2001, 2601)])
def test_padding_that_was_cut_off_by_what_is_before_it_is_not_counted(starts: float, begins: float) -> None:
    ear = padded(VAD)
    ear.put(2000)
    if starts:
        ear.turn("before", 0, 2000)
    ear.put(2000)
    ear.starts("a", starts)
    assert ear.all(fx.Speech)[-1].at_ms == begins


@pytest.mark.parametrize(
    "detection",
    [{"type": "semantic_vad", "eagerness": "low"}, None, {"prefix_padding_ms": "x", "silence_duration_ms": -5}],
)
def test_what_is_not_known_of_turn_detection_is_not_counted(detection: Any) -> None:
    ear = padded(detection)
    ear.put(5000)
    ear.turn("a", 1000, 3000)
    assert [effect.at_ms for effect in ear.all(fx.Speech)] == [1000, 3000]


def test_padding_is_cut_off_where_a_connection_begins() -> None:
    ear = padded(VAD)
    ear.put(5000)
    ear.closed()
    ear.note(ear.hearing.opened(0.0))
    session = transcription_payload({"transcription": {"model": "gpt-transcribe"}, "turn_detection": VAD}, {})
    ear.says("session.updated", session=session)
    ear.put(1000)
    ear.starts("a", 0)
    assert ear.all(fx.Speech)[-1].at_ms == 5000


def test_a_turn_that_is_all_window_does_not_end_before_it_began() -> None:
    ear = padded(VAD)
    ear.put(5000)
    ear.turn("a", 1000, 1200)
    start, end = (effect.at_ms for effect in ear.all(fx.Speech))
    assert start is not None
    assert end is not None
    assert start <= end


# -- segments that grow too long -----------------------------------------------------------------------------------


def test_a_long_turn_of_the_server_is_committed_once_per_length() -> None:
    ear = Ear(SERVER, max_ms=2000).ready()
    ear.put(5000)
    assert not ear.commits  # nobody speaks
    ear.starts("a", 4800)
    ear.put(1700)
    assert not ear.commits
    ear.put(100)
    assert len(ear.commits) == 1
    ear.put(1900)
    assert len(ear.commits) == 1
    ear.put(100)
    assert len(ear.commits) == 2


def test_long_speech_that_the_detector_here_hears_is_committed_and_goes_on() -> None:
    ear = Ear(LOCAL, max_ms=2000).ready()
    ear.put(100)
    ear.speech(True, 0)
    ear.put(1900)
    assert len(ear.commits) == 1
    ear.put(1000)
    ear.speech(False)
    assert len(ear.commits) == 2
    assert ear.told == ["START", "END"]  # one stretch of speech, in two segments


def test_silence_before_the_speech_is_no_part_of_its_length() -> None:
    ear = Ear(LOCAL, max_ms=5000).ready()
    ear.put(4500)
    ear.speech(True, 4400)
    ear.put(4800)
    assert not ear.commits  # 4.9 s of speech, although it is 9.3 s of audio
    ear.put(100)
    assert len(ear.commits) == 1


def test_where_nobody_detects_speech_all_audio_is_committed_in_lengths() -> None:
    ear = Ear(NOBODY, max_ms=2000).ready()
    ear.put(6500)
    assert len(ear.commits) == 3
    ear.leave()
    for item_id in "abc":
        ear.commits_item(item_id)
        ear.completes(item_id, item_id)
    spans = [(effect.start_ms, effect.end_ms) for effect in ear.all(fx.Caption)]
    assert spans == [(0, 2000), (2000, 4000), (4000, 6000)]


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY])
def test_without_a_limit_nothing_is_too_long(who: dict[str, bool]) -> None:
    ear = Ear(who, max_ms=None).ready()
    ear.put(100)
    ear.speech(True)
    if who is SERVER:
        ear.starts("a", 0)
    ear.put(200_000, step=1000)
    assert not ear.commits
    assert not ear.all(fx.ClearAudio)


def test_long_silence_is_cleared_where_a_detector_here_says_that_it_is_silence() -> None:
    ear = Ear(LOCAL, max_ms=5000).ready()
    ear.put(4900)
    assert not ear.all(fx.ClearAudio)
    ear.put(100)
    (clear,) = ear.all(fx.ClearAudio)
    assert clear.keep_ms == KEPT_SILENCE_MS
    assert clear.event["type"] == "input_audio_buffer.clear"
    ear.put(3900)
    assert len(ear.all(fx.ClearAudio)) == 1
    ear.put(100)
    assert len(ear.all(fx.ClearAudio)) == 2
    assert not ear.commits


def test_silence_is_not_cleared_that_the_model_has_text_of() -> None:
    ear = Ear(LOCAL, max_ms=5000).ready()
    ear.put(3000)
    ear.delta("a", "psst")
    ear.put(2000)
    assert not ear.all(fx.ClearAudio)
    assert len(ear.commits) == 1


@pytest.mark.parametrize("who", [SERVER, BOTH, NOBODY])
def test_silence_is_cleared_only_by_a_detector_here_that_ends_the_segments(who: dict[str, bool]) -> None:
    ear = Ear(who, max_ms=5000).ready()
    ear.put(60_000)
    assert not ear.all(fx.ClearAudio)


def test_cleared_silence_stays_cleared_over_a_reconnect() -> None:
    ear = Ear(LOCAL, max_ms=5000).ready()
    ear.put(20_000)  # cleared again and again
    ear.speech(True)
    ear.put(1000)
    ear.closed()
    ear.ready()
    ear.put(1000)
    assert not ear.commits  # two seconds of speech, however long it was silent before
    ear.put(1000)
    ear.speech(False)
    ear.commits_item("a")
    ear.completes("a", "hello")
    assert ear.all(fx.Caption)[-1].start_ms == 20_000


# -- flush, and the tail -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY, BOTH])
def test_flush_ends_a_segment_whoever_else_may(who: dict[str, bool]) -> None:
    ear = Ear(who).ready()
    ear.put(500)
    assert [type(effect) for effect in ear.flush()] == [fx.CommitAudio]
    assert ear.flush() == []  # there is nothing new


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY])
@pytest.mark.parametrize(("tail_ms", "committed"), [(0, False), (MIN_COMMIT_MS - 1, False), (MIN_COMMIT_MS, True)])
def test_a_tail_is_committed_when_the_server_would_take_it(
    who: dict[str, bool], tail_ms: float, committed: bool
) -> None:
    ear = Ear(who).ready()
    ear.put(1000)
    ear.flush()
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "one")
    ear.put(tail_ms)
    ear.finish()
    assert len(ear.commits) == 1 + committed
    if committed:
        assert not ear.all(fx.Finished)
        ear.leave()
        ear.commits_item("b")
        ear.completes("b", "two")
        assert ear.finals == [("a", "one"), ("b", "two")]
    assert ear.effects[-1] == fx.Finished()


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY])
def test_no_audio_at_all_is_finished_at_once_also_without_a_connection(who: dict[str, bool]) -> None:
    ear = Ear(who)
    assert ear.finish() == [fx.Finished()]


def test_speech_that_goes_on_at_the_end_of_the_audio_ends_there() -> None:
    ear = Ear(LOCAL).ready()
    ear.put(500)
    ear.speech(True, 100)
    ear.put(500)
    ear.finish()
    assert ear.all(fx.Speech)[-1] == fx.Speech(False, "", 1000)
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "one")
    assert ear.told == ["START", "END", "one"]


def test_speech_the_server_hears_at_the_end_of_the_audio_ends_with_the_commit() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.finish()
    ear.leave()
    ear.commits_item("a")
    assert ear.told == ["START", "END"]
    ear.completes("a", "one")
    assert ear.told == ["START", "END", "one"]
    assert ear.effects[-1] == fx.Finished()


def test_a_turn_that_ended_is_waited_for_at_the_end() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.stops("a", 1000)
    assert ear.finish() == []  # all of it is in a turn, and the item is to come
    ear.commits_item("a")
    ear.completes("a", "one")
    assert ear.effects[-1] == fx.Finished()


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY])
def test_after_the_end_nothing_is_told(who: dict[str, bool]) -> None:
    ear = Ear(who).ready()
    ear.put(1000)
    ear.finish()
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "one")
    assert ear.effects[-1] == fx.Finished()
    ear.effects.clear()
    ear.speech(True)  # a detector that is a little late
    ear.speech(False)
    ear.put(5000)
    ear.flush()
    ear.starts("b", 100)
    ear.delta("b", "two")
    ear.turn("c", 100, 900)
    ear.completes("b", "two")
    ear.closed()
    ear.wait(100)
    assert ear.told == []
    assert not ear.all(fx.Caption)
    assert not ear.commits
    assert not ear.all(fx.Finished)


# -- commits that come to nothing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_a_commit_that_turn_detection_was_faster_than_is_no_failure(named: bool) -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 0)
    ear.flush()
    ear.leave()
    ear.stops("a", 1000)
    ear.commits_item("a")
    refused = ear.refuses(ear.commits[0] if named else None)
    assert of(fx.CommitRefused, refused) == [fx.CommitRefused(ear.commits[0])]
    ear.completes("a", "one")
    assert ear.told == ["START", "END", "one"]
    assert not ear.all(fx.Report)
    assert ear.hearing.quiet


def test_a_refusal_names_its_commit() -> None:
    ear = Ear(NOBODY).ready()
    for _ in range(3):
        ear.put(1000)
        ear.flush()
    first, second, third = ear.commits
    ear.leave()
    ear.refuses(second)
    ear.commits_item("a")
    ear.completes("a", "one")
    ear.commits_item("c")
    ear.completes("c", "three")
    ends = [(effect.item_id, effect.end_ms) for effect in ear.all(fx.Caption)]
    assert ends == [("a", 1000), ("c", 3000)]
    assert ear.hearing.quiet
    assert {first, third}.isdisjoint(effect.event_id for effect in ear.all(fx.CommitRefused))


def test_a_commit_refused_for_another_reason_is_a_failure_that_is_told() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.finish()
    ear.leave()
    ear.refuses(ear.commits[0], "invalid_value")
    (failed,) = ear.all(fx.SegmentFailed)
    assert (failed.item_id, failed.failure.code) == ("", "invalid_value")
    assert ear.effects[-1] == fx.Finished()


def test_an_error_that_names_nothing_of_ours_is_reported_and_touches_no_commit() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.flush()
    ear.leave()
    ear.refuses("commit_of_somebody_else", "invalid_value")
    assert [effect.failure.code for effect in ear.all(fx.Report)] == ["invalid_value"]
    assert not ear.all(fx.CommitRefused)
    assert ear.hearing.behind


def test_a_commit_without_an_answer_is_given_up_and_told_as_a_failure() -> None:
    ear = Ear(LOCAL).ready()
    ear.put(8000)
    ear.flush()
    assert ear.hearing.due() is None  # it has not left
    ear.now = 100.0
    ear.leave()
    assert ear.hearing.due() == 100.0 + patience(8000)
    ear.wait(patience(8000))
    assert ear.all(fx.CommitRefused) == [fx.CommitRefused(ear.commits[0])]
    assert [effect.failure.code for effect in ear.all(fx.SegmentFailed)] == ["transcription_overdue"]
    assert ear.hearing.quiet


def test_an_item_of_a_gateway_that_keeps_the_commits_answer_to_itself_is_ours() -> None:
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.speech(True, 100)
    ear.speech(False, 900)
    ear.leave()
    ear.completes("a", "one")
    final = ear.all(fx.Caption)[-1]
    assert (final.text, final.start_ms, final.end_ms) == ("one", 100, 900)
    assert ear.hearing.quiet
    ear.commits_item("a")  # too late
    ear.wait(100)
    assert ear.told == ["START", "END", "one"]


def test_an_item_that_nobody_here_asked_for_takes_no_audio_of_a_commit_on_its_way() -> None:
    """Else the outbox would forget that commit, and a reconnect would lose it."""
    ear = Ear(NOBODY).ready()
    ear.commits_item("stray")
    ear.put(1000)
    ear.flush()
    ear.leave()
    ear.completes("stray", "")
    assert ear.all(fx.AudioTaken) == []
    ear.commits_item("a")
    ear.completes("a", "one")
    assert ear.all(fx.AudioTaken) == [fx.AudioTaken(None)]


@pytest.mark.parametrize("item_id", ["a", ""])
def test_a_turn_that_ended_and_never_becomes_an_item_is_not_waited_for_for_ever(item_id: str) -> None:
    """Some gateways leave the id out of the events of turn detection."""
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts(item_id, 0)
    ear.stops(item_id, 1000)
    ear.wait(100)
    assert ear.hearing.quiet
    ear.finish()
    assert ear.effects[-1] == fx.Finished()


# -- speech that is cut, by its length or by a reconnect -----------------------------------------------------------


def cut() -> Ear:
    """A long turn of the server that has just been cut."""
    ear = Ear(SERVER, max_ms=2000).ready()
    ear.put(100)
    ear.starts("a", 0)
    ear.put(1900)
    ear.leave()
    ear.commits_item("a")
    return ear


def test_speech_that_goes_on_behind_a_cut_has_no_second_start() -> None:
    ear = cut()
    ear.put(200)
    ear.starts("b", 2000)
    ear.wait(10)
    ear.completes("a", "one")
    ear.stops("b", 2200)
    ear.commits_item("b")
    ear.completes("b", "two")
    assert ear.told == ["START", "one", "END", "two"]


def test_speech_that_is_not_heard_again_behind_a_cut_has_ended() -> None:
    ear = cut()
    ear.wait(RESUME_S - 0.1)
    assert ear.told == ["START"]
    ear.wait(0.2)
    assert ear.told == ["START", "END"]
    ear.starts("b", 5000)
    assert ear.told == ["START", "END", "START"]


def test_a_cut_is_no_end_for_the_detector_here() -> None:
    ear = Ear(BOTH, max_ms=2000).ready()
    ear.put(100)
    ear.speech(True, 0)
    ear.starts("a", 0)
    ear.put(1900)
    ear.leave()
    ear.commits_item("a")
    ear.wait(RESUME_S + 1)
    assert ear.told == ["START"]
    ear.speech(False)
    assert ear.told == ["START", "END"]


def test_a_flush_in_the_middle_of_a_turn_ends_it() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.flush()
    ear.leave()
    assert ear.told == ["START"]
    ear.commits_item("a")
    assert ear.told == ["START", "END"]
    assert ear.all(fx.Speech)[-1] == fx.Speech(False, "a", 1000)


def test_speech_that_goes_on_over_a_reconnect_has_no_second_start() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.closed()
    ear.wait(60)  # however long it takes
    assert ear.told == ["START"]
    ear.ready()
    ear.wait(RESUME_S - 0.1)
    ear.starts("b", 100)
    ear.wait(10)
    assert ear.told == ["START"]
    ear.stops("b", 1000)
    assert ear.told == ["START", "END"]


def test_speech_whose_end_was_told_is_not_told_again_when_it_is_sent_again() -> None:
    ear = Ear(SERVER).ready()
    ear.put(3000)
    ear.turn("a", 100, 2000)
    ear.closed()
    ear.shift = 0.0  # all of it is sent again
    ear.ready()
    ear.turn("b", 100, 2000)
    ear.completes("b", "one")
    ear.turn("c", 2500, 2900)
    ear.completes("c", "two")
    assert ear.told == ["START", "END", "one", "START", "END", "two"]


def test_speech_that_goes_on_behind_what_is_sent_again_is_told() -> None:
    """The next connection may hear one turn where there were two: the new part of it has a start and an end."""
    ear = Ear(SERVER).ready()
    ear.put(2000)
    ear.turn("a", 100, 2000)
    ear.closed()
    ear.shift = 0.0
    ear.ready()
    ear.put(3000)
    ear.starts("b", 100)
    ear.stops("b", 4800)
    assert ear.told == ["START", "END", "START", "END"]


def test_speech_that_is_not_heard_again_after_a_reconnect_has_ended() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.closed()
    ear.ready()
    ear.wait(RESUME_S + 0.1)
    assert ear.told == ["START", "END"]
    assert ear.hearing.quiet


def test_a_reconnect_is_nothing_to_the_detector_here() -> None:
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.speech(True, 100)
    ear.closed()
    ear.ready()
    ear.wait(RESUME_S + 5)
    assert ear.told == ["START"]


# -- reconnects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [False, True])
def test_a_commit_without_a_text_waits_for_the_next_connection(answered: bool) -> None:
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.flush()
    ear.leave()
    if answered:
        ear.commits_item("a")
        ear.delta("a", "he")
    ear.closed()
    ear.wait(1000)  # it has not left again, so nothing is overdue
    ear.ready()
    ear.leave()
    ear.commits_item("b")
    ear.completes("b", "hello")
    assert ear.finals == [("b", "hello")]
    assert ear.told[-1] == "hello"
    assert "FAILED" not in ear.told
    assert len(ear.commits) == 1
    assert ear.hearing.quiet


@pytest.mark.parametrize("texted", [True, False])
def test_what_a_commit_claims_is_not_claimed_again_on_the_next_connection(texted: bool) -> None:
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.flush()
    ear.leave()
    if texted:
        ear.commits_item("a")
        ear.completes("a", "one")
    ear.closed()
    ear.ready()
    ear.put(MIN_COMMIT_MS - 1)
    assert ear.flush() == []


def test_cleared_silence_is_not_cleared_again_on_the_next_connection() -> None:
    ear = Ear(LOCAL, max_ms=5000).ready()
    ear.put(5000)
    assert len(ear.all(fx.ClearAudio)) == 1
    ear.closed()
    ear.ready()
    ear.put(3900)
    assert len(ear.all(fx.ClearAudio)) == 1
    ear.put(100)
    assert len(ear.all(fx.ClearAudio)) == 2


def test_commits_come_back_in_their_order() -> None:
    ear = Ear(LOCAL).ready()
    for _ in range(4):
        ear.put(1000)
        ear.flush()
    ear.leave()
    for item_id in "abc":  # the fourth has no answer yet
        ear.commits_item(item_id)
    ear.completes("b", "two")
    ear.completes("a", "one")
    assert ear.finals == [("a", "one"), ("b", "two")]
    ear.closed()
    ear.ready()
    ear.leave()
    for item_id, text in (("x", "three"), ("y", "four")):
        ear.commits_item(item_id)
        ear.completes(item_id, text)
    spans = [(effect.text, effect.start_ms, effect.end_ms) for effect in ear.all(fx.Caption)[2:]]
    assert spans == [("three", 2000, 3000), ("four", 3000, 4000)]


def test_a_text_that_waited_for_its_turn_is_asked_for_again_and_its_cost_is_told() -> None:
    ear = Ear(LOCAL).ready()
    for item_id in "ab":
        ear.put(1000)
        ear.flush()
        ear.leave()
        ear.commits_item(item_id)
    ear.completes("b", "two", usage=SECONDS)
    assert ear.finals == []
    ear.closed()
    assert [bill.item_id for bill in ear.all(fx.SegmentBilled)] == ["b"]
    ear.ready()
    ear.leave()
    for item_id, text in (("x", "one"), ("y", "two")):
        ear.commits_item(item_id)
        ear.completes(item_id, text)
    assert ear.finals == [("x", "one"), ("y", "two")]


def test_a_connection_lost_while_the_last_text_is_waited_for() -> None:
    ear = Ear(SERVER).ready()
    ear.put(2000)
    ear.turn("a", 0, 2000)
    ear.finish()
    assert not ear.commits  # it is all in the turn
    ear.closed()
    assert len(ear.commits) == 1  # no silence will come any more that ends the turn
    ear.ready()
    ear.leave()
    ear.starts("b", 0)
    ear.commits_item("b")
    ear.completes("b", "one")
    assert ear.finals == [("b", "one")]
    assert ear.effects[-1] == fx.Finished()


def test_the_end_without_a_connection_waits_for_one() -> None:
    ear = Ear(LOCAL)
    ear.put(1000)
    ear.finish()
    ear.wait(1000)
    assert not ear.all(fx.Finished)
    ear.ready()
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "one")
    assert ear.told == ["one"]
    assert ear.effects[-1] == fx.Finished()


def test_a_server_that_turns_faster_than_a_flush_leaves_it_the_rest() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.put(2000)
    ear.flush()
    ear.leave()
    ear.stops("a", 2000)
    ear.commits_item("a")
    ear.commits_item("b")
    ear.completes("a", "one")
    ear.completes("b", "")
    spans = [(effect.item_id, effect.start_ms, effect.end_ms) for effect in ear.all(fx.Caption)]
    assert spans == [("a", 100, 2000), ("b", 2000, 3000)]


def test_where_nobody_detects_speech_text_on_the_next_connection_is_the_same_speech() -> None:
    ear = Ear(NOBODY).ready()
    ear.put(1000)
    ear.delta("a", "one")
    ear.closed()
    ear.ready()
    ear.delta("b", "one")
    ear.wait(RESUME_S + 5)
    assert ear.told == ["START"]


def test_ready_is_told_again_on_each_connection() -> None:
    ear = Ear(LOCAL).ready()
    ear.closed()
    ear.ready()
    assert [effect.again for effect in ear.all(fx.Ready)] == [False, True]


# -- who ends segments may change ----------------------------------------------------------------------------------


def test_speech_goes_on_when_the_server_takes_over_and_nobody_hears_it() -> None:
    """The detector here is not listened to any more, so its end of speech never comes."""
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.speech(True, 100)
    ear.note(ear.hearing.detect(**SERVER))
    ear.speech(False)
    ear.wait(60)
    assert ear.told == ["START", "END"]


@pytest.mark.parametrize("who", [LOCAL, NOBODY])
def test_a_turn_that_the_server_did_not_end_is_committed_when_it_stops_to_detect(who: dict[str, bool]) -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.note(ear.hearing.detect(**who))
    assert len(ear.commits) == 1
    ear.leave()
    ear.commits_item("a")
    ear.completes("a", "one")
    ear.wait(60)  # the detector here hears nothing: it began when all was said
    assert sorted(ear.told) == ["END", "START", "one"]
    assert ear.hearing.quiet


@pytest.mark.parametrize("starts", [700, 1000, 1200])
def test_speech_the_server_takes_over_begins_anew_and_ends(starts: float) -> None:
    """Also when the server's padding reaches back to before it took over."""
    ear = Ear(LOCAL).ready()
    ear.put(1000)
    ear.speech(True, 100)
    ear.note(ear.hearing.detect(**SERVER))
    ear.put(2000)
    ear.starts("a", starts)
    ear.stops("a", 2900)
    assert ear.told == ["START", "END", "START", "END"]


def test_a_detector_here_that_heard_the_speech_all_along_says_when_it_ends() -> None:
    ear = Ear(BOTH).ready()
    ear.put(1000)
    ear.speech(True, 100)
    ear.starts("a", 100)
    ear.note(ear.hearing.detect(**LOCAL))
    ear.put(5000)
    ear.wait(RESUME_S + 5)
    assert ear.told == ["START"]
    ear.speech(False)
    assert ear.told == ["START", "END"]


def test_a_turn_too_short_to_be_committed_is_no_trouble_when_the_server_stops_to_detect() -> None:
    ear = Ear(SERVER).ready()
    ear.put(MIN_COMMIT_MS - 1)
    ear.starts("a", 0)
    ear.note(ear.hearing.detect(**LOCAL))
    assert not ear.commits
    ear.wait(60)
    assert ear.told == ["START", "END"]
    assert ear.hearing.quiet


def test_speech_goes_on_when_a_detector_here_takes_over_and_hears_it() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.starts("a", 100)
    ear.note(ear.hearing.detect(**LOCAL))
    ear.put(300)
    ear.speech(True)
    ear.wait(60)
    assert ear.told[-1] == "START"
    ear.speech(False)
    assert ear.told[-1] == "END"


def test_a_turn_without_a_text_is_committed_when_it_is_sent_again_and_the_server_detects_no_more() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.turn("a", 100, 1000)
    ear.closed()
    ear.note(ear.hearing.detect(**LOCAL))
    assert len(ear.commits) == 1
    ear.ready()
    ear.leave()
    ear.commits_item("b")
    ear.completes("b", "one")
    assert ear.told == ["START", "END", "one"]


def test_silence_is_not_committed_when_the_server_stops_to_detect() -> None:
    ear = Ear(SERVER).ready()
    ear.put(1000)
    ear.turn("a", 100, 1000)
    ear.closed()
    ear.ready()
    ear.turn("b", 100, 1000)
    ear.completes("b", "one")
    ear.put(10_000)
    assert ear.hearing.detect(**LOCAL) == []


# -- trouble -------------------------------------------------------------------------------------------------------


def test_a_fatal_error_gives_the_connection_up() -> None:
    ear = Ear(LOCAL).ready()
    (told,) = ear.refuses(None, "insufficient_quota")
    assert isinstance(told, fx.Disconnect)
    assert told.failure.kind is Kind.FATAL


def test_an_expired_session_is_followed_by_another() -> None:
    ear = Ear(LOCAL).ready()
    (told,) = ear.refuses(None, "session_expired")
    assert isinstance(told, fx.Disconnect)
    assert told.failure.kind is Kind.RECONNECT


def test_an_error_alone_ends_nothing() -> None:
    ear = Ear(LOCAL).ready()
    (told,) = ear.refuses(None, "server_error")
    assert isinstance(told, fx.Report)


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({"type": "brand.new"}, "unknown event"),
        ({"type": "input_audio_buffer.committed"}, "malformed event"),
        ({"type": f"{ITEM}.completed", "item_id": 7}, "malformed event"),
    ],
)
def test_odd_events_are_noticed(payload: dict[str, Any], what: str) -> None:
    ear = Ear(LOCAL).ready()
    (told,) = ear.note(ear.hearing.receive(from_payload(payload), 0.0))
    assert isinstance(told, fx.Noticed)
    assert told.what == what


def test_places_beyond_all_audio_break_nothing() -> None:
    """JSON has numbers of any length."""
    outbox = Outbox()
    ear = Ear(SERVER, place=outbox.session_ms).ready()
    ear.put(1000)
    for place in (-(10**400), 10**400, -5, 10**9):
        ear.starts("a", 0)
        ear.says("input_audio_buffer.speech_started", item_id="a", audio_start_ms=place)
        ear.says("input_audio_buffer.speech_stopped", item_id="a", audio_end_ms=place)
    ear.commits_item("a")
    ear.completes("a", "one")
    for taken in ear.all(fx.AudioTaken):
        outbox.taken(taken.until_ms)
    assert ear.finals == [("a", "one")]


@pytest.mark.parametrize("end", [0.0, 0.7, 1e6 / 3, 98765.4321])
def test_a_tick_at_the_time_that_is_due_has_something_to_do(end: float) -> None:
    """A timer set for it does not fire again and again."""
    ear = Ear(NOBODY).ready()
    ear.now = end
    ear.delta("a", "one ")
    ear.delta("a", "two ")
    due = ear.hearing.due()
    assert due is not None
    assert ear.hearing.tick(due)
    assert ear.hearing.due() is None


# -- the first promise: whatever the server says -------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c", ""])
MS = st.integers(0, 3000)
WORDS = st.sampled_from(["one ", " two", "three", " ", ""])
STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([40, 100, 700, 2500])),
    st.tuples(st.just("speech"), st.booleans()),
    st.tuples(st.just("starts"), IDS, MS),
    st.tuples(st.just("stops"), IDS, MS),
    st.tuples(st.just("commits_item"), IDS),
    st.tuples(st.just("turn"), IDS, MS, MS),
    st.tuples(st.just("delta"), IDS, WORDS),
    st.tuples(st.just("completes"), IDS, WORDS),
    st.tuples(st.just("fails"), IDS),
    st.tuples(st.just("refuses_oldest"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.05, 0.2, 3.0, 20.0])),
    st.tuples(st.sampled_from(["flush", "leave", "reconnect"])),
    st.tuples(st.just("detect"), st.sampled_from([SERVER, LOCAL, NOBODY, BOTH])),
)


class Chaos(Ear):
    """An ear whose server says anything. Ids are new on each connection, as they are with OpenAI."""

    def __init__(self, who: dict[str, bool]) -> None:
        super().__init__(who, max_ms=2000)
        self.connection = 0
        self.said: dict[str, str] = {}  # item -> the text of its deltas
        self.order: list[str] = []  # items of this connection, as they were committed
        self.stopped: dict[str, float] = {}  # turns, and when they ended
        self.ready()

    def says(self, name: str, **fields: Any) -> list[fx.Effect]:
        if "item_id" in fields:
            item_id = fields["item_id"] = f"{fields['item_id']}{self.connection}"
            if name == f"{ITEM}.delta":
                self.said[item_id] = self.said.get(item_id, "") + fields["delta"]
            elif name == "input_audio_buffer.speech_stopped":
                self.stopped.setdefault(item_id, self.now)
            elif name in ("input_audio_buffer.committed", f"{ITEM}.completed", f"{ITEM}.failed"):
                late = self.now - self.stopped.get(item_id, self.now) >= FINAL_TIMEOUT_S  # nobody waited for it
                over = bool(self.all(fx.Finished)) or item_id in self.ended() or late
                self.order += [] if over or item_id in self.order else [item_id]
        return super().says(name, **fields)

    def completes(self, item_id: str, text: str, **more: Any) -> list[fx.Effect]:
        return super().completes(item_id, text, usage=SECONDS, **more)

    def refuses_oldest(self, named: bool) -> None:
        self.refuses(self.commits[0] if named and self.commits else None)

    def detect(self, who: dict[str, bool]) -> None:
        self.note(self.hearing.detect(**who))

    def reconnect(self) -> None:
        self.closed()
        self.connection += 1
        self.order.clear()
        self.wait(1.0)
        self.ready()

    def ended(self) -> list[str]:
        """Items in the order in which they ended."""
        ends = (effect for effect in self.effects if isinstance(effect, (fx.Caption, fx.SegmentFailed)))
        return [end.item_id for end in ends if end.item_id and getattr(end, "stage", "final") == "final"]

    def check(self) -> None:
        told = [effect.speaking for effect in self.all(fx.Speech)]
        assert told == [index % 2 == 0 for index in range(len(told))]
        assert len(told) % 2 == 0  # all that began has ended
        for item_id, count in Counter(self.ended()).items():
            assert count == 1, f"{item_id} ended {count} times"
        for item_id, count in Counter(bill.item_id for bill in self.all(fx.SegmentBilled)).items():
            assert count == 1, f"{item_id} was billed {count} times"
        before: dict[str, str] = {}
        for caption in self.all(fx.Caption):
            if caption.stage != "final":
                assert self.said[caption.item_id].strip().startswith(caption.text)
                assert caption.text.startswith(before.get(caption.item_id, ""))
                before[caption.item_id] = caption.text
        behind_the_end = self.effects[self.effects.index(fx.Finished()) :]
        assert not of(fx.Speech, behind_the_end)
        assert not of(fx.Caption, behind_the_end)
        assert not of(fx.SegmentFailed, behind_the_end)


@pytest.mark.parametrize("who", [SERVER, LOCAL, NOBODY, BOTH], ids=["server", "local", "nobody", "both"])
@given(steps=st.lists(STEPS, max_size=25), after=st.lists(STEPS, max_size=5))
def test_whatever_the_server_says_every_item_ends_once_and_in_order(
    who: dict[str, bool], steps: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    ear = Chaos(who)
    for name, *arguments in steps:
        getattr(ear, name)(*arguments)
    ear.finish()
    for name, *arguments in after:
        if name not in ("put", "flush", "detect"):
            getattr(ear, name)(*arguments)
    ear.leave()
    ear.wait(1000)
    assert len(ear.all(fx.Finished)) == 1
    ear.check()
    assert [item_id for item_id in ear.ended() if item_id in ear.order] == ear.order


# -- the second promise: an honest server --------------------------------------------------------------------------

CHUNK_MS = 100
TURNS = {"type": "server_vad", "prefix_padding_ms": CHUNK_MS, "silence_duration_ms": CHUNK_MS}
AT_MOST_UNANSWERED = 15  # chunks on their way; what is kept in silence for a reconnect is bounded


class Server:
    """One connection of an honest server: hears chunks, finds turns, makes items, and has an answer for everything.

    A chunk is a number, and sound or silence. The text of an item is the chunks of sound in it. A turn begins with one
    chunk of padding, if there is one that no item has, and ends with one chunk of silence.
    """

    def __init__(self, name: str, *, finds_turns: bool, early: bool) -> None:
        self.name = name
        self.finds_turns = finds_turns
        self.early = early  # text comes before the commit
        self.answers: deque[dict[str, Any]] = deque()
        self.made: dict[str, list[int]] = {}  # items -> what their texts will be
        self.written: dict[str, list[int]] = {}  # those without an ending
        self._told: dict[str, int] = {}
        self._buffer: list[tuple[int, bool]] = []
        self._heard_ms = 0
        self._turn: str | None = None
        self._items = itertools.count()
        self._next = self._new()

    def _new(self) -> str:
        return f"{self.name}{next(self._items)}"

    def _say(self, name: str, **fields: Any) -> None:
        self.answers.append({"type": name, **fields})

    def _commit(self, item_id: str) -> None:
        self.written[item_id] = self.made[item_id] = [chunk for chunk, sound in self._buffer if sound]
        self._buffer.clear()
        self._turn = None
        self._next = self._new()
        self._say("input_audio_buffer.committed", item_id=item_id)

    def append(self, chunk: int, sound: bool) -> None:
        if self.finds_turns and sound and self._turn is None:
            self._turn = self._next
            del self._buffer[:-1]
            start = self._heard_ms - CHUNK_MS * len(self._buffer)
            self._say("input_audio_buffer.speech_started", item_id=self._turn, audio_start_ms=start)
        self._buffer.append((chunk, sound))
        self._heard_ms += CHUNK_MS
        if self._turn is not None and not sound:
            self._say("input_audio_buffer.speech_stopped", item_id=self._turn, audio_end_ms=self._heard_ms)
            self._commit(self._turn)

    def commit(self, event_id: str) -> None:
        if self._buffer:
            self._commit(self._turn or self._next)
            return
        error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty", "event_id": event_id}
        self._say("error", error={**error, "message": "buffer too small"})

    def clear(self) -> None:
        self._buffer.clear()

    def write(self, item_id: str, words: list[int]) -> None:
        """Tell the words that were not told yet."""
        new = words[self._told.get(item_id, 0) :]
        self._told[item_id] = len(words)
        for word in new:
            self._say(f"{ITEM}.delta", item_id=item_id, delta=f" {word}")

    def whisper(self) -> None:
        if self.early and not self.finds_turns:
            self.write(self._next, [chunk for chunk, sound in self._buffer if sound])

    def end(self, item_id: str, *, failed: bool = False) -> None:
        words = self.written.pop(item_id)
        if failed:
            self._say(f"{ITEM}.failed", item_id=item_id, error={"type": "transcription_error", "message": "no"})
            return
        self.write(item_id, words)
        self._say(f"{ITEM}.completed", item_id=item_id, transcript=text_of(words), usage=SECONDS)


def text_of(words: list[int]) -> str:
    return " ".join(map(str, words))


class NothingThatWasSaidIsLost(RuleBasedStateMachine):
    """Speech goes in, over connections that break at any moment; every bit of it is in exactly one text or failure."""

    who: dict[str, bool] = SERVER

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(keep_ms=10_000_000)
        detection = {"turn_detection": TURNS if self.who["server_turns"] else None}
        wanted = transcription_payload({"transcription": {"model": "gpt-transcribe"}, **detection}, {})
        self.hearing = Hearing(wanted, **self.who, max_segment_ms=2000, place=self.outbox.session_ms)
        self.now = 0.0
        self.sounds: list[bool] = []
        self.effects: list[fx.Effect] = []
        self.made: dict[str, list[int]] = {}  # every item of every connection -> the chunks of sound in it
        self.server: Server | None = None
        self.links = 0
        self.unanswered = 0
        self.finishing = False

    # -- what the session does -----------------------------------------------------------------------------------

    def do(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            if isinstance(effect, fx.Send):
                self.outbox.put(effect.event)
            elif isinstance(effect, fx.CommitAudio):
                self.outbox.put_commit(effect.event)
            elif isinstance(effect, fx.CommitRefused):
                self.outbox.refused(effect.event_id)
            elif isinstance(effect, fx.ClearAudio):
                self.outbox.put_clear(effect.event, keep_ms=effect.keep_ms)
            elif isinstance(effect, fx.AudioTaken):
                self.outbox.taken(effect.until_ms)
            elif isinstance(effect, fx.Ready):
                self.outbox.configured()
            assert not isinstance(effect, (fx.Disconnect, fx.Report, fx.ConfigRefused))
        self.outbox.listen(idle=self.hearing.quiet and self.hearing.detects)

    def tick(self) -> None:
        self.do(self.hearing.tick(self.now))

    # -- what may happen -----------------------------------------------------------------------------------------

    @precondition(lambda self: not self.finishing)
    @rule(sound=st.integers(0, 25), silence=st.sampled_from([0, 1, 3, 12, 30]), settled=st.booleans())
    def talk(self, sound: int, silence: int, settled: bool) -> None:
        for number, sounds in enumerate([True] * sound + [False] * silence):
            self.put(sounds)
            if settled and number % 5 == 4:
                self.settle()

    def put(self, sound: bool) -> None:
        before = self.sounds[-1] if self.sounds else False
        self.outbox.put_audio(len(self.sounds).to_bytes(4, "big") + bytes(CHUNK_MS * 48 - 4))
        self.sounds.append(sound)
        self.do(self.hearing.put(self.outbox.put_ms, self.now))
        if self.who["local_vad"] and sound != before:  # told one chunk late, as a detector does
            self.do(self.hearing.speech(sound, self.outbox.put_ms - CHUNK_MS, self.now))

    @precondition(lambda self: not self.finishing)
    @rule()
    def flush(self) -> None:
        self.do(self.hearing.flush(self.now))

    @rule()
    def finish(self) -> None:
        self.finishing = True
        self.do(self.hearing.finish(self.now))

    @precondition(lambda self: self.server is None)
    @rule()
    def connect(self) -> None:
        self.links += 1
        self.server = Server(f"s{self.links}_", finds_turns=self.who["server_turns"], early=self.links % 2 == 1)
        self.do(self.hearing.opened(self.now))

    @rule(send=st.integers(0, 20), deliver=st.integers(0, 10))
    def network(self, send: int, deliver: int) -> None:
        self.send(send)
        self.deliver(deliver)

    def send(self, count: int) -> None:
        for _ in range(count):
            if self.server is None or (event := self.outbox.next()) is None:
                return
            if "event_id" in event:
                self.hearing.sent(event["event_id"], self.now)
            kind = event["type"]
            if kind == "session.update":
                self.server.answers.append({"type": "session.updated", "session": event["session"]})
            elif kind == "input_audio_buffer.append":
                chunk = int.from_bytes(base64.b64decode(event["audio"])[:4], "big")
                self.server.append(chunk, self.sounds[chunk])
                self.unanswered += 1
                if self.unanswered >= AT_MOST_UNANSWERED:
                    self.deliver(100_000)
            elif kind == "input_audio_buffer.commit":
                self.server.commit(event["event_id"])
            else:
                self.server.clear()

    def deliver(self, count: int) -> None:
        if self.server is None:
            return
        for _ in range(min(count, len(self.server.answers))):
            self.do(self.hearing.receive(from_payload(self.server.answers.popleft()), self.now))
        self.unanswered = self.unanswered if self.server.answers else 0

    @precondition(lambda self: self.server is not None and self.server.written)
    @rule(which=st.integers(0, 5), failed=st.sampled_from([False, False, False, True]), told=st.booleans())
    def write(self, which: int, failed: bool, told: bool) -> None:
        assert self.server is not None
        item_id = list(self.server.written)[which % len(self.server.written)]
        self.server.end(item_id, failed=failed)
        if told:
            self.settle()

    @precondition(lambda self: self.server is not None)
    @rule()
    def whisper(self) -> None:
        assert self.server is not None
        self.server.whisper()

    @precondition(lambda self: self.server is not None)
    @rule()
    def lose(self) -> None:
        assert self.server is not None
        self.made |= self.server.made
        self.server = None
        self.outbox.lost()
        self.do(self.hearing.closed(self.now))

    @rule(settled=st.booleans(), texts=st.integers(0, 2))
    def reconnect(self, settled: bool, texts: int) -> None:
        """The connection breaks, and the next one gets so far."""
        if self.server is not None:
            self.lose()
        self.connect()
        if settled:
            self.settle()
        assert self.server is not None
        for item_id in list(self.server.written)[:texts]:
            self.server.end(item_id)
            self.settle()

    @rule(seconds=st.sampled_from([0.05, 0.2, 2.5]))
    def wait(self, seconds: float) -> None:
        self.settle()  # the network is fast; only transcripts take their time
        self.now += seconds
        self.tick()

    def settle(self) -> None:
        """Everything on its way arrives, in both directions."""
        for _ in range(3):
            self.send(100_000)
            self.deliver(100_000)

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def starts_and_ends_alternate(self) -> None:
        told = [effect.speaking for effect in self.effects if isinstance(effect, fx.Speech)]
        assert told == [index % 2 == 0 for index in range(len(told))]

    def teardown(self) -> None:
        if self.server is None:
            self.connect()
        self.settle()
        if not self.finishing:
            self.finish()
        assert self.server is not None
        for _ in range(10):
            self.settle()
            for item_id in list(self.server.written):
                self.server.end(item_id)
            self.now += 0.2
            self.tick()
        assert sum(isinstance(effect, fx.Finished) for effect in self.effects) == 1
        assert sum(isinstance(effect, fx.Speech) for effect in self.effects) % 2 == 0
        self.starts_and_ends_alternate()
        finals = [effect for effect in self.effects if isinstance(effect, fx.Caption) and effect.stage == "final"]
        words = [int(word) for final in finals for word in final.text.split()]
        assert words == sorted(set(words))  # in order, and once
        for final in finals:
            if (inside := [int(word) for word in final.text.split()]) and final.failure is None:
                assert final.start_ms is not None
                assert final.start_ms <= inside[0] * CHUNK_MS
                assert final.end_ms is not None
                assert final.end_ms >= (inside[-1] + 1) * CHUNK_MS
        said = {chunk for chunk, sound in enumerate(self.sounds) if sound}
        made = self.made | self.server.made
        failed = [effect.item_id for effect in self.effects if isinstance(effect, fx.SegmentFailed)]
        failed += [final.item_id for final in finals if final.failure is not None]
        assert said - set(words) - {chunk for item_id in failed for chunk in made[item_id]} == set()
        bills = Counter(effect.item_id for effect in self.effects if isinstance(effect, fx.SegmentBilled))
        assert set(bills.values()) <= {1}
        assert self.outbox.audio.dropped == 0.0


class WithBoth(NothingThatWasSaidIsLost):
    who = BOTH


class WithDetectionHere(NothingThatWasSaidIsLost):
    who = LOCAL


class WithoutDetection(NothingThatWasSaidIsLost):
    who = NOBODY


def case(machine: type[NothingThatWasSaidIsLost]) -> Any:
    machine.TestCase.settings = settings(max_examples=250, stateful_step_count=30, deadline=None)
    return machine.TestCase


TestWithTurnsOfTheServer = case(NothingThatWasSaidIsLost)
TestWithBoth = case(WithBoth)
TestWithDetectionHere = case(WithDetectionHere)
TestWithoutDetection = case(WithoutDetection)
