"""MCP servers of the emulator: lists, approvals and calls, in the order and with the shapes that are documented."""

from __future__ import annotations

import pytest

from livekit_plugins_openai_ga.emulator import Knobs, MCPCall, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import FailToolList, FaultPlan

SHOP = {"type": "mcp", "server_label": "shop", "server_url": "https://shop.test/mcp", "require_approval": "never"}
FIND = MCPCall("shop", "find", {"what": "socks"}, output="3 pairs", seconds=2.0)


@pytest.fixture
def shop(talk):
    def start(*turns, tool=SHOP, knobs=None, faults=()):
        script = Script(turns or [Turn(mcp=(FIND,)), Turn(say="Three.")])
        t = talk(script, knobs=knobs or Knobs(), faults=FaultPlan(faults))
        t.configure(tools=[tool])
        t.run(1)
        return t

    return start


def approval(t, approve=True, **more):
    (request,) = [item for item in t.session.items if item["type"] == "mcp_approval_request"]
    answer = {"type": "mcp_approval_response", "id": "a1", "approval_request_id": request["id"], "approve": approve}
    return t("conversation.item.create", item={**answer, **more})


def test_a_server_is_listed_once_when_the_session_is_told_of_it(talk, names):
    t = talk(Script([Turn(mcp=(FIND,))]))
    assert names(t.configure(tools=[SHOP])) == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
    ]
    *_, done = events = t.run(1)
    assert names(events) == ["mcp_list_tools.completed", "conversation.item.done"]
    assert done["item"]["tools"] == [{"name": "find", "input_schema": {"type": "object"}}]
    assert names(t.configure(tools=[SHOP])) == ["session.updated"]
    assert names(t.configure(tools=[{"type": "mcp", "server_label": "shop"}])) == ["session.updated"]


def test_a_list_that_fails_says_so(shop, names):
    t = shop(faults=[FailToolList()])
    assert names(t.session.sent)[-1] == "mcp_list_tools.failed"


def test_only_tools_that_are_allowed_are_listed_and_called(shop):
    t = shop(tool={**SHOP, "allowed_tools": {"tool_names": ["buy"]}})
    assert t.session.items[0]["tools"] == []
    t("response.create")
    t.run(10)
    assert [item["type"] for item in t.session.items] == ["mcp_list_tools", "message"]


def test_credentials_are_not_shown_again(talk):
    t = talk()
    updated, *_ = t.configure(tools=[{**SHOP, "authorization": "hush-hush", "headers": {"X-Key": "hush-hush"}}])
    assert "hush-hush" not in str(updated)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "mcp", "server_label": "shop"}, "session.tools[0].server_url"),
        ({**SHOP, "server_label": "the shop"}, "session.tools[0].server_label"),
        ({**SHOP, "require_approval": "sometimes"}, "session.tools[0].require_approval"),
        ({**SHOP, "require_approval": {"ask": {}}}, "session.tools[0].require_approval.ask"),
        ({**SHOP, "allowed_tools": "find"}, "session.tools[0].allowed_tools"),
        ({**SHOP, "headers": {"X": 1}}, "session.tools[0].headers.X"),
        ({**SHOP, "name": "find"}, "session.tools[0].name"),
    ],
)
def test_a_server_of_the_wrong_shape_is_refused_with_its_path(talk, tool, param):
    (error,) = talk().configure(tools=[tool])
    assert (error["type"], error["error"]["param"]) == ("error", param)


def test_a_response_waits_for_its_call(shop, names):
    t = shop()
    events = t("response.create") + t.run(10)
    assert names(events) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.mcp_call.in_progress",
        "response.mcp_call.completed",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    assert t.session.items[-1]["output"] == "3 pairs"


def test_by_a_knob_it_does_not(shop, names):
    t = shop(knobs=Knobs(mcp_in_response=False))
    told = names(t("response.create") + t.run(10))
    assert told.index("response.done") < told.index("response.mcp_call.completed")
    assert told[-1] == "conversation.item.done"
    assert t.session.items[-1]["output"] == "3 pairs"


def test_a_failed_call_has_an_error(shop, names):
    t = shop(Turn(mcp=(MCPCall("shop", "find", error=("http_error", "Bad gateway")),)))
    assert "response.mcp_call.failed" in names(t("response.create") + t.run(10))
    assert t.session.items[-1]["error"] == {"type": "http_error", "message": "Bad gateway", "code": 502}


@pytest.mark.parametrize(
    ("rule", "asks"),
    [
        (None, True),
        ("always", True),
        ("never", False),
        ({"never": {"tool_names": ["find"]}}, False),
        ({"never": {"tool_names": ["buy"]}}, True),
        ({"always": {"tool_names": ["find"]}, "never": {}}, True),
        ({"never": {"read_only": True}}, True),
    ],
)
def test_which_calls_need_an_approval(shop, rule, asks):
    t = shop(tool={**SHOP, "require_approval": rule})
    t("response.create")
    t.run(10)
    assert t.session.items[-1]["type"] == ("mcp_approval_request" if asks else "mcp_call")


def test_a_call_runs_when_it_is_approved(shop, names):
    t = shop(tool={**SHOP, "require_approval": "always"})
    assert names(t("response.create") + t.run(10))[-2] == "response.done"
    assert names(approval(t)) == [
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.added",
        "response.mcp_call.in_progress",
    ]
    assert names(t.run(10)) == ["response.mcp_call.completed", "conversation.item.done"]
    assert t.session.items[-1]["approval_request_id"] == t.session.items[1]["id"]


def test_a_denied_call_does_not_run(shop, names):
    t = shop(tool={**SHOP, "require_approval": "always"})
    t("response.create")
    t.run(10)
    approval(t, approve=False, reason="No.")
    assert t.run(10) == []


def test_an_approval_is_taken_once(shop):
    t = shop(tool={**SHOP, "require_approval": "always"})
    t("response.create")
    t.run(10)
    approval(t)
    (error,) = approval(t, id="a2")
    assert error["error"]["param"] == "item.approval_request_id"


def test_a_script_file_says_what_a_server_does(tmp_path):
    path = tmp_path / "script.json"
    path.write_text('[{"mcp": [{"server": "shop", "name": "find", "error": ["http_error", "No."], "seconds": 1}]}]')
    script = Script.load(path)
    assert script.turns[0].mcp == (MCPCall("shop", "find", error=("http_error", "No."), seconds=1),)
    assert script.mcp_tools("shop") == ["find"]
