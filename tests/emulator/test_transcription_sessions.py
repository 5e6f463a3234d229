"""Transcription sessions, and the transcripts of realtime ones."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import Knobs, Script, Turn, faults
from livekit_plugins_openai_ga.emulator.faults import FaultPlan

PREFIX = "conversation.item.input_audio_transcription"
LOGPROBS = "item.input_audio_transcription.logprobs"
TURN = [
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    f"{PREFIX}.delta",
    f"{PREFIX}.completed",
]
SCRIPT = [Turn(heard="Hello there friend"), Turn(heard="Second turn")]


def transcribing(
    talk, model, *, turn_detection="keep", include=None, script=None, knobs=None, plan=None, number=1, **settings
):
    t = talk(script or Script(SCRIPT), session_type="transcription", knobs=knobs, faults=plan, number=number)
    box = {"transcription": {"model": model, **settings}}
    if turn_detection != "keep":
        box["turn_detection"] = turn_detection
    (answer,) = t.configure(audio={"input": box}, **({"include": include} if include else {}))
    assert answer["type"] == "session.updated", answer
    return t


def test_a_fresh_session_is_the_observed_one(talk):
    t = talk(session_type="transcription")
    session = t.session.sent[0]["session"]
    assert session["object"] == "realtime.transcription_session"
    assert session["audio"] == {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": None,
            "noise_reduction": None,
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 200,
            },
        }
    }
    assert "model" not in session


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-transcribe", "whisper-1"])
def test_vad_models_report_after_the_commit(talk, names, speech, model):
    t = transcribing(talk, model)
    events = t.hear(speech()) + t.run()
    assert names(events) == ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", *TURN]
    deltas = [event["delta"] for event in events if event["type"] == f"{PREFIX}.delta"]
    assert "".join(deltas) == events[-1]["transcript"] == "Hello there friend"
    assert len(deltas) == (1 if model == "whisper-1" else 3)
    assert len({event.get("item_id") or event["item"]["id"] for event in events}) == 1


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
def test_streaming_models_tell_before_the_commit_with_its_item_id(talk, names, speech, model):
    t = transcribing(talk, model, turn_detection=None)
    early = t.hear(speech("a long enough sentence to speak"))
    assert names(early) == [f"{PREFIX}.delta"]
    late = t("input_audio_buffer.commit") + t.run()
    assert late[0]["item_id"] == early[0]["item_id"]
    assert late[-1]["type"] == f"{PREFIX}.completed"
    deltas = [event["delta"] for event in early + late if event["type"] == f"{PREFIX}.delta"]
    assert "".join(deltas) == late[-1]["transcript"] == "Hello there friend"


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
def test_streaming_models_refuse_turn_detection_even_the_default_one(talk, model):
    t = talk(session_type="transcription")
    (refused,) = t.configure(audio={"input": {"transcription": {"model": model}}})
    assert refused["error"]["message"] == "Turn detection is not supported for this transcription model."
    assert refused["error"]["param"] == "session.audio.input.turn_detection"
    assert t.session.config["audio"]["input"]["transcription"] is None


def test_a_knob_turns_off_the_detection_that_an_update_leaves_out(talk):
    t = talk(session_type="transcription", knobs=Knobs(keeps_default_detection=False))
    (refused,) = t.configure(
        audio={"input": {"transcription": {"model": "gpt-live-transcribe"}, "turn_detection": {"type": "server_vad"}}}
    )
    assert refused["error"]["param"] == "session.audio.input.turn_detection"
    (updated,) = t.configure(audio={"input": {"transcription": {"model": "gpt-live-transcribe"}}})
    assert updated["session"]["audio"]["input"]["turn_detection"] is None
    t = talk(session_type="transcription", knobs=Knobs(keeps_default_detection=False))
    (updated,) = t.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    assert updated["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_commits_are_chained_and_each_takes_the_next_turn(talk, speech):
    t = transcribing(talk, "gpt-live-transcribe", turn_detection=None)
    finals, committed = [], []
    for _ in range(2):
        events = t.hear(speech()) + t("input_audio_buffer.commit") + t.run()
        finals += [event["transcript"] for event in events if event["type"] == f"{PREFIX}.completed"]
        committed += [event for event in events if event["type"] == "input_audio_buffer.committed"]
    assert finals == ["Hello there friend", "Second turn"]
    assert committed[0]["previous_item_id"] is None
    assert committed[1]["previous_item_id"] == committed[0]["item_id"]


def test_silence_is_transcribed_as_nothing_and_takes_no_turn(talk, speech):
    t = transcribing(talk, "gpt-live-transcribe", turn_detection=None)
    t.append(bytes(48 * 2500))
    silent = t("input_audio_buffer.commit") + t.run()
    assert silent[-1]["transcript"] == ""
    assert silent[-1]["usage"] == {"type": "duration", "seconds": 3}
    t.append(speech())
    assert (t("input_audio_buffer.commit") + t.run())[-1]["transcript"] == "Hello there friend"


def test_token_models_bill_tokens(talk, speech):
    t = transcribing(talk, "gpt-4o-transcribe", prompt="medical")
    usage = (t.hear(speech()) + t.run())[-1]["usage"]
    assert usage["type"] == "tokens"
    assert usage["input_tokens"] == sum(usage["input_token_details"].values())
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_languages_come_from_gpt_transcribe_only(talk, speech):
    t = transcribing(talk, "gpt-transcribe", languages=["pt"])
    assert (t.hear(speech()) + t.run())[-1]["languages"] == [{"code": "pt"}]
    t = transcribing(talk, "gpt-4o-transcribe", language="pt")
    assert "languages" not in (t.hear(speech()) + t.run())[-1]


def test_logprobs_come_when_included(talk, speech):
    t = transcribing(talk, "gpt-4o-transcribe", include=[LOGPROBS])
    final = (t.hear(speech()) + t.run())[-1]
    assert "".join(entry["token"] for entry in final["logprobs"]) == final["transcript"]
    t = transcribing(talk, "gpt-4o-transcribe")
    assert "logprobs" not in (t.hear(speech()) + t.run())[-1]


def test_without_a_model_nothing_is_transcribed_and_nothing_complains(talk, names, speech):
    t = talk(Script(SCRIPT), session_type="transcription")
    assert names(t.hear(speech()) + t.run())[-1] == "conversation.item.done"


@pytest.mark.parametrize("event", ["response.create", "response.cancel", "conversation.item.create"])
def test_responses_have_no_place_here(talk, event):
    (refused,) = talk(session_type="transcription")(event)
    assert refused["error"]["param"] == "type"


def test_detected_languages_are_the_turns(talk, speech):
    turns = [Turn(heard="Oi hello", languages=("pt", "en")), Turn(heard="Hm", languages=()), Turn(heard="Hello")]
    t = transcribing(talk, "gpt-transcribe", turn_detection=None, script=Script(turns))
    found = []
    for pcm in (speech(), speech(), speech(), bytes(48 * 500)):
        t.append(pcm)
        found.append((t("input_audio_buffer.commit") + t.run())[-1]["languages"])
    assert found == [[{"code": "pt"}, {"code": "en"}], [], [{"code": "en"}], []]


def test_logprobs_are_the_turns_one_for_each_word(talk, speech):
    script = Script([Turn(heard="one two three", logprobs=(-0.5, -0.1))])
    t = transcribing(talk, "gpt-4o-transcribe", include=[LOGPROBS], script=script)
    events = t.hear(speech()) + t.run()
    told = [(entry["token"], entry["logprob"]) for entry in events[-1]["logprobs"]]
    assert told == [("one", -0.5), (" two", -0.1), (" three", -0.5)]
    deltas = [event["logprobs"] for event in events if event["type"] == f"{PREFIX}.delta"]
    assert [[(entry["token"], entry["logprob"])] for (entry,) in deltas] == [[pair] for pair in told]


@pytest.mark.parametrize("model", ["whisper-1", "gpt-4o-transcribe-diarize", "gpt-transcribe", "gpt-live-transcribe"])
def test_models_without_logprobs_report_none(talk, speech, model):
    t = transcribing(talk, model, turn_detection=None, include=[LOGPROBS])
    t.append(speech())
    assert not any("logprobs" in event for event in t("input_audio_buffer.commit") + t.run())


STREAMING = ["gpt-live-transcribe", "gpt-realtime-whisper"]


def streamed(t, pcm, **options):
    """The deltas before and after the commit of this audio, and the final transcript."""
    early = t.hear(pcm, **options)
    late = t("input_audio_buffer.commit") + t.run()
    deltas = [[event["delta"] for event in part if event["type"] == f"{PREFIX}.delta"] for part in (early, late)]
    return *deltas, late[-1]["transcript"]


@pytest.mark.parametrize("model", STREAMING)
@pytest.mark.parametrize("chunk_ms", [10, 50, 100])
def test_streamed_deltas_come_one_by_one_and_never_twice(talk, speech, model, chunk_ms):
    script = Script([Turn(heard="one two three four five six"), Turn(heard="again one two")])
    t = transcribing(talk, model, turn_detection=None, script=script)
    for turn in script.turns:
        early, late, final = streamed(t, speech("a sentence of some length"), chunk_ms=chunk_ms)
        assert early
        assert "".join(early + late) == final == turn.heard


@pytest.mark.parametrize("model", STREAMING)
def test_words_per_second_of_speech_can_be_set(talk, speech, model):
    heard = [Turn(heard="one two three four five six seven eight nine ten")]
    told = []
    for seconds_per_word in (0.1, 0.4):
        knobs = Knobs(seconds_per_word=seconds_per_word)
        t = transcribing(talk, model, turn_detection=None, script=Script(heard), knobs=knobs)
        early, _, _ = streamed(t, speech("a sentence of some length"))
        told.append(len(early))
    assert told[0] > told[1] > 0


@pytest.mark.parametrize("model", STREAMING)
def test_deltas_can_stop_until_the_commit(talk, speech, model):
    script = Script([Turn(heard="one two three four five")])
    t = transcribing(talk, model, turn_detection=None, script=script, knobs=Knobs(deltas_stop_after=2))
    early, late, final = streamed(t, speech("a sentence that is long enough for all of the words"))
    assert (early, late) == (["one", " two"], [" three", " four", " five"])
    assert final == "one two three four five"


@pytest.mark.parametrize("model", STREAMING)
def test_deltas_can_begin_with_a_space_that_the_transcript_has_not(talk, speech, model):
    t = transcribing(talk, model, turn_detection=None, knobs=Knobs(leading_space=True))
    early, late, final = streamed(t, speech("a sentence of some length"))
    assert "".join(early + late) == " " + final == " Hello there friend"


def test_several_turns_are_transcribed_at_once(talk, speech):
    t = transcribing(talk, "gpt-4o-transcribe", turn_detection=None)
    for pcm in (speech(), bytes(48 * 500), speech()):
        t.append(pcm)
        t("input_audio_buffer.commit")
    finals = [event["transcript"] for event in t.run() if event["type"] == f"{PREFIX}.completed"]
    assert finals == ["Hello there friend", "", "Second turn"]


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-4o-transcribe"])
@pytest.mark.parametrize("how", ["before the commit", "after the commit", "frozen"])
def test_audio_that_a_lost_session_left_unreported_is_heard_again(talk, speech, model, how):
    script = Script(SCRIPT)
    lost = transcribing(talk, model, turn_detection=None, script=script)
    lost.hear(speech())
    if how != "before the commit":
        lost("input_audio_buffer.commit")
    if how == "frozen":
        lost.session.connection_frozen()
        assert lost.run() == []
    else:
        lost.session.connection_lost(1006, "")
    t = transcribing(talk, model, turn_detection=None, script=script, number=2)
    finals = [streamed(t, speech())[-1] for _ in range(2)]
    assert finals == ["Hello there friend", "Second turn"]


def test_what_was_reported_is_not_heard_again_whatever_the_order(talk, speech):
    script = Script([Turn(heard="One"), Turn(heard="Two"), Turn(heard="Three")])
    plan = FaultPlan([faults.DelayTranscription(60)])
    lost = transcribing(talk, "whisper-1", turn_detection=None, script=script, plan=plan)
    for _ in range(2):
        lost.append(speech())
        lost("input_audio_buffer.commit")
    assert lost.run(1)[-1]["transcript"] == "Two"
    lost.session.connection_lost(1006, "")
    t = transcribing(talk, "whisper-1", turn_detection=None, script=script, number=2)
    assert [streamed(t, speech())[-1] for _ in range(2)] == ["One", "Three"]


def test_a_transcript_lost_on_the_way_is_heard_again_in_the_next_session(talk, speech):
    script = Script(SCRIPT)
    plan = FaultPlan([faults.SwallowOn(f"{PREFIX}.completed")])
    lost = transcribing(talk, "whisper-1", turn_detection=None, script=script, plan=plan)
    lost.append(speech())
    assert lost("input_audio_buffer.commit") + lost.run()
    assert streamed(lost, speech())[-1] == "Second turn"
    lost.session.connection_lost(1006, "")
    t = transcribing(talk, "whisper-1", turn_detection=None, script=script, number=2)
    assert streamed(t, speech())[-1] == "Hello there friend"


def test_a_failed_transcription_takes_its_turn(talk, speech):
    plan = FaultPlan([faults.FailTranscription()])
    t = transcribing(talk, "whisper-1", turn_detection=None, plan=plan)
    t.append(speech())
    t("input_audio_buffer.commit")
    t.run()
    assert streamed(t, speech())[-1] == "Second turn"


def test_a_turn_whose_transcript_is_not_wanted_any_more_is_the_next_one(talk, speech):
    t = transcribing(talk, "gpt-live-transcribe", turn_detection=None)
    assert t.hear(speech("a sentence of some length"))
    t.configure(audio={"input": {"transcription": None}})
    assert not [event for event in t("input_audio_buffer.commit") + t.run() if PREFIX in event["type"]]
    t.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    assert streamed(t, speech())[-1] == "Hello there friend"


def test_sessions_beside_each_other_hear_different_turns(talk, speech):
    script = Script(SCRIPT)
    sessions = [transcribing(talk, "whisper-1", turn_detection=None, script=script, number=n) for n in (1, 2)]
    for t in sessions:
        t.append(speech())
        t("input_audio_buffer.commit")
    assert [t.run()[-1]["transcript"] for t in sessions] == ["Hello there friend", "Second turn"]


def test_clear_forgets_a_streamed_transcript(talk, speech):
    t = transcribing(talk, "gpt-live-transcribe", turn_detection=None)
    first = t.hear(speech("a long enough sentence to speak"))
    t("input_audio_buffer.clear")
    again = t.hear(speech("a long enough sentence to speak"))
    assert again[0]["delta"] == first[0]["delta"]
    assert again[0]["item_id"] != first[0]["item_id"]
