"""What a reply is made of, told once, to the right item."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.conversation import Conversation

CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "status": "in_progress", "arguments": ""}


def call(talk: Any, response_id: str, item_id: str, status: str, arguments: str = '{"a": 1}') -> None:
    item = {**CALL, "id": item_id}
    talk.says("response.output_item.added", response_id=response_id, item=item)
    talk.added(item, talk.conversation.mirror.last_id)
    done = {**item, "status": status, "arguments": arguments}
    talk.says("conversation.item.done", item=done)
    talk.says("response.output_item.done", response_id=response_id, item=done)


def test_a_spoken_reply_from_beginning_to_end(talk: Any) -> None:
    talk.now = 10.0
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.now = 10.5
    talk.speaks("r1", "a1", "hi")
    talk.now = 11.0
    talk.ends("r1", usage={"output_tokens": 3})
    assert talk.told == [
        "ReplyStarted",
        "ItemPlaced",
        "MessageStarted",
        "MessageText",
        "MessageAudio",
        "ReplyBilled",
        "MessageEnded",
        "ReplyEnded",
    ]
    assert talk.all(fx.MessageStarted) == [fx.MessageStarted("r1", "a1", True)]
    assert talk.all(fx.MessageAudio) == [fx.MessageAudio("r1", "a1", bytes(4800))]
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.started_at, ended.first_output_at, ended.ended_at) == (10.0, 10.5, 11.0)
    assert (ended.status, ended.usage.output, ended.failure) == ("completed", 3, None)


def test_a_reply_has_one_first_output_whatever_its_messages(talk: Any) -> None:
    talk.begins("r1")
    for now, item_id in ((1.0, "a1"), (5.0, "a2")):
        talk.now = now
        talk.message("r1", item_id)
        talk.speaks("r1", item_id, "hi")
    talk.ends("r1")
    (ended,) = talk.all(fx.ReplyEnded)
    assert ended.first_output_at == 1.0


def test_what_comes_first_shows_whether_a_message_is_spoken(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.content_part.added", response_id="r1", item_id="a1", part={"type": "text", "text": ""})
    talk.speaks("r1", "a1", "hi")
    assert talk.all(fx.MessageStarted) == [fx.MessageStarted("r1", "a1", False)]


def test_speech_of_another_format_is_counted_by_its_own_bytes(talk: Any) -> None:
    talk.conversation = Conversation({"type": "realtime"}, spoken_per_ms=8)
    talk.ready()
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "hi")  # 4,800 bytes
    talk.ends("r1")
    assert talk.conversation.mirror.get("a1").audio_ms == 600


@pytest.mark.parametrize(("part", "spoken"), [("text", False), ("audio", True), ("output_text", False)])
def test_the_part_tells_whether_a_message_is_spoken(talk: Any, part: str, spoken: bool) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.content_part.added", response_id="r1", item_id="a1", part={"type": part})
    delta = {"response_id": "r1", "item_id": "a1", "delta": "hi"}
    talk.says("response.output_audio_transcript.delta" if spoken else "response.output_text.delta", **delta)
    talk.ends("r1")
    assert talk.all(fx.MessageStarted) == [fx.MessageStarted("r1", "a1", spoken)]


def test_without_a_part_the_first_delta_tells(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.writes("r1", "a1", "hi")
    assert talk.all(fx.MessageStarted) == [fx.MessageStarted("r1", "a1", False)]
    assert talk.all(fx.MessageText) == [fx.MessageText("r1", "a1", "hi")]


def test_a_gateways_beta_names_are_heard_too(talk: Any) -> None:
    """A handler for the GA name never fires on a beta sender, and nothing reports it."""
    ids = {"response_id": "r1", "item_id": "a1"}
    talk.begins("r1")
    item = {"id": "a1", "type": "message", "role": "assistant", "content": []}
    talk.says("response.output_item.added", response_id="r1", item=item)
    talk.says("conversation.item.created", item=item, previous_item_id=None)
    talk.says("response.audio_transcript.delta", **ids, delta="hi")
    talk.says("response.audio.delta", **ids, delta="AAAA")
    talk.ends("r1")
    assert talk.texts == {"a1": "hi"}
    assert talk.all(fx.MessageAudio) == [fx.MessageAudio("r1", "a1", bytes(3))]


def test_several_messages_of_one_reply_are_told_apart(talk: Any) -> None:
    """Reasoning models say a preamble and then the answer (livekit/agents#5684)."""
    talk.begins("r1")
    for item_id in ("a1", "a2"):
        talk.message("r1", item_id, talk.conversation.mirror.last_id)
        talk.speaks("r1", item_id, f"text of {item_id}")
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "completed"}
        talk.says("response.output_item.done", response_id="r1", item=item)
    talk.ends("r1")
    assert talk.all(fx.MessageEnded) == [fx.MessageEnded("r1", "a1"), fx.MessageEnded("r1", "a2")]
    assert talk.texts == {"a1": "text of a1", "a2": "text of a2"}


def test_nothing_is_told_of_a_message_after_its_end_or_without_its_beginning(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    item = {"id": "a1", "type": "message", "role": "assistant", "status": "completed"}
    talk.says("response.output_item.done", response_id="r1", item=item)
    talk.forget()
    talk.speaks("r1", "a1", "late")
    talk.speaks("r1", "unknown", "stray")
    talk.ends("r1")
    talk.speaks("r1", "a1", "later")
    assert talk.told == ["ReplyBilled", "ReplyEnded"]


def test_a_message_announced_twice_starts_once(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.message("r1", "a1")
    talk.writes("r1", "a1", "hi")
    assert talk.told.count("MessageStarted") == talk.told.count("ItemPlaced") == 1


def test_sound_that_is_not_base64_is_counted_and_survived(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.output_audio.delta", response_id="r1", item_id="a1", delta="A")
    assert talk.told[-1] == "Noticed"


def test_a_complete_call_is_made_once_and_can_be_replayed(talk: Any) -> None:
    talk.begins("r1")
    call(talk, "r1", "f1", "completed")
    talk.says("response.function_call_arguments.done", response_id="r1", item_id="f1", arguments="{}")
    talk.ends("r1")
    assert "MessageStarted" not in talk.told
    (called,) = talk.all(fx.FunctionCalled)
    assert (called.response_id, called.item.call_id, called.item.arguments) == ("r1", "call_1", '{"a": 1}')
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert talk.sent_of("conversation.item.create")[0]["item"]["arguments"] == '{"a": 1}'


@pytest.mark.parametrize("status", ["incomplete", "in_progress"])
def test_a_call_cut_off_half_way_is_never_made_nor_replayed(talk: Any, status: str) -> None:
    """pipecat-ai/pipecat#2461: half the arguments can be valid JSON."""
    talk.begins("r1")
    call(talk, "r1", "f1", status, arguments="{}")
    talk.ends("r1", "cancelled")
    assert "FunctionCalled" not in talk.told
    assert [e.what for e in talk.all(fx.Noticed)] == ["function call dropped"]
    talk.loses_connection()
    talk.forget()
    talk.opens()
    assert talk.sent_of("conversation.item.create") == []


def test_a_call_that_is_told_twice_is_made_once(talk: Any) -> None:
    talk.begins("r1")
    call(talk, "r1", "f1", "completed")
    done = {**CALL, "id": "f1", "status": "completed", "arguments": '{"a": 1}'}
    talk.says("response.output_item.done", response_id="r1", item=done)
    assert len(talk.all(fx.FunctionCalled)) == 1


def test_two_calls_of_one_reply_are_both_made(talk: Any) -> None:
    talk.begins("r1")
    call(talk, "r1", "f1", "completed")
    call(talk, "r1", "f2", "completed")
    assert [called.item.id for called in talk.all(fx.FunctionCalled)] == ["f1", "f2"]


@pytest.mark.parametrize("how", ["failed", "lost", "cancelled"])
def test_a_call_that_was_half_made_leaves_the_conversation_with_its_reply(talk: Any, how: str) -> None:
    talk.asks("k1")
    talk.begins("r1", "k1")
    item = {**CALL, "id": "f1"}
    talk.says("response.output_item.added", response_id="r1", item=item)
    talk.added(item)
    if how == "failed":
        talk.fails("r1", "server_error")
        assert talk.all(fx.ReplyAgain)
    elif how == "cancelled":
        talk.ends("r1", "cancelled")
    else:
        talk.loses_connection()
        talk.ready()
    deleted = [event["item_id"] for event in talk.sent_of("conversation.item.delete")]
    assert deleted == ([] if how == "lost" else ["f1"])
    assert talk.sent_of("conversation.item.create") == []
    assert talk.texts == {}


def test_a_call_that_was_made_stays_when_its_reply_does_not_complete(talk: Any) -> None:
    talk.begins("r1")
    call(talk, "r1", "f1", "completed")
    talk.ends("r1", "cancelled")
    assert talk.sent_of("conversation.item.delete") == []
    assert [record.item.call_id for record in talk.conversation.mirror] == ["call_1"]


def test_a_call_of_a_discarded_reply_is_not_made(talk: Any) -> None:
    talk.asks("k1")
    talk.gives_up("k1")
    talk.begins("r1", "k1")
    call(talk, "r1", "f1", "completed")
    assert "FunctionCalled" not in talk.told


def test_a_call_of_a_discarded_reply_leaves_the_conversation(talk: Any) -> None:
    """Nobody will ever give its output, and GA wants one."""
    talk.asks("k1")
    talk.gives_up("k1")
    talk.begins("r1", "k1")
    call(talk, "r1", "f1", "completed")
    talk.ends("r1", "cancelled")
    assert [event["item_id"] for event in talk.sent_of("conversation.item.delete")] == ["f1"]
    assert talk.sent_of("conversation.item.create") == []


def test_an_out_of_band_reply_leaves_no_item(talk: Any) -> None:
    talk.begins("r1", aside=True)
    talk.message("r1", "a1", aside=True)
    talk.speaks("r1", "a1", "beside")
    talk.ends("r1")
    assert talk.all(fx.ReplyStarted)[0].aside
    assert talk.texts == {}


def test_why_a_reply_was_cut_off_is_told(talk: Any) -> None:
    talk.begins("r1")
    talk.ends("r1", "incomplete", status_details={"type": "incomplete", "reason": "max_output_tokens"})
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.status, ended.reason) == ("incomplete", "max_output_tokens")


def test_a_failed_reply_carries_and_reports_its_failure(talk: Any) -> None:
    talk.reply_told("r1", "a1")
    talk.ends("r1", "failed", status_details={"error": {"type": "server_error", "code": None, "message": "boom"}})
    (ended,) = talk.all(fx.ReplyEnded)
    assert ended.failure is not None
    assert ended.failure.message == "boom"
    assert talk.all(fx.Report) == [fx.Report(ended.failure)]


def test_a_failure_no_retry_can_cure_ends_the_connection_even_when_the_reply_never_began(talk: Any) -> None:
    """livekit/agents#6352: an empty account fails every reply, and reconnecting does not help."""
    error = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "no credit"}
    talk.ends("r1", "failed", status_details={"type": "failed", "error": error})
    (disconnect,) = talk.all(fx.Disconnect)
    assert disconnect.failure.code == "insufficient_quota"


def test_a_lost_connection_ends_what_was_being_said(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "half a")
    talk.loses_connection()
    (ended,) = talk.all(fx.ReplyEnded)
    assert (ended.status, talk.told[-2:]) == ("lost", ["MessageEnded", "ReplyEnded"])
    assert talk.texts == {"a1": "half a"}


def test_nothing_is_told_of_a_message_before_it_can_be_heard(talk: Any) -> None:
    """What leads the audio can still be made again, should the connection go."""
    ids = {"response_id": "r1", "item_id": "a1"}
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.content_part.added", **ids, part={"type": "audio", "transcript": ""})
    for delta in ("Good", " day"):
        talk.says("response.output_audio_transcript.delta", **ids, delta=delta)
    assert talk.told == ["ReplyStarted", "ItemPlaced"]
    talk.says("response.output_audio.delta", **ids, delta="AAAA")
    assert talk.told[2:] == ["MessageStarted", "MessageText", "MessageText", "MessageAudio"]


def test_words_that_never_got_a_sound_are_told_when_the_reply_is_whole(talk: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.output_audio_transcript.delta", response_id="r1", item_id="a1", delta="hm")
    talk.ends("r1")
    assert talk.told[2:] == ["ReplyBilled", "MessageStarted", "MessageText", "MessageEnded", "ReplyEnded"]


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_what_nobody_heard_of_a_reply_that_broke_off_leaves_the_conversation(talk: Any, status: str) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.says("response.output_audio_transcript.delta", response_id="r1", item_id="a1", delta="unheard")
    talk.forget()
    talk.ends("r1", status)
    assert [event["item_id"] for event in talk.sent_of("conversation.item.delete")] == ["a1"]
    assert talk.texts == {}
    assert "MessageStarted" not in talk.told


def test_an_edit_made_while_a_message_is_spoken_stays(talk: Any, message: Any) -> None:
    talk.begins("r1")
    talk.message("r1", "a1")
    talk.speaks("r1", "a1", "as it was")
    talk.truncates("a1", 50, "as it")
    talk.syncs("s1", [replace(message("a1", "as it shall be", "assistant"), origin=object())])
    talk.speaks("r1", "a1", " and more")
    talk.ends("r1")
    assert talk.texts == {"a1": "as it shall be"}
