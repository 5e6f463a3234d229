"""MCP servers as tools: OpenAI asks them for their tools, and calls these itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from ..framework import ProviderTool, let_through
from ..redaction import Secret
from ..session_fields import flag, one_of, plain, text, texts

Filter = Mapping[str, Any]
"""Some tools of a server: `{"tool_names": [...]}`, `{"read_only": True}`, or both."""

_CALLERS = ("direct", "programmatic")


class MCPTool(ProviderTool):
    """An MCP server whose tools the model may call; OpenAI connects to it, so it has to be reachable from there.

    Goes among the `tools` of an `Agent`. What is secret in it is sent to OpenAI with every connection, and shown to
    nobody here.
    """

    def __init__(
        self,
        *,
        server_label: str,
        server_url: str | None = None,
        connector_id: str | None = None,
        tunnel_id: str | None = None,
        server_description: str | None = None,
        authorization: str | None = None,
        headers: Mapping[str, str] | None = None,
        allowed_tools: Sequence[str] | Filter | None = None,
        require_approval: Literal["always", "never"] | Mapping[Literal["always", "never"], Filter] | None = None,
        defer_loading: bool | None = None,
        allowed_callers: Sequence[Literal["direct", "programmatic"]] | None = None,
    ) -> None:
        """Check what can be checked here; None leaves a field to OpenAI.

        Args:
            server_label: names the server in calls, events and `tool_choice`.
            server_url: where it is (https); or
            connector_id: one of OpenAI's own, `connector_googlecalendar` for example (not for models released after
                2026-09-01); or
            tunnel_id: a Secure MCP Tunnel.
            server_description: what it is for, for the model.
            authorization: an OAuth access token. Whoever passes it gets it and renews it.
            headers: sent to the server by OpenAI.
            allowed_tools: the names of the tools the model may call, or a filter. Default: all.
            require_approval: `always` (OpenAI's default), `never`, or which tools always or never do. What needs one
                waits until the event `mcp_approval_requested` is answered.
            defer_loading: the model finds the tools by tool search.
            allowed_callers: `direct`, `programmatic` or both.

        Raises:
            ValueError: names the parameter and says what to do.
        """
        if not isinstance(server_label, str) or not server_label:
            raise ValueError("server_label is missing: name the MCP server, for example server_label='orders'.")
        where = {"server_url": server_url, "connector_id": connector_id, "tunnel_id": tunnel_id}
        if sum(value is not None for value in where.values()) != 1:
            raise ValueError(f"MCPTool({server_label!r}) needs one of server_url, connector_id and tunnel_id.")
        let_through(self, f"mcp: {server_label}")
        given = {
            **where,
            "server_description": server_description,
            "authorization": authorization,
            "headers": headers,
            "allowed_tools": allowed_tools,
            "require_approval": require_approval,
            "defer_loading": defer_loading,
            "allowed_callers": allowed_callers,
        }
        checked = {name: _CHECKS[name](name, value) for name, value in given.items() if value is not None}
        self._payload: dict[str, Any] = {"type": "mcp", "server_label": server_label, **checked}

    @classmethod
    def of(cls, given: Any) -> MCPTool:
        """The tool that GA's dict, or the openai SDK's object, describes. Raises ValueError as the constructor does."""
        fields = {key: value for key, value in plain(given).items() if key != "type"}
        known = ("server_label", *_CHECKS)
        for key in fields:
            if key not in known:
                raise ValueError(f"tools: {key} is not a field of an MCP server: use {', '.join(known)}.")
        return cls(**{"server_label": "", **fields})

    @property
    def id(self) -> str:
        """The label of the server."""
        return str(self._payload["server_label"])

    @property
    def payload(self) -> dict[str, Any]:
        """The tool as GA takes it. What is secret in it prints as `[redacted]`."""
        return dict(self._payload)

    def __repr__(self) -> str:
        return f"MCPTool(server_label={self.id!r})"


def _secret(name: str, value: Any) -> Secret:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text: pass the token itself, without 'Bearer'.")
    if not value.strip():
        raise ValueError(f"{name} is empty: pass the token itself, or leave {name} out.")
    return Secret(value)


def _headers(name: str, value: Any) -> dict[str, Secret]:
    if not isinstance(value, Mapping) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise ValueError(f"{name} is not a dict of texts: pass for example {{'X-Key': '...'}}.")
    return {key: Secret(part) for key, part in value.items()}


def _url(name: str, value: Any) -> Secret:
    """An address may hold a key, in its path as in its query."""
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError(f"{name} is not an address: pass one such as 'https://mcp.example.com/mcp'.")
    return Secret(value)


def _connector(name: str, value: Any) -> str:
    if not text(name, value).startswith("connector_"):
        raise ValueError(f"{name}={value!r} is not a connector: their names begin with 'connector_'.")
    return str(value)


def _filter(name: str, value: Any) -> dict[str, Any]:
    wanted = plain(value)
    if not isinstance(wanted, dict) or not wanted or not wanted.keys() <= {"tool_names", "read_only"}:
        raise ValueError(f"{name}={value!r} is not a filter: use {{'tool_names': [...]}} or {{'read_only': True}}.")
    if "tool_names" in wanted:
        texts(f"{name}.tool_names", wanted["tool_names"])
    if "read_only" in wanted:
        flag(f"{name}.read_only", wanted["read_only"])
    return wanted


def _allowed_tools(name: str, value: Any) -> list[str] | dict[str, Any]:
    return texts(name, value) if isinstance(value, (list, tuple, str)) else _filter(name, value)


def _require_approval(name: str, value: Any) -> str | dict[str, Any]:
    if isinstance(value, str):
        return str(one_of(name, value, ("always", "never")))
    wanted = plain(value)
    if not isinstance(wanted, dict) or not wanted or not wanted.keys() <= {"always", "never"}:
        raise ValueError(f"{name}={value!r} is not supported: use 'always', 'never' or a dict of both with filters.")
    return {key: _filter(f"{name}.{key}", part) for key, part in wanted.items()}


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "server_url": _url,
    "connector_id": _connector,
    "tunnel_id": text,
    "server_description": text,
    "authorization": _secret,
    "headers": _headers,
    "allowed_tools": _allowed_tools,
    "require_approval": _require_approval,
    "defer_loading": flag,
    "allowed_callers": lambda name, value: [one_of(name, caller, _CALLERS) for caller in texts(name, value)],
}
