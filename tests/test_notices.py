"""What is odd and harms nothing: counted, told once of its kind, and never a word of it private."""

from __future__ import annotations

import logging

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.counters import Counters
from livekit_plugins_openai_ga.log import logger
from livekit_plugins_openai_ga.notices import MAX_TOLD_APART, Notices


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=logger.name)


def test_the_first_of_its_kind_is_told_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for name in ("brand.new", "brand.new", "other.new", "brand.new"):
        notices.noticed(fx.Noticed("unknown event", name))
    told = [record.getMessage() for record in caplog.records]
    assert [line.count("brand.new") + 2 * line.count("other.new") for line in told] == [1, 2]
    assert notices.counts["unknown event"] == 4
    assert notices.counts["unknown event: brand.new"] == 3


def test_a_harmless_race_is_told_at_debug_level_and_the_rest_as_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    notices.noticed(fx.Noticed("benign error", "input_audio_buffer_commit_empty"))
    notices.noticed(fx.Noticed("malformed event", "frame: not valid JSON"))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG, logging.WARNING]


def test_every_one_is_counted_for_the_worker_too() -> None:
    session = Counters("realtime", "odd")
    notices = Notices(session)
    for what in ("unknown event", "unknown event", "reply discarded"):
        notices.noticed(fx.Noticed(what, "x"))
    assert session.count("odd_events", what="unknown_event") == notices.counts["unknown event"] == 2
    assert session.count("odd_events") == 3


def test_each_session_tells_its_own(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        Notices().noticed(fx.Noticed("unknown event", "brand.new"))
    assert len(caplog.records) == 2


def test_names_without_end_are_counted_together_and_told_no_more(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    for number in range(10 * MAX_TOLD_APART):
        notices.noticed(fx.Noticed("unknown event", f"event.{number}"))
    assert notices.counts["unknown event"] == 10 * MAX_TOLD_APART
    assert len(notices.counts) <= MAX_TOLD_APART + 1
    assert len(caplog.records) <= MAX_TOLD_APART


def test_kinds_seen_before_the_bound_go_on_being_counted() -> None:
    notices = Notices()
    for number in range(MAX_TOLD_APART):
        notices.noticed(fx.Noticed("unknown event", f"event.{number}"))
    notices.noticed(fx.Noticed("unknown event", "event.0"))
    assert notices.counts["unknown event: event.0"] == 2


def test_a_value_the_server_keeps_otherwise_is_named_and_its_content_is_private(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked, kept = "names of patients", "others"
    Notices().config_differs(fx.ConfigDiffers({"audio.input.transcription.prompt": (asked, kept), "include": (1, 2)}))
    first, second = caplog.records
    assert "session.audio.input.transcription.prompt" in first.getMessage()
    assert "session.include" in second.getMessage()
    assert asked not in first.getMessage()
    assert kept not in first.getMessage()
    assert (first.__dict__["lk.pii.asked"], first.__dict__["lk.pii.kept"]) == (asked, kept)
