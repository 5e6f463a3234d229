"""What is told of how a conversation goes: each thing is counted, logged and emitted once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.counters import Counters
from livekit_plugins_openai_ga.log import logger
from livekit_plugins_openai_ga.realtime import ModelChanged, ResponseIncomplete, SessionCreated
from livekit_plugins_openai_ga.realtime.telling import Telling
from livekit_plugins_openai_ga.transport.framing import FramedConnection
from livekit_plugins_openai_ga.transport.link import Link

LOST = errors.from_close(1006, "")
REFUSED = errors.from_server_error("invalid_value", "invalid_request_error", "Bad voice.")
NOT_MADE = replace(REFUSED, kind=errors.Kind.REPLY_FAILED)


class Told:
    """A session that tells, and what its listeners got."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.counters = Counters("realtime", "first")
        self.telling = Telling(
            self.counters,
            lambda: "first",
            lambda: 2,
            label="a.model",
            emit=lambda name, event: self.events.append((name, event)),
        )

    def failures(self, outcome: str) -> float:
        return self.counters.count("failures", outcome=outcome)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    caplog.set_level(logging.INFO, logger=logger.name)
    return Told()


def test_an_open_session_is_counted_and_told_with_its_ids(told: Told) -> None:
    socket = SimpleNamespace(response=None, request=None)
    for number in (1, 2):
        link = Link(cast(FramedConnection, socket))
        link.session_id = f"sess_{number}"
        told.telling.opened(link)
    assert told.events == [
        ("session_created", SessionCreated(f"sess_{number}", "", "first", None, number)) for number in (1, 2)
    ]
    assert told.counters.count("connections") == 2


def test_a_refusal_says_what_it_was_of(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.telling.report(REFUSED)
    told.telling.report(REFUSED, "a picture was refused")
    begins = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert begins == ["OpenAI reported an error", "a picture was refused"]


@pytest.mark.parametrize(
    ("outcome", "tell"),
    [
        ("reconnect", lambda telling: telling.will_retry(LOST, 0.5)),
        ("request_failed", lambda telling: telling.report(REFUSED)),
        ("reply_failed", lambda telling: telling.report(NOT_MADE)),
    ],
)
def test_what_the_session_survives_is_one_recoverable_error(
    told: Told, caplog: pytest.LogCaptureFixture, outcome: str, tell: Callable[[Telling], object]
) -> None:
    tell(told.telling)
    ((name, event),) = told.events
    assert (name, event.label, event.recoverable) == ("error", "a.model", True)
    assert told.failures(outcome) == told.counters.count("failures") == 1
    (record,) = caplog.records
    assert (record.model, record.attempt) == ("first", 2)  # type: ignore[attr-defined]


def test_the_end_is_told_when_it_is_time_for_that(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    failure = told.telling.gave_up(LOST)
    assert (failure.model, failure.attempt) == ("first", 2)
    assert (told.events, told.failures("fatal"), len(caplog.records)) == ([], 1, 1)
    told.telling.last_news.over(failure)
    ((name, event),) = told.events
    assert (name, event.recoverable) == ("error", False)
    assert (told.failures("fatal"), len(caplog.records)) == (1, 1)


def test_another_model_is_no_error(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    change = told.telling.model_refused(REFUSED, "second")
    assert change == ModelChanged("first", "second", change.reason)
    assert "Bad voice." in change.reason
    assert (told.events, told.failures("reconnect"), len(caplog.records)) == ([], 1, 1)


def test_a_turn_without_a_text_is_no_error_of_livekits(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.telling.not_transcribed(fx.TranscriptionFailed("item_1", REFUSED))
    assert (told.events, told.failures("transcription_failed")) == ([], 1)
    assert [record.item_id for record in caplog.records] == ["item_1"]  # type: ignore[attr-defined]


def test_a_planned_change_of_connection_is_no_loss(told: Told) -> None:
    for failure, is_loss in ((None, False), (LOST, True)):
        told.telling.lost(failure)
        told.counters.ready()
        assert (told.counters.count("reconnect") > 0) is is_loss


def test_a_reply_that_is_made_again_is_counted(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.telling.asked_again(fx.ReplyAgain("key", "the connection was lost"))
    assert told.counters.count("replies_again") == 1
    assert "the connection was lost" in caplog.text


def test_a_reply_that_was_cut_off_is_an_event(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.telling.cut_off(fx.ReplyEnded("r1", "incomplete", "max_output_tokens", 0.0, None, 1.0, None, None))
    assert told.events == [("response_incomplete", ResponseIncomplete("r1", "max_output_tokens"))]
    assert "max_output_tokens" in caplog.text
