"""What the commands write, to a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from livekit_plugins_openai_ga.cli.output import Output, has_colours


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colours"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_a_terminal(stream: io.StringIO, environ: dict[str, str], colours: bool) -> None:
    assert has_colours(stream, environ) is colours


def test_styles_are_escape_sequences_only_where_there_are_colours() -> None:
    assert Output(io.StringIO(), colours=True).paint("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert Output(io.StringIO(), colours=False).paint("x", "bold", "red") == "x"


def test_a_line_leaves_whatever_the_encoding_is() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    Output(stream).line("caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    stream.flush()
    assert stream.buffer.getvalue() == b"caf\\xe9\n"  # type: ignore[attr-defined]


def test_json_is_plain_ascii() -> None:
    stream = io.StringIO()
    Output(stream).json({"a": "é"})
    assert stream.getvalue() == '{\n  "a": "\\u00e9"\n}\n'
