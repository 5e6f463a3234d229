"""MCP servers, as the server sees them: it lists their tools, asks for approvals and runs the calls of the script."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .actions import Event
from .channel import Channel
from .conversation import Item, Refused
from .grammar import missing
from .script import MCPCall

_WHERE = ("server_url", "connector_id", "tunnel_id")
_SECRET = ("authorization", "headers")
ERROR_CODES = {"http_error": 502, "protocol_error": -32603}
"""The `code` of an error, by its type; a failed tool has none."""


def shown(session: Event) -> Event:
    """The session as the server shows it: credentials of MCP servers are not told again."""
    tools = session.get("tools")
    if not tools:
        return session
    kept = [{key: value for key, value in tool.items() if key not in _SECRET} for tool in tools]
    return {**session, "tools": kept}


def _fits(tool_filter: Mapping[str, Any], name: str) -> bool:
    """Whether a filter names a tool. Tools of a script change something, so none is read-only."""
    return not tool_filter.get("read_only") and name in tool_filter.get("tool_names", [name])


def _allowed(server: Mapping[str, Any], name: str) -> bool:
    allowed = server.get("allowed_tools")
    if allowed is None:
        return True
    return name in allowed if isinstance(allowed, list) else _fits(allowed, name)


def _needs_approval(server: Mapping[str, Any], name: str) -> bool:
    rule = server.get("require_approval") or "always"
    if isinstance(rule, str):
        return rule == "always"
    if "always" in rule and _fits(rule["always"], name):
        return True
    return not ("never" in rule and _fits(rule["never"], name))


class MCP:
    """The MCP servers of one session. That a call has ended begins no response: the client has to ask for one."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._servers: dict[str, Event] = {}
        self._waiting: dict[str, MCPCall] = {}

    def check(self, tools: Sequence[Mapping[str, Any]], where: str) -> None:
        """Refuse a server that nobody has told the place of."""
        for index, tool in enumerate(tools):
            known = tool["type"] != "mcp" or tool["server_label"] in self._servers
            if not known and not any(tool.get(key) for key in _WHERE):
                raise missing(f"{where}.tools[{index}].server_url")

    def use(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, Event]:
        """List the tools of servers that are new; returns the servers among `tools`, by label."""
        used: dict[str, Event] = {}
        for tool in tools:
            if tool["type"] != "mcp":
                continue
            label = tool["server_label"]
            known = self._servers.get(label)
            used[label] = {**(known or {}), **tool}
            if used[label] != known:
                self._servers[label] = used[label]
                self._list(label)
        return used

    def _list(self, label: str) -> None:
        channel = self._channel
        item = Item(channel.new_id("mcpl"), "mcp_list_tools", "", {"server_label": label, "tools": []})
        self._add(item)
        channel.emit("mcp_list_tools.in_progress", item_id=item.id)

        def done() -> None:
            if channel.faults.list_failure():
                channel.emit("mcp_list_tools.failed", item_id=item.id)
                return
            names = [name for name in channel.script.mcp_tools(label) if _allowed(self._servers[label], name)]
            item.fields["tools"] = [{"name": name, "input_schema": {"type": "object"}} for name in names]
            channel.emit("mcp_list_tools.completed", item_id=item.id)
            self._done(item)

        channel.after(channel.knobs.mcp_list_latency, done)

    def _add(self, item: Item) -> None:
        self._channel.conversation.add(item)
        self._tell("conversation.item.added", item)

    def _done(self, item: Item) -> None:
        self._tell("conversation.item.done", item)

    def _tell(self, event_type: str, item: Item) -> None:
        previous = self._channel.conversation.previous_id(item.id)
        self._channel.emit(event_type, item=item.payload(), previous_item_id=previous)

    # -- calls ---------------------------------------------------------------------------------------------------

    @staticmethod
    def may_call(servers: Mapping[str, Event], call: MCPCall) -> bool:
        """Whether the model has this tool."""
        return call.server in servers and _allowed(servers[call.server], call.name)

    @staticmethod
    def needs_approval(servers: Mapping[str, Event], call: MCPCall) -> bool:
        """Whether somebody has to approve the call."""
        return _needs_approval(servers[call.server], call.name)

    def wait(self, request_id: str, call: MCPCall) -> None:
        """The call is made when the request is approved."""
        self._waiting[request_id] = call

    def answered(self, response: Mapping[str, Any]) -> Callable[[], None]:
        """An approval, or the contrary, came in; returns what follows when it is in the conversation."""
        request_id = response["approval_request_id"]
        call = self._waiting.pop(request_id, None)
        if call is None:
            message = f"No approval request with id '{request_id}' waits for a response."
            raise Refused("invalid_value", message, "item.approval_request_id")
        approved: MCPCall = call
        return lambda: self._approved(approved, request_id) if response["approve"] else None

    def _approved(self, call: MCPCall, request_id: str) -> None:
        fields = call_fields(call, approval_request_id=request_id)
        item = Item(self._channel.new_id("mcp"), "mcp_call", "", {**fields, "arguments": json.dumps(call.arguments)})
        self._add(item)
        self.run_later(item, 0, call)

    def run_later(self, item: Item, output_index: int, call: MCPCall) -> None:
        """Run a call beside whatever else goes on."""
        steps = self.run(item, output_index, call)
        self._channel.after(next(steps), lambda: self._finish(item, steps))

    def _finish(self, item: Item, steps: Iterator[float]) -> None:
        for _ in steps:
            pass
        self._done(item)

    def run(self, item: Item, output_index: int, call: MCPCall) -> Iterator[float]:
        """Run a call: yields the seconds it takes, then fills in what came of it."""
        place = {"item_id": item.id, "output_index": output_index}
        self._channel.emit("response.mcp_call.in_progress", **place)
        yield call.seconds
        if call.error is None:
            item.fields["output"] = call.output
        else:
            kind, message = call.error
            code = {"code": ERROR_CODES[kind]} if kind in ERROR_CODES else {}
            item.fields["error"] = {"type": kind, "message": message, **code}
        self._channel.emit(f"response.mcp_call.{'completed' if call.error is None else 'failed'}", **place)


def call_fields(call: MCPCall, *, approval_request_id: str | None = None) -> Event:
    """The fields of an `mcp_call` that has just begun."""
    return {
        "server_label": call.server,
        "name": call.name,
        "arguments": "",
        "output": None,
        "error": None,
        "approval_request_id": approval_request_id,
    }
