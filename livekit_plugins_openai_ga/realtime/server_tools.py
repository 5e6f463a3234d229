"""Tells the application of tools that OpenAI runs: what there is, and what waits for an approval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit.agents import llm

from ..core import effects as fx
from ..framework import make
from ..log import Log
from . import events
from .listening import Listening


def listed(session: Listening, effect: fx.ToolsListed) -> None:
    """An MCP server has these tools."""
    session.emit("mcp_tools_listed", events.MCPToolsListed(effect.label, effect.tools))


def asked(
    session: Listening, effect: fx.ApprovalRequested, answered: Callable[[str, bool, str | None], bool], log: Log
) -> None:
    """A call waits for an approval. `answered(request_id, approve, reason)` says whether it still did."""
    item = effect.item

    def answer(approve: bool, reason: str | None) -> None:
        if not answered(item.id, approve, reason):
            gone = "This MCP call waits no more: it was answered before, or its connection has gone."
            raise _error(gone, code="mcp_approval_gone")

    if not session.is_heard("mcp_approval_requested"):
        told = (
            "a call of %s.%s waits for an approval, and nobody listens to mcp_approval_requested: "
            "listen to it on the RealtimeSession, or pass require_approval='never' to the MCPTool"
        )
        log.warning(told, item.server_label, item.name)
    request = events.MCPApprovalRequested(item.id, item.server_label, item.name, item.arguments, answer)
    session.emit("mcp_approval_requested", request)


def _error(message: str, **fields: Any) -> llm.RealtimeError:
    return make(llm.RealtimeError, message, **fields)
