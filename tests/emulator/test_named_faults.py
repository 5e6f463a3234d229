"""Faults by name: what is read, what is refused, and what each of them does."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import faults as f
from livekit_plugins_openai_ga.emulator.named_faults import NAMED, OCCASIONS, ON_PURPOSE, duration, fault, table


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("drop", f.DropOn("response.created")),
        ("drop@3s", f.After(3.0, f.DropOn(""))),
        ("drop@250msx5", f.After(0.25, f.DropOn(""), times=5)),
        ("freeze@reply:2", f.FreezeOn("response.created", nth=2)),
        ("drop@response.output_text.delta:3x2", f.DropOn("response.output_text.delta", nth=3, times=2)),
        ("close:1001", f.CloseOn("response.created", 1001, ON_PURPOSE)),
        ("close@tool:1:4000", f.CloseOn("response.function_call_arguments.done", 4000, ON_PURPOSE)),
        ("close@3s:4000", f.After(3.0, f.CloseOn("", 4000, ON_PURPOSE))),
        ("slow@audio:2:500ms", f.DelayOn("response.output_audio.delta", 0.5, nth=2)),
        ("lose@session.update", f.SwallowOn("session.update")),
        ("lose@session.output_audio.delta", f.SwallowOn("session.output_audio.delta")),
        ("duplicate", f.RepeatOn("response.done")),
        ("reorder@done:2", f.PostponeOn("response.done", nth=2)),
        ("refuse:cannot_update_voice", f.RejectOn("session.update", "cannot_update_voice", ON_PURPOSE)),
        ("refuse@response.create", f.RejectOn("response.create", "invalid_value", ON_PURPOSE)),
        ("http", f.RefuseHandshake(503, ON_PURPOSE)),
        ("http@connection:1x3:429", f.RefuseHandshake(429, ON_PURPOSE, times=3)),
        ("reject@connection:2:insufficient_quota", f.RejectHandshake("insufficient_quota", ON_PURPOSE, nth=2)),
        ("reject:invalid_api_key", f.RejectHandshake("invalid_api_key", ON_PURPOSE, 3000)),
        ("expire:3s", f.ExpireAfter(3.0)),
        ("fail-reply@reply:2", f.FailResponse("server_error", ON_PURPOSE, nth=2)),
        ("rate-limit", f.FailResponse("rate_limit_exceeded", ON_PURPOSE, "rate_limit_error")),
        ("fail-transcript@turn:2", f.FailTranscription("audio_unintelligible", ON_PURPOSE, nth=2)),
        ("slow-transcript:2.5s", f.DelayTranscription(2.5)),
        ("fail-tools", f.FailToolList()),
    ],
)
def test_what_is_written_is_what_is_armed(text: str, meant: f.Fault) -> None:
    assert fault(text) == meant


@pytest.mark.parametrize("row", NAMED, ids=lambda row: row.name)
def test_every_fault_can_be_written_out_and_means_the_same(row) -> None:
    assert fault(row.written) == fault(row.name)


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_every_occasion_is_one_for_a_fault_that_needs_no_event(occasion: str) -> None:
    assert fault(f"drop@{occasion}:2") == f.DropOn(OCCASIONS[occasion], nth=2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("drpo@3s", "'drpo' is no fault. Did you mean drop?"),
        ("xyz", "'xyz' is no fault. See --list-faults."),
        ("", "'' is no fault. See --list-faults."),
        ("drop@", "'drop@' is not a fault: write NAME[@WHEN][xTIMES][:ARGUMENT], such as drop@3s or http:503."),
        ("drop@3", "'drop@3' is not a fault: write NAME[@WHEN][xTIMES][:ARGUMENT], such as drop@3s or http:503."),
        ("drop@replies", "'replies' is no occasion and no event. Did you mean reply?"),
        (
            "drop@response.outptu_audio.delta",
            "'response.outptu_audio.delta' is no occasion and no event. Did you mean response.output_audio.delta?",
        ),
        ("drop:4", "drop takes nothing behind a colon: write drop, or drop@reply:1."),
        ("drop@reply:0", "'drop@reply:0': faults are counted from 1 to 99; the whole form is drop@reply:1."),
        (
            "http@connection:503",
            "'http@connection:503': faults are counted from 1 to 99; the whole form is http@connection:1:503.",
        ),
        ("http@3s", "http strikes at no time but at a connection: write http@connection:1:503."),
        ("http:200", "'200' is not an HTTP status that refuses: write 401, 429 or 503."),
        ("close:1006", "'1006' is not a code that a WebSocket can be closed with: write 1001, 1011 or 4000."),
        ("close:soon", "'soon' is not a code that a WebSocket can be closed with: write 1001, 1011 or 4000."),
        ("slow:2", "'2' is not a time: write 80ms or 1.5s."),
        ("error:Out of order", "'Out of order' is not an error code: write one such as server_error."),
        ("duplicate@1s", "duplicate strikes at no time but at an event of the server's: write duplicate@done:1."),
        (
            "refuse@reply",
            "refuse has nothing to do with reply: it takes an event of the client's, as in "
            "refuse@update:1:invalid_value.",
        ),
        ("rate-limit@tool", "rate-limit strikes at a reply only: write rate-limit@reply:1."),
    ],
)
def test_what_cannot_be_used_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        fault(text)
    assert str(refused.value) == sentence


def test_a_time_has_a_unit() -> None:
    assert [duration(text) for text in ("80ms", "1.5s", "0s")] == [0.08, 1.5, 0.0]
    for text in ("80", "1.5 s", "-1s", "1m", ""):
        with pytest.raises(ValueError, match="is not a time"):
            duration(text)


def test_the_table_has_a_line_for_each() -> None:
    lines = table().splitlines()
    assert [line.split()[:2] for line in lines[1 : len(NAMED) + 1]] == [[row.name, row.written] for row in NAMED]
    for name, event in OCCASIONS.items():
        assert any(line.startswith(f"@{name}:N ") and line.endswith(event) for line in lines)
