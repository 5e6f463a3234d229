"""Python source -> the tree that the rules read. Comments and docstrings are not in it."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from itertools import accumulate

from .tree import Call, Entry, List, Name, Node, Object, Source, Text, last


def parse(text: str) -> Source:
    """Read `text`. Raises SyntaxError when it is not Python 3, RecursionError when it is nested too deeply."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python says of escapes in the user's code is not our news
        try:
            module = ast.parse(text)
        except ValueError as error:  # a null byte
            raise SyntaxError(str(error)) from None
    return _Reader(text).read(module)


class _Reader:
    def __init__(self, text: str) -> None:
        self.source = Source(text)
        # ast counts lines as the compiler does, and columns in bytes of UTF-8.
        self.lines = text.splitlines(keepends=True)
        if not text.isascii() or not set("\r\f\v\x1c\x1d\x1e").isdisjoint(text):
            self.lines = _compiler_lines(text)
        self.starts = [0, *accumulate(map(len, self.lines))]
        self.function = ""

    def read(self, module: ast.Module) -> Source:
        self.source.comments = _comments(self.source.text, self.starts)
        self.source.roots = [self.node(statement) for statement in module.body]
        return self.source

    def place(self, line: int, column: int) -> int:
        if line > len(self.lines):
            return len(self.source.text)
        content = self.lines[line - 1]
        if not content.isascii():
            column = len(content.encode()[:column].decode(errors="replace"))
        return self.starts[line - 1] + column

    def node(self, tree: ast.AST) -> Node:
        start, end = self.span(tree)
        match tree:
            case ast.Constant(value=str(value)):
                return self.text(start, end, value)
            case ast.JoinedStr(values=parts):
                holes = [part.value if isinstance(part, ast.Constant) else "{}" for part in parts]
                return Text(start, end, value="".join(map(str, holes)))
            case ast.Dict():
                return self.dict(tree, start, end)
            case ast.List() | ast.Tuple() | ast.Set():
                return List(start, end, [self.node(item) for item in tree.elts])
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self.name(tree, start, end)
            case ast.Call():
                return self.call(tree, start, end)
            case ast.Import(names=names):
                return Node(start, end, [Name(start, end, dotted=alias.name) for alias in names])
            case ast.ImportFrom(module=base, names=names):
                dotted = [f"{base or ''}.{alias.name}" for alias in names]
                return Node(start, end, [Name(start, end, dotted=one) for one in dotted])
        return self.statement(tree, start, end)

    def statement(self, tree: ast.AST, start: int, end: int) -> Node:
        function = self.function
        match tree:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.function = name
            case ast.ClassDef(name=name):
                self.source.classes.setdefault(name, []).append((start, end))
            case ast.Expr(value=ast.Constant(value=str())):
                return Node(start, end)
        children = [self.node(child) for child in ast.iter_child_nodes(tree)]
        match tree:
            case ast.Assign(targets=targets):
                for target in targets:
                    self.assign(target, children[-1])
            case ast.AnnAssign(target=target, value=ast.expr()) | ast.NamedExpr(target=target):
                self.assign(target, children[-1])
            case ast.Return(value=ast.expr()):
                self.source.returned.setdefault(function, []).append(children[0])
        self.function = function
        return Node(start, end, children)

    def assign(self, target: ast.expr, value: Node) -> None:
        match target:
            case ast.Name() | ast.Attribute():
                self.source.assigned.setdefault(last(_dotted(target)), []).append(value)
            case ast.Subscript(value=base, slice=ast.Constant(value=str(key))):
                self.source.stored.append((last(_dotted(base)), key, *self.span(target.slice)))
                self.source.assigned.setdefault(key, []).append(value)
            case _:
                pass

    def text(self, start: int, end: int, value: str) -> Text:
        written = self.source.text[start:end]
        exact = any(written == quote + value + quote for quote in ('"""', "'''", '"', "'"))
        return Text(start, end, value=value, exact=exact)

    def dict(self, tree: ast.Dict, start: int, end: int) -> Object:
        entries = []
        for key, value in zip(tree.keys, tree.values, strict=True):
            content = self.node(value)
            if key is None:
                entries.append(Entry(None, Node(max(content.start - 2, 0), content.start), content))
                continue
            name = self.node(key)
            if isinstance(name, Text):
                name.key = True
            entries.append(Entry(name.value if isinstance(name, Text) else None, name, content))
        return Object(start, end, entries=entries)

    def name(self, tree: ast.expr, start: int, end: int) -> Node:
        dotted = _dotted(tree)
        inner: list[Node] = []
        while isinstance(tree, (ast.Attribute, ast.Subscript)):
            if isinstance(tree, ast.Subscript):
                if isinstance(tree.slice, ast.Constant):
                    inner += [Text(*self.span(tree.slice), value=str(tree.slice.value), key=True)]
                else:
                    inner.append(self.node(tree.slice))
                    if last(_dotted(tree.value)) == "Literal":  # names that a type allows, not one that is used
                        for child in inner[-1].inside():
                            if isinstance(child, Text):
                                child.key = True
            tree = tree.value
        if not isinstance(tree, ast.Name):
            inner.append(self.node(tree))
        return Name(start, end, inner, dotted=dotted)

    def call(self, tree: ast.Call, start: int, end: int) -> Node:
        entries = []
        for keyword in tree.keywords:
            value = self.node(keyword.value)
            begin, _ = self.span(keyword)
            if keyword.arg is None and isinstance(value, Name):
                self.source.spread.add(last(value.dotted))
            entries.append(Entry(keyword.arg, Node(begin, begin + len(keyword.arg or "")), value, bare=True))
        callee = self.node(tree.func)
        keywords = Object(start, end, entries=entries, braces=False)
        if isinstance(tree.func, ast.Name) and tree.func.id == "dict" and not tree.args:
            return keywords
        arguments = [self.node(argument) for argument in tree.args]
        return Call(start, end, [callee], callee=_dotted(tree.func), arguments=arguments, keywords=keywords)

    def span(self, tree: ast.AST) -> tuple[int, int]:
        if not isinstance(tree, (ast.expr, ast.stmt, ast.keyword)):
            return 0, 0
        last_line, last_column = tree.end_lineno or tree.lineno, tree.end_col_offset or 0
        return self.place(tree.lineno, tree.col_offset), self.place(last_line, last_column)


def _dotted(tree: ast.expr) -> str:
    parts: list[str] = []
    while True:
        match tree:
            case ast.Attribute(value=base, attr=attribute):
                parts.append(attribute)
            case ast.Subscript(value=base, slice=ast.Constant(value=str(key))):
                parts.append(key)
            case ast.Subscript(value=base):
                parts.append("?")
            case ast.Name(id=name):
                return ".".join([name, *reversed(parts)])
            case ast.Await(value=base):
                pass
            case _:
                return ".".join(["?", *reversed(parts)])
        tree = base


def _compiler_lines(text: str) -> list[str]:
    """Lines as the compiler counts them: only LF, CR LF and CR end one."""
    lines, start = [], 0
    for place, char in enumerate(text):
        if char == "\n" or (char == "\r" and text[place + 1 : place + 2] != "\n"):
            lines.append(text[start : place + 1])
            start = place + 1
    return [*lines, text[start:]]


def _comments(text: str, starts: list[int]) -> list[tuple[int, int]]:
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text, newline="").readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    found = [token for token in tokens if token.type == tokenize.COMMENT]
    return [
        (starts[token.start[0] - 1] + token.start[1], starts[token.start[0] - 1] + token.end[1])
        for token in found
        if token.start[0] <= len(starts)
    ]
