"""Makes a function that fills a dataclass from a JSON object, checking presence and type, from its annotations.

Made once per class, so that decoding an event is a loop over a short plan. Field metadata: `wire` is the JSON name when
it differs, `any` takes a number as text, too, `null` tells an explicit null from an absent field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from operator import itemgetter
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


class Unreadable(Exception):
    """A field that is missing or of the wrong type; the text says which."""


MAX_NUMBER = 2**53
"""Larger numbers, which JSON may hold with thousands of digits, raise OverflowError where they meet a float."""


def _number_checker(expected: Any, path: str) -> Callable[[Any], Any]:
    def read_number(value: Any) -> Any:
        if not isinstance(value, expected) or not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN is not, either
            raise Unreadable(f"'{path}' is not a number in range")
        return value

    return read_number


def _any_text(value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        raise Unreadable("not a text")  # what is nested deeply cannot be printed
    return str(value)


def _checker(hint: Any, path: str) -> Callable[[Any], Any]:
    """How to read one value of the annotated type; raises `Unreadable` for a value that does not fit."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        (inner,) = (arg for arg in get_args(hint) if arg is not type(None))
        return _checker(inner, path)
    if origin is tuple:
        element = get_args(hint)[0]
        read_one = (lambda value: value) if element is Any else _checker(element, f"{path}[]")

        def read_list(value: Any) -> Any:
            if not isinstance(value, list):
                raise Unreadable(f"'{path}' is not a list")
            return tuple(map(read_one, value))

        return read_list
    if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
        return reader(hint, path + ".")
    if hint in (int, float):
        return _number_checker((int, float) if hint is float else int, path)
    expected: Any = dict if origin is Mapping else hint

    def read_plain(value: Any) -> Any:
        if not isinstance(value, expected):
            raise Unreadable(f"'{path}' has the wrong type")
        return value

    return read_plain


def _texts_reader(cls: type[Any], keys: list[str], rare: list[str], read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The short way for what is made of texts only, as the deltas are, of which a caller gets ten a second and more.
    `read` reads whatever is not as it should be, or has one of the `rare` fields.
    """
    get = itemgetter(*keys)

    def read_texts(payload: Any) -> Any:
        try:
            values = get(payload)
        except (KeyError, TypeError):
            return read(payload)
        for key in rare:
            if key in payload:
                return read(payload)
        for value in values:
            if type(value) is not str:  # JSON has no other
                return read(payload)
        return cls(*values)

    return read_texts


def reader(cls: type[Any], prefix: str = "") -> Callable[[Any], Any]:
    """How to read one dataclass from a JSON object. A default stands in for null, absence and a value of another type.

    Only a field without a default makes an event unreadable: a `response.done` lost over an odd `usage` would leave the
    reply open for ever.
    """
    hints = get_type_hints(cls)
    plan: list[tuple[str, str, Callable[[Any], Any], Any, bool]] = []
    for f in fields(cls):
        key = f.metadata.get("wire", f.name)
        check = _any_text if f.metadata.get("any") else _checker(hints[f.name], prefix + key)
        plan.append((f.name, key, check, f.default, f.metadata.get("null", False)))

    def read(payload: Any) -> Any:
        if not isinstance(payload, dict):
            raise Unreadable(f"'{prefix[:-1]}' is not an object")
        values: dict[str, Any] = {}
        for name, key, check, default, null_matters in plan:
            value = payload.get(key)
            if value is None:
                if default is MISSING:
                    raise Unreadable(f"'{prefix}{key}' is missing")
                if null_matters and key in payload:
                    values[name] = None
                continue
            try:
                values[name] = check(value)
            except Unreadable:
                if default is MISSING:
                    raise
        return cls(**values)

    needed = [(key, hints[name]) for name, key, check, default, _ in plan if default is MISSING]
    texts = [key for key, hint in needed if hint is str]
    rare = [key for name, key, check, default, _ in plan if default is not MISSING]
    return _texts_reader(cls, texts, rare, read) if len(texts) == len(needed) > 1 else read
