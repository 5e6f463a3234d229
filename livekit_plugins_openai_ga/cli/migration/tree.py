"""Source text as the rules see it, whatever the language: texts, names, calls, objects and lists, with their places.

Places are characters from 0, so what a rule finds can be shown and rewritten without the parser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Node:
    """Something in the source that is none of the kinds below, and what is inside it."""

    start: int
    end: int
    children: list[Node] = field(default_factory=list)

    def inside(self) -> Iterator[Node]:
        """What stands directly in it."""
        return iter(self.children)


@dataclass(slots=True, eq=False)
class Text(Node):
    """A string literal. A hole in a template or an f-string is `{}` in `value`.

    `exact`: the characters between the quotes are `value`, so a part of it can be replaced in its place.
    """

    value: str = ""
    exact: bool = False
    key: bool = False

    @property
    def inner(self) -> int:
        """Where `value` begins in an exact text that has quotes."""
        return self.end - (self.end - self.start - len(self.value)) // 2 - len(self.value)


@dataclass(slots=True, eq=False)
class Name(Node):
    """A name, or a way through attributes and constant keys: `client.beta.realtime`; what is no name in it is `?`."""

    dotted: str = ""


@dataclass(slots=True, eq=False)
class Entry:
    """One pair of an object. `key`: None for what is spread into it, or computed."""

    key: str | None
    key_node: Node
    value: Node
    bare: bool = False

    @property
    def start(self) -> int:
        """Where it begins."""
        return self.key_node.start

    @property
    def end(self) -> int:
        """Where it ends, before the comma."""
        return self.value.end


@dataclass(slots=True, eq=False)
class Object(Node):
    """A dict, an object literal, a JSON object. `shape`: TypeScript's type of one, which is not rewritten."""

    entries: list[Entry] = field(default_factory=list)
    braces: bool = True
    shape: bool = False

    def get(self, key: str) -> Node | None:
        """The value of the first entry with this key."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    @property
    def keys(self) -> set[str | None]:
        """All keys; None among them when something is spread into it."""
        return {entry.key for entry in self.entries}

    def inside(self) -> Iterator[Node]:
        """Keys and values."""
        for entry in self.entries:
            yield entry.key_node
            yield entry.value


@dataclass(slots=True, eq=False)
class List(Node):
    """A list, an array, a tuple or a set."""


@dataclass(slots=True, eq=False)
class Call(Node):
    """A call; `keywords` are Python's, as an object without braces. Children are the callee's and the arguments."""

    callee: str = ""
    arguments: list[Node] = field(default_factory=list)
    keywords: Object | None = None

    @property
    def last(self) -> str:
        """The last part of the callee's name."""
        return self.callee.rpartition(".")[2]

    def argument(self, keyword: str, place: int) -> Node | None:
        """The argument with this keyword, or at this place."""
        named = self.keywords.get(keyword) if self.keywords else None
        return named or (self.arguments[place] if place < len(self.arguments) else None)

    def inside(self) -> Iterator[Node]:
        """What the callee is made of, and all arguments."""
        yield from self.children
        yield from self.arguments
        if self.keywords:
            yield self.keywords


@dataclass(slots=True)
class Source:
    """One parsed text.

    Attributes:
        text: The text.
        roots: What stands at its top.
        assigned: Last part of a name -> what is assigned to it anywhere in the text.
        returned: Name of a function -> what it returns.
        stored: Name, key, place of the key, of what is put into an object later: `session["voice"] = ...`.
        classes: Name of a class -> where the text defines it (Python).
        spread: Names that are unpacked into the arguments of a call.
        comments: Places of comments.
    """

    text: str
    roots: list[Node] = field(default_factory=list)
    assigned: dict[str, list[Node]] = field(default_factory=dict)
    returned: dict[str, list[Node]] = field(default_factory=dict)
    stored: list[tuple[str, str, int, int]] = field(default_factory=list)
    classes: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    spread: set[str] = field(default_factory=set)
    comments: list[tuple[int, int]] = field(default_factory=list)


def last(dotted: str) -> str:
    """The last part of a dotted name."""
    return dotted.rpartition(".")[2]
