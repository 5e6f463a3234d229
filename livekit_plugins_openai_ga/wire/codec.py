"""JSON and base64, which is where most of the time of a delta goes: the fastest there is, chosen once, at import.

What a fast function refuses, the standard library decides. So the results are the same whatever is installed: the fast
ones refuse more (lone surrogates, 200 levels of nesting, what is not base64), and read nothing differently. The
exception is `dumps`: given what JSON does not have, such as bytes, `pydantic_core` writes it where `json` refuses.

`pydantic_core` comes with the framework: it reads a delta of 100 ms in 1.4 us, where `json` takes 7, and writes it in
6, where `json` takes 80; its audio in 3 us, where `binascii` takes 10 to 18. `pybase64` is the extra `fast`: 0.9 us for
that audio, and 0.4 us to write it, where `binascii` takes 7. It reads deltas of any size faster than `pydantic_core`:
20 ms in 0.5 us (0.8), 200 ms in 1.1 (5.5), 400 ms in 1.9 (11). `validate` is what makes it that fast: 2 us without it.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, TypeVar

A = TypeVar("A")
R = TypeVar("R")

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ESCAPED = json.JSONEncoder(separators=(",", ":"))


def _write(value: Any) -> bytes:
    try:
        return _COMPACT.encode(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 does not have
        return _ESCAPED.encode(value).encode()


def _first(fast: Callable[[A], R], standard: Callable[[A], R]) -> Callable[[A], R]:
    def call(value: A) -> R:
        try:
            return fast(value)
        except (ValueError, TypeError):  # TypeError: a str that UTF-8 cannot hold
            return standard(value)

    return call


def _loads_bytes(text: bytes) -> Any:
    return json.loads(str(text, "utf-8"))


loads: Callable[[str], Any] = json.loads
"""Read JSON. Raises ValueError, or RecursionError for what is nested deeper than the interpreter's stack."""

loads_bytes: Callable[[bytes], Any] = _loads_bytes
"""The same of UTF-8, without a text in between. Raises UnicodeDecodeError, too, for what is no UTF-8."""

dumps: Callable[[Any], bytes] = _write
"""Write JSON without spaces, as UTF-8; half a surrogate pair is escaped.

Only for what JSON has: dicts with names, lists, tuples, texts, numbers, booleans, None. Raises ValueError, or
RecursionError for what is nested deeper than the interpreter's stack.
"""

b64decode: Callable[[str], bytes] = a2b_base64
"""Read base64; what is not in its alphabet is skipped. Raises ValueError for wrong padding, or text beyond ASCII."""

b64encode: Callable[[bytes], bytes] = partial(b2a_base64, newline=False)
"""Write base64, on one line."""


def _strict(decode: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """`decode`, for what can be read in one way only: it also takes base64 for URLs, and without padding."""

    def call(text: str) -> bytes:
        if len(text) % 4 or "-" in text or "_" in text:
            raise ValueError("not plain base64")
        return decode(text)

    return call


try:
    from pydantic_core import SchemaValidator, core_schema, from_json, to_json
except ImportError:
    pass
else:
    # Its cache of strings would keep what callers said.
    loads = _first(partial(from_json, cache_strings="keys"), json.loads)

    # What every delta goes through is written out: `_first` and `partial` take about a hundredth of the downlink's CPU.
    def _loads_fast(text: bytes) -> Any:
        try:
            return from_json(text, cache_strings="keys")
        except (ValueError, TypeError):
            return _loads_bytes(text)

    loads_bytes = _loads_fast
    if to_json(inf) == b"Infinity":  # early releases of pydantic 2 write null
        dumps = _first(to_json, _write)
    _options = core_schema.CoreConfig(val_json_bytes="base64")
    _read: Any = SchemaValidator(core_schema.bytes_schema(), _options).validate_strings
    if _read("YWJj") == b"abc":  # releases before pydantic 2.9 do nothing with the option
        b64decode = _first(_strict(_read), a2b_base64)

try:
    import pybase64
except ImportError:
    pass
else:

    def _decode(text: str) -> bytes:
        try:
            return pybase64.b64decode(text, None, True)  # `validate`
        except (ValueError, TypeError):
            return a2b_base64(text)

    b64decode = _decode
    b64encode = pybase64.b64encode
