"""Transcription sessions, and the transcripts of realtime ones."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import Script, Turn

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


def transcribing(talk, model, *, turn_detection="keep", include=None, **settings):
    t = talk(Script(SCRIPT), session_type="transcription")
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


def test_clear_forgets_a_streamed_transcript(talk, speech):
    t = transcribing(talk, "gpt-live-transcribe", turn_detection=None)
    first = t.hear(speech("a long enough sentence to speak"))
    t("input_audio_buffer.clear")
    again = t.hear(speech("a long enough sentence to speak"))
    assert again[0]["delta"] == first[0]["delta"]
    assert again[0]["item_id"] != first[0]["item_id"]
