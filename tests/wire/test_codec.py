"""JSON and base64: the same answers whatever is installed, and those are the standard library's."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_plugins_openai_ga.wire import codec

FAST = {"pydantic_core": {"loads", "loads_bytes", "dumps", "b64decode"}, "pybase64": {"b64decode", "b64encode"}}
"""What may be installed, and what for."""


def codec_with(**modules: object) -> ModuleType:
    """A second `codec`, made as if these modules were installed; None: as if this one were not."""
    spec = importlib.util.find_spec(codec.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, installed in modules.items():
            patch.setitem(sys.modules, name, installed)
        spec.loader.exec_module(module)
    return module


def codec_without(*names: str) -> ModuleType:
    """A second `codec`, made as if these modules were not installed."""
    return codec_with(**dict.fromkeys(names))


PLAIN = codec_without(*FAST)
NOT_FAST = codec_without("pybase64")
INSTALLED = pytest.mark.parametrize("codec", [PLAIN, NOT_FAST, codec], ids=["plain", "without fast", "installed"])


def outcome(function: Callable[[Any], object], value: object) -> str:
    """What a call gives: the result to the last bit and type (also NaN, -0.0, 1 or 1.0), or the kind of exception."""
    try:
        return repr(function(value))
    except (ValueError, RecursionError) as exc:
        return "RecursionError" if isinstance(exc, RecursionError) else "ValueError"


def known_as(function: Callable[..., object]) -> str:
    """The same for a function of two modules that were made alike."""
    return getattr(function, "__qualname__", repr(function))


@pytest.mark.parametrize("name", FAST)
def test_each_of_the_fast_modules_is_used_when_it_is_there(name: str) -> None:
    pytest.importorskip(name)
    alone = codec_without(*FAST.keys() - {name})
    functions = ("loads", "loads_bytes", "dumps", "b64decode", "b64encode")
    faster = {each for each in functions if known_as(getattr(alone, each)) != known_as(getattr(PLAIN, each))}
    assert faster == FAST[name]


@INSTALLED
def test_an_event_is_read(codec: ModuleType) -> None:
    frame = '{"type": "response.output_audio.delta", "delta": "AAAA", "n": [1, 1.0, null, true, "\\u00e9"]}'
    assert codec.loads(frame) == {
        "type": "response.output_audio.delta",
        "delta": "AAAA",
        "n": [1, 1.0, None, True, "é"],
    }


WRITTEN = [
    {"type": "response.output_audio.delta", "delta": "AA/+", "n": [1, 1.0, None, True, "é😀"], "": {}},
    *(
        'a\tb\n\x00\x1f\x7f\u2028"\\\\/',
        {"\u0000": "\u0000"},
        -0.0,
        5e-324,
        1e-7,
        1e16,
        4.35,
        1e22,
        123456789012345678901,
    ),
    *(float("inf"), float("-inf"), float("nan"), 1.7976931348623157e308, [], (), ["\ud800"], {"\udc00\ud800": 1}),
    json.loads("[" * 250 + "]" * 250),
]


@INSTALLED
@pytest.mark.parametrize("value", WRITTEN, ids=range(len(WRITTEN)))
def test_what_is_written_is_read_as_it_was_and_has_no_spaces(codec: ModuleType, value: Any) -> None:
    written = codec.dumps(value)
    assert repr(json.loads(written)) == repr(json.loads(json.dumps(value)))
    assert b" " not in written


def test_a_release_of_pydantic_that_writes_null_for_infinity_does_not_write() -> None:
    fast = pytest.importorskip("pydantic_core")
    early = SimpleNamespace(**{**vars(fast), "to_json": partial(fast.to_json, inf_nan_mode="null")})
    codec = codec_with(pydantic_core=early)
    assert codec.dumps([float("inf"), float("-inf"), float("nan")]) == b"[Infinity,-Infinity,NaN]"
    assert known_as(codec.loads) != known_as(PLAIN.loads)


@INSTALLED
def test_what_json_does_not_have_is_not_written(codec: ModuleType) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="Circular"):
        codec.dumps(endless)
    with pytest.raises(TypeError):
        codec.dumps({"x": object()})


ODD_JSON = [
    *("NaN", "[Infinity, -Infinity]", "-NaN", "nan", "1e999", "-1e999", "5e-324", "1e-999", "-0", "-0.0", "0e5"),
    *("9007199254740993", "18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"),
    *("9" * 4000, "9" * 5000, "-" + "9" * 5000, "0." + "1" * 400, "9" * 400 + ".5", "1" * 30 + "e-10"),
    *("01", "+1", ".5", "1.", "1e", "1_000", "0x10", "-", "4.35", "1e22", "1.7976931348623157e308"),
    *('{"a": 1, "a": 2}', '{"a": {"b": 1}, "a": {"c": 2}}', '{"": 1}', '{"\\u0061": 1, "a": 2}'),
    *('"\\ud800"', '"\\udc00\\ud800"', '"\ud800"', '{"\\ud800": 1}', '"\\ud83d\\ude00"', '"\\u0000"'),
    *('"a\tb"', '"a\nb"', '"\x00"', '"\x7f"', '"\u2028"', '"\\x"', '"\\u12"', '"\\/"', '"abc', '"\\'),
    *("", "  ", " {} ", "{}x", "\ufeff{}", "\x0b{}", "\xa0{}", "[1,]", '{"a": 1,}', "{a: 1}", "{1: 2}", "[1 2]", "'a'"),
    *("nul", "True", "/**/{}", '{"a" 1}', "[" * 250 + "]" * 250, '{"a": ' * 300 + "1" + "}" * 300, "[" * 100_000),
]


@INSTALLED
@pytest.mark.parametrize("text", ODD_JSON, ids=lambda text: ascii(text)[:30])
def test_odd_json_is_read_as_the_standard_library_reads_it(codec: ModuleType, text: str) -> None:
    assert outcome(codec.loads, text) == outcome(json.loads, text)


@INSTALLED
@pytest.mark.parametrize("text", ODD_JSON, ids=lambda text: ascii(text)[:30])
def test_odd_json_in_bytes_is_read_as_in_a_text(codec: ModuleType, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(codec.loads_bytes, data) == outcome(lambda each: json.loads(str(each, "utf-8")), data)


@INSTALLED
@pytest.mark.parametrize("bad", [b"\xff", b"\x80", b"\xc0\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"])
@pytest.mark.parametrize(
    "around", ['"*"', '{"*": 1}', '{"a": ["\\u00e4*b"]}', '{"ab": 1, "\u00e4*": 2}', "*{}", "{}*", "[1*]"]
)
def test_what_is_no_utf_8_is_refused_wherever_it_is(codec: ModuleType, around: str, bad: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        codec.loads_bytes(around.encode().replace(b"*", bad))


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
).map(json.dumps)


@given(json_like, st.integers(0, 400), st.text('{}[]",:\\ue+-.0123456789 \t\n', max_size=3))
def test_damaged_json_is_read_as_the_standard_library_reads_it(text: str, at: int, noise: str) -> None:
    for damaged in (text, text[:at] + noise + text[at:], text[:at] + noise + text[at + len(noise) :]):
        assert outcome(codec.loads, damaged) == outcome(json.loads, damaged)


@INSTALLED
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 4800, 4801])
def test_base64_there_and_back(codec: ModuleType, size: int) -> None:
    data = bytes(index * 37 % 256 for index in range(size))
    assert codec.b64encode(data) == base64.b64encode(data)
    assert codec.b64decode(codec.b64encode(data).decode()) == data


ODD_BASE64 = [
    *("", "A", "AA", "AAA", "AAAAA", "=", "====", "AA=", "AA==", "AA===", "AAA==", "QR==", "AA==AA==", "AA=A", "A=AA"),
    *(" AAAA", "AA AA", "AAAA\n", "AA\r\nAA", "AA==\n", "AA = =", "\\AAAA", "AA-_", "!!!!", "****AAAA", "é", "AAAé"),
    *("\x00AAAA", "AAAA\ud800", "AAAA" * 2000 + "\n", "AAAA" * 2000 + "A", "AA\n" * 2000, "AAA=" * 1000),
]


@INSTALLED
@pytest.mark.parametrize("text", ODD_BASE64, ids=lambda text: ascii(text)[:30])
def test_odd_base64_is_read_as_the_standard_library_reads_it(codec: ModuleType, text: str) -> None:
    assert outcome(codec.b64decode, text) == outcome(base64.b64decode, text)


@given(st.text("ABCDwxyz0189+/=-_ \n\\é", max_size=16))
def test_damaged_base64_is_read_as_the_standard_library_reads_it(text: str) -> None:
    for installed in (NOT_FAST, codec):
        assert outcome(installed.b64decode, text) == outcome(base64.b64decode, text)
