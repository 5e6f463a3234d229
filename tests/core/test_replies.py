"""Replies: when a request may leave, whose a reply is, and what becomes of one that nobody waits for any more."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.conversation import Conversation
from livekit_plugins_openai_ga.core.replies import MAX_AGAIN, MAX_QUEUED, OWED_FOR_S
from livekit_plugins_openai_ga.errors import Failure, Kind

from .conftest import WANTED


def keys(talk: Any) -> list[str]:
    return [event["event_id"] for event in talk.sent_of("response.create")]


def test_a_request_carries_its_key_and_does_not_overtake_audio(talk: Any) -> None:
    talk.asks("k1")
    assert talk.effects == [
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


def test_an_interruption_ends_what_the_room_hears_and_no_other_reply(talk: Any) -> None:
    talk.begins("r0")
    for key, played in (("quiet", False), ("played", True)):
        talk.asks(key, aside=True, played=played)
        talk.begins(f"r-{key}", key, aside=True)
    talk.note(talk.conversation.answers.interrupt(talk.now))
    assert [event["response_id"] for event in talk.sent_of("response.cancel")] == ["r0", "r-played"]


def test_an_interruption_ends_a_played_aside_that_is_asked_for_again_and_no_other(talk: Any) -> None:
    for key, played in (("quiet", False), ("played", True)):
        talk.asks(key, aside=True, played=played)
        talk.begins(f"r-{key}", key, aside=True)
    talk.loses_connection()
    talk.note(talk.conversation.answers.interrupt(talk.now))
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r-played", "cancelled")]
    talk.forget()
    talk.ready()
    assert keys(talk) == ["quiet"]


def test_an_aside_is_asked_for_again_on_the_next_connection_beside_another_reply(talk: Any) -> None:
    talk.asks("k1")
    talk.asks("k2", aside=True)
    talk.begins("r1", "k1")
    talk.begins("r2", "k2", aside=True)
    talk.loses_connection()
    talk.forget()
    talk.ready()
    assert sorted(keys(talk)) == ["k1", "k2"]
    talk.begins("r4", "k2", aside=True)
    assert talk.all(fx.ReplyResumed) == [fx.ReplyResumed("r2", "k2")]


@pytest.mark.parametrize("aside", [True, False])
def test_one_reply_is_cancelled_by_the_id_it_is_told_under(talk: Any, aside: bool) -> None:
    talk.asks("k1", aside=aside)
    talk.begins("r1", "k1", aside=aside)
    talk.asks("k2", aside=True)
    talk.begins("r2", "k2", aside=True)
    talk.note(talk.conversation.answers.cancel("r1", talk.now))
    assert [event["response_id"] for event in talk.sent_of("response.cancel")] == ["r1"]
    talk.ends("r1", "cancelled")
    talk.note(talk.conversation.answers.cancel("r1", talk.now))
    assert len(talk.sent_of("response.cancel")) == 1


def test_a_reply_that_is_cancelled_while_it_waits_to_be_made_again_ends_and_is_not_asked_for(talk: Any) -> None:
    talk.asks("k1", aside=True)
    talk.begins("r1", "k1", aside=True)
    talk.fails("r1", "server_error")
    talk.note(talk.conversation.answers.cancel("r1", talk.now))
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r1", "cancelled")]
    talk.rests("k1")
    assert keys(talk) == ["k1"]


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
    assert talk.gives_up("k1") == [fx.Withdraw("k1")]
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
    talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.note(talk.conversation.answers.interrupt(talk.now))
    assert [event["response_id"] for event in talk.sent_of("response.cancel")] == ["r0"]


def test_a_cancel_that_lost_the_race_is_only_counted(talk: Any) -> None:
    talk.begins("r0")
    talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.ends("r0")
    talk.forget()
    talk.refuses({"event_id": "cancel_2"}, "response_cancel_not_active")
    assert talk.told == ["Noticed", "CommitRefused"]  # the outbox knows of no such commit


@pytest.mark.parametrize("event_id", ["cancel_2", None])
def test_a_reply_whose_end_was_lost_does_not_hold_up_the_next(talk: Any, event_id: str | None) -> None:
    talk.begins("r0")
    talk.message("r0", "a1")
    talk.speaks("r0", "a1", "One")
    talk.note(talk.conversation.answers.interrupt(talk.now))
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
    talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.refuses({"event_id": "cancel_2"}, "response_cancel_not_active")
    talk.ends("r0", usage={"total_tokens": 7})
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.status, ended.usage.total) == ("completed", 7)


def test_another_cancel_refused_says_nothing_of_a_reply(talk: Any) -> None:
    talk.begins("r0")
    talk.note(talk.conversation.answers.interrupt(talk.now))
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
    assert talk.told == ["ReplyStarted", "ReplyBilled", "ReplyEnded"]


USED = {"input_tokens": 1, "output_tokens": 2}


def test_each_reply_is_billed_once_whatever_comes_between(talk: Any) -> None:
    for response_id in ("a", "b", "a", "b", "c", "a"):
        talk.ends(response_id, usage=USED)
    assert len(talk.all(fx.ReplyBilled)) == 3


def test_replies_without_an_id_are_billed_each(talk: Any) -> None:
    for _ in range(2):
        talk.ends("", usage=USED)
    assert len(talk.all(fx.ReplyBilled)) == 2


def test_what_was_used_is_billed_when_it_is_told_at_the_second_time_only(talk: Any) -> None:
    talk.begins("r1")
    talk.ends("r1", usage=None)
    for _ in range(2):
        talk.ends("r1", usage=USED)
    assert [billed.usage and billed.usage.output for billed in talk.all(fx.ReplyBilled)] == [None, 2]


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": None}, {"cents": 3}])
def test_a_reply_of_which_nobody_says_what_was_used_is_billed_as_unknown(talk: Any, usage: Any) -> None:
    talk.begins("r1")
    talk.ends("r1", usage=usage)
    assert talk.all(fx.ReplyBilled) == [fx.ReplyBilled(None)]


@pytest.mark.parametrize(("said", "billed"), [(True, 1), (False, 0)])
@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_without_a_word_of_usage_a_reply_that_broke_off_is_billed_when_something_came(
    talk: Any, status: str, said: bool, billed: int
) -> None:
    talk.begins("r1")
    if said:
        talk.message("r1", "a1")
        talk.speaks("r1", "a1", "I")
    talk.ends("r1", status)
    assert len(talk.all(fx.ReplyBilled)) == billed


def test_a_pending_request_survives_a_reconnect_and_is_sent_once(talk: Any) -> None:
    talk.asks("k1")
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1", "k1"]
    assert [event["type"] for event in talk.sent] == ["response.create", "session.update", "response.create"]
    assert "Settled" not in talk.told


def test_a_request_that_left_and_waits_again_is_not_overdue(talk: Any) -> None:
    answers = talk.conversation.answers
    talk.asks("k1")
    assert not answers.waits_again("k1")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    assert not answers.waits_again("k1")  # for what? No reply is known
    talk.begins("r0")
    assert answers.waits_again("k1")
    talk.ends("r0")
    assert not answers.waits_again("k1")
    talk.loses_connection()
    assert answers.waits_again("k1")


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


# -- asked for again -------------------------------------------------------------------------------------------------


def turn_answered_by_the_server(talk: Any) -> None:
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=300)
    talk.says("input_audio_buffer.speech_stopped", item_id="u1", audio_end_ms=900)
    talk.user_turn("u1")


def test_a_reply_that_began_and_was_not_heard_goes_on_in_the_next_connections(talk: Any) -> None:
    """livekit/agents#6436: dead air until the caller speaks again."""
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.message("r1", "a1")
    talk.loses_connection()
    assert talk.all(fx.ReplyAgain) == [fx.ReplyAgain("k1", "connection lost")]
    assert "ReplyEnded" not in talk.told
    talk.ready()
    assert keys(talk) == ["k1", "k1"]
    talk.begins("r2", "k1")
    talk.message("r2", "a2")
    talk.speaks("r2", "a2", "Here I am")
    talk.ends("r2")
    assert talk.all(fx.ReplyResumed) == [fx.ReplyResumed("r1", "k1")]
    assert talk.told.count("ReplyStarted") == 1
    assert [e.response_id for e in (*talk.all(fx.MessageAudio), *talk.all(fx.ReplyEnded))] == ["r1", "r1"]
    assert talk.texts == {"a2": "Here I am"}


def test_a_reply_that_was_heard_in_part_keeps_that_and_is_not_asked_for_again(talk: Any) -> None:
    talk.asks("k1")
    talk.reply_told("r1", "a1", "k1")
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1"]
    assert [e.status for e in talk.all(fx.ReplyEnded)] == ["lost"]
    assert talk.texts == {"a1": "Good"}


def test_a_reply_that_called_a_function_is_not_asked_for_again(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    call = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "look", "status": "completed"}
    talk.says("response.output_item.done", response_id="r1", item={**call, "arguments": "{}"})
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1"]


def test_an_id_used_twice_does_not_end_the_reply_that_has_it(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.loses_connection()
    talk.ready()
    talk.begins("r1")
    assert talk.told.count("ReplyStarted") == 1
    talk.begins("r1", "k1")
    assert talk.all(fx.ReplyResumed) == [fx.ReplyResumed("r1", "k1")]


def test_an_aside_that_was_not_heard_is_asked_for_again_as_one(talk: Any) -> None:
    talk.asks("k1", aside=True)
    talk.begins("r1", "k1", aside=True)
    talk.loses_connection()
    talk.ready()
    assert [event["response"]["conversation"] for event in talk.sent_of("response.create")] == ["none", "none"]


def test_a_server_reply_that_was_not_heard_is_asked_for(talk: Any) -> None:
    turn_answered_by_the_server(talk)
    talk.begins("r1")
    talk.loses_connection()
    talk.ready()
    (request,) = talk.sent_of("response.create")
    talk.begins("r2", request["event_id"])
    talk.message("r2", "a2")
    talk.speaks("r2", "a2", "Yes")
    assert [e.response_id for e in talk.all(fx.MessageAudio)] == ["r1"]


def test_a_turn_the_server_had_and_did_not_begin_to_answer_is_answered(talk: Any) -> None:
    turn_answered_by_the_server(talk)
    talk.loses_connection()
    talk.ready()
    (request,) = talk.sent_of("response.create")
    talk.begins("r1", request["event_id"])
    (started,) = talk.all(fx.ReplyStarted)
    assert started.response_id == "r1"


@pytest.mark.parametrize("then", ["answered", "answered on request", "not to be answered", "committed by hand"])
def test_the_server_owes_no_reply(talk: Any, then: str) -> None:
    if then == "not to be answered":
        quiet = {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}}
        talk.configures(**quiet)
        talk.says("session.updated", session={})
    if then == "committed by hand":
        talk.user_turn("u1")
    else:
        turn_answered_by_the_server(talk)
    if then == "answered":
        talk.reply("r1", "a1", "Yes", "u1")
    if then == "answered on request":
        talk.asks("k1")
        talk.reply_told("r1", "a1", "k1")
        talk.ends("r1")
        talk.forget()
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == []


@pytest.mark.parametrize("begun", [True, False])
def test_a_caller_who_speaks_again_is_answered_once(talk: Any, begun: bool) -> None:
    """What is being said is sent again, and the server answers it by itself."""
    turn_answered_by_the_server(talk)
    if begun:
        talk.begins("r1")
    talk.says("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=1300)
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == []
    assert talk.told.count("ReplyEnded") == begun


def test_speech_on_the_new_connection_takes_the_place_of_a_server_reply_not_asked_for_yet(talk: Any) -> None:
    turn_answered_by_the_server(talk)
    talk.begins("r1")
    talk.loses_connection()
    talk.opens()
    talk.says("input_audio_buffer.speech_started", item_id="u2", audio_start_ms=0)
    talk.says("session.updated", session={})
    assert keys(talk) == []
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r1", "cancelled")]


@pytest.mark.parametrize("when", ["closed", "sent", "begun"])
def test_an_interrupted_reply_is_not_made_again(talk: Any, when: str) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    if when == "begun":
        talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.loses_connection()
    if when == "closed":
        talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.ready()
    if when == "sent":
        talk.note(talk.conversation.answers.interrupt(talk.now))
        talk.begins("r2", "k1")
        assert talk.sent_of("response.cancel")[0]["response_id"] == "r2"
    assert [e.response_id for e in talk.all(fx.ReplyEnded)] == ["r1"]
    assert talk.told.count("ReplyStarted") == 1
    assert len(keys(talk)) == (2 if when == "sent" else 1)


def test_a_reply_is_not_asked_for_again_without_end(talk: Any) -> None:
    talk.asks("k1")
    for attempt in range(MAX_AGAIN + 1):
        talk.begins(f"r{attempt}", "k1")
        talk.loses_connection()
        talk.ready()
    assert len(keys(talk)) == MAX_AGAIN + 1
    assert [e.response_id for e in talk.all(fx.ReplyEnded)] == ["r0"]


def test_by_choice_no_reply_outlives_its_connection(talk: Any) -> None:
    talk.conversation = Conversation(WANTED, resume_replies=False)
    talk.ready()
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.asks("k2", aside=True)
    talk.conversation.answers.left("k2")
    talk.asks("k3")  # waits for r1, so it never left
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == ["k1", "k2", "k3"]
    assert [e.response_id for e in talk.all(fx.ReplyEnded)] == ["r1"]
    (settled,) = talk.all(fx.Settled)
    assert (settled.key, settled.failure.code) == ("k2", "connection_lost")


@pytest.mark.parametrize("code", ["server_error", "rate_limit_exceeded", "server_is_overloaded"])
def test_a_reply_the_server_could_not_make_just_now_is_asked_for_again_after_a_while(talk: Any, code: str) -> None:
    talk.asks("k1")
    delays = []
    for attempt in range(3):
        talk.begins(f"r{attempt}", "k1")
        talk.fails(f"r{attempt}", code)
        delays.append(talk.all(fx.ReplyAgain)[-1].delay)
        assert len(keys(talk)) == attempt + 1
        talk.rests("k1")
        assert len(keys(talk)) == attempt + 2
    assert delays == sorted(set(delays))
    assert not {"Report", "ReplyEnded"} & set(talk.told)
    talk.begins("r3", "k1")
    talk.fails("r3", code)
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r0", "failed")]
    assert [e.failure.code for e in talk.all(fx.Report)] == [code]


def test_a_reply_that_failed_while_it_was_heard_is_not_made_twice(talk: Any) -> None:
    talk.asks("k1")
    talk.reply_told("r1", "a1", "k1")
    talk.fails("r1", "server_error")
    assert "ReplyAgain" not in talk.told
    assert talk.told[-2:] == ["ReplyEnded", "Report"]


@pytest.mark.parametrize(("words", "delay"), [("try again in 3s.", 3.0), ("Please try again in 900ms", 0.9)])
def test_the_server_says_how_long_it_wants_to_rest(talk: Any, words: str, delay: float) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.fails("r1", "rate_limit_exceeded", f"Rate limit reached. {words}")
    assert talk.all(fx.ReplyAgain)[0].delay == delay


def test_nobody_waits_a_minute_on_the_phone(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.fails("r1", "rate_limit_exceeded", "Please try again in 60s.")
    assert talk.told[-2:] == ["ReplyEnded", "Report"]


def test_a_reply_that_waits_for_the_server_to_recover_can_be_given_up(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.fails("r1", "server_error")
    talk.note(talk.conversation.answers.interrupt(talk.now))
    talk.rests("k1")
    assert keys(talk) == ["k1"]
    assert [e.status for e in talk.all(fx.ReplyEnded)] == ["cancelled"]


def test_others_go_first_while_the_server_recovers_from_one(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.asks("k2")
    talk.fails("r1", "server_error")
    assert keys(talk) == ["k1", "k2"]


def test_a_held_reply_ends_with_its_session(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.fails("r1", "server_error")
    talk.asks("k2")
    talk.begins("r2", "k2")
    talk.loses_connection()
    talk.forget()
    talk.note(talk.conversation.abandon(Failure(Kind.FATAL, "x", "", "m", "r"), 1.0))
    assert {e.response_id for e in talk.all(fx.ReplyEnded)} == {"r1", "r2"}
    assert "Settled" not in talk.told


def test_a_request_refused_when_it_is_asked_again_ends_the_reply_and_is_reported(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.loses_connection()
    talk.ready()
    talk.refuses({"event_id": "k1"}, "invalid_value")
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r1", "failed")]
    assert [e.failure.code for e in talk.all(fx.Report)] == ["invalid_value"]


@pytest.mark.parametrize("begun", [True, False])
def test_the_servers_answer_to_what_was_said_in_the_gap_is_the_answer_to_all(talk: Any, begun: bool) -> None:
    """Who goes on speaking while the connection is down is answered once, although both turns had no answer yet."""
    turn_answered_by_the_server(talk)
    if begun:
        talk.begins("r1")
    talk.loses_connection()
    talk.ready()
    (request,) = talk.sent_of("response.create")
    talk.begins("r2")  # the server's own, to the audio that was sent again
    assert talk.all(fx.Withdraw) == [fx.Withdraw(request["event_id"])]
    assert [(e.response_id, e.status) for e in talk.all(fx.ReplyEnded)] == [("r1", "cancelled")] * begun
    talk.forget()
    talk.ends("r2")
    talk.begins("r3", request["event_id"])  # it had left all the same
    assert "ReplyStarted" not in talk.told
    assert [event["response_id"] for event in talk.sent_of("response.cancel")] == ["r3"]


def test_a_reply_that_was_asked_for_by_name_outlives_the_servers_own(talk: Any) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    talk.loses_connection()
    talk.ready()
    talk.begins("r2")
    assert not {"Withdraw", "ReplyEnded"} & set(talk.told)


def test_a_server_that_could_not_answer_a_turn_owes_nothing(talk: Any) -> None:
    talk.begins("r0")
    turn_answered_by_the_server(talk)
    talk.refuses({}, "conversation_already_has_active_response")
    talk.ends("r0")
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == []


@pytest.mark.parametrize(("later", "asked"), [(OWED_FOR_S - 1, 1), (OWED_FOR_S + 1, 0)])
def test_an_answer_that_did_not_begin_for_long_was_not_lost_with_the_connection(
    talk: Any, later: float, asked: int
) -> None:
    turn_answered_by_the_server(talk)
    talk.now += later
    talk.loses_connection()
    talk.ready()
    assert len(keys(talk)) == asked


def test_what_was_owed_is_asked_for_after_one_loss_and_not_after_the_next(talk: Any) -> None:
    turn_answered_by_the_server(talk)
    talk.loses_connection()
    talk.ready()
    (request,) = talk.sent_of("response.create")
    talk.gives_up(request["event_id"])
    talk.loses_connection()
    talk.ready()
    assert keys(talk) == [request["event_id"]]


# -- a cancelled reply that does not end -----------------------------------------------------------------------------


def cancelled(talk: Any) -> str:
    """The id of the `response.cancel` that was sent for the reply that is being made."""
    talk.note(talk.conversation.answers.interrupt(talk.now))
    (event,) = talk.sent_of("response.cancel")
    return str(event["event_id"])


def test_a_cancel_that_nothing_was_said_to_gives_the_connection_up(talk: Any) -> None:
    talk.reply_told("r0", "a1")
    cancel = cancelled(talk)
    talk.asks("k1")
    assert talk.conversation.answers.unended(cancel, talk.now) is None  # what had come of it was not looked at before
    (disconnect,) = talk.conversation.answers.unended(cancel, talk.now)
    assert isinstance(disconnect, fx.Disconnect)
    assert disconnect.failure.kind is Kind.RECONNECT
    assert "did not end a reply that was cancelled" in disconnect.failure.message


def test_a_cancelled_reply_that_still_comes_in_is_given_as_much_time_again(talk: Any) -> None:
    talk.reply_told("r0", "a1")
    cancel = cancelled(talk)
    for _ in range(3):
        talk.speaks("r0", "a1", " more")
        assert talk.conversation.answers.unended(cancel, talk.now) is None
    assert talk.conversation.answers.unended(cancel, talk.now)


def test_a_cancelled_reply_whose_end_was_lost_ends_in_time(talk: Any) -> None:
    talk.reply_told("r0", "a1")
    cancel = cancelled(talk)
    talk.refuses({"event_id": cancel}, "response_cancel_not_active")
    talk.forget()
    talk.note(talk.conversation.answers.unended(cancel, talk.now))
    assert talk.told == ["MessageEnded", "ReplyEnded"]
    assert talk.all(fx.ReplyEnded)[0].status == "cancelled"
    assert talk.conversation.answers.unended(cancel, talk.now) == []


@pytest.mark.parametrize("how", ["ended", "lost"])
def test_a_cancelled_reply_that_is_over_is_not_waited_for(talk: Any, how: str) -> None:
    talk.reply_told("r0", "a1")
    cancel = cancelled(talk)
    if how == "ended":
        talk.ends("r0", "cancelled")
    else:
        talk.loses_connection()
        talk.ready()
    assert talk.conversation.answers.unended(cancel, talk.now) == []


# -- bounds and gateways ---------------------------------------------------------------------------------------------


def test_a_request_withdrawn_in_time_holds_nothing_up(talk: Any) -> None:
    talk.asks("k1")
    talk.gives_up("k1")
    talk.note(talk.conversation.answers.withdrawn("k1"))
    talk.forget()
    talk.begins("r1", "k1")  # cannot be: whatever it is, it is not ours
    assert talk.told == ["ReplyStarted"]


def test_no_more_requests_wait_than_there_is_room_for(talk: Any) -> None:
    talk.begins("r0")
    for number in range(MAX_QUEUED + 1):
        talk.asks(f"k{number}")
    (settled,) = talk.all(fx.Settled)
    assert (settled.key, settled.failure.code) == (f"k{MAX_QUEUED}", "too_many_requests")


def test_a_gateway_that_loses_metadata_does_not_lose_the_reply(talk: Any) -> None:
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    talk.begins("r1")
    assert talk.all(fx.ReplyStarted) == [fx.ReplyStarted("r1", "k1", False)]


def test_the_servers_own_answer_is_not_taken_for_ours(talk: Any) -> None:
    turn_answered_by_the_server(talk)
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    talk.begins("r1")
    assert talk.all(fx.ReplyStarted) == [fx.ReplyStarted("r1", None, False)]


def test_a_gateway_that_loses_event_ids_is_believed_to_be_busy(talk: Any) -> None:
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    talk.refuses({}, "conversation_already_has_active_response")
    talk.begins("r0")
    talk.ends("r0")
    assert keys(talk) == ["k1", "k1"]


# -- nothing is asked for any more -------------------------------------------------------------------------------------

ENOUGH = Failure(Kind.FATAL, "max_cost_reached", "", "It is enough.", "Say goodbye.")


def refuses(talk: Any) -> None:
    talk.note(talk.conversation.answers.refuse(ENOUGH, talk.now))


def test_what_waits_is_refused_and_what_left_goes_on(talk: Any) -> None:
    for key in ("k1", "k2", "k3"):
        talk.asks(key)
        talk.conversation.answers.left("k1")
    refuses(talk)
    assert talk.all(fx.Settled) == [fx.Settled("k2", ENOUGH), fx.Settled("k3", ENOUGH)]
    talk.begins("r1", "k1")
    talk.ends("r1")
    assert keys(talk) == ["k1"]
    assert [end.status for end in talk.all(fx.ReplyEnded)] == ["completed"]


def test_a_request_that_is_about_to_leave_is_taken_back(talk: Any) -> None:
    talk.asks("k1")
    refuses(talk)
    assert fx.Withdraw("k1") in talk.effects
    assert talk.conversation.answers.replies.unwanted("k1")
    assert not talk.conversation.answers.left("k1")


def test_a_reply_that_rests_ends_and_one_that_fails_later_is_not_asked_for_again(talk: Any) -> None:
    talk.asks("k1", aside=True)
    talk.begins("r1", "k1", aside=True)
    talk.fails("r1", "server_error")
    talk.asks("k2")
    talk.begins("r2", "k2")
    refuses(talk)
    talk.fails("r2", "server_error")
    talk.rests("k1")
    assert keys(talk) == ["k1", "k2"]
    ends = [(end.response_id, end.status, end.failure.code) for end in talk.all(fx.ReplyEnded)]
    assert ends == [("r1", "failed", "max_cost_reached"), ("r2", "failed", "server_error")]


def test_a_request_that_comes_too_early_is_refused_and_not_sent_again(talk: Any) -> None:
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    refuses(talk)
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    talk.begins("r0")
    talk.ends("r0")
    assert talk.all(fx.Settled) == [fx.Settled("k1", ENOUGH)]
    assert keys(talk) == ["k1"]


def test_one_that_was_too_early_before_is_refused_too(talk: Any) -> None:
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    talk.refuses({"event_id": "k1"}, "conversation_already_has_active_response")
    refuses(talk)
    talk.begins("r0")
    talk.ends("r0")
    assert talk.all(fx.Settled) == [fx.Settled("k1", ENOUGH)]
    assert keys(talk) == ["k1"]


def test_the_next_connection_is_asked_for_nothing(talk: Any) -> None:
    talk.asks("k1")
    talk.conversation.answers.left("k1")
    talk.begins("r1", "k1")
    talk.asks("k2", aside=True)
    talk.conversation.answers.left("k2")
    refuses(talk)
    talk.loses_connection()
    assert [(end.response_id, end.status) for end in talk.all(fx.ReplyEnded)] == [("r1", "lost")]
    assert talk.all(fx.Settled) == [fx.Settled("k2", ENOUGH)]
    talk.forget()
    talk.ready()
    assert keys(talk) == []
