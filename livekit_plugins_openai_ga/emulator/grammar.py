"""Small checkers from which the tables of client events are built, refusing in the words of the GA server.

A checker is called with a value and its dotted path and raises `Refused`. Composite ones hold other checkers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .conversation import Refused

Check = Callable[[Any, str], None]

_JSON_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
    (type(None), "null"),
)


def enumeration(values: tuple[str, ...]) -> str:
    """Values the way the server lists them: 'a', 'b', and 'c'."""
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


def wrong_type(path: str, expected: str, value: Any) -> Refused:
    """The server's refusal of a value of another JSON type."""
    got = next((name for kind, name in _JSON_NAMES if isinstance(value, kind)), "something else")
    return Refused("invalid_type", f"Invalid type for '{path}': expected {expected}, but got {got} instead.", path)


def wrong_value(path: str, value: Any, supported: tuple[str, ...]) -> Refused:
    """The server's refusal of a value outside an enumeration."""
    return Refused("invalid_value", f"Invalid value: '{value}'. Supported values are: {enumeration(supported)}.", path)


def anything(_value: Any, _path: str) -> None:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string: of a greatest length, out of an enumeration, or of a pattern's characters."""

    longest: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if not isinstance(value, str):
            expected = f"one of {enumeration(self.choices)}" if self.choices else "a string"
            raise wrong_type(path, expected, value)
        if self.choices and value not in self.choices:
            raise wrong_value(path, value, self.choices)
        if self.longest is not None and len(value) > self.longest:
            raise Refused(
                "string_above_max_length",
                f"Invalid '{path}': string too long. Expected a string with maximum length {self.longest}, "
                f"but got a string with length {len(value)} instead.",
                path,
            )
        if self.pattern and not re.search(self.pattern, value):
            raise Refused(
                "invalid_value",
                f"Invalid '{path}': string does not match pattern. "
                f"Expected a string that matches the pattern '{self.pattern}'.",
                path,
            )


@dataclass(frozen=True, slots=True)
class Number:
    """An integer or a decimal between bounds, both included."""

    lowest: float | None = None
    highest: float | None = None
    integer: bool = True

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if isinstance(value, bool) or not isinstance(value, int if self.integer else (int, float)):
            raise wrong_type(path, "an integer" if self.integer else "a decimal", value)
        if self.lowest is not None and value < self.lowest:
            raise self._out_of_range("below", "minimum", ">=", self.lowest, value, path)
        if self.highest is not None and value > self.highest:
            raise self._out_of_range("above", "maximum", "<=", self.highest, value, path)

    def _out_of_range(self, side: str, limit: str, sign: str, bound: float, value: Any, path: str) -> Refused:
        kind = "integer" if self.integer else "decimal"
        return Refused(
            f"{kind}_{side}_{limit[:3]}_value",
            f"Invalid '{path}': {kind} {side} {limit} value. Expected a value {sign} {bound}, but got {value} instead.",
            path,
        )


def boolean(value: Any, path: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)


def mapping(value: Any, path: str) -> None:
    """An object with any fields."""
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)


@dataclass(frozen=True, slots=True)
class Or:
    """The first checker for values of its JSON type, the second for all others: `"inf"` or an integer."""

    kind: type
    first: Check
    second: Check

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        (self.first if isinstance(value, self.kind) else self.second)(value, path)


def nullable(check: Check) -> Check:
    """The checker, or null."""
    return Or(type(None), anything, check)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of checked elements."""

    element: Check
    shortest: int = 0
    longest: int | None = None

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if not isinstance(value, list):
            raise wrong_type(path, "an array", value)
        if len(value) < self.shortest:
            raise Refused(
                "array_below_min_length",
                f"Invalid '{path}': array too short. Expected an array with minimum length {self.shortest}, "
                f"but got an array with length {len(value)} instead.",
                path,
            )
        if self.longest is not None and len(value) > self.longest:
            raise Refused(
                "array_above_max_length",
                f"Invalid '{path}': array too long. Expected an array with maximum length {self.longest}, "
                f"but got an array with length {len(value)} instead.",
                path,
            )
        for index, element in enumerate(value):
            self.element(element, f"{path}[{index}]")


@dataclass(frozen=True, slots=True)
class Table:
    """A string to string mapping with limits, such as `metadata`."""

    pairs: int
    key: int
    value: int

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        if len(value) > self.pairs:
            raise Refused("object_above_max_properties", f"Invalid '{path}': at most {self.pairs} keys.", path)
        for key, entry in value.items():
            Text(self.key)(key, path)
            Text(self.value)(entry, f"{path}.{key}")


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known fields; `required` ones must be there, unknown ones must not."""

    fields: Mapping[str, Check]
    required: tuple[str, ...] = ()

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        for name in self.required:
            if name not in value:
                raise missing(_join(path, name))
        for name in value:
            if name not in self.fields:
                unknown = _join(path, name)
                raise Refused("unknown_parameter", f"Unknown parameter: '{unknown}'.", unknown)
        for name, entry in value.items():
            self.fields[name](entry, _join(path, name))


@dataclass(frozen=True, slots=True)
class Variants:
    """An object whose fields depend on one of them, `type` as a rule. The fields of the variants are disjoint."""

    tag: str
    variants: Mapping[str, Check]

    def __call__(self, value: Any, path: str) -> None:
        """Judge `value`, found at `path`."""
        if not isinstance(value, dict):
            raise wrong_type(path, "an object", value)
        where = _join(path, self.tag)
        if self.tag not in value:
            raise missing(where)
        name = value[self.tag]
        if not isinstance(name, str):
            raise wrong_type(where, f"one of {enumeration(tuple(self.variants))}", name)
        if name not in self.variants:
            raise wrong_value(where, name, tuple(self.variants))
        self.variants[name](value, path)


def missing(path: str) -> Refused:
    """The server's refusal of an event that lacks a field."""
    return Refused("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
