"""Which session is asked for over HTTP: what a caller says, as a payload, and whose server and key it is asked of.

A model (`RealtimeModel`, `STT`, `Translator`) stands for the session it would open, and for its connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from livekit.agents import APIConnectOptions
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import is_given

from .. import models
from ..connection import Connection, KeyProvider
from ..redaction import Secret
from ..session_fields import is_json, plain
from ..wire.session import Payload

Kind = Literal["realtime", "transcription", "translation"]


@runtime_checkable
class ModelOptions(Protocol):
    """What the options of a model say about its sessions."""

    @property
    def connection(self) -> Connection:
        """Where the server is, and who we are there."""

    def requested(self) -> Payload:
        """The session as it is asked for over HTTP, with its `type`, and its model where it has one."""


class Model(Protocol):
    """`RealtimeModel`, `STT` or `Translator`."""

    @property
    def options(self) -> ModelOptions:
        """What new sessions start with."""


Session = Model | Mapping[str, Any]


def options_of(session: object) -> ModelOptions | None:
    """The options of a model; None for anything else."""
    options = getattr(session, "options", None)
    return options if isinstance(options, ModelOptions) else None


def payload(session: object, *, kind: Kind | None = None, instructions: str | None = None) -> Payload:
    """The session that is asked for, with its `type`. Raises ValueError: one sentence that names the parameter.

    `kind` is for a plain dict without a `type`; by default its model says it, else it is a conversation.
    """
    if kind is not None and kind not in get_args(Kind):
        raise ValueError(f"kind={kind!r} is not known: use 'realtime', 'transcription' or 'translation'.")
    options = options_of(session)
    wanted = options.requested() if options is not None else plain(session)
    if not isinstance(wanted, dict):
        raise ValueError("session is not supported: pass a dict, or a RealtimeModel, STT or Translator.")
    if not is_json(wanted):
        raise ValueError("session holds something that JSON cannot hold: use texts, numbers, lists and dicts.")
    found = wanted.get("type") or kind or _kind_of(wanted.get("model"))
    if found not in get_args(Kind) or (kind is not None and found != kind):
        asked = f" and kind={kind!r}" if kind else ""
        raise ValueError(f"session.type={found!r}{asked} is not supported: use one of {', '.join(get_args(Kind))}.")
    wanted = {**wanted, "type": found}
    if found == "translation" and not wanted.get("model"):
        raise ValueError("session.model is missing: name the model of the translation session.")
    if instructions is not None:
        if found != "realtime":
            raise ValueError(f"instructions has no meaning in a {found} session: leave it out.")
        wanted["instructions"] = instructions
    return _guarded(wanted)


def _guarded(wanted: Payload) -> Payload:
    """The session, with what tells an MCP server who we are as secrets. Its address may hold a key, too."""
    tools = wanted.get("tools")
    if isinstance(tools, list):
        wanted["tools"] = [_guarded_tool(tool) if isinstance(tool, dict) else tool for tool in tools]
    return wanted


def _guarded_tool(tool: Payload) -> Payload:
    held: Payload = {name: _secrets(tool[name]) for name in ("authorization", "headers", "server_url") if name in tool}
    return {**tool, **held}


def _secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _secrets(inner) for key, inner in value.items()}
    return Secret(value) if isinstance(value, str) else value


def _kind_of(model: object) -> Kind:
    known = models.find(model) if isinstance(model, str) else None
    return "translation" if known is not None and known.use is models.Use.TRANSLATION else "realtime"


def connection_for(
    session: object,
    *,
    base_url: NotGivenOr[str],
    api_key: str | KeyProvider | None,
    extra_headers: Mapping[str, str] | None,
    extra_query: Mapping[str, str] | None,
    allow_insecure: bool,
    conn_options: NotGivenOr[APIConnectOptions],
) -> Connection:
    """A model's own connection with what was given; another server gets nothing of it. Raises ValueError."""
    options = options_of(session)
    given: dict[str, Any] = {"conn_options": conn_options} if is_given(conn_options) else {}
    if options is None or is_given(base_url):
        return Connection.create(
            base_url=base_url,
            api_key=api_key,
            extra_headers=extra_headers,
            extra_query=extra_query,
            allow_insecure=allow_insecure,
            **given,
        )
    own = options.connection
    return own.changed(
        api_key=api_key,
        extra_headers={**own.extra_headers, **extra_headers} if extra_headers else NOT_GIVEN,
        extra_query={**own.extra_query, **extra_query} if extra_query else NOT_GIVEN,
        **given,
    )
