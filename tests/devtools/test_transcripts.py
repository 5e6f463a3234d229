"""What becomes of recognized speech: text lines, a live terminal, JSON Lines, subtitles."""

from __future__ import annotations

import json
from typing import Any

import pytest
from livekit.agents import LanguageCode, stt

from livekit_plugins_openai_ga.devtools.transcripts import FORMATS, TerminalWriter, TextWriter, Transcript

ERASED = "\r\x1b[K"


def heard(item: str, text: str, start: float | None = 1.0, **known: Any) -> Transcript:
    values = {"end": None, "language": None, "confidence": None, **known}
    return Transcript(item_id=item, text=text, start=start, **values)


class Screen:
    """The last column-wise state of a terminal that knows carriage return, erase, and line feed."""

    def __init__(self, columns: int = 60) -> None:
        self.columns = columns
        self.lines = [""]
        self.drawn: list[str] = []

    def write(self, text: str) -> None:
        self.drawn.append(text)
        for part in text.replace("\x1b[K", "\0").replace("\r", "\1").replace("\n", "\2"):
            if part == "\1":
                self._column = 0
            elif part == "\0":
                self.lines[-1] = self.lines[-1][: self._column]
            elif part == "\2":
                self.lines.append("")
                self._column = 0
            else:
                line = self.lines[-1]
                self.lines[-1] = line[: self._column] + part + line[self._column + 1 :]
                self._column += 1

    _column = 0


class TestEvents:
    def event(self, **fields: Any) -> Transcript:
        data = stt.SpeechData(**{"language": LanguageCode(""), "text": "hi", **fields})
        return Transcript.of(stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, "item_1", [data]))

    def test_everything_that_is_known(self) -> None:
        known = self.event(text="hi  you", language="english", start_time=1.5, end_time=2.5, confidence=0.75)
        assert known == Transcript("item_1", "hi you", 1.5, 2.5, "en", 0.75)

    def test_what_is_not_known_is_none(self) -> None:
        assert self.event() == Transcript("item_1", "hi", None, None, None, None)

    def test_speech_at_the_very_beginning_has_a_start(self) -> None:
        assert self.event(end_time=0.5).start == 0.0

    def test_an_event_without_alternatives_has_no_text(self) -> None:
        event = stt.SpeechEvent(stt.SpeechEventType.FINAL_TRANSCRIPT, "item_1")
        assert Transcript.of(event) == Transcript("item_1", "", None, None, None, None)


class TestText:
    def write(self, *finals: Transcript, language: str = "") -> str:
        written: list[str] = []
        writer = TextWriter(written.append, language=language)
        for final in finals:
            writer.interim(final)
            writer.final(final)
        writer.close()
        return "".join(written)

    def test_one_line_for_each_final_and_none_for_silence(self) -> None:
        assert self.write(heard("a", "One.", 3.2), heard("b", ""), heard("c", "Two.", 4)) == (
            "[00:03.2] One.\n[00:04.0] Two.\n"
        )

    def test_a_language_is_named_when_it_changes(self) -> None:
        finals = [heard(code + text, text, language=code) for code, text in (("en", "A"), ("en", "B"), ("de", "C"))]
        assert self.write(*finals) == "[00:01.0] (en) A\n[00:01.0] B\n[00:01.0] (de) C\n"

    def test_the_expected_language_is_not_named(self) -> None:
        finals = [heard("a", "A", language="en"), heard("b", "B", language="de"), heard("c", "C", language="en")]
        assert self.write(*finals, language="en") == "[00:01.0] A\n[00:01.0] (de) B\n[00:01.0] (en) C\n"


class TestTerminal:
    @pytest.fixture
    def screen(self) -> Screen:
        return Screen()

    @pytest.fixture
    def writer(self, screen: Screen) -> TerminalWriter:
        return TerminalWriter(screen.write, lambda: screen.columns)

    def test_words_are_redrawn_in_place_until_the_final_takes_the_line(
        self, screen: Screen, writer: TerminalWriter
    ) -> None:
        writer.interim(heard("a", "Hello"))
        assert screen.lines == ["[00:01.0] Hello"]
        writer.interim(heard("a", "Hello their"))
        assert screen.lines == ["[00:01.0] Hello their"]
        writer.final(heard("a", "Hello."))
        assert screen.lines == ["[00:01.0] Hello.", ""]

    def test_a_long_partial_keeps_its_end_visible_in_one_line(self, screen: Screen, writer: TerminalWriter) -> None:
        screen.columns = 30
        writer.interim(heard("a", "this is much too long for the line, and goes on"))
        assert screen.lines == ["[00:01.0] …line, and goes on"]

    def test_a_terminal_made_wider_shows_more(self, screen: Screen, writer: TerminalWriter) -> None:
        screen.columns = 30
        writer.interim(heard("a", "this is much too long for the line"))
        screen.columns = 60
        writer.interim(heard("a", "this is much too long for the line, no?"))
        assert screen.lines == ["[00:01.0] this is much too long for the line, no?"]

    def test_a_long_final_is_wrapped_under_its_text(self, screen: Screen, writer: TerminalWriter) -> None:
        screen.columns = 30
        writer.final(heard("a", "this is much too long for the line"))
        assert screen.lines == ["[00:01.0] this is much too", "          long for the line", ""]

    def test_a_very_narrow_terminal_wraps_by_itself(self, screen: Screen, writer: TerminalWriter) -> None:
        screen.columns = 15
        writer.final(heard("a", "this is much too long"))
        assert screen.lines == ["[00:01.0] this is much too long", ""]

    def test_the_next_item_is_shown_behind_the_one_that_waits(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "One two"))
        writer.interim(heard("b", "three", 2.0))
        assert screen.lines == ["[00:01.0] One two three"]
        writer.final(heard("a", "One, two."))
        assert screen.lines == ["[00:01.0] One, two.", "[00:02.0] three"]

    def test_a_silent_final_takes_its_partial_away(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "Mm"))
        writer.final(heard("a", ""))
        assert screen.lines == [""]

    def test_what_failed_leaves_the_line(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "lost words"))
        writer.failed("the connection was lost")
        writer.interim(heard("b", "lost"))  # heard again, as another item
        assert screen.lines == ["[00:01.0] lost"]

    def test_an_item_left_behind_by_a_later_final_leaves_the_line(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "never final"))
        writer.interim(heard("b", "final"))
        writer.final(heard("b", "Final."))
        assert screen.lines == ["[00:01.0] Final.", ""]

    def test_a_remark_goes_between_and_the_line_comes_back(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "Hello"))
        with writer.aside():
            assert screen.lines == [""]
            screen.write("a remark\n")
        assert screen.lines == ["a remark", "[00:01.0] Hello"]

    def test_at_the_end_nothing_unfinished_stays(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "Hello"))
        writer.close()
        assert screen.lines == [""]
        assert screen.drawn[-1] == ERASED

    def test_a_partial_whose_time_is_not_known_has_none(self, screen: Screen, writer: TerminalWriter) -> None:
        writer.interim(heard("a", "Hello", None))
        assert screen.lines == ["Hello"]


class TestJson:
    def lines(self, *calls: tuple[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
        written: list[str] = []
        writer = FORMATS["json"](written.append)
        for name, arguments in calls:
            getattr(writer, name)(*arguments)
        writer.close()
        assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
        return [json.loads(line) for line in written]

    def test_each_event_is_one_object(self) -> None:
        known = heard("a", "Grüße, 世界", 1.5, end=2.5, language="de", confidence=0.75)
        assert self.lines(
            ("interim", (heard("a", "Gr", None),)),
            ("final", (known,)),
            ("final", (heard("b", "", None),)),
            ("usage", ("a", stt.RecognitionUsage(1.0, 12, 3))),
            ("failed", ("It\nfailed.",)),
        ) == [
            {
                "type": "interim",
                "item_id": "a",
                "text": "Gr",
                "start": None,
                "end": None,
                "language": None,
                "confidence": None,
            },
            {
                "type": "final",
                "item_id": "a",
                "text": "Grüße, 世界",
                "start": 1.5,
                "end": 2.5,
                "language": "de",
                "confidence": 0.75,
            },
            {
                "type": "final",
                "item_id": "b",
                "text": "",
                "start": None,
                "end": None,
                "language": None,
                "confidence": None,
            },
            {"type": "usage", "item_id": "a", "audio_seconds": 1.0, "input_tokens": 12, "output_tokens": 3},
            {"type": "error", "message": "It failed."},
        ]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("srt", "1\n00:00:01,000 --> 00:00:02,000\nOne.\n\n2\n00:00:02,000 --> 00:00:03,000\nTwo.\n\n"),
        ("vtt", "WEBVTT\n\n1\n00:00:01.000 --> 00:00:02.000\nOne.\n\n2\n00:00:02.000 --> 00:00:03.000\nTwo.\n\n"),
    ],
)
def test_subtitles_are_written_as_the_finals_come(form: str, text: str) -> None:
    written: list[str] = []
    writer = FORMATS[form](written.append)
    writer.interim(heard("a", "One"))
    writer.final(heard("a", "One.", 1, end=2.0))
    assert "".join(written) in text
    assert "One." in written[-1]
    writer.final(heard("b", ""))
    writer.final(heard("c", "Two.", 2, end=3.0))
    writer.close()
    assert "".join(written) == text
