"""JavaScript, TypeScript and JSON -> the tree that the rules read: tolerant, never fails. Comments are not in it."""

from __future__ import annotations

from itertools import pairwise

from .tokens import Token, tokens
from .tree import Call, Entry, List, Name, Node, Object, Source, Text, last

_BLOCK_BEFORE = frozenset({")", "=>", "else", "try", "finally", "do", ";"})
_DECLARES = frozenset({"const", "let", "var"})
_NO_CALL = frozenset({"if", "for", "while", "switch", "catch", "function", "return", "await", "typeof"})
_ASSIGNS = frozenset({"=", "??=", "||="})
_MAX_DEPTH = 150


def parse(text: str, start: int = 0, end: int | None = None) -> Source:
    """Read `text` between two places. RecursionError when it is nested too deeply."""
    source = Source(text)
    top, source.comments = tokens(text, start, end)
    source.roots = _Reader(source).sequence(top, "", 0)
    return source


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source

    def sequence(self, row: list[Token], function: str, depth: int) -> list[Node]:
        """What a row of tokens is made of; remembers what is assigned and returned on the way."""
        if depth > _MAX_DEPTH:
            raise RecursionError
        nodes: list[Node] = []
        place, named = 0, function
        while place < len(row):
            before = row[place - 1] if place else None
            node, following = self.one(row, place, named, depth)
            if isinstance(node, Call) and _opens(row, following):
                named = node.last  # a method's or a function's name, its block comes next
            if isinstance(node, Call) and before is not None and before.text == "function":
                named = node.last
            if before is not None and node is not None:
                if before.kind == "sign" and before.text in _ASSIGNS:
                    self.assign(row, place - 1, node)
                    named = self.target(row, place - 1) or named
                elif before.text in ("return", "=>"):
                    self.source.returned.setdefault(named, []).append(_unwrapped(node))
            if node is not None:
                nodes.append(node)
            place = following
        return nodes

    def one(self, row: list[Token], place: int, function: str, depth: int) -> tuple[Node | None, int]:
        """The node that begins at `place`, and where the next one does."""
        token = row[place]
        if token.kind == "string":
            return Text(token.start, token.end, value=token.text, exact=token.exact), place + 1
        if token.kind == "name":
            return self.name(row, place, function, depth)
        if token.kind != "group":
            return None, place + 1
        inside = token.inside or []
        if token.text == "{" and _is_object(row, place):
            return self.object(token, function, depth + 1), place + 1
        children = self.sequence(inside, function, depth + 1)
        if token.text == "[":
            return List(token.start, token.end, children), place + 1
        return Node(token.start, token.end, children), place + 1

    def name(self, row: list[Token], place: int, function: str, depth: int) -> tuple[Node, int]:
        """A name with its attributes and constant keys, called or not."""
        first = row[place]
        parts, inner, end = [first.text], list[Node](), first.end
        place += 1
        while place < len(row):
            token = row[place]
            after = row[place + 1] if place + 1 < len(row) else None
            if token.text in (".", "?.") and after and after.kind == "name":
                parts.append(after.text)
                end, place = after.end, place + 2
            elif token.text == "!" and after and after.text in (".", "?."):
                place += 1
            elif token.kind == "group" and token.text == "[" and token.inside:
                key = token.inside[0]
                if len(token.inside) == 1 and key.kind == "string":
                    parts.append(key.text)
                    inner.append(Text(key.start, key.end, value=key.text, exact=key.exact, key=True))
                else:
                    inner += self.sequence(token.inside, function, depth + 1)
                    parts.append("?")
                end, place = token.end, place + 1
            elif token.kind == "group" and token.text == "(" and parts[-1] not in _NO_CALL:
                arguments = self.sequence(token.inside or [], function, depth + 1)
                dotted = ".".join(parts)
                callee = Name(first.start, end, inner, dotted=dotted)
                call = Call(first.start, token.end, [callee], callee=dotted, arguments=arguments)
                return self.chained(call, row, place + 1, function, depth)
            else:
                break
        return Name(first.start, end, inner, dotted=".".join(parts)), place

    def chained(self, call: Call, row: list[Token], place: int, function: str, depth: int) -> tuple[Node, int]:
        """A call, or what is done with its result: `(await f()).client_secret.value`, `f().on(...)`."""
        if place + 1 < len(row) and row[place].text in (".", "?.") and row[place + 1].kind == "name":
            node, place = self.name(row, place + 1, function, depth)
            return Node(call.start, node.end, [call, node]), place
        return call, place

    def object(self, group: Token, function: str, depth: int) -> Object:
        entries = []
        for part in _split(group.inside or []):
            entry = self.entry(part, function, depth)
            if entry:
                entries.append(entry)
        inside = group.inside or []
        signs = [token.text if token.kind == "sign" else "" for token in inside]
        shape = ";" in signs or ("?", ":") in pairwise(signs)
        return Object(group.start, group.end, entries=entries, shape=shape)

    def entry(self, part: list[Token], function: str, depth: int) -> Entry | None:
        first = part[0]
        named = first.kind in ("string", "name", "number")
        optional = 2 if len(part) > 2 and part[1].text == "?" and part[2].text == ":" else 1
        if named and len(part) > optional + 1 and part[optional].text == ":":
            key = Text(first.start, first.end, value=first.text, exact=first.exact, key=True)
            nodes = self.sequence(part[optional + 1 :], first.text, depth)
            start, end = part[optional + 1].start, part[-1].end
            single = len(nodes) == 1 and (nodes[0].start, nodes[0].end) == (start, end)
            cast = len(part) > optional + 2 and part[optional + 2].text in ("as", "satisfies")
            value = nodes[0] if nodes and (single or cast) else Node(start, end, nodes)
            return Entry(first.text, key, value, bare=first.kind == "name")
        nodes = self.sequence(part, function, depth)
        if len(part) == 1 and first.kind == "name":  # shorthand: the value has the key's name
            return Entry(first.text, Node(first.start, first.end), nodes[0], bare=True)
        return Entry(None, Node(first.start, first.start), Node(first.start, part[-1].end, nodes))

    def assign(self, row: list[Token], sign: int, node: Node) -> None:
        name = self.target(row, sign)
        if not name:
            return
        self.source.assigned.setdefault(last(name), []).append(_unwrapped(node))
        before = row[sign - 1]
        if "." in name and before.kind == "name":
            base = last(name.rpartition(".")[0])
            self.source.stored.append((base, last(name), before.start, before.end))
        elif before.kind == "group" and before.text == "[" and before.inside and before.inside[0].kind == "string":
            key = before.inside[0]
            if sign >= 2:
                self.source.stored.append((row[sign - 2].text, key.text, key.start, key.end))
                self.source.assigned.setdefault(key.text, []).append(node)

    def target(self, row: list[Token], sign: int) -> str:
        """The name to the left of an equals sign, past a type: `const session: Session = ...`."""
        generic = 0
        for place in range(sign - 1, max(sign - 24, -1), -1):
            generic += (row[place].text == ">") - (row[place].text == "<")
            if row[place].text in _DECLARES:
                return row[place + 1].text
            if not generic and row[place].text in (";", ",", *_ASSIGNS):
                break
        parts: list[str] = []
        place = sign - 1
        while place >= 0 and row[place].kind == "name":
            parts.append(row[place].text)
            if place < 2 or row[place - 1].text not in (".", "?."):
                break
            place -= 2
        return ".".join(reversed(parts))


def _opens(row: list[Token], place: int) -> bool:
    return place < len(row) and row[place].kind == "group" and row[place].text == "{"


def _unwrapped(node: Node) -> Node:
    """`({...})` is `{...}`."""
    while type(node) is Node and len(node.children) == 1:
        node = node.children[0]
    return node


def _is_object(row: list[Token], place: int) -> bool:
    """Whether the braces at `place` are an object, rather than a block of statements."""
    inside = row[place].inside or []
    if not inside:
        return place > 0 and row[place - 1].text not in _BLOCK_BEFORE
    before = row[place - 1] if place else None
    if before is not None and (before.text in _BLOCK_BEFORE or (before.kind == "group" and before.text == "(")):
        return False
    first, second = inside[0], inside[1] if len(inside) > 1 else None
    if first.text == "..." or first.kind == "string":
        return True
    if first.kind == "name" and (second is None or second.text in (",", ":")):
        return True
    return first.kind == "name" and second is not None and second.text == "?"


def _split(row: list[Token]) -> list[list[Token]]:
    """The parts between commas, or, in a type, semicolons."""
    parts: list[list[Token]] = [[]]
    for token in row:
        if token.kind == "sign" and token.text in (",", ";"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]
