"""The state machine in virtual time: order of events, turns, interruptions, limits."""

from __future__ import annotations

import base64

import pytest

from livekit_plugins_openai_ga.emulator import Knobs, Script, ToolCall, Turn, g711
from livekit_plugins_openai_ga.emulator.script import SCRIPT_IS_OVER
from livekit_plugins_openai_ga.emulator.voice import synthetic

AUDIO_REPLY = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
]
AUDIO_REPLY_END = [
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
]
USER_TURN = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
]


def error_of(events):
    assert [event["type"] for event in events] == ["error"]
    return events[0]["error"]


def pick(events, event_type):
    return [event for event in events if event["type"] == event_type]


def test_session_created_is_the_first_event_and_shows_the_observed_defaults(talk):
    t = talk()
    (created,) = t.session.sent
    session = created["session"]
    assert created["type"] == "session.created"
    assert session["object"] == "realtime.session"
    assert session["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert session["audio"]["output"]["voice"] == "alloy"
    assert session["expires_at"] == 1_789_000_000 + 3600


def test_audio_reply_has_the_observed_order_and_sounds_as_long_as_its_text(talk, names):
    t = talk(Script([Turn(say="Hello, how can I help you today?")]))
    events = t("response.create") + t.run()
    assert names(events)[:6] == AUDIO_REPLY
    assert names(events)[-7:] == AUDIO_REPLY_END
    audio = b"".join(base64.b64decode(e["delta"]) for e in pick(events, "response.output_audio.delta"))
    assert audio == synthetic("Hello, how can I help you today?", "alloy", 1.0)
    deltas = [e["delta"] for e in pick(events, "response.output_audio_transcript.delta")]
    assert "".join(deltas) == "Hello, how can I help you today?"
    assert len(deltas) == 7


def test_audio_is_produced_at_the_pace_and_in_200_ms_deltas(talk):
    t = talk(Script([Turn(say="one two three four five six seven eight nine ten")]))
    t("response.create")
    t.run()
    done = t.session.sent[-2]
    seconds = t.session.conversation.find(done["response"]["output"][0]["id"]).audio_ms / 1000
    t2 = talk(Script([Turn(say="one two three four five six seven eight nine ten")]))
    t2("response.create")
    t2.run(0.05 + seconds / 5 - 0.05)
    assert t2.session.active_reply is not None
    t2.run(0.1)
    assert t2.session.active_reply is None
    first = base64.b64decode(pick(t2.session.sent, "response.output_audio.delta")[0]["delta"])
    assert len(first) == 200 * 48


def test_text_reply_has_the_observed_order(talk, names):
    t = talk(Script([Turn(say="Hello there.")]))
    t.configure(output_modalities=["text"])
    assert names(t("response.create") + t.run()) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


def test_response_object_has_all_keys_from_the_start(talk):
    t = talk(Script([Turn(say="Hi.")]))
    events = t("response.create", response={"metadata": {"who": "me"}}) + t.run()
    created, done = events[0]["response"], pick(events, "response.done")[0]["response"]
    assert set(created) == set(done)
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert (done["status"], done["status_details"]) == ("completed", None)
    assert created["metadata"] == done["metadata"] == {"who": "me"}
    assert created["conversation_id"].startswith("conv_")


def test_server_vad_turns_speech_into_a_turn_and_a_reply(talk, names, speech):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]))
    events = t.hear(speech()) + t.run()
    assert names(events)[:5] == USER_TURN
    assert names(events)[5:11] == AUDIO_REPLY
    started, stopped, committed = events[:3]
    assert started["item_id"] == stopped["item_id"] == committed["item_id"] == events[3]["item"]["id"]
    assert events[3]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    # 100 ms of silence, padding of 300 ms reaches to the beginning.
    assert started["audio_start_ms"] == 0
    assert stopped["audio_end_ms"] > 600


def test_vad_without_create_response_waits_for_the_client(talk, names, speech):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]))
    t.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    assert names(t.hear(speech()) + t.run()) == USER_TURN
    assert "response.created" in names(t("response.create"))


def test_commit_during_speech_has_no_speech_stopped(talk, names, speech):
    t = talk()
    events = t.hear(speech(after_ms=0)) + t("input_audio_buffer.commit")
    assert names(events) == [USER_TURN[0], *USER_TURN[2:]]
    assert events[0]["item_id"] == events[1]["item_id"]


def test_manual_turn_makes_no_response_by_itself(talk, names, speech):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]))
    t.configure(audio={"input": {"turn_detection": None}})
    assert t.append(speech()) == []
    assert names(t("input_audio_buffer.commit") + t.run()) == USER_TURN[2:]


def test_commit_below_100_ms_is_refused(talk):
    t = talk()
    t.configure(audio={"input": {"turn_detection": None}})
    t.append(bytes(99 * 48))
    error = error_of(t("input_audio_buffer.commit", event_id="mine"))
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["message"].endswith("buffer only has 99.00ms of audio.")
    assert error["event_id"] == "mine"
    t.append(bytes(48))
    assert t("input_audio_buffer.commit")[0]["type"] == "input_audio_buffer.committed"


def test_clear_forgets_the_audio_and_the_speech_in_it(talk, speech):
    t = talk()
    t.hear(speech(after_ms=0))
    assert t("input_audio_buffer.clear")[0]["type"] == "input_audio_buffer.cleared"
    assert t.hear(bytes(48 * 500)) == []
    assert t.session.items == []


@pytest.mark.parametrize("audio", ["not base64!", "AAAA", ""])
def test_append_takes_only_base64_pcm(talk, audio):
    error = error_of(talk()("input_audio_buffer.append", audio=audio))
    assert (error["code"], error["param"]) == ("invalid_value", "audio")
    assert error["message"].startswith("Invalid 'audio'. Expected base64-encoded audio bytes")


def test_tool_call_then_its_output_then_the_next_turn(talk, names):
    t = talk(Script([Turn(tool=ToolCall("weather", {"city": "Lisbon"})), Turn(say="Sunny.")]))
    t.configure(tools=[{"type": "function", "name": "weather"}])
    events = t("response.create") + t.run()
    assert names(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = pick(events, "response.function_call_arguments.done")[0]
    assert (done["name"], done["arguments"]) == ("weather", '{"city": "Lisbon"}')
    assert len(done["call_id"]) <= 32
    output = {"type": "function_call_output", "call_id": done["call_id"], "output": "sun"}
    assert names(t("conversation.item.create", item=output)) == ["conversation.item.added", "conversation.item.done"]
    assert "Sunny." in str(t("response.create") + t.run())


@pytest.mark.parametrize("options", [{"tool_choice": "none"}, {"tools": []}])
def test_a_tool_the_response_may_not_use_is_named_in_words(talk, options):
    t = talk(Script([Turn(tool=ToolCall("weather"))]))
    t.configure(tools=[{"type": "function", "name": "weather"}])
    done = pick(t("response.create", response=options) + t.run(), "response.done")[0]["response"]
    assert done["output"][0]["content"][0]["transcript"] == "(tool weather is not available)"


def test_several_messages_and_calls_share_one_response(talk):
    script = Script([Turn(say="One.", messages=("Two.",), tools=(ToolCall("a"), ToolCall("b")))])
    t = talk(script)
    t.configure(tools=[{"type": "function", "name": name} for name in "ab"])
    events = t("response.create") + t.run()
    added = pick(events, "response.output_item.added")
    assert [event["output_index"] for event in added] == [0, 1, 2, 3]
    output = pick(events, "response.done")[0]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "message", "function_call", "function_call"]


def test_a_turn_without_anything_completes_without_output(talk, names):
    t = talk(Script([Turn()]))
    events = t("response.create") + t.run()
    assert names(events) == ["response.created", "response.done", "rate_limits.updated"]
    assert events[1]["response"]["status"] == "completed"


def test_barge_in_closes_the_reply_before_the_new_turn(talk, names, speech):
    t = talk(Script([Turn(say="word " * 60), Turn(heard="Stop", say="Fine.")]))
    t("response.create")
    t.run(1.0)
    events = t.hear(speech()) + t.run()
    types = names(events)
    start = types.index("input_audio_buffer.speech_started")
    assert types[start : start + 7] == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    cut = pick(events, "response.done")[0]["response"]
    assert cut["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert cut["output"][0]["status"] == "incomplete"
    assert cut["usage"]["output_tokens"] > 0
    transcript = pick(events, "response.output_audio_transcript.done")[0]["transcript"]
    assert 0 < len(transcript) < len("word " * 60)
    assert pick(events, "response.done")[1]["response"]["status"] == "completed"


def test_without_interrupt_response_the_turn_is_answered_after_the_reply(talk, speech):
    t = talk(Script([Turn(say="word " * 60), Turn(heard="And?", say="Fine.")]))
    t.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    t("response.create")
    t.run(0.5)
    events = t.hear(speech()) + t.run()
    statuses = [event["response"]["status"] for event in pick(events, "response.done")]
    assert statuses == ["completed", "completed"]


def test_cancel_before_any_output_leaves_an_empty_response(talk, names):
    t = talk(Script([Turn(say="Hello.")]))
    t("response.create")
    events = t("response.cancel")
    assert names(events) == ["response.done"]
    assert events[0]["response"]["output"] == []
    assert events[0]["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert error_of(t("response.cancel"))["code"] == "response_cancel_not_active"


def test_cancel_names_its_response(talk):
    t = talk(Script([Turn(say="Hello.")]))
    response_id = t("response.create")[0]["response"]["id"]
    assert error_of(t("response.cancel", response_id="resp_other"))["code"] == "response_cancel_not_active"
    assert t("response.cancel", response_id=response_id)[-1]["type"] == "response.done"


def test_only_one_response_at_a_time_in_the_conversation(talk):
    t = talk(Script([Turn(say="Hello.")]))
    active = t("response.create")[0]["response"]["id"]
    error = error_of(t("response.create", event_id="second"))
    assert error["code"] == "conversation_already_has_active_response"
    assert active in error["message"]
    assert error["event_id"] == "second"
    assert len(pick(t.run(), "response.done")) == 1


def test_out_of_band_response_runs_beside_and_leaves_no_items(talk, names):
    t = talk(Script([Turn(say="Hello.")], out_of_band=[Turn(say="positive")]))
    t("response.create")
    aside = t("response.create", response={"conversation": "none", "input": [], "output_modalities": ["text"]})
    assert aside[0]["response"]["conversation_id"] is None
    events = aside + [e for e in t.run() if e.get("response_id") == aside[0]["response"]["id"]]
    assert "conversation.item.added" not in names(events)
    assert "response.output_text.done" in names(events)
    assert len(t.session.items) == 1
    assert len(pick(t.session.sent, "response.done")) == 2


def test_the_input_of_a_response_stands_for_the_conversation(talk):
    t = talk(Script(out_of_band=[Turn(say="a"), Turn(say="b")]))
    item = {"id": "item_1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x" * 400}]}
    t("conversation.item.create", item=item)

    def heard(given):
        response = {"conversation": "none", "instructions": "", "output_modalities": ["text"], "input": given}
        created = t("response.create", response=response)[0]
        (done,) = [e for e in t.run() if e["type"] == "response.done"]
        assert done["response"]["id"] == created["response"]["id"]
        return done["response"]["usage"]["input_tokens"]

    assert heard([]) == 0
    assert heard([{"type": "item_reference", "id": "item_1"}]) == 100
    assert len(t.session.items) == 1


def test_a_reference_to_an_item_that_is_not_there_is_refused(talk):
    t = talk(Script(out_of_band=[Turn(say="a")]))
    reference = {"type": "item_reference", "id": "item_0"}
    error = error_of(t("response.create", response={"conversation": "none", "input": [reference]}))
    assert (error["code"], error["param"]) == ("invalid_value", "response.input[0].id")


def test_script_over_is_said_politely(talk):
    t = talk(Script())
    done = pick(t("response.create") + t.run(), "response.done")[0]
    assert done["response"]["output"][0]["content"][0]["transcript"] == SCRIPT_IS_OVER


def test_voice_is_locked_by_the_first_audio_and_takes_the_whole_update_down(talk):
    t = talk(Script([Turn(say="Hello.")]))
    voice = {"audio": {"output": {"voice": "marin"}}}
    assert t.configure(**voice)[0]["session"]["audio"]["output"]["voice"] == "marin"
    t("response.create")
    t.run(0.06)
    error = error_of(t.configure(instructions="New.", audio={"output": {"voice": "cedar"}}))
    assert (error["code"], error["param"]) == ("cannot_update_voice", None)
    assert t.session.config["instructions"] != "New."
    assert t.configure(**voice)[0]["type"] == "session.updated"
    t.run()
    assert error_of(t("response.create", response={"audio": {"output": {"voice": "ash"}}}))["code"] == (
        "cannot_update_voice"
    )


def test_truncate_is_bounded_by_the_audio_produced_so_far(talk):
    t = talk(Script([Turn(say="word " * 40)]))
    t("response.create")
    t.run(0.06)
    item_id = t.session.items[-1]["id"]
    error = error_of(t("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1500))
    assert error["message"] == "Audio content of 200ms is already shorter than 1500ms"
    t.run()
    answer = t("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=1500)
    assert answer[0]["type"] == "conversation.item.truncated"
    assert t.session.items[-1]["content"] == [{"type": "output_audio"}]
    retrieved = t("conversation.item.retrieve", item_id=item_id)[0]["item"]
    assert len(base64.b64decode(retrieved["content"][0]["audio"])) == 1500 * 48


def test_truncate_refuses_what_is_not_model_audio(talk):
    t = talk(Script([Turn(say="Hello.")]))
    user = {"id": "u1", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
    t("conversation.item.create", item=user)
    t("response.create")
    t.run()
    reply_id = t.session.items[-1]["id"]
    refused = [("u1", 100), (reply_id, 0)]
    for item_id, end in refused:
        error = error_of(t("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=end))
        assert error["message"] == "Only model output audio messages can be truncated"
    error = error_of(t("conversation.item.truncate", item_id="none", content_index=0, audio_end_ms=1))
    assert error["message"] == "Item with item_id not found: none"


def message(item_id, text="Hi", role="user", kind="input_text"):
    return {"id": item_id, "type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def test_truncating_while_it_is_spoken_keeps_what_was_heard(talk):
    t = talk(Script([Turn(say="word " * 40)]))
    t("response.create")
    t.run(0.3)
    item_id = t.session.items[-1]["id"]
    t("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=300)
    t.run()
    assert t.session.conversation.find(item_id).audio_ms == 300
    assert t.session.items[-1]["content"] == [{"type": "output_audio"}]


def test_a_tool_output_needs_its_call(talk):
    t = talk()
    output = {"type": "function_call_output", "call_id": "call_1", "output": "{}"}
    error = error_of(t("conversation.item.create", item=output))
    assert (error["code"], error["message"]) == (
        "invalid_tool_call_id",
        "Tool call ID 'call_1' not found in conversation.",
    )
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    t("conversation.item.create", item=call)
    assert t("conversation.item.create", item=output)[0]["type"] == "conversation.item.added"


def test_items_are_placed_where_the_client_says(talk):
    t = talk()
    t("conversation.item.create", item=message("b"))
    t("conversation.item.create", item=message("a"), previous_item_id="root")
    added = t("conversation.item.create", item=message("ab"), previous_item_id="a")
    t("conversation.item.create", item=message("c"))
    assert [item["id"] for item in t.session.items] == ["a", "ab", "b", "c"]
    assert added[0]["previous_item_id"] == added[1]["previous_item_id"] == "a"


def test_items_are_refused_with_the_known_codes(talk):
    t = talk()
    t("conversation.item.create", item=message("a"))
    assert error_of(t("conversation.item.create", item=message("a")))["code"] == "item_create_duplicate_item_id"
    assert error_of(t("conversation.item.create", item=message("x"), previous_item_id="gone"))["param"] == (
        "previous_item_id"
    )
    assert error_of(t("conversation.item.delete", item_id="x"))["code"] == "item_delete_invalid_item_id"
    assert error_of(t("conversation.item.retrieve", item_id="x"))["code"] == "item_retrieve_invalid_item_id"
    assert t("conversation.item.delete", item_id="a")[0] == {
        "type": "conversation.item.deleted",
        "event_id": t.session.sent[-1]["event_id"],
        "item_id": "a",
    }
    assert t.session.items == []


def test_failed_and_incomplete_turns(talk):
    script = Script(
        [
            Turn(failure=("insufficient_quota", "insufficient_quota", "You exceeded your quota.")),
            Turn(say="word " * 20, incomplete="content_filter"),
        ]
    )
    t = talk(script)
    failed = pick(t("response.create") + t.run(), "response.done")[0]["response"]
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]["code"] == "insufficient_quota"
    cut = pick(t("response.create") + t.run(), "response.done")[0]["response"]
    assert cut["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert cut["output"][0]["status"] == "incomplete"
    assert len(cut["output"][0]["content"][0]["transcript"]) < 100


def test_incomplete_tool_call_has_half_of_its_arguments(talk):
    t = talk(Script([Turn(tool=ToolCall("f", {"text": "x" * 60}), incomplete="max_output_tokens")]))
    t.configure(tools=[{"type": "function", "name": "f"}])
    (call,) = pick(t("response.create") + t.run(), "response.done")[0]["response"]["output"]
    assert call["status"] == "incomplete"
    assert not call["arguments"].endswith("}")


def test_max_output_tokens_ends_the_reply(talk):
    t = talk(Script([Turn(say="word " * 60)]))
    done = pick(t("response.create", response={"max_output_tokens": 20}) + t.run(), "response.done")[0]["response"]
    assert done["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert done["max_output_tokens"] == 20


def test_a_stalled_reply_never_ends_but_can_be_cancelled(talk, names):
    t = talk(Script([Turn(say="word " * 20, stall=True)]))
    t("response.create")
    assert "response.done" not in names(t.run(300))
    assert names(t("response.cancel"))[-1] == "response.done"


def test_a_quiet_hour_moves_the_clock_and_not_the_memory(talk, names, speech):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]))
    for _ in range(15):
        t.append(bytes(48 * 10_000))
    started = t.append(speech())[0]
    # 100 ms of silence in front of the speech, 300 ms of padding.
    assert started["audio_start_ms"] == pytest.approx(150_000 + 100 - 300, abs=40)
    assert t.session.conversation.find(t.session.items[0]["id"]).audio_ms < 3000


def test_an_image_is_billed_as_input(talk):
    t = talk(Script([Turn(say="A cat.")]))
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    t("conversation.item.create", item={"type": "message", "role": "user", "content": [image]})
    done = pick(t("response.create") + t.run(), "response.done")[0]["response"]
    assert done["usage"]["input_token_details"]["image_tokens"] > 0


def test_usage_counts_heard_and_spoken_audio_and_what_is_cached(talk, speech):
    t = talk(Script([Turn(heard="Hi", say="Hello."), Turn(heard="So", say="Yes.")]))
    first = pick(t.hear(speech()) + t.run(), "response.done")[0]["response"]["usage"]
    user = t.session.conversation.find(t.session.items[0]["id"])
    assert first["input_token_details"]["audio_tokens"] == -(-user.audio_ms // 100)
    reply = t.session.conversation.find(t.session.items[1]["id"])
    assert first["output_token_details"]["audio_tokens"] == -(-reply.audio_ms // 50)
    assert first["total_tokens"] == first["input_tokens"] + first["output_tokens"]
    assert first["input_token_details"]["cached_tokens"] == 0
    second = pick(t.hear(speech()) + t.run(), "response.done")[0]["response"]["usage"]
    assert second["input_token_details"]["cached_tokens"] == first["input_tokens"]
    assert second["input_tokens"] > first["input_tokens"]


def test_idle_timeout_commits_the_silence_after_playback(talk, names):
    t = talk(Script([Turn(say="Hello."), Turn(say="Are you there?")]))
    t.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    t("response.create")
    t.run(1.0)
    t.append(bytes(48 * 2000))
    events = t.run(8)
    assert names(events)[:5] == ["input_audio_buffer.timeout_triggered", *USER_TURN[2:], "response.created"]
    assert events[0]["item_id"] == events[1]["item_id"]


def test_a_speaking_user_stops_the_idle_timeout(talk, names, speech):
    t = talk(Script([Turn(say="Hello."), Turn(heard="Yes", say="Good.")]))
    t.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    t("response.create")
    t.run(3.0)
    assert "input_audio_buffer.timeout_triggered" not in names(t.hear(speech()) + t.run(5))


def test_session_expires_with_an_error_and_1001(talk):
    t = talk()
    assert t.run(3599) == []
    (error,) = t.run(2)
    assert error["error"]["code"] == "session_expired"
    assert (t.closed.code, t.closed.reason) == (1001, error["error"]["message"])
    assert t("response.create") == []


def test_bad_frames_are_answered_and_forgiven(talk):
    t = talk(Script([Turn(say="Still here.")]))
    assert error_of(t.frame("{"))["code"] == "invalid_json"
    assert error_of(t.frame(b"\x00"))["code"] == "invalid_event"
    assert error_of(t.frame("[]"))["code"] == "invalid_event"
    assert error_of(t("transcription_session.update", session={}))["param"] == "type"
    assert t("response.create")[0]["type"] == "response.created"


@pytest.mark.parametrize(
    ("knobs", "first", "second"),
    [
        ({"audio_done_first": False}, "response.output_audio_transcript.done", "response.output_audio.done"),
        ({"item_done_first": False}, "response.output_item.done", "conversation.item.done"),
        ({"rate_limits": "before"}, "rate_limits.updated", "response.output_item.added"),
        ({"transcripts": "before_done"}, "conversation.item.input_audio_transcription.completed", "response.done"),
        ({"transcripts": "after_done"}, "response.done", "conversation.item.input_audio_transcription.completed"),
    ],
)
def test_knobs_reorder(talk, names, speech, knobs, first, second):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]), knobs=Knobs(speak=synthetic, **knobs))
    t.configure(audio={"input": {"transcription": {"model": "gpt-transcribe"}}})
    types = names(t.hear(speech()) + t.run())
    # The last of each name: the reply's, not the user turn's.
    assert types[::-1].index(first) > types[::-1].index(second)


def test_conversation_created_is_sent_only_on_request(talk, names):
    assert names(talk().session.sent) == ["session.created"]
    t = talk(knobs=Knobs(conversation_created=True))
    assert names(t.session.sent) == ["session.created", "conversation.created"]


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_telephone_formats_are_heard_and_spoken(talk, names, speech, encoding):
    t = talk(Script([Turn(heard="Hi", say="Hello.")]))
    box = {"format": {"type": encoding}}
    t.configure(audio={"input": box, "output": box})
    events = t.append(g711.encode(speech(), encoding)) + t.run()
    assert names(events)[:5] == USER_TURN
    delta = base64.b64decode(pick(events, "response.output_audio.delta")[0]["delta"])
    assert len(delta) == 200 * 8
    deltas = [base64.b64decode(event["delta"]) for event in pick(events, "response.output_audio.delta")]
    spoken = g711.decode(b"".join(deltas), encoding)
    assert abs(len(spoken) - len(synthetic("Hello."))) <= 6


def test_two_sessions_share_the_script_and_no_ids(talk):
    script = Script([Turn(say="First."), Turn(say="Second.")])
    texts = []
    ids: set[str] = set()
    for t in (talk(script, number=1), talk(script, number=2)):
        events = t("response.create") + t.run()
        texts.append(pick(events, "response.output_audio_transcript.done")[0]["transcript"])
        assert not ids & {event["event_id"] for event in t.session.sent}
        ids |= {event["event_id"] for event in t.session.sent}
    assert texts == ["First.", "Second."]
    assert all(len(event_id) <= 32 for event_id in ids)


def test_an_item_named_by_the_client_keeps_its_id_for_itself(talk):
    def reply_after(item_id):
        t = talk(Script([Turn(say="Again.")]))
        item = {"id": item_id, "type": "message", "role": "assistant"}
        t("conversation.item.create", item={**item, "content": [{"type": "output_text", "text": "Hello."}]})
        (reply,) = pick(t("response.create") + t.run(), "response.output_item.done")
        return t, reply["item"]["id"]

    _, given = reply_after("another")
    t, other = reply_after(given)  # as when the history of one emulator is replayed to the next
    assert [item["id"] for item in t.session.items] == [given, other]
    assert other != given
