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
    assert script.hear().heard == "Hi"
    assert script.take(heard=True).say == "One."


def test_each_language_has_its_own_place_in_its_own_list():
    script = Script([Turn(heard="One", say="Uno")], translations={"de": [Turn(heard="One", say="Eins")], "fr": []})
    assert script.take_translation("de").say == "Eins"
    assert script.take_translation("es").say == "Uno"
    assert script.take_translation("fr").say == script.take_translation("de").say == SCRIPT_IS_OVER


def test_hearing_does_not_move_the_script():
    script = Script([Turn(heard="Hi", say="One.")])
    assert script.hear() == script.hear() == script.turns[0]
    assert script.position == 0


def test_user_input_takes_an_unheard_turn_when_no_other_is_left():
    script = Script([Turn(say="Only.")])
    assert script.hear().heard == ""
    assert script.take(heard=True).say == "Only."
    assert script.hear().heard == ""


def alive():
    return True


def test_several_turns_can_be_claimed_and_the_script_moves_on_in_their_order():
    script = Script([Turn(say="Hello."), Turn(heard="One"), Turn(heard="Two"), Turn(say="More."), Turn(heard="Three")])
    one, two, three = (script.claim(alive) for _ in range(3))
    assert [claim.turn.heard for claim in (one, two, three)] == ["One", "Two", "Three"]
    assert script.claim(alive).turn == Turn()
    three.settle()
    two.settle()
    assert script.position == 0
    assert script.hear().heard == "One"
    one.settle()
    assert script.position == 5
    assert script.claim(alive).turn == Turn()


def test_a_turn_settled_early_is_not_heard_again():
    script = Script([Turn(heard="One"), Turn(heard="Two"), Turn(heard="Three")])
    sessions = [True]
    script.claim(lambda: sessions[0])
    script.claim(lambda: sessions[0]).settle()
    sessions[0] = False
    assert [script.claim(alive).turn.heard, script.claim(alive).turn.heard] == ["One", "Three"]


def test_a_claim_given_back_is_the_next_one_made():
    script = Script([Turn(heard="One"), Turn(heard="Two")])
    first = script.claim(alive)
    script.claim(alive)
    first.give_back()
    assert script.claim(alive).turn.heard == "One"


def test_replies_pass_over_what_was_transcribed():
    script = Script([Turn(heard="One"), Turn(heard="Two", say="2"), Turn(heard="Three", say="3")])
    claims = [script.claim(alive), script.claim(alive)]
    claims[1].settle()
    assert script.take(heard=True).heard == "One"
    assert script.take(heard=True).say == "3"


def test_out_of_band_turns_are_apart():
    script = Script([Turn(say="In.")], out_of_band=[Turn(say="Out.")])
    assert script.take_out_of_band().say == "Out."
    assert script.take_out_of_band().say == SCRIPT_IS_OVER
    assert script.take(heard=False).say == "In."


def test_a_script_is_loaded_from_json(tmp_path):
    path = tmp_path / "script.json"
    turn = {"heard": "Hi", "say": "A.", "messages": ["B."], "tool": {"name": "f", "arguments": {"a": 1}}}
    ear = {"heard": "Olá", "languages": ["pt"], "logprobs": [-0.5, 0]}
    path.write_text(
        json.dumps(
            {"turns": [turn, ear], "out_of_band": [{"say": "Out."}], "translations": {"de": [{"say": "Hallo."}]}}
        )
    )
    script = Script.load(path)
    assert script.turns == (
        Turn(heard="Hi", say="A.", messages=("B.",), tool=ToolCall("f", {"a": 1})),
        Turn(heard="Olá", languages=("pt",), logprobs=(-0.5, 0)),
    )
    assert script.turns[0].texts == ("A.", "B.")
    assert script.turns[0].calls == (ToolCall("f", {"a": 1}),)
    assert script.out_of_band == (Turn(say="Out."),)
    assert script.translations["de"].turns == (Turn(say="Hallo."),)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is not JSON"),
        ("5", "a list of turns"),
        ("{}", "'turns'"),
        ('{"turns": [], "turn": []}', "Unknown parameter: 'turn'"),
        ('{"turns": [], "out_of_band": 5}', "'out_of_band': expected an array, but got an integer"),
        ('{"turns": [], "translations": []}', "'translations': expected an object"),
        ('{"turns": [], "translations": {"de": [{"says": "Hi"}]}}', "'translations.de[0].says'"),
        ('[{}, {"says": "Hi"}]', "Unknown parameter: 'turns[1].says'"),
        ("[5]", "'turns[0]': expected an object"),
        ('[{"say": 5}]', "'turns[0].say': expected a string"),
        ('[{"messages": "Hi"}]', "'turns[0].messages': expected an array"),
        ('[{"latency": true}]', "'turns[0].latency': expected a decimal"),
        ('[{"tool": {"nam": "f"}}]', "Missing required parameter: 'turns[0].tool.name'"),
        ('[{"tools": [{"name": "f", "arguments": "{}"}]}]', "'turns[0].tools[0].arguments': expected an object"),
        ('[{"logprobs": []}]', "'turns[0].logprobs': array too short"),
        ('[{"logprobs": [0.1]}]', "'turns[0].logprobs[0]': decimal above maximum value"),
        ('[{"languages": "en"}]', "'turns[0].languages': expected an array"),
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
