"""`MCPTool`: what GA is sent for it, and what is refused here."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from livekit.agents import Agent, llm
from livekit.plugins import openai as official
from openai.types.realtime import RealtimeSessionCreateRequest

from livekit_plugins_openai_ga import MCPTool
from livekit_plugins_openai_ga.realtime import mapping

URL = "https://shop.test/mcp"
FULL: dict[str, Any] = {
    "server_label": "shop",
    "server_url": URL,
    "server_description": "Sells socks.",
    "authorization": "hush-hush",
    "headers": {"X-Key": "key"},
    "allowed_tools": ["find"],
    "require_approval": {"always": {"read_only": False}, "never": {"tool_names": ["find"]}},
    "defer_loading": True,
    "allowed_callers": ["direct"],
}


def test_it_is_sent_as_ga_takes_it_and_the_sdk_knows_every_field() -> None:
    payload = MCPTool(**FULL).payload
    assert payload == {"type": "mcp", **FULL}
    read = RealtimeSessionCreateRequest.model_validate({"type": "realtime", "tools": [payload]})
    assert read.tools is not None
    assert read.model_dump(exclude_unset=True)["tools"] == [payload]


@pytest.mark.parametrize("where", [{"connector_id": "connector_gmail"}, {"tunnel_id": "tun_1"}])
def test_a_server_can_be_named_in_three_ways(where: Any) -> None:
    assert MCPTool(server_label="shop", **where).payload == {"type": "mcp", "server_label": "shop", **where}


def test_it_prints_without_its_secrets() -> None:
    tool = MCPTool(**FULL)
    shown = repr(tool) + str(tool) + repr(tool.payload) + repr(copy.deepcopy(tool.payload))
    assert not [secret for secret in ("hush-hush", "'key'", URL) if secret in shown]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"server_label": ""}, "server_label is missing"),
        ({"server_url": None}, "needs one of server_url, connector_id and tunnel_id"),
        ({"tunnel_id": "tun_1"}, "needs one of server_url, connector_id and tunnel_id"),
        ({"server_url": "shop.test/mcp"}, "server_url is not an address"),
        ({"server_url": None, "connector_id": "gmail"}, "connector_id='gmail' is not a connector"),
        ({"authorization": 7}, "authorization is not a text"),
        ({"authorization": " "}, "authorization is empty: pass the token itself, or leave authorization out"),
        ({"headers": {"X-Key": 7}}, "headers is not a dict of texts"),
        ({"allowed_tools": "find"}, "allowed_tools='find' is not supported: use a list of texts"),
        ({"allowed_tools": {"names": []}}, "allowed_tools={'names': []} is not a filter"),
        ({"require_approval": "sometimes"}, "require_approval='sometimes' is not supported"),
        ({"require_approval": {"find": "never"}}, "use 'always', 'never' or a dict of both"),
        ({"require_approval": {"never": "find"}}, "require_approval.never='find' is not a filter"),
        ({"defer_loading": "yes"}, "defer_loading='yes' is not supported: use True or False"),
        ({"allowed_callers": ["me"]}, "allowed_callers='me' is not supported"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(change: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        MCPTool(**{**FULL, **change})
    assert sentence in str(refused.value)
    assert "hush-hush" not in str(refused.value)


def test_gas_own_dict_is_taken_and_checked() -> None:
    (payload,), (tool,) = mapping.to_tools([{"type": "mcp", **FULL}])  # type: ignore[list-item]
    assert payload == {"type": "mcp", **FULL}
    assert isinstance(tool, MCPTool)
    with pytest.raises(ValueError, match="serverlabel is not a field of an MCP server"):
        mapping.to_tools([{"type": "mcp", "serverlabel": "shop"}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("tool", "sentence"),
    [
        (official.tools.WebSearch(), "WebSearch is a tool of another API"),
        ({"type": "function", "name": "find"}, "a dict of type 'function' cannot be called here"),
    ],
)
def test_what_the_realtime_api_does_not_have_is_left_out_with_a_sentence(tool: Any, sentence: str, caplog: Any) -> None:
    assert mapping.to_tools([tool]) == ([], [])
    assert sentence in caplog.text


def test_an_agent_takes_it_among_its_tools() -> None:
    tool = MCPTool(**FULL)
    assert Agent(instructions="", tools=[tool]).tools == [tool]
    assert llm.ToolContext([tool]).flatten() == [tool]
    assert tool.id == "shop"
