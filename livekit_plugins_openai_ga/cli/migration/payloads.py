"""What a session, a reply or an item holds of the beta. Ordinary words count only inside what is known to be one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from .fixing import Restructured, add_type, nest, rename_content
from .literals import ending_transcription, speaks_realtime
from .rules import RULES, Finding
from .tree import Call, Entry, List, Name, Node, Object, Source, Text, last

SESSION_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "modalities": 'output_modalities: ["audio"] or ["text"]',
        "voice": "audio.output.voice",
        "speed": "audio.output.speed",
        "input_audio_format": 'audio.input.format: {type: "audio/pcm", rate: 24000}',
        "output_audio_format": 'audio.output.format: {type: "audio/pcm", rate: 24000}',
        "input_audio_transcription": "audio.input.transcription",
        "input_audio_noise_reduction": "audio.input.noise_reduction",
        "turn_detection": "audio.input.turn_detection",
        "max_response_output_tokens": "max_output_tokens",
        "temperature": "nothing: GA has no temperature",
    }
)
"""Fields of the beta's session -> where GA has them (also in fields of `response.create`)."""

_RESPONSE_FIELDS = frozenset(
    {"modalities", "voice", "output_audio_format", "max_response_output_tokens", "temperature"}
)
_OLD_FORMATS = MappingProxyType({"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"})
_CONTENT = MappingProxyType(
    {"text": "output_text", "audio": "output_text with the transcript as its text: GA takes no audio of this role"}
)
_EVENT_SENDERS = frozenset({"send", "send_event", "sendEvent"})
"""Methods that take an event's type and its fields apart, as OpenAI's client for the beta had it."""

_WRAPPERS = frozenset({"dumps", "stringify", "assign", "dict", "freeze", "deepcopy", "copy", "encode", "parse"})
_OF_FRAMEWORK = re.compile(r"[a-z][A-Z]|^model_name$")
"""Keys that the wire never had: openai-agents' in Python, and everybody's in JavaScript."""

_UPDATES = re.compile(r"""["'`](?:transcription_)?session\.update["'`]""")
"""In such a text, `session` is the name of a session that goes to the server."""

_MINTS = re.compile(r"/realtime/(?:transcription_)?sessions(?![\w/-])")
_MAKES_BETA_SESSION = ("beta.realtime.sessions.create", "beta.realtime.transcription_sessions.create", "updateSession")
_MAKES_SECRET = ("realtime.client_secrets.create", "realtime.clientSecrets.create")


@dataclass(slots=True)
class _Payload:
    """An object that is known to be a session, reply or item.

    `whole`: it is a session that is sent as it is. `hears`: one that only transcribes, by the event that it is sent in.
    """

    node: Object
    kind: str
    whole: bool = False
    hears: bool = False
    names: set[str] = field(default_factory=set)


def in_payloads(source: Source) -> Iterator[Finding]:
    """All that is wrong in sessions, replies and items that can be told as such."""
    if _UPDATES.search(source.text):
        yield from _put_into(frozenset({"session"}), source, "session-field", frozenset(SESSION_FIELDS))
    for payload in _Finder(source).all():
        if payload.kind == "session":
            yield from _session(payload, source)
        elif payload.kind == "response":
            yield from _fields(payload, source, "response-field", _RESPONSE_FIELDS)
            yield from _both_modalities(payload.node)
        else:
            yield from _item(payload.node)


class _Finder:
    """Finds the objects that are payloads, and follows names to them within the same text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.found: dict[int, _Payload] = {}
        self.others: set[int] = set()
        self.own: dict[str, bool] = {}
        self.realtime = "realtime" in source.text.lower()

    def all(self) -> Iterable[_Payload]:
        for root in self.source.roots:
            self.known(root)
        for root in self.source.roots:
            self.likely(root, "", "")
        return self.found.values()

    def mark(self, node: Node | None, kind: str, *, whole: bool = False, hears: bool = False) -> None:
        for one, through in self.resolve(node):
            payload = self.found.setdefault(id(one), _Payload(one, kind, whole, hears))
            payload.names |= through

    def resolve(self, node: Node | None) -> list[tuple[Object, frozenset[str]]]:
        """The objects that `node` may be, with the names they go by; each place in the text is looked at once."""
        found: list[tuple[Object, frozenset[str]]] = []
        seen: set[int] = set()
        waiting = [(node, frozenset[str]())]
        while waiting:
            one, names = waiting.pop(0)
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            if isinstance(one, Object):
                found.append((one, names))
            elif isinstance(one, Name):
                name = last(one.dotted)
                waiting += [(value, names | {name}) for value in self.source.assigned.get(name, ())]
            elif isinstance(one, Call) and one.last in _WRAPPERS and one.arguments:
                waiting.append((one.arguments[-1 if one.last == "assign" else 0], names))
            elif isinstance(one, Call):
                waiting += [(value, names | {one.last}) for value in self.source.returned.get(one.last, ())]
            elif type(one) is Node:
                waiting += [(child, names) for child in one.children if isinstance(child, Object)]
        return found

    def known(self, node: Node) -> None:
        """Events by their `type`, and the SDK's calls."""
        if isinstance(node, Object):
            kind = node.get("type")
            if isinstance(kind, Text):
                self.event(kind.value, node)
        if isinstance(node, Call):
            self.call(node)
        for child in node.inside():
            self.known(child)

    def event(self, kind: str, node: Object) -> None:
        if kind in ("session.update", "transcription_session.update"):
            self.mark(node.get("session"), "session", whole=True, hears=kind.startswith("transcription"))
        elif kind == "response.create":
            self.response(node.get("response"))
        elif kind == "conversation.item.create":
            self.mark(node.get("item"), "item")

    def call(self, node: Call) -> None:
        kind = node.arguments[0] if len(node.arguments) > 1 and node.last in _EVENT_SENDERS else None
        if isinstance(kind, Text):
            for fields, _ in self.resolve(node.arguments[1]):
                self.event(kind.value, fields)
        if node.callee.endswith(_MAKES_BETA_SESSION) and self.realtime:
            if node.keywords and node.keywords.entries:
                self.mark(node.keywords, "session")
            elif node.arguments:
                self.mark(node.arguments[0], "session")
        elif node.callee.endswith(_MAKES_SECRET):
            first = node.arguments[0] if node.arguments else None
            session = first.get("session") if isinstance(first, Object) else node.argument("session", 1)
            self.mark(session, "session", whole=True)
        elif not self.realtime or len(node.callee.split(".")) < 3:
            return
        elif node.callee.endswith((".session.update", ".transcription_session.update")):
            hears = node.callee.endswith(".transcription_session.update")
            self.mark(node.argument("session", 0), "session", whole=True, hears=hears)
        elif node.callee.endswith(".response.create"):
            self.response(node.argument("response", 0))
        elif node.callee.endswith(".conversation.item.create"):
            self.mark(node.argument("item", 0), "item")

    def response(self, node: Node | None) -> None:
        self.mark(node, "response")
        for one, _ in self.resolve(node):
            asked = one.get("input")
            if isinstance(asked, List):
                for item in asked.children:
                    self.mark(item, "item")

    def likely(self, node: Node, key: str, callee: str, name: str = "") -> None:
        """Objects that nothing sends in this text, but whose fields only a session has."""
        if isinstance(node, Object) and self.is_session(node, key, callee) and not self.is_unpacked(node):
            self.found.setdefault(id(node), _Payload(node, "session"))
        if isinstance(node, Call):
            self.minting(node)
            if self.is_own(node):
                self.others |= {id(argument) for argument in node.arguments}
                self.others |= {id(entry.value) for entry in (node.keywords.entries if node.keywords else ())}
            for argument in node.inside():
                self.likely(argument, "", node.last)
            return
        if isinstance(node, Object):
            for entry in node.entries:
                self.likely(entry.value, entry.key or "", "")
            return
        for child in node.inside():
            self.likely(child, "", callee if isinstance(node, List) or type(node) is Node else "")

    def is_session(self, node: Object, key: str, callee: str) -> bool:
        keys = node.keys
        # A class or a call that takes these as its own names: RealtimeModel(...), SessionProperties(...).
        of_framework = (
            not node.braces
            or callee[:1].isupper()
            or any(_OF_FRAMEWORK.search(name or "") for name in keys)
            or "ettings" in key
        )
        if of_framework or not self.realtime or key in ("response", "item") or id(node) in self.others:
            return False
        if any(_only_beta(entry) for entry in node.entries):
            return True
        model = node.get("model")
        of_realtime = isinstance(model, Text) and "realtime" in model.value
        hints = keys & {"modalities", "voice", "turn_detection", "temperature"}
        return len(hints) >= (1 if of_realtime else 2) and (of_realtime or key == "session")

    def is_own(self, node: Call) -> bool:
        """Whether it calls a class of this text, or a method of one, that says nothing of the Realtime API."""
        if not self.source.classes:
            return False
        made: list[Node] = [child for name in node.children for child in name.inside()]
        made += self.source.assigned.get(last(node.callee.rpartition(".")[0]), ())
        names = {node.callee, *(one.callee for one in made if isinstance(one, Call))}
        known = [self.is_foreign(last(name)) for name in names if last(name) in self.source.classes]
        return bool(known) and all(known)

    def is_foreign(self, name: str) -> bool:
        """Whether the classes of this name say nothing of the Realtime API."""
        if name not in self.own:
            places = self.source.classes[name]
            self.own[name] = not any(speaks_realtime(self.source.text[start:end]) for start, end in places)
        return self.own[name]

    def is_unpacked(self, node: Object) -> bool:
        """Whether it becomes the keywords of some call, whose names are the callee's."""
        return any(node in self.source.assigned.get(name, ()) for name in self.source.spread)

    def minting(self, node: Call) -> None:
        """The body of a request to one of the paths that minted keys for the beta."""
        texts = [argument for argument in node.arguments if isinstance(argument, (Text, Name))]
        addresses = [text for argument in texts for text in self.addresses(argument)]
        if not any(_MINTS.search(address) for address in addresses):
            return
        body = node.argument("json", 9) or node.argument("data", 9)
        options = node.arguments[1] if len(node.arguments) > 1 else None
        if body is None and isinstance(options, Object):
            body = options.get("body") or (options if options.keys & {"model", "voice", "session"} else None)
        for one, _ in self.resolve(body):
            self.found.setdefault(id(one), _Payload(one, "session"))

    def addresses(self, node: Text | Name) -> Iterator[str]:
        if isinstance(node, Text):
            yield node.value
            return
        for value in self.source.assigned.get(last(node.dotted), ()):
            if isinstance(value, Text):
                yield value.value


def _only_beta(entry: Entry) -> bool:
    """Whether only the beta's wire had this field with such a value: LiveKit's keywords have some of the names."""
    if entry.key in ("input_audio_format", "output_audio_format"):
        return isinstance(entry.value, Text) and entry.value.value in _OLD_FORMATS
    return entry.key == "max_response_output_tokens"


def _session(payload: _Payload, source: Source) -> Iterator[Finding]:
    node = payload.node
    changed = any(name in payload.names for name, _, _, _ in source.stored)
    simple = payload.whole and node.braces and not (changed or node.shape)
    restructured = nest(node, source, hears=payload.hears) if simple else None
    yield from _fields(payload, source, "session-field", frozenset(SESSION_FIELDS), restructured)
    yield from _both_modalities(node)
    yield from _formats(node)
    yield from _transcription_model(node)
    stored = {key for name, key, _, _ in source.stored if name in payload.names}
    translates = node.keys <= {"audio"} and "translat" in source.text.lower()
    if not payload.whole or translates or not {"type", None}.isdisjoint(node.keys | stored):
        return
    only_hears = re.search(r"intent=transcription|transcription_session", source.text) is not None
    kind = "transcription" if payload.hears or only_hears else "realtime"
    sure = (payload.hears or not only_hears) and bool(node.entries)
    edits = (add_type(node, kind, source),) if sure and node.braces and not node.shape else ()
    place = node.start
    yield Finding(RULES["session-type"], place, node.end, "session without type", f'type: "{kind}"', edits)


def _fields(
    payload: _Payload,
    source: Source,
    rule: str,
    fields: frozenset[str],
    restructured: Restructured | None = None,
) -> Iterator[Finding]:
    for entry in payload.node.entries:
        if entry.key in fields:
            start, end = entry.start, entry.start + len(entry.key)
            if isinstance(entry.key_node, Text):
                end = entry.key_node.end
            edits = restructured.edits if restructured else ()
            instead = SESSION_FIELDS[entry.key]
            if payload.hears and entry.key == "modalities":
                instead = "nothing: a transcription session has no modalities"
            yield Finding(RULES[rule], start, end, entry.key, instead, edits)
    yield from _put_into(payload.names, source, rule, fields)


def _put_into(names: Set[str], source: Source, rule: str, fields: frozenset[str]) -> Iterator[Finding]:
    """Fields that are put in later: `session["voice"] = ...`."""
    for name, key, start, end in source.stored:
        if name in names and key in fields:
            yield Finding(RULES[rule], start, end, key, SESSION_FIELDS[key])


def _both_modalities(node: Object) -> Iterator[Finding]:
    value = node.get("output_modalities")
    if isinstance(value, List) and {child.value for child in value.children if isinstance(child, Text)} >= {
        "text",
        "audio",
    }:
        yield Finding(RULES["modalities"], value.start, value.end, "text and audio", 'output_modalities: ["audio"]')


def _formats(node: Object) -> Iterator[Finding]:
    audio = node.get("audio")
    for side in ("input", "output") if isinstance(audio, Object) else ():
        part = audio.get(side) if isinstance(audio, Object) else None
        shape = part.get("format") if isinstance(part, Object) else None
        if isinstance(shape, Text) and shape.value in _OLD_FORMATS:
            instead = f'{{type: "{_OLD_FORMATS[shape.value]}"}}' + (
                ", with rate: 24000" if "pcm16" in shape.value else ""
            )
            yield Finding(RULES["audio-format"], shape.start, shape.end, shape.value, instead)
        elif isinstance(shape, Object) and not {"rate", None} & shape.keys:
            kind = shape.get("type")
            if isinstance(kind, Text) and kind.value == "audio/pcm":
                yield Finding(RULES["audio-format"], shape.start, shape.end, "audio/pcm without rate", "rate: 24000")


def _transcription_model(node: Object) -> Iterator[Finding]:
    audio = node.get("audio")
    hears = audio.get("input") if isinstance(audio, Object) else None
    nested = hears.get("transcription") if isinstance(hears, Object) else None
    for transcription in (node.get("input_audio_transcription"), nested):
        model = transcription.get("model") if isinstance(transcription, Object) else None
        if isinstance(model, Text):
            yield from ending_transcription(model)


def _item(node: Object) -> Iterator[Finding]:
    role, content = node.get("role"), node.get("content")
    if not isinstance(role, Text) or role.value != "assistant" or not isinstance(content, List):
        return
    for part in content.children:
        kind = part.get("type") if isinstance(part, Object) else None
        if isinstance(kind, Text) and kind.value in _CONTENT:
            instead = _CONTENT[kind.value]
            edits = rename_content(kind, instead)
            yield Finding(RULES["item-content"], kind.start, kind.end, kind.value, instead, edits)
