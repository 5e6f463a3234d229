"""What a single text, a name or an import says of the beta, by itself or with what stands around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from ...models import MODELS, Stage, Use, find
from ...wire.renames import SERVER_EVENTS
from .rules import RULES, Edit, Finding
from .tree import Name, Text

_SPEAKS_REALTIME = re.compile(
    r"realtime|input_audio_buffer|conversation\.item\.|session\.update|transcription_session|audio_transcript", re.I
)
_HEADER = re.compile(
    r"(?:^|[\r\n])[\"']?(?:OpenAI-Beta\s*[:=]\s*)?((?:[\w-]+=v\d+,\s*)*realtime=v1)(?=[\s,\"']|$)", re.I
)
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
"""What a browser offered beside `realtime` to get the beta."""

_MINTING = re.compile(r"(?:/v1|\.com|\{\}|^|\})(/realtime/(?:transcription_)?sessions)(?![\w/-])")
_POSTED = re.compile(r"^https?://\S*/v1/realtime/?(?=\?|$)")
_AZURE = re.compile(
    r"(?:azure\.com|\{\}|^)/openai/realtime(?=\?|$)|/openai/realtime\?\S*api-version=|realtimeapi-preview\.ai\.azure\.com"
)
_DEPLOYMENT_URL = re.compile(r"azure\.(?:com|us|cn)\b|(?:\{\}|^)/openai/v1\b")
"""Azure's own addresses: `model=` in them is the name of a deployment, which its owner chose."""
_AZURE_BASE = re.compile(r"(?:azure\.(?:com|us|cn)|[}\"'`])/openai/v1\b")
"""A text with such an address in it: whatever it calls a model may be a deployment."""
_MODEL_IN_URL = re.compile(r"[?&](model=)([^&#\s\"']*)")
_SOCKET = re.compile(r"/realtime/?\?")
_BETA_MODEL = re.compile(r"^(?:openai/|azure/)?(gpt-4o(?:-mini)?-realtime-preview(?:-\d{4}-\d\d-\d\d)?)$")
_OWN_ROUTES = frozenset(
    {
        *("app", "router", "server", "api", "bp", "blueprint", "fastify", "route", "routes"),
        *("web", "mock", "respx", "nock", "msw", "http"),
    }
)
_VERBS = frozenset({"get", "post", "put", "delete", "patch", "route", "add_api_route", "all"})
_DEPLOYMENTS = re.compile(r"deployment", re.I)
_SETTING_FOR_MODEL = re.compile(r"model", re.I)

_CLIENT_EVENTS: Mapping[str, str] = MappingProxyType({"transcription_session.update": "session.update"})
_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        old + end: f"{new}{end}"
        for end in ("", ".")
        for old, new in (
            ("response.audio", "response.output_audio"),
            ("response.text", "response.output_text"),
            ("response.audio_transcript", "response.output_audio_transcript"),
        )
    }
)
_ASKS_FOR_A_PART = frozenset({"startswith", "hasprefix", "includes", "contains", "indexof"})
_IS_ASKED_FOR = re.compile(r"\s+(?:not\s+)?in\b")
"""After a text in Python: `"response.audio" in kind`."""

# How the module or the package begins -> rule, what to use. An edit is made where names and arguments stay as they are.
_PACKAGES = (
    ("openai/beta/realtime/", "sdk-beta", "openai/realtime/", True),
    ("openai/resources/beta/realtime", "sdk-types", "openai/resources/realtime/realtime", False),
    ("@openai/realtime-api-beta", "sdk-package", "the openai package, or @openai/agents/realtime", False),
    ("openai/openai-realtime-api-beta", "sdk-package", "the openai package, or @openai/agents/realtime", False),
)  # fmt: skip
_LIVEKIT = "livekit_plugins_openai_ga.RealtimeModel, or livekit.plugins.openai.realtime.RealtimeModel"
_PIPECAT = "pipecat.services.openai.realtime.llm.OpenAIRealtimeLLMService, whose SessionProperties have GA's form"
_MODULES = (
    (re.compile(r"(?:^|\.)openai\.(?:types|resources)\.beta\.realtime\b"), "sdk-types", "openai.types.realtime"),
    (re.compile(r"\.beta\.realtime\b"), "sdk-beta", "client.realtime"),
    (re.compile(r"\bRealtime(?:Model|Session)Beta$|\brealtime_model_beta\b"), "livekit-beta", _LIVEKIT),
    (re.compile(r"\bpipecat\.services\.\w*realtime_beta\b|\b\w*RealtimeBetaLLMService$"), "pipecat-beta", _PIPECAT),
)
_IN_CODE = re.compile(r"\bbeta\s*\??\.\s*(?=realtime)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: the key it is the value of, and the call it is an argument of; "" for none."""

    key: str = ""
    callee: str = ""


def speaks_realtime(text: str) -> bool:
    """Whether a source has anything to do with the Realtime API."""
    return _SPEAKS_REALTIME.search(text) is not None


@lru_cache(maxsize=2)
def _names_azures_base(source: str) -> bool:
    return _AZURE_BASE.search(source) is not None


@lru_cache(maxsize=2)
def _speaks_of_azure(source: str) -> bool:
    return "azure" in source.lower()


def in_text(node: Text, place: Place, source: str) -> Iterator[Finding]:
    """What a string literal holds of the beta."""
    value = node.value
    if len(value) < 6:
        return
    yield from _header(node)
    yield from _event(node, place, source)
    yield from _urls(node, place, source)
    yield from _model(node, place, source)
    if value == BETA_SUBPROTOCOL:
        yield _found("beta-subprotocol", node, "offer only realtime and openai-insecure-api-key.<ek_...>")
    for prefix, rule, instead, same in _PACKAGES:
        if value.startswith(prefix):
            yield _found(rule, node, instead, edits=_swap(node, prefix, instead) if same else ())


def in_name(node: Name, source: str) -> Iterator[Finding]:
    """What a name, or the module of an import, is of the beta."""
    for pattern, rule, instead in _MODULES:
        if pattern.search(node.dotted):
            edits: tuple[Edit, ...] = ()
            written = source[node.start : node.end]
            match = _IN_CODE.search(written) if rule == "sdk-beta" else None
            if match and ".sessions" not in node.dotted and ".transcription_sessions" not in node.dotted:
                edits = (Edit(node.start + match.start(), node.start + match.end(), ""),)
            yield Finding(RULES[rule], node.start, node.end, _line(written), instead, edits)
            return
    if node.dotted.endswith("client_secret.value") and "realtime" in source.lower():
        yield Finding(RULES["client-secret"], node.start, node.end, _line(source[node.start : node.end]), "value")


def _header(node: Text) -> Iterator[Finding]:
    match = _HEADER.search(node.value)
    if match and (match[0].strip("\r\n\"'") == node.value.strip() or "openai-beta" in match[0].lower()):
        yield _found("beta-header", node, "leave the header out")


def _event(node: Text, place: Place, source: str) -> Iterator[Finding]:
    value = node.value.removeprefix("server.")  # as OpenAI's beta client for JavaScript has them
    if value in _CLIENT_EVENTS:
        instead = f'{_CLIENT_EVENTS[value]} with session.type "transcription"'
        yield _found("client-event", node, instead, edits=_swap(node, value, _CLIENT_EVENTS[value]))
    ga = SERVER_EVENTS.get(value)
    if ga is None and value in _PREFIXES:
        method = place.callee.rpartition(".")[2].lower()
        if method in _ASKS_FOR_A_PART or _IS_ASKED_FOR.match(source, node.end):
            ga = _PREFIXES[value]
    if ga is None or not speaks_realtime(source.replace(value, "")) or _has_twin(node, ga, source):
        return
    yield _found("server-event", node, ga, edits=_swap(node, value, ga))


def _has_twin(node: Text, ga: str, source: str) -> bool:
    """Whether the GA name stands beside the beta one: such code understands both, for the sake of gateways."""
    start = node.start
    for _ in range(4):
        start = source.rfind("\n", 0, max(start, 0))
        if start < 0:
            break
    end = node.end
    for _ in range(4):
        end = source.find("\n", end + 1)
        if end < 0:
            end = len(source)
            break
    near = source[max(start, 0) : end]
    return re.search(rf"[\"'`]{re.escape(ga)}[\"'`]", near) is not None


def _urls(node: Text, place: Place, source: str) -> Iterator[Finding]:
    value = node.value
    if "realtime" not in value or len(value) > 2000:
        return
    minting = _MINTING.search(value)
    if minting and not _is_own_route(place) and not (" " in value.strip() and "://" not in value):
        secrets = "/realtime/client_secrets, with {session: {type: ...}}; the answer has `value` at the top"
        yield _found("beta-endpoint", node, secrets)
    if _AZURE.search(value) and " " not in value.strip():
        yield _found("azure-endpoint", node, "wss://<resource>.openai.azure.com/openai/v1/realtime?model=<deployment>")
    elif _POSTED.match(value) and re.search(r"application/sdp|\bsdp\b", source, re.I):
        yield _found("webrtc-endpoint", node, "POST /v1/realtime/calls")
    if not _SOCKET.search(value) or _DEPLOYMENT_URL.search(value) or " " in value.strip():
        return
    model = _MODEL_IN_URL.search(value)
    if model is None:
        return
    known = find(model[2])
    transcribes = "intent=transcription" in value or (known is not None and known.use is Use.TRANSCRIPTION)
    native = "://" not in value or "api.openai.com" in value or "{}" in value.partition("://")[2].partition("/")[0]
    if transcribes and native:
        instead = "?intent=transcription alone; the model goes in session.audio.input.transcription.model"
        edits: tuple[Edit, ...] = ()
        if node.exact and "intent=transcription" in value:
            edits = (_without_parameter(node, model),)
        yield _found("transcription-url", node, instead, edits=edits)
    elif known and not _is_own_route(place):
        yield from _lifecycle(node, known.id, edits=_swap(node, known.id, known.replacement))


def _without_parameter(node: Text, model: re.Match[str]) -> Edit:
    """`?model=x&intent=y` -> `?intent=y`; `?intent=y&model=x` -> `?intent=y`."""
    if model.group(0).startswith("?"):
        end = model.end() + (node.value[model.end() : model.end() + 1] == "&")
        return Edit(node.inner + model.start(1), node.inner + end, "")
    return Edit(node.inner + model.start(), node.inner + model.end(), "")


def _is_own_route(place: Place) -> bool:
    """Whether this is a path of the user's own server, as in `@app.post("/realtime/sessions")`."""
    parts = place.callee.lower().split(".")
    return len(parts) > 1 and parts[-1] in _VERBS and bool(_OWN_ROUTES & set(parts[:-1]))


def _model(node: Text, place: Place, source: str) -> Iterator[Finding]:
    if node.key or _DEPLOYMENTS.search(place.key):
        return
    match = _BETA_MODEL.match(node.value)
    if match and not _names_azures_base(source):
        model = match[1]
        replacement = "gpt-realtime-2.1-mini" if "mini" in model else "gpt-realtime-2.1"
        # Where Azure is spoken of, it may be a deployment's name: somebody has to look.
        asked = _SETTING_FOR_MODEL.search(place.key) is not None and not _speaks_of_azure(source)
        yield from _lifecycle(node, model, edits=_swap(node, model, replacement) if asked else ())
    elif _SETTING_FOR_MODEL.search(place.key):
        known = find(node.value)
        if known and known.use is Use.REALTIME and not _names_azures_base(source):
            yield from _lifecycle(node, known.id)


def _lifecycle(node: Text, model_id: str, edits: tuple[Edit, ...] = ()) -> Iterator[Finding]:
    model = find(model_id)
    if model is not None and model.stage is Stage.CURRENT:
        return
    if model is None:  # a dated snapshot of a beta model that is not in the table
        model = MODELS["gpt-4o-mini-realtime-preview" if "mini" in model_id else "gpt-4o-realtime-preview"]
    if model.stage is Stage.SHUT_DOWN:
        yield _found("model-gone", node, f"{model.replacement} (shut down on {model.shutdown})", edits=edits)
    else:
        yield _found("model-ending", node, f"{model.replacement} (shutdown on {model.shutdown})")


def ending_transcription(node: Text) -> Iterator[Finding]:
    """A transcription model, in a place that is known to be one's."""
    known = find(node.value)
    if known and known.use is Use.TRANSCRIPTION:
        yield from _lifecycle(node, known.id)


def _swap(node: Text, old: str, new: str) -> tuple[Edit, ...]:
    """Replace the first `old` in an exact text."""
    place = node.value.find(old)
    if not node.exact or place < 0:
        return ()
    return (Edit(node.inner + place, node.inner + place + len(old), new),)


def _found(rule: str, node: Text, instead: str, *, edits: tuple[Edit, ...] = ()) -> Finding:
    return Finding(RULES[rule], node.start, node.end, _line(node.value), instead, edits)


def _line(text: str) -> str:
    """`text` in one short line."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else line[:79] + "…"
