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
