from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.devtools.timeline import Timeline


def weather_call() -> Timeline:
    call = Timeline()
    call.note(20.0, "closed")
    call.note(0.0, "connected to gpt-realtime-2.1")
    call.speech("caller", 0.5, 2.3, "Hello, who am I talking to?")
    call.speech("agent", 2.9, 5.1, "Hello! I am Iris, the assistant of the weather desk.")
    call.speech("caller", 7.0, 9.0, "What is the weather in Lisbon right now?")
    call.tool_call(9.4, 9.8, "get_weather", {"city": "Lisbon"}, "18 degrees, clear")
    call.speech(
        "agent", 10.1, 13.4, "Right now it is 18 degrees and clear, with a light wind from the", interrupted=True
    )
    call.speech("caller", 13.1, 15.0, "Wait, stop. Tell me about tomorrow instead.")
    call.speech("agent", 15.5, 18.0, "Tomorrow will be 21 degrees.")
    call.usage({"audio in": 1200, "text in": 800, "cached": 640, "audio out": 90}, 0.0123)
    call.usage({"audio in": 34, "text in": 100, "cached": 0, "audio out": 9}, 0.0004)
    return call


WIDE = """\
         |0 s     |2 s     |4 s     |6 s     |8 s     |10 s    |12 s    |14 s    |16 s    |18 s
caller     ========                     ==========                  =========
agent                 ==========                      ===============x         ============
tool                                               ===
session  |                                                                                         |

0.0 s           session  connected to gpt-realtime-2.1
0.5-2.3 s       caller   Hello, who am I talking to?
2.9-5.1 s       agent    Hello! I am Iris, the assistant of the weather desk.
                         [first audio after 600 ms]
7.0-9.0 s       caller   What is the weather in Lisbon right now?
9.4-9.8 s       tool     get_weather({"city": "Lisbon"}) -> 18 degrees, clear
10.1-13.4 s     agent    Right now it is 18 degrees and clear, with a light wind from the
                         [first audio after 1100 ms, interrupted]
13.1-15.0 s     caller   Wait, stop. Tell me about tomorrow instead.
15.5-18.0 s     agent    Tomorrow will be 21 degrees. [first audio after 500 ms]
20.0 s          session  closed

Time to first audio: median 600 ms, longest 1100 ms over 3 turns.
Interruptions: 1. Tool calls: 1.
Tokens: 1,234 audio in, 900 text in, 640 cached, 99 audio out.
Cost: $0.0127."""


def test_a_whole_call() -> None:
    assert weather_call().render(100) == WIDE


@pytest.mark.parametrize(
    ("dialled", "line"),
    [
        (0.2431, "Ready for the first turn: 2 ms prewarmed, 243 ms dialled in the same run: 241 ms saved."),
        (None, "Ready for the first turn: 2 ms prewarmed."),
    ],
)
def test_what_prewarming_saved_stands_above_the_time_to_first_audio(dialled: float | None, line: str) -> None:
    call = weather_call()
    call.ready(0.0021, dialled)
    lines = call.render(100).splitlines()
    assert lines[lines.index(line) + 1].startswith("Time to first audio")


@pytest.mark.parametrize("width", [60, 72, 100, 160])
def test_no_line_is_wider_than_asked(width: int) -> None:
    assert max(map(len, weather_call().render(width).splitlines())) <= width


def test_a_narrow_terminal_gets_the_least_readable_width() -> None:
    assert weather_call().render(10) == weather_call().render(60)


def test_a_call_in_which_nothing_happened() -> None:
    assert Timeline().render() == "Nothing happened in this call."


def test_a_call_without_an_answer() -> None:
    call = Timeline()
    call.speech("caller", 0.0, 2.0, "Hello?")
    call.tool_call(2.5, None, "look_up", '{"id": 7}', None)
    assert call.render(60) == (
        """\
         |0 s                |1 s                |2 s
caller   =========================================
tool                                                       |

0.0-2.0 s       caller   Hello?
2.5 s           tool     look_up({"id": 7}) -> no result

Time to first audio: no reply was heard.
Interruptions: 0. Tool calls: 1."""
    )


def test_only_the_first_reply_to_a_turn_is_timed() -> None:
    call = Timeline()
    call.speech("agent", 0.0, 1.0, "Welcome.")
    call.speech("caller", 2.0, 3.0, "Hi.")
    call.speech("agent", 2.5, 3.5, "Are you there?")
    call.speech("agent", 4.0, 5.0, "Hi.")
    call.speech("agent", 5.0, 6.0, "How can I help?")
    assert {entry.text: wait for entry, wait in call.first_audio().items()} == {"Hi.": 1.0}


def test_long_calls_have_few_marks() -> None:
    call = Timeline()
    call.note(3600.0, "the session reached its longest duration")
    axis, *_, summary = call.render(100).splitlines()
    assert axis.split() == ["|0", "s", "|600", "s", "|1200", "s", "|1800", "s", "|2400", "s", "|3000", "s"]
    assert summary == "Interruptions: 0. Tool calls: 0."


@pytest.mark.parametrize(
    ("costs", "line"),
    [
        ([0.0123, 0.0001], "Cost: $0.0124."),
        ([0.0123, None], "Cost: $0.0123, without 1 response of unknown price."),
        ([0.0123, None, None], "Cost: $0.0123, without 2 responses of unknown price."),
        ([None], "Cost: unknown, no price is known for this model."),
    ],
)
def test_an_unknown_price_is_said(costs: list[float | None], line: str) -> None:
    call = Timeline()
    call.note(0.0, "connected")
    for cost in costs:
        call.usage({}, cost)
    assert call.render().splitlines()[-2:] == ["Tokens: none reported.", line]
