"""What `doctor` makes of what it finds: keys, models, answers, times."""

from __future__ import annotations

from datetime import date

import pytest

from livekit_plugins_openai_ga import models
from livekit_plugins_openai_ga.cli import doctor_steps as steps
from livekit_plugins_openai_ga.cli.doctor_steps import Outcome, Status, Verdict, failed, ok, warning
from livekit_plugins_openai_ga.errors import from_close, from_server_error

BODY = "Ab1" * 20
TODAY = date(2026, 11, 21)


def key(raw: str | None, *, local: bool = False, native: bool = True) -> Verdict:
    return steps.key_verdict(raw, source="OPENAI_API_KEY", local=local, native=native)


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (f"sk-{BODY}", Status.OK, ""),
        (f"sk-proj-{BODY}", Status.OK, ""),
        (f"sk-svcacct-{BODY}", Status.OK, ""),
        (None, Status.FAILED, "missing_key"),
        ("", Status.FAILED, "missing_key"),
        (" \n", Status.FAILED, "missing_key"),
        (f'"sk-{BODY}"', Status.FAILED, "key_quotes"),
        (f"'sk-{BODY}'", Status.FAILED, "key_quotes"),
        (f"“sk-{BODY}”", Status.FAILED, "key_quotes"),
        (f"sk-{BODY}'", Status.FAILED, "key_quotes"),
        (f"Bearer sk-{BODY}", Status.FAILED, "key_bearer"),
        (f"sk-{BODY[:9]} {BODY}", Status.FAILED, "key_white_space"),
        (f"sk-{BODY}\nOPENAI_ORG=org", Status.FAILED, "key_white_space"),
        (f"sk-{BODY}…", Status.FAILED, "key_characters"),
        ("<your key>", Status.FAILED, "key_white_space"),
        ("<key>", Status.FAILED, "key_placeholder"),
        ("sk-...", Status.FAILED, "key_placeholder"),
        ("sk-xxxxxxxx", Status.FAILED, "key_placeholder"),
        ("your-api-key-here", Status.FAILED, "key_placeholder"),
        ("$OPENAI_API_KEY", Status.FAILED, "key_placeholder"),
        ("${KEY}", Status.FAILED, "key_placeholder"),
        (f"sk-ant-{BODY}", Status.FAILED, "wrong_kind_of_key"),
        (f"sk-admin-{BODY}", Status.FAILED, "wrong_kind_of_key"),
        (f"sk-{BODY}\n", Status.WARNING, "key_white_space"),
        (f" sk-{BODY}", Status.WARNING, "key_white_space"),
        (f"ek_{BODY}", Status.WARNING, "client_secret"),
        (BODY, Status.WARNING, "key_shape"),
        ("sk-1234", Status.WARNING, "key_shape"),
    ],
)
def test_the_shape_of_a_key_is_judged_and_the_key_is_not_told(raw: str | None, status: Status, code: str) -> None:
    verdict = key(raw)
    assert (verdict.status, verdict.code) == (status, code)
    assert bool(verdict.remedy) == (status is not Status.OK)
    told = f"{verdict}"
    assert BODY[:6] not in told
    assert verdict.clean([]) == verdict  # nothing in it looks like a key


def test_a_server_on_this_machine_needs_no_key_and_other_servers_take_any() -> None:
    assert key(None, local=True, native=False).status is Status.OK
    assert key("0123456789abcdef0123456789abcdef", native=False).status is Status.OK
    assert key("sk-1234", native=False).status is Status.OK
    assert key('"sk-1234"', native=False).status is Status.FAILED


@pytest.mark.parametrize("model", models.MODELS.values(), ids=lambda model: model.id)
def test_the_life_of_every_model_is_told_from_the_table(model: models.Model) -> None:
    kind = next((kind for kind, use in steps.MODEL_USE.items() if use is model.use), None)
    verdict = steps.model_verdict(model.id, kind or "conversation", today=TODAY, native=True)
    expected = {
        models.Stage.CURRENT: Status.OK,
        models.Stage.DEPRECATED: Status.WARNING,
        models.Stage.SHUT_DOWN: Status.FAILED,
    }[model.stage]
    assert verdict.status is (expected if kind else Status.FAILED)
    if kind and model.shutdown:
        assert model.shutdown in verdict.summary
        assert model.replacement in verdict.remedy
        assert verdict.details["days_left"] == (date.fromisoformat(model.shutdown) - TODAY).days


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2027, 1, 19), "in 1 day,"),
        (date(2027, 1, 20), "shut down today,"),
        (date(2026, 11, 21), "in 60 days,"),
        (date(2027, 1, 21), "was to be shut down on 2027-01-20"),
    ],
)
def test_days_are_counted_and_a_date_that_has_passed_is_left_to_the_server(today: date, said: str) -> None:
    verdict = steps.model_verdict("gpt-realtime", "conversation", today=today, native=True)
    assert verdict.status is Status.WARNING
    assert said in verdict.summary


def test_elsewhere_a_name_is_only_a_name() -> None:
    shut = steps.model_verdict("gpt-4o-realtime-preview", "conversation", today=TODAY, native=False)
    assert (shut.status, shut.code) == (Status.WARNING, "model_shut_down")
    alias = steps.model_verdict("our-voice", "conversation", today=TODAY, native=False)
    assert alias.status is Status.OK


def test_a_model_of_another_kind_names_the_option_that_is_meant() -> None:
    verdict = steps.model_verdict("gpt-transcribe", "conversation", today=TODAY, native=True)
    assert (verdict.status, verdict.code) == (Status.FAILED, "wrong_use")
    assert "--stt" in verdict.remedy


def test_a_name_with_a_slip_gets_the_one_that_is_near() -> None:
    verdict = steps.model_verdict("gpt-realtime-21", "conversation", today=TODAY, native=True)
    assert (verdict.status, verdict.code) == (Status.WARNING, "unknown_model")
    assert "gpt-realtime-2.1?" in verdict.remedy


def test_steps_are_told_apart_by_name_and_need_only_what_came_before() -> None:
    names = [step.name for step in steps.STEPS]
    assert len(set(names)) == len(names)
    for number, step in enumerate(steps.STEPS):
        assert set(step.needs) <= set(names[:number])
    for kind in steps.MODEL_USE:
        assert {need for step in steps.steps_of(kind) for need in step.needs} <= {s.name for s in steps.steps_of(kind)}


def step(name: str) -> steps.Step:
    return next(step for step in steps.STEPS if step.name == name)


def test_a_step_is_left_out_when_one_that_it_needs_failed() -> None:
    done = [Outcome(step("dns"), failed("no", "look"), 1.0)]
    left_out = steps.skipped(step("connect"), done, gone=False)
    assert left_out is not None
    assert left_out.summary == "needs `dns`, which failed"
    done.append(Outcome(step("connect"), left_out, None))
    after = steps.skipped(step("upgrade"), done, gone=False)
    assert after is not None
    assert after.summary == "needs `connect`, which was skipped"
    assert steps.skipped(step("connect"), [Outcome(step("dns"), warning("w", "r"), 1.0)], gone=False) is None


def test_only_failures_change_the_exit_code() -> None:
    fine, odd, bad = ok("fine"), warning("odd", "look"), failed("bad", "mend")
    assert steps.exit_code([Outcome(step("dns"), fine, 1.0), Outcome(step("key"), odd, 1.0)]) == 0
    assert steps.exit_code([Outcome(step("dns"), bad, 1.0), Outcome(step("key"), fine, 1.0)]) == 1


def test_what_takes_long_is_a_warning_and_of_a_reply_its_first_text_counts() -> None:
    assert steps.patient(step("dns"), ok("fine"), 2000.0).status is Status.OK
    slow = steps.patient(step("dns"), ok("fine"), 2001.0)
    assert (slow.status, slow.code) == (Status.WARNING, "slow")
    assert steps.patient(step("reply"), ok("said", first_text_ms=400.0), 60_000.0).status is Status.OK
    assert steps.patient(step("reply"), ok("said", first_text_ms=5400.0), 6000.0).code == "slow"
    bad = failed("bad", "mend", "timeout")
    assert steps.patient(step("dns"), bad, 10_000.0) == bad


def test_nobody_is_told_that_a_connection_is_tried_again_when_it_is_not() -> None:
    verdict = steps.of_failure(from_close(1006, ""))
    assert verdict.code == "close_1006"
    assert verdict.remedy.startswith("Run this again")
    expired = steps.of_failure(from_server_error("session_expired", None, "Your session hit the maximum duration."))
    assert expired.remedy.startswith("Run this again")


def test_what_a_server_says_is_shown_without_keys_and_escape_sequences() -> None:
    verdict = failed(
        "a\x1b[2Jb sk-abcdef123456 mysecretvalue", "c", "d\x07", reply=["\x1b]0;x\x07", {"k": "sk-abcdef1"}]
    )
    shown = verdict.clean(["mysecretvalue"])
    assert shown.summary == "a [2Jb [redacted] [redacted]"
    assert shown.code == "d "
    assert shown.details == {"reply": [" ]0;x ", {"k": "[redacted]"}]}


def test_a_configuration_is_compared_as_a_session_compares_it() -> None:
    asked = {"audio": {"output": {"voice": "marin", "speed": 1.0}}, "tools": [{"name": "a"}], "unheard": 1}
    same = {"audio": {"output": {"voice": "marin", "speed": 1.0}}, "tools": [{"name": "a", "strict": False}]}
    assert steps.configuration_verdict(asked, same).status is Status.OK
    verdict = steps.configuration_verdict(asked, {"audio": {"output": {"voice": "alloy", "speed": None}}})
    assert verdict.status is Status.WARNING
    assert verdict.details["differs"] == {
        "audio.output.speed": {"asked": 1.0, "kept": None},
        "audio.output.voice": {"asked": "marin", "kept": "alloy"},
    }
    assert "audio.output.speed: asked 1.0, kept nothing" in verdict.summary
