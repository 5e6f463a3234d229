"""Files that are no program: shell, Dockerfiles, environment, YAML, TOML, INI. Line by line, as words and values.

JSON in them, as in `curl -d '{...}'`, is read as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from . import javascript
from .literals import Place, in_text, speaks_realtime
from .payloads import SESSION_FIELDS, in_payloads
from .rules import RULES, Finding
from .tree import Node, Object, Source, Text

SHELL = "shell"
SETTINGS = "settings"
YAML = "yaml"

_WORD = re.compile(
    r"""(?P<comment>(?:(?<=\s)|^)\#.*)
    |"(?P<double>(?:[^"\\]|\\.)*)"
    |'(?P<single>[^']*)'
    |(?P<bare>[^\s"'#;|&()<>]+(?:[&#;|][^\s"'#;|()<>]+)*)""",
    re.VERBOSE,
)
_SETTING = re.compile(r"""^\s*(?:-\s+)?(?:export\s+)?["']?(?P<key>[\w.-]+)["']?\s*[:=]\s*(?P<value>.*)$""")
_YAML_SETTING = re.compile(r"""^(?P<margin>\s*(?:-\s+)*)["']?(?P<key>[\w.-]+)["']?\s*:(?:\s+(?P<value>.*))?$""")
_ASSIGNED = re.compile(r"^(?:--?)?(?P<key>[A-Za-z_][\w-]*)=(?P<value>.+)$")
_JSON = re.compile(r"""\{\s*\\?["']""")
_IMPORTED = re.compile(r"\b(?:pipecat\.services\.\w*realtime_beta[\w.]*|openai\.types\.beta\.realtime[\w.]*)")
_HEADER = re.compile(r"OpenAI-Beta[\"']?\s*[:=]\s*[\"']?realtime=v1[\"']?", re.I)
_DEFAULT = re.compile(r"\$\{(?P<key>\w+):?[-=](?P<value>[^}\"'\s]+)")
"""The shell's `${MODEL:-gpt-realtime}`, which compose files have, too."""
_OLD_SECRET = re.compile(r"\.client_secret\.value\b")
"""As `jq` reads it from the answer."""

_BETA_ONLY = frozenset(SESSION_FIELDS) - {"voice", "speed", "temperature"}
"""Fields that no session but the Realtime API's had."""
_RULE_OF_MODULE = {"p": "pipecat-beta", "o": "sdk-types"}


def scan(text: str, kind: str) -> Iterator[Finding]:
    """What the lines of `text` hold of the beta; `kind` is SHELL, SETTINGS or YAML."""
    start = 0
    asked_before = Place()
    for line in text.splitlines(keepends=True):
        header = _HEADER.search(_uncommented(line))
        if header:
            begin, end = start + header.start(), start + header.end()
            yield Finding(RULES["beta-header"], begin, end, header[0], "leave the header out")
        secret = _OLD_SECRET.search(_uncommented(line))
        if secret and "realtime" in text.lower():
            begin, end = start + secret.start(), start + secret.end()
            yield Finding(RULES["client-secret"], begin, end, secret[0], ".value")
        for word, place in _words(line, start, kind, asked_before):
            if header is None or "realtime=v1" not in word.value:
                yield from in_text(word, place, text)
                yield from _module(word)
            asked_before = Place(key=word.value.lstrip("-")) if word.value.startswith("--") else Place()
        start += len(line)
    if kind == YAML and speaks_realtime(text):
        yield from _yaml_sessions(text)
    yield from _embedded(text)


def _uncommented(line: str) -> str:
    return "" if line.lstrip().startswith(("#", ";")) else line


def _words(line: str, start: int, kind: str, before: Place) -> Iterator[tuple[Text, Place]]:
    """The values of a line, each with its key."""
    if not _uncommented(line).strip():
        return
    setting = None
    if kind == YAML:
        setting = _YAML_SETTING.match(line.rstrip("\r\n"))
    elif kind == SETTINGS:
        setting = _SETTING.match(line)
    if setting and setting["value"] is not None:
        key, place = setting["key"], start + setting.start("value")
        written = re.split(r"\s#", setting["value"])[0].rstrip()
        if written[:1] in ("[", "{"):
            yield from _split(written, place, Place(key))
        else:
            yield from _unquoted(written, place, Place(key))
        return
    yield from _split(line, start, before)


def _split(line: str, start: int, before: Place) -> Iterator[tuple[Text, Place]]:
    """Words as a shell has them; in lists, too."""
    place = before
    for match in _WORD.finditer(line):
        if match["comment"] is not None:
            return
        value = match["double"] if match["double"] is not None else match["single"]
        begin = start + match.start()
        if value is not None:
            yield from _unquoted(match[0], begin, place)
        else:
            bare = match["bare"].strip("[],{}")
            yield from _unquoted(bare, begin + match["bare"].find(bare), place)
            value = bare
        assigned = value.endswith("=") and re.fullmatch(r"[\w-]+=", value)
        if value.startswith("--"):
            place = Place(value.lstrip("-"))
        elif assigned:
            place = Place(value[:-1])
        else:
            place = before if before.key and not value.startswith("-") and place is before else Place()


def _unquoted(written: str, start: int, place: Place) -> Iterator[tuple[Text, Place]]:
    """One value, without its quotes; of `NAME=value`, the value."""
    quotes = 1 if written[:1] in ("'", '"') and written[-1:] == written[:1] and len(written) > 1 else 0
    value = written[quotes : len(written) - quotes]
    assigned = _ASSIGNED.match(value)
    if assigned and " " not in value and "realtime=v1" not in value:
        offset = start + quotes + assigned.start("value")
        yield from _unquoted(assigned["value"], offset, Place(assigned["key"]))
        return
    yield Text(start, start + len(written), value=value, exact="\\" not in value), place
    for default in _DEFAULT.finditer(value):
        begin, end = (start + quotes + one for one in default.span("value"))
        yield Text(begin, end, value=default["value"], exact=True), Place(default["key"])


def _module(word: Text) -> Iterator[Finding]:
    match = _IMPORTED.fullmatch(word.value)
    if match:
        rule = _RULE_OF_MODULE[match[0][0]]
        instead = "pipecat.services.openai.realtime.llm" if rule == "pipecat-beta" else "openai.types.realtime"
        yield Finding(RULES[rule], word.start, word.end, word.value, instead)


def _embedded(text: str) -> Iterator[Finding]:
    """JSON objects among the words."""
    place = 0
    while True:
        match = _JSON.search(text, place)
        if match is None:
            return
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        end = _closing(text, match.start())
        place = end
        if line.lstrip().startswith("#"):
            continue
        try:
            source = javascript.parse(text, match.start(), end)
        except RecursionError:  # no session is that deep
            continue
        # What is around it says what it is: `curl https://.../realtime/sessions -d '{...}'`.
        for root in source.roots:
            yield from _texts(root, Place(), text)
        yield from in_payloads(Source(text, source.roots, source.assigned, source.returned))


def _texts(node: Node, place: Place, text: str) -> Iterator[Finding]:
    """What the texts of embedded JSON hold of the beta, with their keys."""
    if isinstance(node, Text):
        yield from in_text(node, place, text)
    elif isinstance(node, Object):
        for entry in node.entries:
            if entry.key is None or entry.key.lower() != "openai-beta":  # the line with it was seen
                yield from _texts(entry.value, Place(entry.key or ""), text)
    else:
        for child in node.inside():
            yield from _texts(child, place, text)


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, min(len(text), start + 100_000)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place + 1
    return min(len(text), start + 100_000)


@dataclass(slots=True)
class _Mapping:
    """A block mapping: how deep it stands, below which key, and what its own lines say."""

    indent: int
    key: str
    parent: _Mapping | None
    realtime: bool = False
    fields: list[tuple[str, int]] = field(default_factory=list)

    @property
    def is_session(self) -> bool:
        """Whether it is a session of the Realtime API: by its fields, the values beside it, or a key above it."""
        if self.key.lower() != "session" or self.parent is None:
            return False
        above: _Mapping | None = self.parent
        while above is not None and "realtime" not in above.key.lower():
            above = above.parent
        only_beta = any(key in _BETA_ONLY for key, _ in self.fields)
        return only_beta or self.realtime or self.parent.realtime or above is not None


def _yaml_sessions(text: str) -> Iterator[Finding]:
    """Fields of block mappings below a key `session`, by their indentation."""
    for mapping in _mappings(text):
        for key, place in mapping.fields if mapping.is_session else ():
            if key in SESSION_FIELDS:
                yield Finding(RULES["session-field"], place, place + len(key), key, SESSION_FIELDS[key])


def _mappings(text: str) -> list[_Mapping]:
    here = _Mapping(-1, "", None)
    found, start, opened = [], 0, ""
    for line in text.splitlines(keepends=True):
        match = _YAML_SETTING.match(line.rstrip("\r\n"))
        if match and _uncommented(line):
            indent, item = len(match["margin"]), "-" in match["margin"]
            while here.parent is not None and (here.indent > indent or (item and here.indent == indent)):
                here, opened = here.parent, ""
            if here.indent < indent:
                here = _Mapping(indent, opened, here)
                found.append(here)
            key, value = match["key"], match["value"] or ""
            here.fields.append((key, start + match.start("key")))
            scalar = re.split(r"(?:^|\s)#", value)[0].strip()
            here.realtime |= bool(scalar) and "realtime" in f"{key} {scalar}".lower()
            opened = "" if scalar else key
        start += len(line)
    return found
