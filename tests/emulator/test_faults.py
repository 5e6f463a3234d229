"""Faults in virtual time; what needs a socket is in test_server."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import Script, Turn, faults
from livekit_plugins_openai_ga.emulator.actions import Close, Drop, Freeze, Send, SendRaw, Wait
from livekit_plugins_openai_ga.emulator.faults import FaultPlan


@pytest.fixture
def troubled(talk):
    """A session with these faults and a script of two replies."""

    def begin(*planned):
        return talk(Script([Turn(say="Hello there."), Turn(say="Again.")]), faults=FaultPlan(planned))

    return begin


def after(t, event_type):
    """The actions that follow the first event of this type, itself included."""
    index = next(i for i, a in enumerate(t.actions) if isinstance(a, Send) and a.event["type"] == event_type)
    return t.actions[index:]


def test_drop_follows_the_nth_event_and_ends_the_session(troubled):
    t = troubled(faults.DropOn("response.output_audio.delta", nth=2))
    t("response.create")
    t.run()
    deltas = [a for a in t.actions if isinstance(a, Send) and a.event["type"] == "response.output_audio.delta"]
    assert len(deltas) == 2
    assert t.actions[-1] == Drop()
    assert t.closed == Close(1006, "")


def test_a_client_event_that_is_struck_is_not_acted_on(troubled):
    t = troubled(faults.DropOn("response.create"))
    assert t("response.create") == []
    assert t.actions[-1] == Drop()


def test_any_event_can_be_counted(troubled):
    t = troubled(faults.DropOn("*", nth=3))
    t("session.update", session={"type": "realtime"})
    assert [type(a) for a in t.actions] == [Send, Send, Drop]


def test_close_can_come_with_its_error(troubled):
    t = troubled(faults.CloseOn("session.updated", 1011, "server error", error=("server_error", "Sorry.")))
    t.configure()
    error, close = t.actions[-2:]
    assert (error.event["type"], error.event["error"]["code"]) == ("error", "server_error")
    assert close == Close(1011, "server error")


def test_freeze_and_delay_are_asked_of_the_socket(troubled):
    t = troubled(faults.DelayOn("session.updated", 1.5), faults.FreezeOn("session.updated"))
    t.configure()
    assert t.actions[-3] == Wait(1.5)
    assert isinstance(t.actions[-2], Send)
    assert t.actions[-1] == Freeze()


@pytest.mark.parametrize("data", ["{not json", b"\x00\x01", "x" * 5_000_000])
def test_anything_can_be_injected_before_an_event(troubled, data):
    t = troubled(faults.InjectOn("session.updated", data))
    t.configure()
    assert t.actions[-2] == SendRaw(data)
    assert t.actions[-1].event["type"] == "session.updated"


def test_an_unknown_event_can_be_injected(troubled):
    t = troubled(faults.InjectOn("response.created", {"type": "response.surprise", "x": 1}))
    assert [e["type"] for e in t("response.create")] == ["response.surprise", "response.created"]


def test_events_can_be_lost_and_repeated_and_altered(troubled, names):
    t = troubled(
        faults.SwallowOn("session.updated"),
        faults.RepeatOn("conversation.item.added"),
        faults.AlterOn("response.created", {"novelty": True}, without=("response",)),
    )
    assert t.configure() == []
    assert t.session.config["type"] == "realtime"
    events = t("response.create") + t.run()
    assert names(events).count("conversation.item.added") == 2
    assert set(events[0]) == {"type", "event_id", "novelty"}
    assert t.configure()[0]["type"] == "session.updated"


def test_an_event_can_come_behind_the_next_one(troubled, names):
    t = troubled(faults.PostponeOn("conversation.item.added"))
    events = t("response.create") + t.run()
    at = names(events).index("conversation.item.added")
    assert names(events)[at - 1] == "response.content_part.added"
    assert names(events).count("conversation.item.added") == 1


def test_an_event_that_nothing_follows_is_only_late(troubled, names):
    t = troubled(faults.PostponeOn("session.updated"))
    assert t.configure() == []
    assert names(t.run()) == ["session.updated"]


def test_a_lost_client_event_has_no_answer(troubled):
    t = troubled(faults.SwallowOn("response.create"))
    assert t("response.create") == []
    assert t("response.create")[0]["type"] == "response.created"


def test_a_client_event_is_rejected_in_given_words(troubled):
    t = troubled(faults.RejectOn("session.update", "server_error", "Try later.", error_type="server_error", times=2))
    for _ in range(2):
        (answer,) = t("session.update", event_id="mine", session={"type": "realtime"})
        assert answer["error"] == {
            "type": "server_error",
            "code": "server_error",
            "message": "Try later.",
            "param": None,
            "event_id": "mine",
        }
    assert t.configure()[0]["type"] == "session.updated"


def test_a_failed_response_takes_no_turn(troubled):
    t = troubled(faults.FailResponse("rate_limit_exceeded", "Slow down.", "rate_limit"))
    events = t("response.create") + t.run()
    failed = next(e["response"] for e in events if e["type"] == "response.done")
    assert failed["status_details"] == {
        "type": "failed",
        "error": {"type": "rate_limit", "code": "rate_limit_exceeded", "message": "Slow down."},
    }
    assert "Hello there." in str(t("response.create") + t.run())


def test_a_transcription_fails_with_its_own_event(troubled, speech):
    t = troubled(faults.FailTranscription())
    t.configure(audio={"input": {"transcription": {"model": "gpt-transcribe"}, "turn_detection": None}})
    t.append(speech())
    event = (t("input_audio_buffer.commit") + t.run())[-1]
    assert event["type"] == "conversation.item.input_audio_transcription.failed"
    assert event["error"]["code"] == "audio_unintelligible"
    assert event["error"]["type"] == "transcription_error"


PREFIX = "conversation.item.input_audio_transcription"


@pytest.fixture
def commits(talk, speech):
    """A transcription session with these faults in which three turns were committed, a second apart."""

    def begin(*planned, model="gpt-4o-transcribe"):
        script = Script([Turn(heard="One"), Turn(heard="Two two"), Turn(heard="Three")])
        t = talk(script, session_type="transcription", faults=FaultPlan(planned))
        t.configure(audio={"input": {"transcription": {"model": model}, "turn_detection": None}})
        events = []
        for _ in range(3):
            events += t.append(speech()) + t("input_audio_buffer.commit") + t.run(1)
        return t, [event["item_id"] for event in events if event["type"] == "input_audio_buffer.committed"], events

    return begin


def endings(events):
    return [
        (event["item_id"], event.get("transcript"))
        for event in events
        if event["type"] in (f"{PREFIX}.completed", f"{PREFIX}.failed")
    ]


def test_the_nth_transcript_can_come_behind_later_ones(commits):
    t, items, events = commits(faults.DelayTranscription(5.0, nth=2))
    assert endings(events) == [(items[0], "One"), (items[2], "Three")]
    assert items[1] not in [event["item_id"] for event in events if event["type"] == f"{PREFIX}.delta"]
    assert endings(t.run(2.9)) == []
    assert endings(t.run(3)) == [(items[1], "Two two")]


def test_the_deltas_of_a_late_transcript_can_come_in_time(commits):
    t, items, events = commits(faults.DelayTranscription(5.0, deltas_first=True, nth=2))
    deltas = [event["delta"] for event in events if event.get("item_id") == items[1] and "delta" in event]
    assert "".join(deltas) == "Two two"
    (completed,) = t.run(6)
    assert (completed["type"], completed["transcript"]) == (f"{PREFIX}.completed", "Two two")


def test_a_transcript_can_stay_out_for_ever(commits):
    t, items, events = commits(faults.DelayTranscription(float("inf")))
    assert [item for item, _ in endings(events + t.run(3000))] == items[1:]


def test_the_nth_transcription_can_fail_and_fail_late(commits):
    late = (faults.FailTranscription(nth=2), faults.DelayTranscription(5.0, deltas_first=True, nth=2))
    t, items, events = commits(*late)
    assert endings(events) == [(items[0], "One"), (items[2], "Three")]
    assert items[1] not in [event["item_id"] for event in events if event["type"] == f"{PREFIX}.delta"]
    (failed,) = t.run(6)
    assert (failed["type"], failed["item_id"]) == (f"{PREFIX}.failed", items[1])


def test_a_frozen_session_sends_and_transcribes_nothing_more(talk, speech):
    script = Script([Turn(heard="One")])
    t = talk(script, session_type="transcription", faults=FaultPlan([faults.FreezeOn("input_audio_buffer.committed")]))
    t.configure(audio={"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}})
    t.append(speech())
    assert t("input_audio_buffer.commit")[-1]["type"] == "input_audio_buffer.committed"
    assert t.run() == []
    assert script.position == 0


def test_a_client_event_that_freezes_is_not_acted_on(troubled):
    t = troubled(faults.FreezeOn("response.create"))
    assert t("response.create") == []
    assert t.session.active_reply is None


def test_a_session_can_expire_early(troubled):
    t = troubled(faults.ExpireAfter(5))
    assert t.run(4.9) == []
    assert t.run(0.2)[0]["error"]["code"] == "session_expired"


def test_faults_count_over_all_sessions(talk):
    plan = FaultPlan([faults.DropOn("session.created", times=2)])
    assert [talk(faults=plan).closed is None for _ in range(3)] == [False, False, True]


def test_a_fault_strikes_so_long_after_a_session_began_whatever_happens(talk):
    plan = FaultPlan([faults.After(3.0, faults.DropOn("never"), nth=2)])
    spared, struck = talk(faults=plan), talk(faults=plan)
    spared.run(10.0)
    assert spared.closed is None
    struck.run(2.9)
    assert struck.closed is None
    struck.run(0.2)
    assert struck.closed == Close(1006, "")


def test_what_strikes_at_a_time_can_be_said_as_well(troubled):
    t = troubled(
        faults.After(1.0, faults.InjectOn("", {"type": "error"})),
        faults.After(2.0, faults.DelayOn("", 0.5)),
        faults.After(3.0, faults.CloseOn("", 1011, "Sorry.")),
    )
    t.run()
    assert t.actions[-3:] == [Send({"type": "error"}), Wait(0.5), Close(1011, "Sorry.")]


def test_who_plans_faults_is_told_when_they_strike(talk):
    early, late, failing = (
        faults.After(1.0, faults.DelayOn("", 0.1)),
        faults.DropOn("response.done"),
        faults.FailResponse(),
    )
    struck = []
    t = talk(faults=FaultPlan([late, failing, early], struck=struck.append))
    t("response.create")
    assert struck == [failing]
    t.run()
    assert struck == [failing, late]  # the session is over
    other = talk(faults=FaultPlan([early], struck=struck.append))
    other.run(0.9)
    assert early not in struck
    other.run(0.2)
    assert struck[-1] is early
