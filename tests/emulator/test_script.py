from __future__ import annotations

import json
import re

import pytest

from livekit_plugins_openai_ga.emulator import Script, ToolCall, Turn
from livekit_plugins_openai_ga.emulator.script import SCRIPT_IS_OVER


def test_each_reply_takes_the_next_turn():
    script = Script([Turn(say="Hello."), Turn(heard="Hi", say="One."), Turn(say="Two.")])
    assert [script.take(heard=False).say, script.take(heard=True).say, script.take(heard=False).say] == [
        "Hello.",
        "One.",
        "Two.",
    ]
    assert script.take(heard=False).say == SCRIPT_IS_OVER


def test_user_input_passes_over_a_greeting_nobody_asked_for():
    script = Script([Turn(say="Hello."), Turn(heard="Hi", say="One.")])
    assert script.hear() == "Hi"
    assert script.take(heard=True).say == "One."


def test_hearing_does_not_move_the_script():
    script = Script([Turn(heard="Hi", say="One.")])
    assert script.hear() == script.hear() == "Hi"
    assert script.position == 0


def test_user_input_takes_an_unheard_turn_when_no_other_is_left():
    script = Script([Turn(say="Only.")])
    assert script.hear() == ""
    assert script.take(heard=True).say == "Only."
    assert script.hear() == ""


def test_out_of_band_turns_are_apart():
    script = Script([Turn(say="In.")], out_of_band=[Turn(say="Out.")])
    assert script.take_out_of_band().say == "Out."
    assert script.take_out_of_band().say == SCRIPT_IS_OVER
    assert script.take(heard=False).say == "In."


def test_a_script_is_loaded_from_json(tmp_path):
    path = tmp_path / "script.json"
    turn = {"heard": "Hi", "say": "A.", "messages": ["B."], "tool": {"name": "f", "arguments": {"a": 1}}}
    path.write_text(json.dumps({"turns": [turn], "out_of_band": [{"say": "Out."}]}))
    script = Script.load(path)
    assert script.turns == (Turn(heard="Hi", say="A.", messages=("B.",), tool=ToolCall("f", {"a": 1})),)
    assert script.turns[0].texts == ("A.", "B.")
    assert script.turns[0].calls == (ToolCall("f", {"a": 1}),)
    assert script.out_of_band == (Turn(say="Out."),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("5", "a list of turns"),
        ("{}", "'turns'"),
        ('{"turns": [], "turn": []}', "Unknown parameter: 'turn'"),
        ('{"turns": [], "out_of_band": 5}', "'out_of_band': expected an array, but got an integer"),
        ('[{}, {"says": "Hi"}]', "Unknown parameter: 'turns[1].says'"),
        ("[5]", "'turns[0]': expected an object"),
        ('[{"say": 5}]', "'turns[0].say': expected a string"),
        ('[{"messages": "Hi"}]', "'turns[0].messages': expected an array"),
        ('[{"latency": true}]', "'turns[0].latency': expected a decimal"),
        ('[{"tool": {"nam": "f"}}]', "Missing required parameter: 'turns[0].tool.name'"),
        ('[{"tools": [{"name": "f", "arguments": "{}"}]}]', "'turns[0].tools[0].arguments': expected an object"),
        ('[{"failure": ["server_error"]}]', "'turns[0].failure': array too short"),
    ],
)
def test_a_bad_script_is_named_with_the_place_in_it(tmp_path, text, complaint):
    path = tmp_path / "script.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)) as error:
        Script.load(path)
    assert str(path) in str(error.value)


def test_a_missing_script_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        Script.load(tmp_path / "none.json")
