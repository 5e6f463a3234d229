"""The configuration: updates are answered in order, a refused one takes its wish with it."""

from __future__ import annotations

from typing import Any

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core.config import Config
from livekit_plugins_openai_ga.core.repair import Repair
from livekit_plugins_openai_ga.errors import Failure

FIRST = {"type": "realtime", "instructions": "a", "audio": {"output": {"voice": "marin"}}}


def confirmed() -> Config:
    config = Config(FIRST)
    config.opened("e0")
    config.accepted()
    return config


def want(config: Config, event_id: str, key: str | None = None, **options: Any) -> Any:
    config.want({**config.wanted, **options})
    return config.next_update(event_id, key)


def refusal(event_id: str | None, param: str | None = "session.instructions", code: str = "invalid_value") -> Failure:
    return errors.from_server_error(code, "invalid_request_error", "No.", param=param, client_event_id=event_id)


def test_a_new_connection_is_told_everything() -> None:
    config = confirmed()
    want(config, "e1", instructions="b")
    config.accepted()
    assert config.opened("e2").change == {**FIRST, "instructions": "b"}
    assert config.confirmed is None


def test_a_connection_that_was_told_all_of_it_ahead_is_whole_with_the_answer_to_that() -> None:
    config = Config(FIRST)
    config.wait("k")
    assert config.opened("e0", dict(FIRST)) is None
    assert (config.complete, config.is_waited_for("k")) == (False, True)
    update = config.accepted()
    assert update is not None
    assert (update.keys, config.complete, config.confirmed) == (("k",), True, FIRST)
    assert want(config, "e1", instructions="b").change == {"type": "realtime", "instructions": "b"}


def test_a_connection_that_was_told_something_else_ahead_is_whole_with_the_second_answer() -> None:
    config = Config(FIRST)
    config.wait("k")
    rest = config.opened("e0", {"type": "realtime", "audio": {"output": {"voice": "cedar"}}, "include": ["x"]})
    assert rest is not None
    assert rest.change == {**FIRST, "include": None}
    config.accepted()
    assert (config.complete, config.is_waited_for("k")) == (False, True)
    config.accepted()
    assert (config.complete, config.is_waited_for("k")) == (True, False)
    assert config.confirmed == {**FIRST, "include": None}


def test_only_what_differs_from_what_was_sent_is_sent() -> None:
    config = confirmed()
    assert want(config, "e1", instructions="b").change == {"type": "realtime", "instructions": "b"}
    assert want(config, "e2", tools=[]).change == {"type": "realtime", "tools": []}
    assert config.sent == {**FIRST, "instructions": "b", "tools": []}


def test_updates_are_confirmed_in_the_order_in_which_they_were_sent() -> None:
    config = confirmed()
    want(config, "e1", "k1", instructions="b")
    want(config, "e2", "k2", instructions="c")
    assert [config.accepted().keys, config.accepted().keys] == [("k1",), ("k2",)]  # type: ignore[union-attr]
    assert config.accepted() is None
    assert config.confirmed == {**FIRST, "instructions": "c"}


def test_a_request_for_what_is_on_its_way_waits_for_it() -> None:
    config = confirmed()
    want(config, "e1", "k1", instructions="b")
    assert want(config, "e2", "k2", instructions="b") is None
    assert config.is_waited_for("k2")
    update = config.accepted()
    assert update is not None
    assert update.keys == ("k1", "k2")
    assert not config.is_waited_for("k2")


def test_a_request_for_what_is_there_waits_for_nothing() -> None:
    config = confirmed()
    assert want(config, "e1", "k1") is None
    assert not config.is_waited_for("k1")


def test_a_refused_update_leaves_the_others_standing() -> None:
    config = confirmed()
    want(config, "e1", "k1", instructions="b")
    want(config, "e2", "k2", tools=["t"])
    update = config.refused(refusal("e1"))
    assert update is not None
    assert update.keys == ("k1",)
    config.take_back()
    assert config.wanted == {**FIRST, "tools": ["t"]}
    config.accepted()
    assert config.confirmed == config.wanted


def test_a_refusal_without_an_event_id_is_the_oldest_updates_when_it_names_the_session() -> None:
    config = confirmed()
    want(config, "e1", instructions="b")
    want(config, "e2", tools=[])
    assert config.refused(refusal(None, "item.content")) is None
    assert config.refused(refusal("other")) is None
    update = config.refused(refusal(None))
    assert update is not None
    assert update.event_id == "e1"
    assert config.refused(refusal(None, None, "cannot_update_voice")) is not None
    assert config.refused(refusal(None, "session.tools")) is None


def test_requests_survive_a_lost_connection_and_end_with_the_next_configuration() -> None:
    config = confirmed()
    want(config, "e1", "k1", instructions="b")
    config.wait("k2")
    assert config.opened("e2").keys == ("k1", "k2")


def test_what_was_wanted_before_the_first_confirmation_stays_wanted_after_a_refusal() -> None:
    config = Config(FIRST)
    config.opened("e0")
    update = config.refused(refusal("e0", None))
    assert update is not None
    assert config.fall_back(update, "e1") is None
    assert config.wanted == FIRST


def test_a_connection_can_begin_with_what_the_last_one_had_and_keeps_later_changes() -> None:
    config = confirmed()
    config.want({**FIRST, "instructions": "bad"})
    config.opened("e1")
    want(config, "e2", tools=["t"])
    update = config.refused(refusal("e1"))
    assert update is not None
    again = config.fall_back(update, "e3")
    assert again is not None
    assert (again.change, again.whole) == (FIRST, True)
    assert config.wanted == {**FIRST, "tools": ["t"]}
    assert config.fall_back(again, "e4") is None  # that is what was refused


def test_a_voice_that_came_too_late_is_held_for_the_next_connection() -> None:
    config = confirmed()
    config.voice_fixed = True
    voice = {"audio": {"output": {"voice": "cedar"}}}
    assert want(config, "e1", "k1", **voice) is None
    assert not config.is_waited_for("k1")
    assert config.held == voice
    assert want(config, "e2", instructions="b").change == {"type": "realtime", "instructions": "b"}
    config.refused(refusal("e2"))
    config.take_back()
    assert config.wanted == {**FIRST, **voice}
    assert config.opened("e3").change == {**FIRST, **voice}
    assert (config.held, config.voice_fixed) == ({}, False)


def test_a_voice_that_is_taken_back_is_held_no_longer() -> None:
    config = confirmed()
    config.voice_fixed = True
    want(config, "e1", audio={"output": {"voice": "cedar"}})
    assert want(config, "e2", audio={"output": {"voice": "marin"}}) is None
    assert config.held == {}


def test_what_is_left_of_a_refused_update_goes_behind_those_made_later() -> None:
    config = confirmed()
    want(config, "e1", "k1", tools=["bad"], instructions="b")
    want(config, "e2", "k2", instructions="c")
    update = config.refused(refusal("e1", "session.tools[0]"))
    assert update is not None
    part = Repair("bad")  # type: ignore[arg-type]
    config.leave_out(part)
    assert config.again(update, part.without(update.change), "e3") is not None
    assert config.sent["instructions"] == "b"
    missing = config.next_update("e4", None)
    assert missing is not None
    assert missing.change == {"type": "realtime", "instructions": "c"}


def test_giving_up_names_every_open_request() -> None:
    config = confirmed()
    want(config, "e1", "k1", instructions="b")
    config.wait("k2")
    assert config.abandon() == ["k1", "k2"]
    assert config.abandon() == []
