"""A conversation whose audio runs elsewhere: what is told without it, what is played, what a reconnect leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.call import CallConversation
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.errors import from_close
from livekit_plugins_openai_ga.wire.items import Item

WANTED = {"type": "realtime", "instructions": "be nice"}


@pytest.fixture
def talk(talk: Any) -> Any:
    talk.conversation = CallConversation(WANTED)
    talk.forget()
    return talk.ready()


def note(item_id: str, text: str) -> Record:
    return Record(Item(item_id, "message", role="user", content=({"type": "input_text", "text": text},)), 0.0)


def says(talk: Any, item_id: str, text: str, *, response_id: str = "r1") -> None:
    talk.says(
        "response.output_audio_transcript.delta", response_id=response_id, item_id=item_id, content_index=0, delta=text
    )


def speaks(talk: Any, text: str = "hello there") -> None:
    """A reply is being made, and played."""
    talk.begins("r1")
    talk.message("r1", "a1")
    says(talk, "a1", text)
    talk.says("output_audio_buffer.started", response_id="r1")


def test_a_transcript_waits_for_no_audio(talk: Any) -> None:
    talk.now = 10.0
    talk.begins("r1")
    talk.message("r1", "a1")
    assert talk.all(fx.MessageStarted) == []
    talk.now = 10.5
    says(talk, "a1", "hello ")
    says(talk, "a1", "there")
    assert talk.all(fx.MessageStarted) == [fx.MessageStarted("r1", "a1", True)]
    assert [effect.delta for effect in talk.all(fx.MessageText)] == ["hello ", "there"]
    talk.ends("r1")
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.status, ended.first_output_at) == ("completed", 10.5)
    assert talk.texts == {"a1": "hello there"}


def test_it_is_told_what_is_played(talk: Any) -> None:
    speaks(talk)
    talk.says("output_audio_buffer.stopped", response_id="r1")
    assert talk.all(fx.Played) == [fx.Played("r1", playing=True), fx.Played("r1", playing=False)]


def test_one_reply_is_played_at_a_time(talk: Any) -> None:
    """Should the end of one be lost, the next one ends it."""
    speaks(talk)
    talk.says("output_audio_buffer.started", response_id="r2")
    assert talk.all(fx.Played)[1:] == [fx.Played("r1", playing=False), fx.Played("r2", playing=True)]


def test_an_interruption_cancels_the_reply_and_stops_its_sound(talk: Any) -> None:
    speaks(talk)
    talk.forget()
    talk.note(talk.conversation.interrupt(1.0))
    assert [event["type"] for event in talk.sent] == ["response.cancel", "output_audio_buffer.clear"]


def test_what_is_still_played_of_a_reply_that_is_made_is_stopped(talk: Any) -> None:
    speaks(talk)
    talk.ends("r1")
    talk.forget()
    talk.note(talk.conversation.interrupt(1.0))
    assert [event["type"] for event in talk.sent] == ["output_audio_buffer.clear"]
    talk.says("output_audio_buffer.cleared", response_id="r1")
    talk.forget()
    talk.note(talk.conversation.interrupt(1.0))
    assert talk.sent == []  # nothing is played any more


def test_the_server_cuts_and_here_it_is_remembered(talk: Any) -> None:
    speaks(talk)
    talk.ends("r1")
    talk.forget()
    talk.note(talk.conversation.truncate("a1", spoken=True, audio_end_ms=0, heard="hello"))
    assert talk.effects == []
    assert talk.texts == {"a1": "hello"}
    assert talk.conversation.mirror.get("a1").interrupted


def test_messages_that_were_played_as_one_are_cut_where_that_was(talk: Any) -> None:
    speaks(talk, "one two")
    talk.message("r1", "a2", "a1")
    says(talk, "a2", "three four")
    talk.ends("r1")
    talk.note(talk.conversation.truncate("a1", "a2", spoken=True, audio_end_ms=0, heard="one two three"))
    assert talk.texts == {"a1": "one two", "a2": "three"}
    assert not talk.conversation.mirror.get("a1").interrupted


def test_a_reconnect_replays_nothing_that_the_call_has(talk: Any) -> None:
    talk.user_turn("u1")
    talk.transcript("u1", "hi")
    speaks(talk)
    talk.ends("r1")
    talk.note(talk.conversation.closed(2.0))
    talk.forget()
    talk.note(talk.conversation.opened(3.0))
    assert [event["type"] for event in talk.sent] == ["session.update"]
    assert talk.sent[0]["session"] == WANTED
    assert talk.texts == {"u1": "hi", "a1": "hello there"}


def test_a_reconnect_sends_what_was_not_answered_and_what_was_wanted_meanwhile(talk: Any) -> None:
    talk.note(talk.conversation.sync([note("n1", "kept")], "one"))
    talk.acknowledges()
    talk.note(talk.conversation.sync([note("n1", "kept"), note("n2", "not answered")], "two"))
    talk.note(talk.conversation.closed(2.0))
    talk.note(talk.conversation.sync([note("n2", "not answered"), note("n3", "meanwhile")], "three"))
    talk.forget()
    talk.note(talk.conversation.opened(3.0))
    changes = [event for event in talk.sent if event["type"].startswith("conversation.item.")]
    assert sorted(event.get("item_id") or event["item"]["id"] for event in changes) == ["n1", "n2", "n3"]
    assert {event["item_id"] for event in talk.sent_of("conversation.item.delete")} == {"n1"}
    for event in changes:  # the server may have it already
        if event["type"] == "conversation.item.create" and event["item"]["id"] == "n2":
            talk.refuses(event, "item_create_duplicate_item_id")
    assert talk.all(fx.Settled) == [fx.Settled("two")]
    assert talk.all(fx.Report) == []


def test_a_reply_that_is_made_while_the_connection_is_lost_ends_here_and_is_not_asked_for_again(talk: Any) -> None:
    talk.note(talk.conversation.answers.ask("key", {}))
    talk.conversation.answers.left("key")
    talk.begins("r1", "key")
    talk.message("r1", "a1")
    talk.says("output_audio_buffer.started", response_id="r1")
    talk.note(talk.conversation.closed(2.0))
    assert [effect.status for effect in talk.all(fx.ReplyEnded)] == ["lost"]
    assert talk.all(fx.Played)[-1] == fx.Played("r1", playing=False)
    assert talk.all(fx.ReplyAgain) == []
    talk.forget()
    talk.note(talk.conversation.opened(3.0))
    talk.says("session.updated", session=WANTED)
    assert [event["type"] for event in talk.sent] == ["session.update"]
    says(talk, "a1", "still spoken")  # to the caller, and to nobody here
    talk.ends("r1")
    assert talk.all(fx.MessageText) == []


def goes_on(talk: Any, text: str = "here it is") -> None:
    """A reply is played, has called a tool of the server's, and goes on as another response."""
    speaks(talk)
    item = {"id": "c1", "type": "mcp_call", "server_label": "shop", "name": "find", "arguments": "{}", "output": None}
    talk.says("response.output_item.added", response_id="r1", item=item)
    talk.added(item, "a1")
    talk.ends("r1")
    talk.says("conversation.item.done", item={**item, "output": "3 pairs"})
    talk.begins("r2", talk.sent_of("response.create")[-1]["response"]["metadata"]["client_event_id"])
    talk.message("r2", "a2", "c1")
    says(talk, "a2", text, response_id="r2")
    talk.forget()


PLAYED, SILENT = fx.Played("r1", playing=True), fx.Played("r1", playing=False)


def test_what_a_reply_goes_on_with_is_played_under_its_id(talk: Any) -> None:
    goes_on(talk)
    talk.says("output_audio_buffer.stopped", response_id="r1")
    talk.says("output_audio_buffer.started", response_id="r2")
    talk.ends("r2")
    talk.says("output_audio_buffer.stopped", response_id="r2")
    assert talk.told == ["Played", "Played", "ReplyBilled", "MessageEnded", "ReplyEnded", "Played"]
    assert talk.all(fx.Played) == [SILENT, PLAYED, SILENT]


def test_a_reply_does_not_end_with_the_first_part_of_it_that_was_played(talk: Any) -> None:
    """The rest is complete while the beginning is still heard."""
    goes_on(talk)
    talk.ends("r2")
    assert talk.told == ["ReplyBilled"]
    talk.forget()
    talk.says("output_audio_buffer.stopped", response_id="r1")
    assert talk.effects == [SILENT]
    talk.forget()
    talk.says("output_audio_buffer.started", response_id="r2")
    assert talk.told == ["Played", "MessageEnded", "ReplyEnded"]
    talk.says("output_audio_buffer.stopped", response_id="r2")
    assert talk.effects[-1] == SILENT


@pytest.mark.parametrize(
    "over",
    [
        lambda talk: talk.says("output_audio_buffer.cleared", response_id="r1"),
        lambda talk: talk.says("output_audio_buffer.started", response_id="r9"),
        lambda talk: talk.note(talk.conversation.closed(2.0)),
        lambda talk: talk.note(talk.conversation.abandon(from_close(1000, ""), 2.0)),
    ],
    ids=["cleared", "another one is played", "closed", "abandoned"],
)
def test_a_rest_that_is_not_played_any_more_ends(talk: Any, over: Any) -> None:
    goes_on(talk)
    talk.ends("r2")
    talk.forget()
    over(talk)
    assert talk.told[:3] == ["Played", "MessageEnded", "ReplyEnded"]
    assert talk.effects[0] == SILENT


def test_an_interruption_between_two_parts_ends_the_reply(talk: Any) -> None:
    goes_on(talk)
    talk.ends("r2")
    talk.says("output_audio_buffer.stopped", response_id="r1")
    talk.forget()
    talk.note(talk.conversation.interrupt(1.0))
    assert talk.told == ["MessageEnded", "ReplyEnded"]
    assert [event["type"] for event in talk.sent] == ["output_audio_buffer.clear"]
    talk.forget()
    talk.note(talk.conversation.interrupt(1.0))
    assert talk.sent == []


def test_the_end_of_a_part_whose_beginning_was_lost_ends_it(talk: Any) -> None:
    goes_on(talk)
    talk.ends("r2")
    talk.says("output_audio_buffer.stopped", response_id="r1")
    talk.says("output_audio_buffer.stopped", response_id="r2")
    assert talk.told == ["ReplyBilled", "Played", "MessageEnded", "ReplyEnded"]


def test_what_comes_last_comes_behind_all_that_nobody_told_of(talk: Any) -> None:
    talk.note(talk.conversation.sync([note("n1", "one"), note("n2", "two")], "first"))
    creates = talk.sent_of("conversation.item.create")
    assert [event.get("previous_item_id") for event in creates] == [None, None]
    talk.acknowledges()
    talk.user_turn("u1", "n2")
    talk.transcript("u1", "hi")
    talk.forget()
    told = [note("n1", "one"), note("n3", "between"), note("n2", "two"), *talk.conversation.mirror.values[2:]]
    talk.note(talk.conversation.sync([*told, note("n4", "last")], "second"))
    where = {event["item"]["id"]: event.get("previous_item_id") for event in talk.sent}
    assert where == {"n3": "n1", "n4": None}


def test_what_was_wanted_while_the_connection_was_lost_comes_behind_what_was_said_meanwhile(talk: Any) -> None:
    talk.user_turn("u1")
    talk.transcript("u1", "hi")
    talk.note(talk.conversation.closed(2.0))
    talk.note(talk.conversation.sync([*talk.conversation.mirror.values, note("n1", "new")], "one"))
    talk.forget()
    talk.note(talk.conversation.opened(3.0))
    (create,) = talk.sent_of("conversation.item.create")
    assert "previous_item_id" not in create
    talk.added(create["item"], "said_meanwhile")
    assert list(talk.texts) == ["u1", "n1"]


def test_a_caller_who_speaks_when_the_connection_is_lost_is_not_taken_for_speaking_on(talk: Any) -> None:
    talk.says("input_audio_buffer.speech_started", item_id="u1", audio_start_ms=0)
    talk.note(talk.conversation.closed(2.0))
    assert talk.all(fx.SpeechStopped) == [fx.SpeechStopped("u1")]
    assert not talk.conversation.turns.open
    talk.forget()
    talk.note(talk.conversation.closed(3.0))
    assert talk.effects == []
    talk.ready()
    talk.forget()
    talk.user_turn("u1")
    assert talk.all(fx.SpeechStopped) == []
    talk.transcript("u1", "hi there")
    assert [effect.started_at for effect in talk.all(fx.Transcript)] == [0.0]  # it is the turn that began then


def test_a_turn_goes_on_while_the_connection_is_lost(talk: Any) -> None:
    talk.user_turn("u1")
    talk.says("conversation.item.input_audio_transcription.delta", item_id="u1", content_index=0, delta="hi")
    talk.note(talk.conversation.closed(2.0))
    talk.note(talk.conversation.opened(3.0))
    talk.transcript("u1", "hi there")
    assert [(effect.text, effect.final) for effect in talk.all(fx.Transcript)] == [("hi", False), ("hi there", True)]


def test_the_end_of_the_session_ends_what_is_played(talk: Any) -> None:
    speaks(talk)
    talk.note(talk.conversation.abandon(from_close(1000, ""), 2.0))
    assert talk.all(fx.Played)[-1] == fx.Played("r1", playing=False)
    assert len(talk.all(fx.ReplyEnded)) == 1


def test_a_call_of_a_tool_may_be_approved_on_the_next_connection(talk: Any) -> None:
    talk.begins("r1")
    request = {"id": "q1", "type": "mcp_approval_request", "server_label": "shop", "name": "buy", "arguments": "{}"}
    talk.added(request)
    talk.says("conversation.item.done", item=request)
    talk.added({**request, "id": "c1", "type": "mcp_call"})
    talk.ends("r1")
    talk.note(talk.conversation.closed(1.0))
    assert not talk.conversation.server_tools.running  # as far as anybody can tell
    talk.ready()
    talk.forget()
    talk.note(talk.conversation.server_tools.answer("q1", approve=True, reason=None))
    assert [event["item"]["approve"] for event in talk.sent_of("conversation.item.create")] == [True]


def test_the_end_of_the_session_ends_what_waits_for_an_approval(talk: Any) -> None:
    request = {"id": "q1", "type": "mcp_approval_request", "server_label": "shop", "name": "buy", "arguments": "{}"}
    talk.added(request)
    talk.says("conversation.item.done", item=request)
    talk.note(talk.conversation.abandon(from_close(1000, ""), 2.0))
    assert talk.conversation.server_tools.answer("q1", approve=True, reason=None) is None
