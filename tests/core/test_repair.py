"""Which part of a refused update is to blame, and what is left without it."""

from __future__ import annotations

from typing import Any

import pytest

from livekit_plugins_openai_ga import errors
from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.repair import Repair, repair, without_voice
from livekit_plugins_openai_ga.errors import Failure

TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "weather"},
    {"type": "function", "name": "look_up"},
    {"type": "mcp", "server_label": "shop"},
]
CHANGE: dict[str, Any] = {
    "type": "realtime",
    "instructions": "Be brief.",
    "tools": TOOLS,
    "audio": {"output": {"voice": "cedar", "speed": 1.2}},
}


def refusal(message: str = "No.", param: str | None = None, code: str | None = "invalid_value") -> Failure:
    return errors.from_server_error(code, "invalid_request_error", message, param=param)


@pytest.mark.parametrize(
    ("message", "param", "blamed"),
    [
        ("Too long.", "session.tools[1].description", 1),
        ("Invalid schema.", "session.tools[0]", 0),
        ("Invalid schema.", "tools[2].server_url", 2),
        ("Invalid schema.", "session.tools.1.parameters", 1),
        ("Invalid 'session.tools[1].name': string does not match pattern.", None, 1),
        ("Invalid schema for function 'look_up': array schema missing items.", None, 1),
        ("Invalid schema for function 'look_up'.", "session.tools", 1),
        ('The tool "shop" cannot be reached.', None, 2),
    ],
)
def test_a_tool_is_blamed_by_its_place_or_by_its_name(message: str, param: str | None, blamed: int) -> None:
    assert repair(CHANGE, refusal(message, param)) == Repair(TOOLS[blamed])


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("Too long.", "session.instructions"),
        ("The tool 'weather' is not allowed here.", "session.tool_choice"),
        ("Tools: at most 128.", "session.tools"),
        ("Invalid schema.", "session.tools[7]"),
        ("'weather' and 'look_up' are the same.", None),
        ("weather is fine.", None),
        ("No.", None),
    ],
)
def test_no_tool_is_blamed_when_none_is_named(message: str, param: str | None) -> None:
    assert repair(CHANGE, refusal(message, param)) is None


def test_an_update_without_tools_has_none_to_blame() -> None:
    assert repair({"type": "realtime", "tools": None}, refusal(param="session.tools[0]")) is None


def test_everything_but_the_tool_is_left() -> None:
    assert Repair(TOOLS[0]).without(CHANGE) == {**CHANGE, "tools": TOOLS[1:]}
    assert Repair(TOOLS[0]).without({"type": "realtime"}) == {"type": "realtime"}


def test_a_missing_tool_is_an_error_that_names_it_and_says_why() -> None:
    failure = refusal("Too long.", "session.tools[1].description")
    (report,) = Repair(TOOLS[1]).told(failure)
    assert isinstance(report, fx.Report)
    sentence = report.failure.sentence()
    for words in ("'look_up' is left out", "Too long.", "session.tools[1].description"):
        assert words in sentence


def test_a_voice_that_came_too_late_is_left_out_of_the_rest() -> None:
    part = repair(CHANGE, refusal("Cannot update a conversation's voice.", code="cannot_update_voice"))
    assert part == Repair(None)
    assert part is not None
    assert part.without(CHANGE) == {**CHANGE, "audio": {"output": {"speed": 1.2}}}
    assert repair({"type": "realtime"}, refusal(code="cannot_update_voice")) is None


def test_nothing_is_left_of_an_update_of_the_voice_only() -> None:
    voice = {"audio": {"output": {"voice": "cedar"}}}
    assert without_voice({"type": "realtime", **voice}) == ({}, voice)
    assert without_voice({"type": "realtime", "tools": []}) == ({"type": "realtime", "tools": []}, {})
    both = {"type": "realtime", "audio": {**voice["audio"], "input": {"turn_detection": None}}}
    assert without_voice(both)[0] == {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
