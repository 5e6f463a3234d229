"""What a recording tells: turns and what each took, speech as it was played, tools, gaps, costs."""

from __future__ import annotations

import json

import pytest

from livekit_plugins_openai_ga import models
from livekit_plugins_openai_ga.cli.timelines.facts import as_json, percentile, tokens
from livekit_plugins_openai_ga.cli.timelines.marks import marks
from livekit_plugins_openai_ga.core.usage import reply_usage

from .tape import USAGE, Tape, silence, tone, weather_call


def test_a_turn_is_what_was_said_and_the_replies_to_it() -> None:
    greeting, question, thanks = weather_call().facts().turns
    assert (greeting.number, greeting.user, [reply.id for reply in greeting.replies]) == (0, None, ["r0"])
    assert question.user is not None
    assert (question.number, question.user.text) == (1, "What is the weather in Lisbon?")
    assert [reply.id for reply in question.replies] == ["r1", "r2"]
    assert (thanks.number, thanks.replies, thanks.wait) == (2, [], None)


def test_the_wait_for_the_first_sound_is_made_of_four_parts() -> None:
    wait = weather_call().facts().turns[1].wait
    assert wait is not None
    # Speech ended at 3000, without the 500 ms of silence that the detector waits for.
    assert wait.total_ms == pytest.approx(1600)
    parts = (wait.noticing_ms, wait.asking_ms, wait.tools_ms, wait.making_ms)
    assert parts == pytest.approx((500, 10, 720, 370))
    assert sum(parts) == pytest.approx(wait.total_ms)


def test_a_reply_knows_when_it_was_asked_for() -> None:
    replies = {reply.id: reply for reply in weather_call().facts().replies}
    assert [replies[name].asked_ms for name in ("r0", "r1", "r2")] == [10, None, 4210]


def test_the_end_of_speech_is_where_the_sound_ends_when_the_audio_was_kept() -> None:
    tape = Tape().opened(silence_ms=None)
    tape.listens(0, 1000, silence(100)).listens(1000, 2400, tone(100)).listens(2400, 4000, silence(100))
    # A semantic detector waits, and nobody knows for how long.
    tape.server(1100, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=700)
    tape.server(3600, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=3600)
    (said,) = tape.facts().utterances
    assert said.end_from == "sound"
    assert said.end_ms == pytest.approx(2400, abs=15)
    assert said.stopped_ms == 3600


def test_places_in_the_audio_count_anew_on_each_connection() -> None:
    tape = Tape().opened().listens(0, 2000)
    tape.link = 2
    tape.opened(3000).listens(3000, 5000)
    tape.server(3400, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=200)
    tape.server(4700, "input_audio_buffer.speech_stopped", item_id="u", audio_end_ms=1700)
    (said,) = tape.facts().utterances
    assert (said.start_ms, said.end_ms, said.end_from) == (pytest.approx(3200), pytest.approx(4200), "detector")


def test_a_turn_that_the_client_ends_has_its_audio_since_the_last_one() -> None:
    tape = Tape().opened(silence_ms=None).listens(0, 3000)
    for number, at in enumerate((1000, 2500)):
        tape.client(at, "input_audio_buffer.commit")
        tape.server(at + 40, "input_audio_buffer.committed", item_id=f"u{number}")
    first, second = tape.facts().utterances
    assert (first.start_ms, first.end_ms, first.end_from) == (pytest.approx(0, abs=2), 1000, "commit")
    assert (second.start_ms, second.end_ms) == (pytest.approx(1000, abs=101), 2500)


def test_speech_is_played_behind_what_is_playing_and_not_before_it_came() -> None:
    tape = Tape().opened().begins("a", 0).speaks("a", 100, 1000, 1000).ends("a", 200)
    tape.begins("b", 300).speaks("b", 400, 500).ends("b", 450)
    tape.begins("c", 5000).speaks("c", 5100, 500).ends("c", 5200)
    spans = [(speech.start_ms, speech.end_ms) for speech in tape.facts().speeches]
    assert spans == [(100, 2100), (2100, 2600), (5100, 5600)]


def test_a_truncated_reply_ends_where_the_client_says() -> None:
    (speech,) = (speech for speech in weather_call().facts().speeches if speech.cut)
    assert (speech.start_ms, speech.end_ms) == (4600, 6000)
    assert (speech.heard_ms, speech.made_ms) == (1400, 4000)


def test_what_was_queued_behind_a_cut_was_not_heard_and_what_comes_later_is() -> None:
    tape = Tape().opened().begins("a", 0).speaks("a", 100, 1000).speaks("a", 150, 1000, item="second").ends("a", 200)
    tape.client(600, "conversation.item.truncate", item_id="item_a", audio_end_ms=500)
    tape.begins("b", 700).speaks("b", 800, 300).ends("b", 900)
    first, second, later = sorted(tape.facts().speeches, key=lambda speech: speech.start_ms)[:3]
    assert {(s.id, s.heard_ms) for s in (first, second, later)} == {("item_a", 500), ("second", 0), ("item_b", 300)}
    assert next(s for s in (first, second, later) if s.id == "item_b").start_ms == 800


def test_a_cancelled_reply_without_a_truncate_ends_where_the_user_began_to_speak() -> None:
    tape = Tape().opened().begins("a", 0).speaks("a", 100, 2000)
    tape.server(900, "input_audio_buffer.speech_started", item_id="u", audio_start_ms=800)
    tape.ends("a", 950, "cancelled", status_details={"type": "cancelled", "reason": "turn_detected"})
    (speech,) = tape.facts().speeches
    assert (speech.cut, speech.end_ms, speech.heard_ms) == (True, 900, 800)


def test_in_a_call_the_server_says_when_it_plays() -> None:
    tape = Tape().opened().begins("a", 0).ends("a", 300)
    tape.server(400, "output_audio_buffer.started", response_id="a")
    tape.server(1900, "output_audio_buffer.cleared", response_id="a")
    (speech,) = tape.facts().speeches
    assert (speech.start_ms, speech.end_ms, speech.cut) == (400, 1900, True)
    assert tape.facts().replies[0].first_ms == 400


def test_a_tool_call_lasts_until_its_output_is_sent_and_a_replay_does_not_count() -> None:
    tape = weather_call()
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 C"}
    tape.client(8400, "conversation.item.create", item=output)
    (call,) = tape.facts().tools
    assert (call.name, call.start_ms, call.end_ms, call.output) == ("get_weather", 3700, 4200, "18 C")


def test_an_mcp_call_lasts_until_it_is_told_of() -> None:
    item = {"id": "mcp_1", "type": "mcp_call", "name": "search", "server_label": "docs", "arguments": "{}"}
    tape = Tape().opened().begins("a", 0)
    tape.server(100, "response.output_item.added", response_id="a", item=item)
    tape.server(900, "response.mcp_call.failed", item_id="mcp_1")
    failed = {**item, "error": {"type": "http_error", "message": "502"}}
    tape.server(901, "response.output_item.done", response_id="a", item=failed)
    (call,) = tape.facts().tools
    assert (call.server, call.start_ms, call.end_ms, call.error) == ("docs", 100, 900, "502")


def test_an_outage_lasts_until_there_is_a_connection_again() -> None:
    facts = weather_call().facts()
    (outage,) = facts.outages
    assert (outage.start_ms, outage.end_ms, outage.code, outage.told) == (7800, 8300, "close_1006", True)
    assert [(one.session, one.start_ms, one.end_ms) for one in facts.connections] == [
        ("sess_1", 0, 7800),
        ("sess_2", 8300, 9000),
    ]


def test_a_loss_that_nobody_wrote_down_begins_when_the_server_was_last_heard_of() -> None:
    tape = Tape()
    tape.server(0, "session.created", session={"id": "one"}).begins("a", 100).speaks("a", 200, 100)
    tape.link = 2
    tape.server(2000, "session.created", session={"id": "two"})
    (outage,) = tape.facts().outages
    assert (outage.start_ms, outage.end_ms, outage.told) == (200, 2000, False)
    assert tape.facts().replies[0].lost


def test_errors_are_told_where_they_belong_and_without_keys() -> None:
    tape = Tape().opened()
    tape.server(100, "error", error={"code": "invalid_api_key", "message": "Incorrect API key provided: sk-12345678"})
    failure = {"type": "failed", "error": {"type": "server_error", "code": None, "message": "internal"}}
    tape.begins("a", 200).ends("a", 300, "failed", status_details=failure, usage=None)
    transcription = "conversation.item.input_audio_transcription.failed"
    tape.server(400, transcription, item_id="u", error={"code": "audio_unintelligible", "message": "?"})
    tape.note(500, "failed", code="http_503", sentence="The server is overloaded.")
    tape.note(600, "malformed", problem="no JSON")
    found = [(one.lane, one.code) for one in tape.facts().problems]
    assert found == [
        ("network", "invalid_api_key"),
        ("agent", "server_error"),
        ("user", "audio_unintelligible"),
        ("network", "http_503"),
        ("network", "malformed"),
    ]
    assert "sk-1234" not in json.dumps(as_json(tape.facts()))


def test_replies_and_transcripts_have_their_price() -> None:
    facts = weather_call().facts()
    usage = reply_usage(USAGE)
    assert usage is not None
    reply = models.cost(usage, "gpt-realtime-2.1").total
    assert reply is not None
    assert facts.replies[0].cost_usd == pytest.approx(reply)
    spoken = 2 * 2 / 60 * 0.0045
    assert facts.cost_usd == pytest.approx(3 * reply + spoken)
    assert tokens(facts.usage)["audio in"] == 180


def test_a_model_without_a_price_has_an_unknown_cost() -> None:
    tape = Tape(model="my-alias").opened().begins("a", 0).speaks("a", 100, 100).ends("a", 200)
    facts = tape.facts()
    assert (facts.costs, facts.cost_usd) == ([None], None)


def test_what_was_written_is_a_turn_when_it_is_answered_and_a_replay_is_none() -> None:
    def written(name: str) -> dict[str, object]:
        return {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": name}]}

    tape = Tape().opened()
    tape.client(50, "conversation.item.create", item=written("old"))
    tape.client(100, "conversation.item.create", item=written("new"))
    tape.client(110, "response.create").begins("a", 150)
    tape.server(400, "response.output_text.delta", response_id="a", item_id="i", content_index=0, delta="Hi")
    tape.ends("a", 500)
    tape.link = 2
    tape.opened(1000).client(1100, "conversation.item.create", item=written("again"))
    tape.server(1200, "session.updated", session={}).client(1300, "conversation.item.create", item=written("newer"))
    facts = tape.facts()
    (turn,) = facts.turns
    assert turn.user is not None
    assert (turn.user.text, turn.wait and turn.wait.total_ms) == ("new", 300)
    assert [said.text for said in facts.utterances] == ["old", "new", "newer"]


def test_replies_out_of_band_belong_to_no_turn() -> None:
    tape = Tape().opened().says("u", 100, 900).begins("apart", 1500, conversation_id=None).ends("apart", 1600)
    facts = tape.facts()
    assert facts.replies[0].apart
    assert [turn.replies for turn in facts.turns] == [[]]


def test_texts_that_were_left_out_are_told_by_their_length() -> None:
    tape = Tape(redacted=True).opened().begins("a", 0).speaks("a", 100, 100)
    names = {"response_id": "a", "item_id": "item_a", "content_index": 0}
    for chars in (12, 30):
        tape.server(200, "response.output_audio_transcript.delta", delta={"chars": chars}, **names)
    transcription = "conversation.item.input_audio_transcription.delta"
    tape.server(300, transcription, item_id="u", delta={"chars": 3}).server(
        350, transcription, item_id="u", delta={"chars": 4}
    )
    facts = tape.facts()
    assert (facts.replies[0].text, facts.utterances[0].text) == ("[42 characters]", "[7 characters]")


def test_speech_to_text_has_the_time_from_the_end_of_speech_to_its_text() -> None:
    tape = Tape(kind="stt", model="gpt-transcribe").opened().listens(0, 3000).says("u", 500, 2000, "Hello")
    facts = tape.facts()
    assert facts.texted == pytest.approx([600])
    assert facts.cost_usd == pytest.approx(2 / 60 * 0.0045)


def test_a_translation_is_parted_into_phrases_and_says_how_far_it_is_behind() -> None:
    tape = Tape(kind="translation", model="gpt-realtime-translate")
    tape.note(0, "opened", session_id="s")
    for at in range(200, 6001, 200):
        tape.client(at, "session.input_audio_buffer.append", audio={"bytes": 9600, "ms": 200})
    for at, text in ((2000, "Good"), (2200, " morning."), (4400, "How are"), (4600, " you")):
        tape.server(at, "session.output_transcript.delta", delta=text, elapsed_ms=at - 1000)
    facts = tape.facts()
    assert [(one.lane, one.text, one.start_ms) for one in facts.phrases] == [
        ("agent", "Good morning.", 2000),
        ("agent", "How are you", 4400),
    ]
    assert [one.behind_ms for one in facts.phrases] == pytest.approx([1000, 1000])
    assert facts.cost_usd == pytest.approx(6 / 60 * 0.034)


def test_the_facts_as_json_are_plain_and_summed_up() -> None:
    told = json.loads(json.dumps(as_json(weather_call().facts())))
    assert told["timeline"] == 1
    assert told["summary"]["wait_ms"] == {"median": 1600.0, "p95": 1600.0, "longest": 1600.0}
    counts = {name: told["summary"][name] for name in ("turns", "interruptions", "tool_calls", "outages", "errors")}
    assert counts == {"turns": 2, "interruptions": 1, "tool_calls": 1, "outages": 1, "errors": 0}
    assert told["turns"][1]["replies"] == ["r1", "r2"]
    assert told["header"]["host"] == "api.openai.com"


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95.0
    assert percentile([7.0], 0.95) == 7.0


@pytest.mark.parametrize("broken", [{}, {"response": None}, {"item": 7}, {"session": []}, {"error": "no"}])
def test_events_that_are_not_as_they_should_be_stop_nothing(broken: dict[str, object]) -> None:
    tape = weather_call()
    types = {str(entry.event["type"]) for entry in tape.entries if entry.direction != "note"}
    extra = {"response.mcp_call.failed", "error", "input_audio_buffer.dtmf_event_received", "session.updated"}
    for number, name in enumerate(sorted(types | extra)):
        tape.server(8500 + number, name, **broken).client(8500 + number, name, **broken)
    assert tape.facts().turns[1].wait is not None


def test_an_empty_recording_tells_nothing() -> None:
    facts = Tape().facts()
    assert (facts.turns, facts.duration_ms, facts.cost_usd) == ([], 0.0, None)


def written(name: str, role: str = "user") -> dict[str, object]:
    return {"id": name, "type": "message", "role": role, "content": [{"type": "input_text", "text": name}]}


def greeted(tape: Tape, asked: float) -> Tape:
    tape.client(asked, "response.create").begins("a", asked + 100).speaks("a", asked + 200, 300)
    return tape.ends("a", asked + 300)


def test_an_older_conversation_that_is_brought_along_is_no_turn() -> None:
    answered = Tape().opened().server(10, "session.updated", session={})
    answered.client(20, "conversation.item.create", item=written("old"))
    answered.client(21, "conversation.item.create", item=written("answer", "assistant"))
    early = Tape().opened().client(5, "conversation.item.create", item=written("old"))
    early.server(10, "session.updated", session={})
    late = Tape().opened().server(10, "session.updated", session={})
    late.client(20, "conversation.item.create", item=written("old"))
    for tape, asked in ((answered, 30), (early, 30), (late, 15_000)):
        (turn,) = greeted(tape, asked).facts().turns
        assert (turn.number, turn.user, turn.wait) == (0, None, None)


def test_a_reply_that_is_asked_for_long_after_is_no_answer() -> None:
    tape = Tape().opened().listens(0, 2000).says("u", 500, 1500)
    (turn,) = greeted(tape, 300_000).facts().turns
    assert (turn.number, [reply.id for reply in turn.replies], turn.wait) == (1, ["a"], None)


def test_a_tool_that_takes_long_is_waited_for() -> None:
    tape = Tape().opened().listens(0, 2000).says("u", 500, 1500).begins("call", 2010)
    call = {"type": "function_call", "call_id": "c", "name": "slow", "arguments": "{}"}
    tape.server(2100, "response.output_item.done", response_id="call", item=call).ends("call", 2200)
    (turn,) = greeted(tape, 60_000).facts().turns
    assert turn.wait is not None
    assert turn.wait.total_ms == pytest.approx(58_700)


def test_the_silence_of_a_timeout_is_nothing_that_was_said() -> None:
    tape = Tape().opened().listens(0, 6100).says("u", 500, 1500)
    names = {"item_id": "idle", "audio_start_ms": 2000, "audio_end_ms": 6000}
    tape.server(6100, "input_audio_buffer.timeout_triggered", **names)
    tape.server(6101, "input_audio_buffer.committed", item_id="idle")
    tape.begins("a", 6200).speaks("a", 6300, 300).ends("a", 6400)
    facts = tape.facts()
    (turn,) = facts.turns
    assert turn.user is not None
    assert (turn.user.id, [reply.id for reply in turn.replies], turn.wait) == ("u", ["a"], None)
    assert [mark.kind for mark in marks(facts) if mark.lane == "user"] == ["speech", "timeout"]


def test_what_was_queued_behind_a_cut_is_not_one_more_interruption() -> None:
    tape = Tape().opened().begins("a", 0).speaks("a", 100, 5000).speaks("a", 150, 5000, item="second").ends("a", 200)
    facts = tape.client(1000, "conversation.item.truncate", item_id="item_a", audio_end_ms=800).facts()
    assert [speech.cut for speech in facts.speeches] == [True, True]
    assert as_json(facts)["summary"]["interruptions"] == 1


def test_a_change_of_connection_that_the_end_comes_before_is_no_outage() -> None:
    tape = Tape().opened().note(500, "lost", planned=True).note(600, "closed")
    assert tape.facts().outages == []


def test_what_was_asked_for_on_a_connection_that_was_lost_is_not_answered_on_the_next() -> None:
    tape = Tape().opened().client(100, "response.create").note(200, "lost", code="close_1006", sentence="Gone.")
    tape.link = 2
    facts = tape.begins("a", 900).ends("a", 1000).facts()
    assert facts.replies[0].asked_ms is None
