"""JavaScript, TypeScript and JSON in tokens: enough to tell strings, comments, names and brackets apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<name>[A-Za-z_$\u0080-\uffff][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>=>|===|!==|==|!=|<=|>=|\?\?=|\|\|=|&&=|\?\.|\.\.\.|\?\?|\|\||&&|.)""",
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_HOLE = re.compile(r"\\.|`|\$\{", re.DOTALL)
# After these a slash begins a regular expression, not a division.
_BEFORE_REGEX = frozenset(
    {
        *("(", ",", "=", ":", "[", "!", "&", "|", "?", "{"),
        *("}", ";", "=>", "&&", "||", "??", "return", "typeof", "case"),
    }
)
_ESCAPE = re.compile(r"\\(u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": ""}


@dataclass(slots=True)
class Token:
    """`kind`: string, name, number, sign or group. `text`: the source; of a string, its value; of a group, its bracket.

    `inside`: a group's tokens. `exact`: a string has no escapes and no holes.
    """

    kind: str
    text: str
    start: int
    end: int
    exact: bool = False
    inside: list[Token] | None = None


def tokens(text: str, start: int = 0, end: int | None = None) -> tuple[list[Token], list[tuple[int, int]]]:
    """Tokens of `text` between two places, brackets as groups, and the places of comments. Never fails."""
    end = len(text) if end is None else end
    top: list[Token] = []
    stack: list[tuple[list[Token], str]] = []
    comments: list[tuple[int, int]] = []
    here, before = top, ""
    while start < end:
        token = _next(text, start, end, before)
        start = token.end
        if token.kind == "comment":
            comments.append((token.start, token.end))
        if token.kind in ("space", "comment"):
            continue
        before = token.text if token.kind != "string" else '"'
        if token.kind == "sign" and token.text in "([{":
            group = Token("group", token.text, token.start, end, inside=[])
            here.append(group)
            stack.append((here, token.text))
            here = group.inside or []
            group.inside = here
        elif token.kind == "sign" and token.text in ")]}":
            # A bracket that closes nothing is left out; one that was never closed ends with its parent.
            opened = {")": "(", "]": "[", "}": "{"}[token.text]
            if any(bracket == opened for _, bracket in stack):
                while stack:
                    here, bracket = stack.pop()
                    here[-1].end = token.end
                    if bracket == opened:
                        break
        else:
            here.append(token)
    return top, comments


def _next(text: str, start: int, end: int, before: str) -> Token:
    char = text[start]
    if char == "`":
        return _template(text, start, end)
    if char == "/" and (before == "" or before in _BEFORE_REGEX):
        expression = _REGEX.match(text, start, end)
        if expression and text[start + 1] not in "/*":
            return Token("regex", expression[0], start, expression.end())
    match = _TOKEN.match(text, start, end)
    if match is None:
        return Token("sign", char, start, start + 1)
    kind = match.lastgroup or "sign"
    if kind != "string":
        return Token(kind, match[0], start, match.end())
    written = match[0][1:-1]
    value = _ESCAPE.sub(_unescape, written) if "\\" in written else written
    return Token(kind, value, start, match.end(), exact="\\" not in written)


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        code = int(escape.strip("ux{}"), 16)
        return chr(code) if code < 0x110000 else "?"
    return _ESCAPES.get(escape, escape)


def _template(text: str, start: int, end: int) -> Token:
    """A template literal: `{}` for each hole, whatever is in it."""
    value, place = [], start + 1
    while place < end:
        match = _HOLE.search(text, place, end)
        if match is None:
            break
        value.append(text[place : match.start()])
        place = match.end()
        if match[0] == "`":
            content = "".join(value)
            return Token("string", content, start, place, exact=content == text[start + 1 : place - 1])
        if match[0] == "${":
            place = _hole_end(text, place, end)
            value.append("{}")
        else:
            value.append(_ESCAPE.sub(_unescape, match[0]))
    return Token("string", "".join(value), start, end)


def _hole_end(text: str, place: int, end: int) -> int:
    depth = 1
    while place < end:
        char = text[place]
        if char == "`":
            place = _template(text, place, end).end
            continue
        if char in "'\"":
            match = _TOKEN.match(text, place, end)
            place = match.end() if match else place + 1
            continue
        depth += (char == "{") - (char == "}")
        place += 1
        if depth == 0:
            return place
    return end
