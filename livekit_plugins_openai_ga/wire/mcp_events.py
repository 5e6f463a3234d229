"""Server events about tools that the server runs itself. What they are about is in the items (`items`)."""

from __future__ import annotations

from typing import ClassVar

from .values import ServerEvent, value


@value
class McpListFailed(ServerEvent):
    """An MCP server could not be asked for its tools. Only the item tells which one."""

    type: ClassVar[str] = "mcp_list_tools.failed"
    item_id: str


@value
class McpCallCompleted(ServerEvent):
    """An MCP server answered a call. The output comes with the item, before or behind this."""

    type: ClassVar[str] = "response.mcp_call.completed"
    item_id: str


@value
class McpCallFailed(ServerEvent):
    """A call of an MCP server's tool failed. The error comes with the item, before or behind this."""

    type: ClassVar[str] = "response.mcp_call.failed"
    item_id: str
