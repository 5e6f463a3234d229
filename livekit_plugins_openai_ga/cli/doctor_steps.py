"""What `doctor` looks at, in order, and what it makes of what it finds: steps as data, verdicts as functions.

Nothing here dials, waits or prints; `doctor_probes` does the first two, `doctor_page` the last.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from .. import models
from ..core.setup import FORMATS
from ..errors import Failure, Kind, from_server_error
from ..failures import CLOSE_CODES, FAILURES
from ..redaction import hide, redact
from ..wire import renames, session

Session = Literal["conversation", "transcription", "translation"]
"""What kind of session is tried."""

MODEL_USE: Mapping[Session, models.Use] = {
    "conversation": models.Use.REALTIME,
    "transcription": models.Use.TRANSCRIPTION,
    "translation": models.Use.TRANSLATION,
}
DEFAULT_MODEL: Mapping[Session, str] = {
    "conversation": models.DEFAULT_REALTIME,
    "transcription": models.DEFAULT_TRANSCRIPTION,
    "translation": models.DEFAULT_TRANSLATION,
}
_OPTION: Mapping[models.Use, str] = {
    models.Use.REALTIME: "leave out --stt and --translate",
    models.Use.TRANSCRIPTION: "pass --stt",
    models.Use.TRANSLATION: "pass --translate",
}


class Status(enum.Enum):
    """How a step ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one step. Texts may quote a server: `clean` before they are shown.

    Attributes:
        status: How it ended.
        summary: What was found, one sentence or less.
        remedy: What to do, one sentence; "" when there is nothing to do.
        code: The failure's code (`invalid_api_key`, `http_404`, `timeout`, ...); "" when it has none.
        details: Plain values for `--json`.
    """

    status: Status
    summary: str
    remedy: str = ""
    code: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def clean(self, secrets: Iterable[str]) -> Verdict:
        """This verdict without `secrets`, anything else that looks like a key, and control characters."""
        secrets = tuple(secrets)

        def told(value: Any) -> Any:
            if isinstance(value, str):
                return "".join(c if c.isprintable() else " " for c in redact(hide(value, secrets)))
            if isinstance(value, Mapping):
                return {told(key): told(inner) for key, inner in value.items()}
            return [told(inner) for inner in value] if isinstance(value, (list, tuple)) else value

        summary, remedy, code = told(self.summary), told(self.remedy), told(self.code)
        return replace(self, summary=summary, remedy=remedy, code=code, details=told(self.details))


def ok(summary: str, **details: Any) -> Verdict:
    """All is well."""
    return Verdict(Status.OK, summary, details=details)


def warning(summary: str, remedy: str, code: str = "", **details: Any) -> Verdict:
    """It works, and somebody should know."""
    return Verdict(Status.WARNING, summary, remedy, code, details)


def failed(summary: str, remedy: str, code: str = "", **details: Any) -> Verdict:
    """It does not work."""
    return Verdict(Status.FAILED, summary, remedy, code, details)


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: Its name on the screen and in `--json`.
        what: What it looks at, for `--help` and the manual.
        needs: Steps that must not have failed before.
        slow_ms: Longer than this is worth a warning.
        kinds: The kinds of session that have it.
    """

    name: str
    what: str
    needs: tuple[str, ...] = ()
    slow_ms: float = 2000.0
    kinds: tuple[Session, ...] = ("conversation", "transcription", "translation")


STEPS = (
    Step("key", "is there a key, and does it look like one"),
    Step("model", "is it one for this kind of session, and for how long will it be there"),
    Step("proxy", "which proxy the environment asks for"),
    Step("dns", "the addresses of the server, or of the proxy"),
    Step("connect", "TCP to them, and TLS with its certificate", ("dns",)),
    Step("upgrade", "the answer to the WebSocket handshake", ("key", "model", "proxy", "connect"), 3000.0),
    Step("session", "`session.created`, or the error that came in its place", ("upgrade",)),
    Step("configuration", "what the plugin asks for, and what the server kept of it", ("session",)),
    Step("audio", "a second of a tone is taken", ("session",)),
    Step("reply", "a short text", ("session",), 5000.0, ("conversation",)),
    Step("transcript", "a spoken sentence as text", ("session", "configuration"), 5000.0, ("transcription",)),
    Step("translation", "the end of the session is answered", ("session",), 10_000.0, ("translation",)),
    Step("goodbye", "the connection is still there, and is closed", ("session",)),
)
"""All steps, in their order. `slow_ms` of `reply` is for its first text."""


def steps_of(kind: Session) -> tuple[Step, ...]:
    """The steps of one kind of session."""
    return tuple(step for step in STEPS if kind in step.kinds)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step and what came of it. `ms` is how long it took; None when it was skipped."""

    step: Step
    verdict: Verdict
    ms: float | None

    def as_json(self) -> dict[str, Any]:
        """The outcome as it stands in `--json`."""
        v = self.verdict
        return {
            "name": self.step.name,
            "status": v.status.value,
            "ms": None if self.ms is None else round(self.ms, 1),
            "summary": v.summary,
            "remedy": v.remedy,
            "code": v.code,
            "details": dict(v.details),
        }


def skipped(step: Step, outcomes: Iterable[Outcome], gone: bool) -> Verdict | None:
    """Why a step is left out; None when it is its turn. `gone`: there is no connection any more."""
    ended = {outcome.step.name: outcome.verdict.status for outcome in outcomes}
    for need in step.needs:
        if ended.get(need) in (Status.FAILED, Status.SKIPPED):
            how = "failed" if ended[need] is Status.FAILED else "was skipped"
            return Verdict(Status.SKIPPED, f"needs `{need}`, which {how}")
    if gone and "session" in step.needs:
        return Verdict(Status.SKIPPED, "the connection is gone")
    return None


def exit_code(outcomes: Iterable[Outcome]) -> int:
    """0 when nothing failed, else 1."""
    return int(any(outcome.verdict.status is Status.FAILED for outcome in outcomes))


def patient(step: Step, verdict: Verdict, ms: float) -> Verdict:
    """The verdict, or a warning when all went well and took too long. A `first_text_ms` counts instead of `ms`."""
    took = float(verdict.details.get("first_text_ms", ms))
    if verdict.status is not Status.OK or took <= step.slow_ms:
        return verdict
    told = f"{verdict.summary}; that took {took:.0f} ms, more than the usual {step.slow_ms:.0f} ms"
    remedy = "Run this again; if it stays slow, run it from another network, and check https://status.openai.com."
    return replace(verdict, status=Status.WARNING, summary=told, remedy=remedy, code="slow")


_ROWS_OF_AGENTS = {CLOSE_CODES[1006].remedy, FAILURES["session_expired"].remedy}
_AGAIN = "Run this again; if it stays, check the network and any proxy on the way."


def of_failure(failure: Failure) -> Verdict:
    """A failed step. What an agent does by itself, connecting again, nobody does here."""
    remedy = failure.remedy
    if failure.kind is Kind.RECONNECT and remedy in _ROWS_OF_AGENTS:
        remedy = _AGAIN
    text = replace(failure, remedy="").sentence().removeprefix(f"{failure.label}: ")
    details = {name: value for name, value in failure.fields().items() if name != "code"}
    return Verdict(Status.FAILED, text, remedy, failure.label, details)


def key_verdict(raw: str | None, *, source: str, local: bool, native: bool) -> Verdict:
    """What a key looks like; the key itself is never told. `source` says where it comes from.

    `local`: the server is on this machine and may need none. `native`: it is OpenAI's own.
    """
    if not raw or not raw.strip():
        if local:
            return ok("none, and a server on this machine needs none", source="")
        return failed(f"there is none: {source} is not set", f"Set {source} to a key.", "missing_key", source=source)
    key = raw.strip()
    for wrong, code, told, remedy in _KEY_TROUBLE:
        if wrong.search(key):
            return failed(f"{source} {told}", remedy, code, source=source)
    shape = next((name for prefix, name in _KEY_SHAPES if key.startswith(prefix)), "")
    details = {"source": source, "shape": shape, "length": len(key)}
    if native and (sort := _NOT_FOR_THIS.get(shape)):
        return failed(f"{source} holds {sort[0]}", sort[1], "wrong_kind_of_key", **details)
    if key != raw:
        told = f"{source} has white space or a line break around it, which this plugin takes off"
        return warning(told, "Take it off in the setting, too: other programs send it.", "key_white_space", **details)
    if native and not shape:
        told = f"{source} does not begin as OpenAI's keys do"
        return warning(told, "Check that it is OpenAI's key and was copied from its beginning.", "key_shape", **details)
    if shape == "client secret":
        told = f"{source} holds a client secret, which opens sessions for some minutes only"
        return warning(told, "Use a key for an agent; secrets are for browsers.", "client_secret", **details)
    if native and len(key) < _SHORTEST_KEY:
        told = f"{source} has {len(key)} characters, fewer than OpenAI's keys have"
        return warning(told, "Check that all of it was copied.", "key_shape", **details)
    return ok(f"a {shape or 'key'} of {len(key)} characters, from {source}", **details)


_SHORTEST_KEY = 40
_KEY_TROUBLE = (
    (
        re.compile(r"^['\"‘’“”`]|['\"‘’“”`]$"),
        "key_quotes",
        "is in quotes, which became part of it",
        "Remove the quotes; files for `docker --env-file` take none.",
    ),
    (re.compile(r"^bearer\s", re.IGNORECASE), "key_bearer", "begins with `Bearer`", "Remove that word: it is added."),
    (
        re.compile(r"\s"),
        "key_white_space",
        "has white space or a line break in it",
        "Copy it again, in one piece.",
    ),
    (re.compile(r"[^\x21-\x7e]"), "key_characters", "has a character that keys do not have", "Copy the key again."),
    (
        re.compile(r"^(<.*>|\$\{?\w.*|sk-(proj-)?(\.\.|xxx|\*\*).*|.*(your|my)[-_].*key.*|changeme)$", re.IGNORECASE),
        "key_placeholder",
        "is a placeholder",
        "Put a key in its place.",
    ),
)
_KEY_SHAPES = (
    ("sk-ant-", "key of Anthropic"),
    ("sk-admin-", "admin key"),
    ("sk-proj-", "project key"),
    ("sk-svcacct-", "service account's key"),
    ("sk-", "key"),
    ("ek_", "client secret"),
)
_NOT_FOR_THIS = {
    "key of Anthropic": ("a key of Anthropic", "Set it to a key of OpenAI."),
    "admin key": (
        "an admin key, which can use no model",
        "Make a project's key at https://platform.openai.com/api-keys.",
    ),
}


def model_verdict(name: str, kind: Session, *, today: date, native: bool) -> Verdict:
    """What is known of a model. Only on OpenAI's own server (`native`) is a name sure to mean that model."""
    model = models.find(name)
    if model is None:
        return _unknown_model(name, kind, native)
    use, days = MODEL_USE[kind], (date.fromisoformat(model.shutdown) - today).days if model.shutdown else None
    details = {
        "model": name,
        "stage": model.stage.value,
        "shutdown": model.shutdown,
        "days_left": days,
        "replacement": model.replacement,
    }
    if model.use is not use:
        told = f"{name} is for {model.use.value} sessions, not for {use.value}"
        remedy = f"Pass --model {DEFAULT_MODEL[kind]}"
        remedy += f", or {_OPTION[model.use]}." if model.use in _OPTION else "."
        return _as(native, told, remedy, "wrong_use", details)
    over = model.stage is models.Stage.SHUT_DOWN
    if over or (days is not None and days < 0):  # without a stage that says so, the date may have been put off
        told = f"{name} {'was shut' if over else 'was to be shut'} down on {model.shutdown}"
    elif days is not None:
        left = "today" if days == 0 else f"in {days} day{'s' * (days != 1)}"
        told = f"{name} is deprecated and is shut down {left}, on {model.shutdown}"
    else:
        return ok(f"{name} is current; no shutdown is announced", **details)
    remedy = f"Change to {model.replacement}."
    return _as(native and over, told, remedy, "model_shut_down" if over else "model_deprecated", details)


def _as(fatal: bool, told: str, remedy: str, code: str, details: Mapping[str, Any]) -> Verdict:
    return Verdict(Status.FAILED if fatal else Status.WARNING, told, remedy, code, details)


def _unknown_model(name: str, kind: Session, native: bool) -> Verdict:
    details = {"model": name, "stage": "unknown", "shutdown": "", "days_left": None, "replacement": ""}
    if not native:
        return ok(f"{name}; what is behind this name, the server knows", **details)
    known = [model.id for model in models.MODELS.values() if model.use is MODEL_USE[kind]]
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"Check the spelling; did you mean {near[0]}?" if near else "Check the spelling."
    return warning(f"{name} is not in this version's table of models", meant, "unknown_model", **details)


def session_verdict(told: Mapping[str, Any], wanted: Session, **details: Any) -> Verdict:
    """What a server's `session.created` says it is."""
    if "type" not in told and (told.keys() & {"modalities", "input_audio_format"}):
        row = FAILURES["beta_answer"]
        return failed(row.meaning, "If a gateway is used, update it.", "beta_answer", **details)
    given, expected = told.get("type"), MODEL_USE[wanted].value
    if isinstance(given, str) and given != expected:
        text = f"the server began a session of type {given}, not {expected}"
        return failed(text, "Check `base_url`, and what a gateway on the way changes.", "wrong_session", **details)
    request = details.get("request_id")
    return ok(f"{details.get('session_id') or 'no id'}" + (f", request {request}" if request else ""), **details)


def configuration_verdict(asked: Mapping[str, Any], kept: Mapping[str, Any]) -> Verdict:
    """What the server made of the configuration, compared as a session does it."""
    different = session.mismatches(asked, kept)
    if not different:
        return ok("the server kept all that it told of")
    details = {"differs": {path: {"asked": a, "kept": k} for path, (a, k) in sorted(different.items())}}
    if FORMATS & different.keys():
        failure = from_server_error("format_not_kept", None, None)
        return failed(failure.meaning, failure.remedy, failure.code, **details)
    told = "; ".join(f"{path}: asked {_short(a)}, kept {_short(k)}" for path, (a, k) in sorted(different.items()))
    remedy = "Check what a gateway on the way changes; the session goes on with what the server kept."
    return warning(told, remedy, "configuration_differs", **details)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def answer_verdict(text: str, what: str, **details: Any) -> Verdict:
    """A reply or a transcript that came; an empty one is no failure."""
    said = f"{_short(text)!r}" if text else "empty"
    return ok(f"{what}: {said}", **details)


def with_oddities(verdict: Verdict, malformed: Iterable[str], names: Iterable[str]) -> Verdict:
    """The verdict, and a warning of frames that were no event, or of the beta's event `names`, met on the way."""
    if verdict.status is not Status.OK:
        return verdict
    details = dict(verdict.details)
    if broken := list(malformed):
        count = "a frame was" if len(broken) == 1 else f"{len(broken)} frames were"
        told = f"{verdict.summary}; {count} no event: {broken[0]}"
        remedy = "Check what a gateway or proxy on the way changes."
        return Verdict(Status.WARNING, told, remedy, "malformed_event", {**details, "malformed": broken})
    if beta := sorted({name for name in names if name in renames.SERVER_EVENTS}):
        told = f"{verdict.summary}; the server uses names of the retired beta: {', '.join(beta)}"
        remedy = "Update the gateway: this plugin reads them, other clients do not."
        return Verdict(Status.WARNING, told, remedy, "beta_names", {**details, "beta_names": beta})
    return verdict
