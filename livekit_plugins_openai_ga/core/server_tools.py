"""Tools that the server runs itself (MCP): lists that fail, approvals, and calls, which somebody has to answer.

The server lists the tools of each MCP server when it is told of it, and runs the calls. A call that needs an approval
waits until a client sends one, for ever if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import errors
from ..wire import client_events
from ..wire import server_events as ev
from ..wire.items import Item
from . import effects as fx
from .answers import Answers
from .effects import Effects
from .history import History
from .turns import Turns


class ServerTools:
    """Lists, approvals and calls of one connection. `event_id` makes ids.

    `stays`: the server's session goes on when the connection goes, and so do the approvals it waits for.
    """

    __slots__ = ("_answers", "_approvals", "_event_id", "_history", "_labels", "_running", "_stays", "_turns")

    def __init__(
        self,
        answers: Answers,
        history: History,
        event_id: Callable[[str], str],
        turns: Turns,
        *,
        stays: bool = False,
    ) -> None:
        self._stays = stays
        self._answers = answers
        self._history = history
        self._event_id = event_id
        self._turns = turns
        self._labels: dict[str, str] = {}  # of lists, by item
        self._running: dict[str, Item] = {}  # calls that have not ended
        self._approvals: dict[str, bool] = {}  # requests that were raised, and whether nobody has answered yet

    @property
    def running(self) -> bool:
        """Whether a call runs."""
        return bool(self._running)

    @property
    def busy(self) -> bool:
        """Whether a call runs, or waits for an approval."""
        return bool(self._running) or any(self._approvals.values())

    def closed(self) -> None:
        """The connection is gone: nobody tells how what was on its way has ended."""
        self._labels.clear()
        self._running.clear()
        if not self._stays:
            self.abandon()

    def abandon(self) -> None:
        """The server's session is over, and with it what it waits for."""
        self._approvals.clear()

    def answer(self, request_id: str, *, approve: bool, reason: str | None) -> Effects | None:
        """Approve or deny a call. None when it waits no more: it was answered, or its connection has gone.

        A denied call will not run, so the model is asked to go on without it.
        """
        if not self._approvals.get(request_id):
            return None
        self._approvals[request_id] = False
        event_id = self._event_id("approval")
        item = {"id": event_id, "type": "mcp_approval_response", "approval_request_id": request_id, "approve": approve}
        if reason is not None:
            item["reason"] = reason
        send = fx.Send(client_events.item_create(item, event_id=event_id))
        return [send] if approve else [send, *self._answers.go_on()]

    # -- what the server says ------------------------------------------------------------------------------------

    def added(self, item: Item) -> None:
        """An item was added to the conversation."""
        if item.type == "mcp_list_tools":
            self._labels[item.id] = item.server_label
        elif item.type == "mcp_call" and not item.is_answered:
            self._running.setdefault(item.id, item)

    def done(self, item: Item, now: float) -> Effects:
        """An item is complete, or an item of a reply."""
        if item.type == "mcp_list_tools":
            return self._listed(item)
        if item.type == "mcp_approval_request":
            return self._asked(item, now)
        if item.type != "mcp_call":
            return []
        return [*self._history.answered(item), *(self._ended(item.id) if item.is_answered else [])]

    def _listed(self, item: Item) -> Effects:
        if self._labels.pop(item.id, None) is None:
            return []  # told before, or failed
        names = tuple(name for tool in item.tools if isinstance(name := tool.get("name"), str))
        return [fx.ToolsListed(item.server_label, names)]

    def _list_failed(self, event: ev.McpListFailed, now: float) -> Effects:
        label = self._labels.pop(event.item_id, "")
        which = f"The MCP server {label!r}" if label else "An MCP server"
        told = f"{which} could not be asked for its tools."
        return [fx.Report(errors.from_server_error("mcp_list_tools_failed", None, told))]

    def _asked(self, item: Item, now: float) -> Effects:
        if item.id in self._approvals:
            return []
        self._approvals[item.id] = True
        return [*self._answers.asked(now), fx.ApprovalRequested(item)]

    def _ended(self, item_id: str) -> Effects:
        known = self._running.pop(item_id, None)
        told = self._answers.call_ended(item_id)
        if told is not None:
            return told
        # A reply of its own; one that the server makes to what the user is saying serves as well.
        return self._answers.go_on() if known is not None and not self._turns.speaking else []

    def _call_completed(self, event: ev.McpCallCompleted, now: float) -> Effects:
        return self._ended(event.item_id)

    def _call_failed(self, event: ev.McpCallFailed, now: float) -> Effects:
        call = self._running.get(event.item_id)
        if call is None:
            return []
        told = fx.Noticed("MCP call failed", f"{call.server_label}.{call.name}")
        return [told, *self._ended(event.item_id)]


HANDLERS: Mapping[type[ev.ServerEvent], Callable[[ServerTools, Any, float], Effects]] = {
    ev.McpListFailed: ServerTools._list_failed,
    ev.McpCallCompleted: ServerTools._call_completed,
    ev.McpCallFailed: ServerTools._call_failed,
}
