"""The arguments of `generate_reply`, as the `response` of a `response.create`."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents import function_tool, llm
from livekit.agents.types import NOT_GIVEN

from livekit_plugins_openai_ga import MCPTool, RealtimeModel
from livekit_plugins_openai_ga.realtime.asking import Asking, asking
from livekit_plugins_openai_ga.realtime.pictures import Pictures

from .conftest import needs_handoffs

OPTIONS = RealtimeModel(api_key="sk-test").options
USER = llm.ChatMessage(id="item_1", role="user", content=["Hello."])
REFERENCE = {"type": "item_reference", "id": "item_1"}


@function_tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def ask(
    *,
    instructions: Any = NOT_GIVEN,
    tools: Any = NOT_GIVEN,
    input: Any = NOT_GIVEN,
    play: Any = NOT_GIVEN,
    **given: Any,
) -> Asking:
    return asking(
        OPTIONS,
        given,
        instructions=instructions,
        session_instructions="You are Ada.",
        tools=tools,
        input=input,
        play=play,
        picture=Pictures(OPTIONS.images).part,
    )


def test_instructions_are_added_to_the_sessions_and_stand_alone_out_of_band() -> None:
    assert ask(instructions="Be brief.").params == {"instructions": "You are Ada.\nBe brief."}
    assert ask(instructions="Classify.", conversation="none").params == {"instructions": "Classify."}


@pytest.mark.parametrize(
    ("given", "play"),
    [
        ({"instructions": "x", "tool_choice": "none", "tools": [add]}, None),  # all that LiveKit ever passes
        ({"reasoning": "low"}, True),
        ({"input": []}, True),
        ({"conversation": "auto"}, True),
        ({"conversation": "none"}, False),
        ({"conversation": "none", "play": True}, True),
        ({"play": False}, False),
        ({"play": True}, True),
    ],
)
def test_livekit_plays_what_it_asked_for_and_what_an_application_asked_for_in_the_conversation(
    given: dict[str, Any], play: bool | None
) -> None:
    assert ask(**given).play is play


def test_a_played_reply_out_of_band_calls_no_tools_and_cannot_be_told_to() -> None:
    assert ask(conversation="none", play=True).params == {"tool_choice": "none"}
    assert ask(conversation="none", tools=[add]).params["tools"][0]["name"] == "add"  # its caller has the call
    for given in ({"tools": [add]}, {"tool_choice": "required"}):
        with pytest.raises(ValueError, match=r"^tools: a reply out of band that LiveKit plays cannot call any"):
            ask(conversation="none", play=True, **given)


@pytest.mark.parametrize(
    "given",
    [
        {"tools": [add, MCPTool(server_label="shop", server_url="https://shop.test")]},
        {"tool_choice": {"type": "mcp", "server_label": "shop"}},
    ],
)
def test_a_reply_out_of_band_cannot_be_told_to_call_what_the_server_runs(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^tools: a reply out of band cannot call the tools of an MCP server"):
        ask(conversation="none", **given)
    assert ask(conversation="auto", **given).params


def test_chat_items_are_shown_as_copies_without_their_ids() -> None:
    call = llm.FunctionCall(call_id="call_1", name="add", arguments="{}")
    output = llm.FunctionCallOutput(call_id="call_1", output="3", is_error=False)
    said = llm.ChatMessage(role="assistant", content=["Three."])
    assert ask(input=[USER, call, output, said]).params["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "3"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Three."}]},
    ]


@needs_handoffs
def test_a_context_is_shown_without_what_is_livekits_own() -> None:
    context = llm.ChatContext([USER, llm.AgentHandoff(new_agent_id="b"), llm.ChatMessage(role="user", content=[])])
    assert [item["role"] for item in ask(input=context).params["input"]] == ["user"]
    assert len(ask(input=[context, REFERENCE]).params["input"]) == 2
    assert len(context.items) == 3


def test_gas_own_items_go_as_they_are_and_references_by_the_id_on_the_wire() -> None:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi."}]}
    assert ask(input=[message, REFERENCE]).params["input"] == [message, REFERENCE]
    (longer,) = ask(input=[{"type": "item_reference", "id": "x" * 40}]).params["input"]
    assert len(longer["id"]) == 32
    assert ask(input=[]).params == {"input": []}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("Hello.", "^input is not a list of items: pass a ChatContext"),
        ({"type": "message"}, "^input is not a list of items: pass a ChatContext"),
        (["Hello."], r"^input\[0\] has no 'type': pass an item of LiveKit's, or a dict"),
        ([{"role": "user"}], r"^input\[0\] has no 'type'"),
        ([USER, {"type": "item_reference"}], r"^input\[1\]\.id is missing: an item of type item_reference needs it"),
        ([{"type": "message", "role": "user"}], r"^input\[0\]\.content is missing"),
        (
            [{"type": "function_call_output", "call_id": "c", "output": {1, 2}}],
            r"^input\[0\] has something in it that JSON",
        ),
    ],
)
def test_what_is_no_item_is_refused_by_its_place(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ask(input=given)
