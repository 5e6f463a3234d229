"""Files that are no program: shell, Dockerfiles, environment, YAML, TOML, INI. Line by line, as words and values.

JSON in them, as in `curl -d '{...}'`, is read as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import javascript
from .literals import Place, in_text, speaks_realtime
from .payloads import SESSION_FIELDS, in_payloads
from .rules import RULES, Finding
from .tree import Source, Text

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
        source = javascript.parse(text, match.start(), end)
        # What is around it says what it is: `curl https://.../realtime/sessions -d '{...}'`.
        yield from in_payloads(Source(text, source.roots, source.assigned, source.returned))


def _closing(text: str, start: int) -> int:
    depth = 0
    for place in range(start, min(len(text), start + 100_000)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place + 1
    return min(len(text), start + 100_000)


def _yaml_sessions(text: str) -> Iterator[Finding]:
    """Fields of block mappings below a key `session`, by their indentation."""
    start, margin, fields = 0, -1, -1
    for line in text.splitlines(keepends=True):
        match = _YAML_SETTING.match(line.rstrip("\r\n"))
        if match:
            indent = len(match["margin"])
            if margin >= 0 and indent <= margin:
                margin = fields = -1
            if margin >= 0:
                fields = indent if fields < 0 else fields
                if indent == fields and match["key"] in SESSION_FIELDS:
                    place, key = start + match.start("key"), match["key"]
                    yield Finding(RULES["session-field"], place, place + len(key), key, SESSION_FIELDS[key])
            if match["key"].lower() == "session" and not match["value"]:
                margin, fields = indent, -1
        start += len(line)
