"""What is told of a translation, and what the next connection hears again, without a clock or a socket."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.interpreting import (
    WARM_UP_MS,
    CloseSession,
    Interpreting,
    Renewed,
    Translated,
    TranslatedText,
    loud,
)
from livekit_plugins_openai_ga.core.setup import Phase
from livekit_plugins_openai_ga.errors import Kind
from livekit_plugins_openai_ga.wire import translation
from livekit_plugins_openai_ga.wire.server_events import Error, ErrorDetail, SessionUpdated, Unknown

PAYLOAD = translation.session_payload(target_language="de", source_model=None, noise_reduction=None)
LOUD = b"\x00\x20" * 9600  # 400 ms
QUIET = bytes(19_200)
STEP = b"\x00\x20" * 4800


class Stage:
    """An interpretation whose connections begin at given places of the source."""

    def __init__(self, **options: Any) -> None:
        self.start = 0.0
        self.end = 1e9
        self.core = Interpreting(PAYLOAD, place=lambda ms: min(self.start + ms, self.end), **options)

    def connect(self, start: float = 0.0) -> fx.Effects:
        self.start = start
        (sent,) = self.core.opened()
        assert isinstance(sent, fx.Send)
        return self.core.receive(SessionUpdated(PAYLOAD))

    def audio(self, elapsed_ms: float | None, pcm: bytes = LOUD) -> fx.Effects:
        return self.core.receive(translation.OutputAudioDelta(base64.b64encode(pcm).decode(), elapsed_ms))

    def text(self, elapsed_ms: float | None, text: str) -> fx.Effects:
        return self.core.receive(translation.OutputTranscriptDelta(text, elapsed_ms))

    def source(self, elapsed_ms: float | None, text: str) -> fx.Effects:
        return self.core.receive(translation.InputTranscriptDelta(text, elapsed_ms))

    def error(self, **detail: Any) -> fx.Effects:
        return self.core.receive(Error(ErrorDetail(**detail)))


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.connect()
    return made


def of(effects: fx.Effects, kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_a_connection_begins_with_the_configuration_and_is_ready_when_that_is_confirmed() -> None:
    stage = Stage()
    (sent,) = stage.core.opened()
    assert isinstance(sent, fx.Send)
    assert sent.event["session"] == PAYLOAD
    assert stage.core.phase is Phase.CONFIGURING
    assert stage.core.receive(SessionUpdated(PAYLOAD)) == [fx.Ready(again=False)]
    stage.core.closed()
    assert stage.connect() == [fx.Ready(again=True)]


def test_speech_and_texts_are_told_as_they_come(stage: Stage) -> None:
    assert stage.text(200, "Hal") == [TranslatedText("Hal", 200, source=False)]
    assert stage.text(200, "lo") == [TranslatedText("lo", 200, source=False)]
    assert stage.source(200, "Hello") == [TranslatedText("Hello", 200, source=True)]
    assert stage.audio(200) == [Translated(LOUD, 200)]
    assert stage.text(400, "") == []


def test_a_delta_that_is_no_base64_is_noticed(stage: Stage) -> None:
    assert stage.core.receive(translation.OutputAudioDelta("A", 0)) == [
        fx.Noticed("malformed event", "session.output_audio.delta: not base64")
    ]


def test_silence_is_left_out_as_far_as_it_would_make_speech_late(stage: Stage) -> None:
    told = [bool(of(stage.audio(200 * n, QUIET), Translated)) for n in range(40)]
    assert sum(told) * 400 == pytest.approx(40 * 200, abs=400)
    speech = [bool(of(stage.audio(8000 + 200 * n), Translated)) for n in range(10)]
    assert all(speech)
    after = [bool(of(stage.audio(10_000 + 200 * n, QUIET), Translated)) for n in range(20)]
    assert after[:9] == [False] * 9  # the speech took 2 s more than its source
    assert any(after)


def test_silence_stays_where_it_is_wanted() -> None:
    stage = Stage(skip_silence=False)
    stage.connect()
    assert all(of(stage.audio(200 * n, QUIET), Translated) for n in range(40))


def test_audio_is_needed_until_the_model_is_so_far_behind_it_that_it_must_have_said_it(stage: Stage) -> None:
    taken = [effect.until_ms for n in range(60) for effect in of(stage.audio(200 * n), fx.AudioTaken)]
    assert taken[0] == 200
    assert taken[-1] == 59 * 200 - WARM_UP_MS
    assert taken == sorted(taken)


def test_what_a_new_connection_says_up_to_the_place_reached_is_not_told_again(stage: Stage) -> None:
    for n in range(20):
        stage.text(200 * n, f"w{n} ")
        stage.audio(200 * n)
    stage.core.closed()
    stage.connect(start=1000)
    told = []
    for n in range(20):
        told += [*stage.text(200 * n, f"w{n + 5} "), *stage.audio(200 * n)]
    assert [effect.text for effect in of(told, TranslatedText)] == ["w20 ", "w21 ", "w22 ", "w23 ", "w24 "]
    assert [effect.at_ms for effect in of(told, Translated)] == [4000, 4200, 4400, 4600, 4800]


def test_of_several_texts_at_one_place_those_not_told_are_told(stage: Stage) -> None:
    stage.text(400, "one ")
    stage.text(400, "two ")
    stage.core.closed()
    stage.connect()
    texts = [stage.text(400, text) for text in ("one ", "two ", "three ")]
    assert texts == [[], [], [TranslatedText("three ", 400, source=False)]]


def test_each_channel_goes_on_where_it_was_itself(stage: Stage) -> None:
    stage.source(1000, "far")
    stage.text(600, "behind")
    stage.core.closed()
    stage.connect()
    assert stage.source(800, "again") == []
    assert stage.text(800, "new") == [TranslatedText("new", 800, source=False)]


def test_a_connection_that_breaks_before_it_has_caught_up_changes_nothing(stage: Stage) -> None:
    stage.text(1000, "told")
    for _ in range(3):
        stage.core.closed()
        stage.connect()
        assert stage.text(400, "again") == []
    assert stage.text(1000, "told") == []
    assert of(stage.text(1200, "new"), TranslatedText)


def test_places_that_go_back_without_a_new_connection_are_told(stage: Stage) -> None:
    stage.text(1000, "a")
    assert stage.text(800, "b") == [TranslatedText("b", 800, source=False)]


def test_a_server_that_tells_no_places_is_taken_to_tell_one_step_each_time(stage: Stage) -> None:
    assert [effect.at_ms for n in range(3) for effect in of(stage.audio(None), Translated)] == [200, 400, 600]
    assert stage.text(None, "here") == [TranslatedText("here", 600, source=False)]


def test_the_end_is_asked_for_once_and_comes_with_session_closed(stage: Stage) -> None:
    (close,) = stage.core.finish()
    assert isinstance(close, CloseSession)
    assert close.event["type"] == "session.close"
    assert stage.core.finish() == []
    assert of(stage.audio(200), Translated)
    done = stage.core.receive(translation.SessionClosed())
    assert [type(effect) for effect in done] == [fx.AudioTaken, fx.Finished]
    assert stage.audio(400) == []


def test_what_is_said_behind_the_end_of_the_source_is_told_once(stage: Stage) -> None:
    stage.end = 400.0
    stage.core.finish()
    assert [bool(of(stage.audio(200 * n), Translated)) for n in range(5)] == [True] * 5
    stage.core.closed()
    stage.connect()
    assert [bool(of(stage.audio(200 * n), Translated)) for n in range(7)] == [False] * 5 + [True] * 2


def test_without_a_connection_the_end_is_asked_for_when_there_is_one() -> None:
    stage = Stage()
    assert stage.core.finish() == []
    assert [type(effect) for effect in stage.connect()] == [fx.Ready, CloseSession]
    stage.core.closed()
    assert [type(effect) for effect in stage.connect()] == [fx.Ready, CloseSession]


def test_a_planned_change_ends_the_session_and_goes_on_with_another(stage: Stage) -> None:
    (close,) = stage.core.renew()
    assert isinstance(close, CloseSession)
    done = stage.core.receive(translation.SessionClosed())
    assert [type(effect) for effect in done] == [fx.AudioTaken, Renewed]
    stage.core.closed()
    assert not stage.core.closing


@pytest.mark.parametrize("breaks", [0, 2])
def test_a_rest_that_was_told_before_a_planned_change_hides_nothing_of_what_comes_behind_it(
    stage: Stage, breaks: int
) -> None:
    stage.audio(0)
    stage.core.put(STEP)
    stage.core.renew()
    for at in (200, 400, 600, 800):  # the source had ended at 200
        assert of(stage.audio(at), Translated)
        assert of([*stage.text(at, "rest"), *stage.source(at, "rest")], TranslatedText)
    stage.core.receive(translation.SessionClosed())
    for _ in range(breaks + 1):
        stage.core.closed()
        stage.connect(start=200)
    for at in (0, 200, 400, 600):
        assert of(stage.audio(at), Translated)
        assert of(stage.text(at, "new"), TranslatedText)
        assert of(stage.source(at, "new"), TranslatedText)


def test_a_close_is_the_last_one_when_nothing_was_put_in_behind_it(stage: Stage) -> None:
    stage.core.renew()
    assert not stage.core.ending
    stage.core.finish()
    assert stage.core.ending
    stage.core.put(STEP)
    assert not stage.core.ending


def test_audio_that_came_during_a_planned_change_is_heard_before_the_end(stage: Stage) -> None:
    stage.core.renew()
    stage.core.put(STEP)
    assert stage.core.finish() == []
    assert of(stage.core.receive(translation.SessionClosed()), Renewed)
    stage.core.closed()
    assert of(stage.connect(), CloseSession)
    assert of(stage.core.receive(translation.SessionClosed()), fx.Finished)


def test_an_end_that_comes_during_a_planned_change_needs_no_other_connection(stage: Stage) -> None:
    stage.core.renew()
    stage.core.finish()
    assert of(stage.core.receive(translation.SessionClosed()), fx.Finished)


def test_an_end_that_nobody_asked_for_is_a_lost_connection(stage: Stage) -> None:
    (lost,) = stage.core.receive(translation.SessionClosed())
    assert isinstance(lost, fx.Disconnect)
    assert lost.failure.kind is Kind.RECONNECT


def test_another_language_is_sent_alone_and_behind_a_close_with_the_next_connection(stage: Stage) -> None:
    french = translation.session_payload(target_language="fr", source_model=None, noise_reduction=None)
    (sent,) = stage.core.configure(french, "k1")
    assert isinstance(sent, fx.Send)
    assert sent.event["session"] == {"audio": {"output": {"language": "fr"}}}
    assert stage.core.receive(SessionUpdated(french)) == [fx.Settled("k1")]
    stage.core.renew()
    assert stage.core.configure(PAYLOAD, "k2") == []
    stage.core.closed()
    (sent,) = stage.core.opened()
    assert isinstance(sent, fx.Send)
    assert sent.event["session"] == PAYLOAD
    assert fx.Settled("k2") in stage.core.receive(SessionUpdated(PAYLOAD))


def test_a_language_that_is_refused_leaves_the_old_one(stage: Stage) -> None:
    (sent,) = stage.core.configure(
        translation.session_payload(target_language="xx", source_model=None, noise_reduction=None), "k1"
    )
    assert isinstance(sent, fx.Send)
    effects = stage.error(code="invalid_value", message="No.", client_event_id=sent.event["event_id"])
    assert [type(effect) for effect in effects] == [fx.ConfigRefused, fx.Settled]
    assert stage.core.setup.config.wanted == PAYLOAD


@pytest.mark.parametrize(
    ("code", "effect"),
    [
        ("invalid_value", fx.Report),
        ("session_expired", fx.Disconnect),
        ("insufficient_quota", fx.Disconnect),
        ("item_create_duplicate_item_id", fx.Noticed),
    ],
)
def test_errors_do_what_their_row_says(stage: Stage, code: str, effect: type[fx.Effect]) -> None:
    (found,) = stage.error(code=code, message="m")
    assert isinstance(found, effect)


def test_what_is_not_known_is_noticed(stage: Stage) -> None:
    assert stage.core.receive(Unknown("session.mood")) == [fx.Noticed("unknown event", "session.mood")]


def test_it_is_quiet_when_both_sides_were_silent_for_two_seconds(stage: Stage) -> None:
    for _ in range(5):
        stage.core.put(STEP)
    for _ in range(45):
        stage.core.put(bytes(9600))
    assert not stage.core.quiet
    quiet = []
    for n in range(50):
        stage.audio(200 * n, LOUD if n < 20 else QUIET)
        quiet.append(stage.core.quiet)
    assert quiet.index(True) == 19 + 10
    assert all(quiet[29:])


@pytest.mark.parametrize(
    ("pcm", "is_loud"),
    [(b"", False), (b"\x00", False), (QUIET, False), (b"\x64\x00" * 100, False), (LOUD, True), (b"\x00\x80" * 9, True)],
)
def test_what_counts_as_speech(pcm: bytes, is_loud: bool) -> None:
    assert loud(pcm) is is_loud


PLACES = st.sampled_from([None, 0, 200, 400, 600, 1000, 5000, -7, 10**15, 0.5])
STEPS = st.one_of(
    st.tuples(st.just("audio"), PLACES, st.sampled_from([LOUD, QUIET, b"", b"x"])),
    st.tuples(st.just("text"), PLACES, st.sampled_from(["", "a", "\ud800"])),
    st.tuples(st.just("source"), PLACES, st.sampled_from(["", "a"])),
    st.tuples(st.just("error"), st.sampled_from(["invalid_value", "session_expired", "", "invalid_api_key"])),
    st.sampled_from([("updated",), ("ended",), ("opened",), ("closed",), ("put",), ("finish",), ("renew",), ("use",)]),
)


@given(st.lists(STEPS, max_size=60))
def test_any_order_of_events_and_calls_is_stood(steps: list[tuple[Any, ...]]) -> None:
    stage, finished, closes = Stage(), 0, 0
    calls: dict[str, Any] = {
        "audio": stage.audio,
        "text": stage.text,
        "source": stage.source,
        "error": lambda code: stage.error(code=code),
        "updated": lambda: stage.core.receive(SessionUpdated(PAYLOAD)),
        "ended": lambda: stage.core.receive(translation.SessionClosed()),
        "opened": stage.core.opened,
        "closed": stage.core.closed,
        "put": lambda: stage.core.put(STEP),
        "finish": stage.core.finish,
        "renew": stage.core.renew,
        "use": lambda: stage.core.configure(PAYLOAD, "k"),
    }
    for name, *given_ in steps:
        if name == "opened":
            stage.core.closed()
            closes = 0
        effects = calls[name](*given_) or []
        closes += len(of(effects, CloseSession))
        finished += len(of(effects, fx.Finished))
        assert closes <= 1, "one connection's session is ended once"
        assert not (finished and of(effects, Translated)), "nothing is told behind the end"
    assert finished <= 1
