"""Cuts: what was heard stays, here and at the server, also when the server does not cut."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga.core import cuts
from livekit_plugins_openai_ga.core import effects as fx


def changes(talk: Any) -> list[str]:
    """What the item events sent so far do, in order."""
    return [event["type"].split(".")[-1] for event in talk.sent if event["type"].startswith("conversation.item.")]


def test_a_cut_never_goes_beyond_the_audio_received(talk: Any) -> None:
    """livekit/agents#2106"""
    talk.reply("r1", "a1", "one two three", ms=1000)
    talk.forget()
    talk.truncates("a1", 1600, "one two")
    (event,) = talk.sent
    assert (event["type"], event["audio_end_ms"]) == ("conversation.item.truncate", 1000)


def test_only_what_was_heard_is_remembered_and_replayed(talk: Any, message: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one two three", ms=500)
    talk.truncates("a1", 300, "one")
    talk.speaks("r1", "a1", " four")
    talk.ends("r1", "cancelled")
    assert talk.texts == {"a1": "one"}
    assert talk.conversation.mirror.get("a1").interrupted
    talk.forget()
    talk.syncs("k1", [message("a1", "one", "assistant")])
    assert talk.sent == []
    talk.loses_connection()
    talk.opens()
    assert talk.sent[1]["item"]["content"] == [{"type": "output_text", "text": "one"}]


def test_a_cut_without_known_text_keeps_what_was_said_so_far(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one two", ms=500)
    talk.truncates("a1", 300, None)
    assert talk.texts == {"a1": "one two"}


def test_a_message_nobody_heard_is_taken_out(talk: Any) -> None:
    """The server refuses to cut to 0 ms (livekit/agents#6157)."""
    talk.reply("r1", "a1", "one")
    talk.forget()
    talk.truncates("a1", 0, "")
    assert [(event["type"], event["item_id"]) for event in talk.sent] == [("conversation.item.delete", "a1")]
    talk.acknowledges()
    assert (talk.texts, talk.told) == ({}, [])


# "one two" of 700 ms and "three four" of 800 ms, played as one: where it was cut, what was heard; what is cut, what is
# left.
CUTS = {
    "before anything": (0, "", [], {}),
    "in the first": (300, "one", [("a1", 300)], {"a1": "one"}),
    "in the first, its text ahead of it": (600, "one two three", [("a1", 600)], {"a1": "one two"}),
    "at the end of the first": (700, "one two", [], {"a1": "one two"}),
    "in the second": (1000, "one two three", [("a2", 300)], {"a1": "one two", "a2": "three"}),
    "after the second": (2000, "one two three four", [("a2", 800)], {"a1": "one two", "a2": "three four"}),
    "without known text": (1000, None, [("a2", 300)], {"a1": "one two", "a2": "three four"}),
}


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(("ms", "heard", "cut", "left"), CUTS.values(), ids=CUTS)
def test_messages_that_were_played_as_one_are_cut_where_that_was(
    talk: Any, ms: int, heard: str | None, cut: list[Any], left: dict[str, str], live: bool
) -> None:
    talk.begins("r1")
    for item_id, text, length in (("a1", "one two", 700), ("a2", "three four", 800)):
        talk.message("r1", item_id)
        talk.speaks("r1", item_id, text, ms=length)
    if not live:
        talk.ends("r1")
    talk.forget()
    talk.note(talk.conversation.truncate("a1", "a2", spoken=True, audio_end_ms=ms, heard=heard))
    assert [(e["item_id"], e["audio_end_ms"]) for e in talk.sent_of("conversation.item.truncate")] == cut
    assert [e["item_id"] for e in talk.sent_of("conversation.item.delete")] == sorted({"a1", "a2"} - set(left))
    talk.acknowledges()
    if live:
        talk.ends("r1", "cancelled")
    assert talk.texts == left


def test_written_messages_that_were_shown_as_one_are_cut_where_that_was(talk: Any) -> None:
    talk.begins("r1")
    for item_id, text in (("a1", "one two"), ("a2", "three four")):
        talk.message("r1", item_id)
        talk.writes("r1", item_id, text)
    talk.ends("r1")
    talk.forget()
    talk.note(talk.conversation.truncate("a1", "a2", spoken=False, audio_end_ms=0, heard="one two three"))
    talk.acknowledges()
    assert talk.texts == {"a1": "one two", "a2": "three"}


@pytest.mark.parametrize("live", [True, False])
def test_a_written_message_is_replaced_by_what_was_read(talk: Any, live: bool) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.writes("r1", "a1", "one two")
    if not live:
        talk.ends("r1")
    talk.forget()
    talk.truncates("a1", 0, "one", spoken=False)
    assert [event["type"].split(".")[-1] for event in talk.sent] == ["delete", "create"]
    talk.acknowledges()
    talk.ends("r1", "cancelled")
    assert talk.texts == {"a1": "one"}
    assert "ItemPlaced" not in talk.told


def test_a_written_message_that_was_read_to_its_end_stays(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.writes("r1", "a1", "one")
    talk.ends("r1")
    assert talk.truncates("a1", 0, "one", spoken=False) == []
    assert talk.truncates("unknown", 0, "one") == []


def test_a_written_message_is_cut_as_text_whatever_it_is_taken_for(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.writes("r1", "a1", "one two")
    talk.ends("r1")
    talk.forget()
    talk.truncates("a1", 300, "one")
    assert [event["type"].split(".")[-1] for event in talk.sent] == ["delete", "create"]


def test_speech_that_a_reconnect_brought_back_as_text_is_cut_as_text(talk: Any) -> None:
    """It plays on while the connection is replaced; the new session has no audio of it."""
    talk.reply("r1", "a1", "one two", ms=1000)
    talk.loses_connection()
    talk.ready()
    talk.acknowledges()
    talk.forget()
    talk.truncates("a1", 500, "one")
    assert [event["type"].split(".")[-1] for event in talk.sent] == ["delete", "create"]
    assert talk.sent[1]["item"]["content"] == [{"type": "output_text", "text": "one"}]


@pytest.mark.parametrize("ms", [0, 500])
def test_a_cut_made_while_disconnected_is_in_the_replay(talk: Any, ms: int) -> None:
    talk.reply("r1", "a1", "one two", ms=1000)
    talk.loses_connection()
    talk.forget()
    talk.truncates("a1", ms, "one")
    assert talk.sent == []
    talk.opens()
    replayed = [event["item"]["content"] for event in talk.sent_of("conversation.item.create")]
    assert replayed == ([[{"type": "output_text", "text": "one"}]] if ms else [])


def test_a_second_cut_cannot_bring_back_what_the_first_took(talk: Any) -> None:
    talk.reply("r1", "a1", "one two three", ms=1000)
    talk.truncates("a1", 300, "one")
    talk.forget()
    assert talk.truncates("a1", 700, "one two") == []
    talk.truncates("a1", 200, "on")
    assert [event["audio_end_ms"] for event in talk.sent] == [200]
    assert talk.texts == {"a1": "on"}


@pytest.mark.parametrize("live", [True, False])
def test_speech_that_was_cut_is_not_taken_for_whole_when_its_reply_ends(talk: Any, live: bool) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one two", ms=1000)
    talk.truncates("a1", 300, "one")
    if not live:
        talk.ends("r1", "cancelled")
    talk.forget()
    talk.truncates("a1", 200, "on")
    assert [event["audio_end_ms"] for event in talk.sent] == [200]


# -- refused ---------------------------------------------------------------------------------------------------------


def refused_cut(talk: Any, code: str = "server_error", message: str = "no", *, heard: str | None = "one") -> None:
    """A spoken reply between two messages, whose cut at 300 ms the server refuses."""
    talk.user_turn("u1")
    talk.reply("r1", "a1", "one two", "u1", ms=1000)
    talk.user_turn("u2", "a1")
    talk.truncates("a1", 300, heard)
    cut = talk.sent[-1]
    talk.forget()
    talk.refuses(cut, code, message)


def test_speech_that_the_server_does_not_cut_is_made_anew_as_the_text_that_was_heard(talk: Any) -> None:
    refused_cut(talk)
    assert [report.failure.code for report in talk.all(fx.Report)] == ["server_error"]
    assert changes(talk) == ["delete", "create"]
    (create,) = talk.sent_of("conversation.item.create")
    assert create["previous_item_id"] == "u1"
    assert create["item"]["content"] == [{"type": "output_text", "text": "one"}]
    talk.acknowledges()
    assert talk.texts == {"u1": "", "a1": "one", "u2": ""}
    assert talk.told == []  # LiveKit has it
    assert talk.truncates("a1", 100, "on")[0].event["type"] == "conversation.item.delete"  # a text now


def test_speech_of_a_live_reply_that_the_server_does_not_cut_is_made_anew(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one", ms=1000)
    talk.truncates("a1", 300, "one")
    talk.refuses(talk.sent[-1], "server_error")
    talk.speaks("r1", "a1", " two")
    talk.acknowledges()
    talk.ends("r1", "cancelled")
    assert talk.texts == {"a1": "one"}


def test_speech_of_which_no_word_was_heard_goes_when_the_server_does_not_cut_it(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one", ms=1000)
    talk.truncates("a1", 100, "")
    cut = talk.sent[-1]
    talk.forget()
    talk.refuses(cut, "server_error")
    assert changes(talk) == ["delete"]
    talk.acknowledges()
    talk.ends("r1", "cancelled")
    assert talk.texts == {}


def test_when_neither_the_cut_nor_the_deletion_is_taken_the_whole_is_shown(talk: Any) -> None:
    refused_cut(talk)
    delete, create = talk.sent
    talk.refuses(delete, "server_error")
    talk.refuses(create, "item_create_duplicate_item_id")
    assert talk.texts == {"u1": "", "a1": "one two", "u2": ""}
    talk.forget()
    talk.truncates("a1", 300, "one")  # it can be tried again, as speech
    assert changes(talk) == ["truncate"]


def test_when_neither_is_taken_in_a_live_reply_the_whole_is_shown_once_it_is_there(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "one", ms=1000)
    talk.truncates("a1", 300, "on")
    talk.refuses(talk.sent[-1], "server_error")
    delete, create = talk.sent[-2:]
    talk.speaks("r1", "a1", " two")
    talk.ends("r1")
    assert talk.texts == {"a1": "on"}
    talk.refuses(delete, "server_error")
    talk.refuses(create, "item_create_duplicate_item_id")
    assert talk.texts == {"a1": "one two"}


def test_a_refused_cut_whose_text_is_not_known_is_undone(talk: Any) -> None:
    refused_cut(talk, heard=None)
    assert (changes(talk), talk.told) == ([], ["Report"])
    assert talk.texts["a1"] == "one two"
    assert not talk.conversation.mirror.get("a1").interrupted


def test_a_refused_cut_that_took_no_words_away_is_left(talk: Any) -> None:
    refused_cut(talk, heard="one two")
    assert (changes(talk), talk.told) == ([], ["Report"])


def test_speech_that_is_shorter_at_the_server_holds_nothing_unheard(talk: Any) -> None:
    refused_cut(talk, "invalid_value", "Audio content of 200ms is already shorter than 300ms")
    assert (changes(talk), talk.told) == ([], ["Noticed"])
    assert talk.texts["a1"] == "one"


def test_a_message_that_is_no_speech_at_the_server_is_made_anew(talk: Any) -> None:
    """The server has all of its text, then."""
    refused_cut(talk, "", "Only model output audio messages can be truncated")
    assert changes(talk) == ["delete", "create"]
    assert talk.told == ["Noticed"]


def test_a_message_that_the_server_does_not_have_is_made_of_what_was_heard(talk: Any) -> None:
    refused_cut(talk, "item_truncate_invalid_item_id")
    delete, create = talk.sent
    talk.forget()
    talk.refuses(delete, "item_delete_invalid_item_id")
    talk.added(create["item"], "u1")
    assert (talk.texts["a1"], talk.told) == ("one", [])


def test_a_refused_cut_of_an_item_that_was_taken_out_since_changes_nothing(talk: Any) -> None:
    talk.reply("r1", "a1", "one two", ms=1000)
    talk.truncates("a1", 300, "one")
    cut = talk.sent[-1]
    talk.syncs("k1", [])
    talk.forget()
    talk.refuses(cut, "server_error")
    assert (talk.sent, talk.texts) == ([], {})


def test_two_refused_cuts_make_the_item_anew_once(talk: Any) -> None:
    talk.reply("r1", "a1", "one two", ms=1000)
    talk.truncates("a1", 500, "one t")
    talk.truncates("a1", 300, "one")
    first, second = talk.sent_of("conversation.item.truncate")
    talk.forget()
    talk.refuses(first, "server_error")
    talk.refuses(second, "server_error")
    assert changes(talk) == ["delete", "create"]
    talk.acknowledges()
    assert talk.texts == {"a1": "one"}


def test_a_refusal_without_an_event_id_changes_nothing(talk: Any) -> None:
    """Some gateways leave it out: nobody knows what was refused."""
    talk.reply("r1", "a1", "one two", ms=1000)
    talk.truncates("a1", 300, "one")
    talk.forget()
    talk.refuses({}, "server_error")
    assert (talk.sent, talk.told, talk.texts) == ([], ["Report"], {"a1": "one"})


def test_only_the_newest_cuts_are_remembered(talk: Any) -> None:
    """The server's acknowledgements say nothing that is needed, so nothing else takes them out."""
    for number in range(cuts.MAX_OPEN + 1):
        talk.reply(f"r{number}", f"a{number}", "one two", ms=200)
        talk.truncates(f"a{number}", 100, "one")
    first, *_, last = talk.sent_of("conversation.item.truncate")
    assert [talk.conversation.cuts.knows(event["event_id"]) for event in (first, last)] == [False, True]


def test_cuts_are_forgotten_with_their_connection(talk: Any) -> None:
    """Nobody will refuse them any more, and each holds what was said."""
    talk.reply("r1", "a1", "one two", ms=200)
    talk.truncates("a1", 100, "one")
    (cut,) = talk.sent_of("conversation.item.truncate")
    talk.loses_connection()
    assert not talk.conversation.cuts.knows(cut["event_id"])
