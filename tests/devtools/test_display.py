"""Text measured in columns: cleaned, wrapped, cut to its end, and redrawn in one line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.devtools.display import LiveLine, clean, stamp, tail, width, wrap

ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("ab 漢字。、「」é\u0301\x1b\n\u202f"))).map(clean)


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert width("abc") == 3
    assert width("日本語") == 6
    assert width("e\u0301") == 1
    assert width("ﾊﾝｶｸ") == 4  # half width forms
    assert width("a\u200db") == 2


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (" two \n\n lines\t", "two lines"),
        ("a\x1b[2Jb", "a[2Jb"),  # an escape sequence without its escape clears nothing
        ("half \ud83d character", "half character"),
        ("line\u2028separator\x85here", "line separator here"),
        ("a \x07 b", "a b"),
        ("\x00", ""),
    ],
)
def test_what_could_harm_a_terminal_or_a_file_is_gone(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text())
def test_a_cleaned_text_is_one_line_that_can_be_encoded(text: str) -> None:
    cleaned = clean(text)
    assert len(cleaned.splitlines()) <= 1
    assert cleaned == clean(cleaned) == cleaned.strip()
    cleaned.encode()
    assert not any(unicodedata.category(char) == "Cc" for char in cleaned)


def test_lines_are_broken_between_words() -> None:
    assert wrap("the quick brown fox jumps", 10) == ["the quick", "brown fox", "jumps"]
    assert wrap("exactly ten", 11) == ["exactly ten"]
    assert wrap("", 10) == []


def test_a_word_wider_than_the_line_is_broken() -> None:
    assert wrap("a Donaudampfschifffahrt b", 10) == ["a", "Donaudampf", "schifffahr", "t b"]


def test_wide_characters_are_broken_anywhere_but_not_before_a_full_stop_or_behind_a_bracket() -> None:
    assert wrap("今日は天気。", 6) == ["今日は", "天気。"]
    assert wrap("今日天気。明日", 8) == ["今日天", "気。明日"]
    assert wrap("今日「明日」", 6) == ["今日", "「明", "日」"]
    assert wrap("今日は sunny です", 7) == ["今日は", "sunny", "です"]


@given(ANY_TEXT, st.integers(2, 50))
def test_wrapping_keeps_every_character_and_the_width(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width(line) <= columns for line in lines)
    assert all(line == line.strip() and line for line in lines)


@given(ANY_TEXT, st.integers(2, 50))
def test_narrower_lines_are_never_fewer(text: str, columns: int) -> None:
    assert len(wrap(text, columns)) <= len(wrap(text, columns - 1))


def test_of_a_long_text_the_end_is_seen() -> None:
    assert tail("short", 10) == "short"
    assert tail("the beginning and the end", 10) == "…d the end"
    assert tail("今日は天気", 6) == "…天気"
    assert tail("今日は天気", 5) == "…天気"
    assert tail("e\u0301e\u0301e\u0301", 2) == "…e\u0301"
    assert tail("text", 1) == "…"
    assert tail("text", 0) == ""


@given(ANY_TEXT, st.integers(0, 50))
def test_the_end_fits_and_is_the_end(text: str, columns: int) -> None:
    shown = tail(text, columns)
    assert width(shown) <= columns
    assert text.endswith(shown.removeprefix("…"))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (3.2, "[00:03.2]"),
        (0, "[00:00.0]"),
        (59.96, "[01:00.0]"),
        (3599.94, "[59:59.9]"),
        (3599.96, "[1:00:00.0]"),
        (36_000, "[10:00:00.0]"),
        (-1, "[00:00.0]"),
    ],
)
def test_times(seconds: float, shown: str) -> None:
    assert stamp(seconds) == shown


class TestLiveLine:
    def test_is_drawn_in_place_and_only_when_it_changes(self) -> None:
        line = LiveLine()
        assert line.draw("[00:01.0] ", "hello", 80) == "\r[00:01.0] hello\x1b[K"
        assert line.draw("[00:01.0] ", "hello", 80) == ""
        assert line.draw("[00:01.0] ", "hello you", 80) == "\r[00:01.0] hello you\x1b[K"

    def test_leaves_the_last_column_free_and_keeps_the_lead(self) -> None:
        assert LiveLine().draw("[00:01.0] ", "hello, this is long", 22) == "\r[00:01.0] …is is long\x1b[K"

    def test_gives_the_lead_up_where_there_is_no_room_for_both(self) -> None:
        assert LiveLine().draw("[00:01.0] ", "hello, this is long", 12) == "\r…is is long\x1b[K"

    def test_is_erased_once(self) -> None:
        line = LiveLine()
        assert line.erase() == ""
        line.draw("", "hello", 80)
        assert line.erase() == "\r\x1b[K"
        assert line.erase() == ""
        assert line.draw("", "hello", 80) == "\rhello\x1b[K"

    def test_takes_away_what_others_wrote_into_it(self) -> None:
        line = LiveLine()
        assert line.lift() == "\r\x1b[K"
        line.draw("", "hello", 80)
        assert line.lift() == "\r\x1b[K"
        assert line.draw("", "hello", 80) == "\rhello\x1b[K"
