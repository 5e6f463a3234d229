"""One table of what the retired beta API leaves in code: what is found, how it breaks, what GA has instead."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType


class Effect(enum.Enum):
    """How a thing breaks."""

    LOUD = "loud"
    """The server, or Python, refuses it with an error."""
    SILENT = "silent"
    """Nothing is reported: a handler that never runs, a field that is never there."""
    LATER = "later"
    """It works today, and stops on a date that OpenAI has named."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: its id (stable, also in JSON and SARIF), what it finds, how that breaks and why."""

    id: str
    finds: str
    effect: Effect
    why: str


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Put `text` in place of the characters from `start` up to `end`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found in one text.

    Attributes:
        rule: The row of the table.
        start, end: The characters it covers, from 0.
        found: What stands there, in one line.
        instead: The GA form, or what to do.
        edits: What makes it GA without a doubt; () when somebody has to look.
    """

    rule: Rule
    start: int
    end: int
    found: str
    instead: str
    edits: tuple[Edit, ...] = ()


_DROPPED = "the whole update is refused, and the session runs on with the server's defaults"

_TABLE = (
    Rule("beta-header", "the header that asked for the beta", Effect.LOUD,
         "GA answers it with the error beta_api_shape_disabled and closes the connection with 4000"),
    Rule("beta-subprotocol", "the WebSocket subprotocol of the beta", Effect.LOUD,
         "the beta is gone: OpenAI refuses a connection that asks for it"),
    Rule("beta-endpoint", "a path that minted keys for the beta", Effect.LOUD,
         "GA mints keys elsewhere, and answers with `value` at the top, not in `client_secret`"),
    Rule("client-secret", "a key read from `client_secret.value`", Effect.LOUD,
         "GA's answer is flat, so there is no `client_secret` in it"),
    Rule("webrtc-endpoint", "SDP posted to the path of the WebSocket", Effect.LOUD,
         "GA takes the SDP of a WebRTC call at a path of its own"),
    Rule("azure-endpoint", "Azure's dated path", Effect.LOUD,
         "it speaks the retired beta protocol"),
    Rule("transcription-url", "a model in the URL of a transcription session", Effect.LOUD,
         "`?model=` asks for a conversation, so OpenAI answers invalid_model and closes with 4000"),
    Rule("server-event", "a server event under its beta name", Effect.SILENT,
         "GA never sends this name, so the code that waits for it never runs"),
    Rule("client-event", "a client event of the beta", Effect.LOUD,
         "GA refuses the event with invalid_value on `type`"),
    Rule("session-field", "a session field that GA has elsewhere or not at all", Effect.LOUD,
         f"GA answers unknown_parameter: {_DROPPED}"),
    Rule("response-field", "a field of `response.create` that GA has elsewhere or not at all", Effect.LOUD,
         "GA answers unknown_parameter, and there is no reply"),
    Rule("session-type", "a session without `type`", Effect.LOUD,
         f"GA answers missing_required_parameter: {_DROPPED}"),
    Rule("modalities", "text and audio asked for at once", Effect.LOUD,
         "GA takes one of them and answers invalid_value; audio always has its transcript"),
    Rule("audio-format", "an audio format that GA does not take in this form", Effect.LOUD,
         f"GA wants an object: {_DROPPED}"),
    Rule("item-content", "content of an assistant's item under its beta name", Effect.LOUD,
         "GA refuses the item with invalid_value"),
    Rule("model-gone", "a model that was shut down", Effect.LOUD,
         "GA answers invalid_model and closes with 4000"),
    Rule("model-ending", "a model with a shutdown date", Effect.LATER,
         "it works until that date"),
    Rule("sdk-beta", "the OpenAI SDK's beta client", Effect.LOUD,
         "it sends the beta header, so the connection is refused"),
    Rule("sdk-types", "the OpenAI SDK's types of the beta", Effect.SILENT,
         "they describe events and sessions as GA does not have them"),
    Rule("sdk-package", "a client that was made for the beta", Effect.LOUD,
         "it speaks the beta protocol, which OpenAI refuses"),
    Rule("livekit-beta", "LiveKit's beta model", Effect.LOUD,
         "livekit-plugins-openai has removed it: the import fails"),
    Rule("pipecat-beta", "pipecat's beta service", Effect.LOUD,
         "it speaks the beta protocol, which OpenAI refuses"),
)  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType({rule.id: rule for rule in _TABLE})
"""Every rule by its id."""


def apply(text: str, findings: Iterable[Finding]) -> str:
    """`text` with the edits of these findings; one that overlaps an edit before it is left out, with its finding."""
    done: list[Edit] = []
    for finding in findings:
        if all(_apart(edit, other) for edit in finding.edits for other in done):
            done += [edit for edit in finding.edits if edit not in done]
    for edit in sorted(done, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _apart(one: Edit, other: Edit) -> bool:
    return one == other or one.end <= other.start or other.end <= one.start


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Findings by their place, each rule once per place."""
    seen: dict[tuple[int, str], Finding] = {}
    for finding in sorted(findings, key=lambda found: (found.start, found.rule.id, -len(found.edits))):
        seen.setdefault((finding.start, finding.rule.id), finding)
    return list(seen.values())
