"""Replies: when a request may leave, whose a reply is, and what becomes of one that nobody waits for any more."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.errors import Failure, Kind


def keys(talk: Any) -> list[str]:
    return [event["event_id"] for event in talk.sent_of("response.create")]


def test_a_request_carries_its_key_and_says_when_its_time_starts(talk: Any) -> None:
    talk.asks("k1")
    assert talk.effects == [
        fx.ReplySent("k1"),
        fx.Send(
            {"type": "response.create", "event_id": "k1", "response": {"metadata": {"client_event_id": "k1"}}},
            in_turn=True,
        ),
    ]


def test_no_request_leaves_before_the_configuration_is_confirmed(new: Any) -> None:
    new.asks("k1")
    new.opens()
    new.asks("k2", aside=True)
    assert keys(new) == []
    new.says("session.updated", session={})
    assert keys(new) == ["k1", "k2"]


def test_a_reply_is_known_by_the_key_it_echoes(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r0")
    talk.begins("r1", "k1")
    assert talk.all(fx.ReplyStarted) == [fx.ReplyStarted("r0", None, False), fx.ReplyStarted("r1", "k1", False)]


def test_a_key_that_is_not_ours_is_an_applications_own(talk: Any) -> None:
    talk.begins("r1", "somebody's")
    assert talk.all(fx.ReplyStarted) == [fx.ReplyStarted("r1", None, False)]


def test_a_request_waits_while_a_reply_is_active_and_leaves_with_its_end(talk: Any) -> None:
    talk.begins("r0")
    talk.asks("k1")
    talk.asks("k2")
    assert keys(talk) == []
    talk.ends("r0")
    assert keys(talk) == ["k1"]  # one at a time
    talk.begins("r1", "k1")
    talk.ends("r1")
    assert keys(talk) == ["k1", "k2"]


def test_an_out_of_band_request_never_waits_and_never_blocks(talk: Any) -> None:
    talk.begins("r0")
    talk.asks("k1", aside=True)
    assert talk.sent_of("response.create")[0]["response"]["conversation"] == "none"
    talk.begins("r1", "k1", aside=True)
    talk.ends("r0")
    talk.asks("k2")
    assert keys(talk) == ["k1", "k2"]


def test_a_request_the_server_was_too_busy_for_is_sent_again_without_an_error(talk: Any) -> None:
    """livekit/agents#6817: the server's own reply can begin while ours is on its way."""
    talk.asks("k1")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    talk.begins("r0")
    assert keys(talk) == ["k1"]
    talk.ends("r0")
    assert keys(talk) == ["k1", "k1"]
    talk.begins("r1", "k1")
    assert talk.told.count("ReplyStarted") == 2
    assert not {"Settled", "Report", "Noticed"} & set(talk.told)


def test_a_request_that_waits_again_keeps_its_place(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    talk.begins("r0")
    talk.ends("r0")
    assert keys(talk) == ["k1", "k1"]


def test_a_refused_request_fails_with_the_servers_words_and_the_next_one_leaves(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    talk.refuses({"event_id": "k1"}, "invalid_value", "bad tool", param="response.tools")
    (settled,) = talk.all(fx.Settled)
    assert (settled.key, settled.failure.code, settled.failure.param) == ("k1", "invalid_value", "response.tools")
    assert keys(talk) == ["k1", "k2"]
    assert "Report" not in talk.told


def test_a_request_given_up_while_it_waits_is_never_sent(talk: Any) -> None:
    talk.begins("r0")
    talk.asks("k1")
    talk.gives_up("k1")
    talk.ends("r0")
    assert talk.sent == []


def test_a_request_given_up_on_its_way_is_cancelled_by_response_id_when_it_begins(talk: Any) -> None:
    """livekit/agents#6244: a cancel that arrives before the response exists does nothing."""
    talk.asks("k1")
    assert talk.gives_up("k1") == []
    talk.begins("r1", "k1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "unwanted")
    (cancel,) = talk.sent_of("response.cancel")
    assert cancel["response_id"] == "r1"
    talk.ends("r1", "cancelled")
    assert not {"ReplyStarted", "ReplyEnded", "MessageStarted", "MessageAudio", "MessageText"} & set(talk.told)


def test_a_discarded_reply_holds_the_next_request_back_until_it_ended(talk: Any) -> None:
    talk.asks("k1")
    talk.gives_up("k1")
    talk.begins("r1", "k1")
    talk.asks("k2")
    assert keys(talk) == ["k1"]
    talk.ends("r1", "cancelled")
    assert keys(talk) == ["k1", "k2"]


def test_a_request_the_server_never_answered_blocks_nothing_once_it_is_given_up(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    assert keys(talk) == ["k1"]
    talk.gives_up("k1")
    assert keys(talk) == ["k1", "k2"]


def test_a_server_that_wrongly_says_it_is_busy_does_not_block_for_ever(talk: Any) -> None:
    talk.asks("k1")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    talk.gives_up("k1")
    talk.asks("k2")
    assert keys(talk) == ["k1", "k2"]


def test_a_reply_that_lives_is_cancelled_once(talk: Any) -> None:
    talk.begins("r0")
    talk.begins("aside", aside=True)
    talk.note(talk.conversation.interrupt())
    talk.note(talk.conversation.interrupt())
    assert [event["response_id"] for event in talk.sent_of("response.cancel")] == ["r0"]


def test_a_cancel_that_lost_the_race_is_only_counted(talk: Any) -> None:
    talk.begins("r0")
    talk.note(talk.conversation.interrupt())
    talk.ends("r0")
    talk.forget()
    talk.refuses({"event_id": "cancel_2"}, "response_cancel_not_active")
    assert talk.told == ["Noticed"]


@pytest.mark.parametrize("event_id", ["cancel_2", None])
def test_a_reply_whose_end_was_lost_does_not_hold_up_the_next(talk: Any, event_id: str | None) -> None:
    talk.begins("r0")
    talk.message("r0", "a1")
    talk.note(talk.conversation.interrupt())
    talk.asks("k1")
    talk.forget()
    talk.refuses({"event_id": event_id}, "response_cancel_not_active")
    assert keys(talk) == ["k1"]
    talk.forget()
    talk.begins("r1", "k1")
    assert talk.told == ["MessageEnded", "ReplyEnded", "ReplyStarted"]
    assert talk.all(fx.ReplyEnded)[0].status == "cancelled"


def test_a_cancel_refused_before_the_end_was_told_loses_no_usage(talk: Any) -> None:
    talk.begins("r0")
    talk.note(talk.conversation.interrupt())
    talk.refuses({"event_id": "cancel_2"}, "response_cancel_not_active")
    talk.ends("r0", usage={"total_tokens": 7})
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.status, ended.usage.total) == ("completed", 7)


def test_another_cancel_refused_says_nothing_of_a_reply(talk: Any) -> None:
    talk.begins("r0")
    talk.note(talk.conversation.interrupt())
    talk.asks("k1")
    talk.refuses({"event_id": "the application's own"}, "response_cancel_not_active")
    assert keys(talk) == []


def test_two_replies_at_once_do_not_mix(talk: Any) -> None:
    talk.begins("r1")
    talk.begins("r2")
    talk.message("r1", "a1")
    talk.message("r2", "a2", "a1")
    talk.speaks("r1", "a1", "one")
    talk.speaks("r2", "a2", "two")
    talk.ends("r1")
    talk.speaks("r2", "a2", " more")
    talk.ends("r2")
    assert [(e.response_id, e.item_id, e.delta) for e in talk.all(fx.MessageText)] == [
        ("r1", "a1", "one"),
        ("r2", "a2", "two"),
        ("r2", "a2", " more"),
    ]
    assert [e.response_id for e in talk.all(fx.ReplyEnded)] == ["r1", "r2"]
    assert talk.texts == {"a1": "one", "a2": "two more"}


def test_both_have_to_end_before_the_next_request_leaves(talk: Any) -> None:
    talk.begins("r1")
    talk.begins("r2")
    talk.asks("k1")
    talk.ends("r1")
    assert keys(talk) == []
    talk.ends("r2")
    assert keys(talk) == ["k1"]


def test_an_end_without_a_beginning_and_a_second_beginning_are_harmless(talk: Any) -> None:
    talk.ends("never began")
    talk.begins("r1")
    talk.begins("r1")
    talk.ends("r1")
    talk.ends("r1")
    assert talk.told == ["ReplyStarted", "ReplyEnded"]


def test_a_pending_request_survives_a_reconnect_and_is_sent_once(talk: Any) -> None:
    talk.asks("k1")
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1", "k1"]
    assert [event["type"] for event in talk.sent] == ["response.create", "session.update", "response.create"]
    assert "Settled" not in talk.told


def test_a_busy_server_is_forgotten_with_its_connection(talk: Any) -> None:
    talk.asks("k1")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1", "k1"]


def test_a_refusal_of_what_was_given_up_is_told_to_nobody(talk: Any) -> None:
    talk.asks("k1")
    talk.gives_up("k1")
    talk.forget()
    talk.refuses({"event_id": "k1"}, "invalid_value")
    assert talk.effects == []


def test_requests_keep_their_order_over_a_reconnect(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    talk.loses_connection()
    talk.asks("k3")
    talk.forget()
    talk.ready()
    for key in ("k1", "k2", "k3"):
        talk.begins(f"r_{key}", key)
        talk.ends(f"r_{key}")
    assert keys(talk) == ["k1", "k2", "k3"]


def test_a_request_given_up_around_a_reconnect_is_not_sent(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    talk.gives_up("k1")
    talk.loses_connection()
    talk.gives_up("k2")
    talk.forget()
    talk.ready()
    assert keys(talk) == []


def test_every_open_request_fails_when_the_session_is_given_up(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2")
    failure = Failure(Kind.FATAL, "x", "", "m", "r")
    talk.note(talk.conversation.abandon(failure, 1.0))
    assert talk.all(fx.Settled) == [fx.Settled("k1", failure), fx.Settled("k2", failure)]
