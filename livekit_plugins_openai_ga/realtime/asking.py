"""What one reply is asked to be: the arguments of `generate_reply` as the `response` of a `response.create`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from livekit.agents import llm
from livekit.agents.types import NotGiven, NotGivenOr
from livekit.agents.utils import is_given
from livekit.agents.voice.generation import remove_instructions

from .. import reply_fields
from ..core.record import Record
from ..options import Options
from ..session_fields import is_json, plain
from ..wire.items import create_payload, short_id
from ..wire.values import value
from . import mapping

Input = llm.ChatContext | Sequence[Any]
"""What a model may be shown instead of the conversation."""

ToRecord = Callable[[llm.ChatItem], Record | None]

_ITEM_FIELDS: Mapping[str, tuple[str, ...]] = {
    "message": ("role", "content"),
    "function_call": ("name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "item_reference": ("id",),
}
"""GA's items by their type, and what each cannot be without."""


@value
class Asking:
    """One reply that is wanted.

    Attributes:
        params: the `response`, without what makes it known again.
        aside: it is no part of the conversation.
        play: whether LiveKit is to play it; None: it was LiveKit that asked, and plays what it gets.
    """

    params: dict[str, Any]
    aside: bool
    play: bool | None


def asking(
    options: Options,
    given: Mapping[str, Any],
    *,
    instructions: NotGivenOr[str],
    session_instructions: str | None,
    tools: NotGivenOr[list[llm.Tool]],
    input: NotGivenOr[Input],
    play: NotGivenOr[bool],
    picture: mapping.Picture,
) -> Asking:
    """Check what `generate_reply` was given. `given` are the fields of `reply_fields`; NOT_GIVEN is left out.

    Raises ValueError: one sentence that names the parameter and says what to do.
    """
    params = reply_fields.response(given, options)
    aside = params.pop("conversation", "auto") == "none"
    if is_given(instructions):
        # A reply's instructions replace the session's, so in the conversation the session's are repeated.
        prefix = f"{session_instructions}\n" if session_instructions and not aside else ""
        params = {"instructions": prefix + instructions, **params}
    if is_given(tools):
        params["tools"] = mapping.to_tools(tools)[0]
    if aside:
        _check_server_tools(params)
    if not isinstance(input, NotGiven):
        record = functools.partial(mapping.to_record, picture=picture, heard=options.input_format)
        params["input"] = _input(input, record)
    if not is_given(play):
        own = is_given(input) or any(is_given(value) for name, value in given.items() if name != "tool_choice")
        return Asking(params, aside, False if aside else True if own else None)
    if aside and play:
        _check_played_aside(params)
        params["tool_choice"] = "none"
    return Asking(params, aside, bool(play))


def _check_server_tools(params: Mapping[str, Any]) -> None:
    choice = params.get("tool_choice")
    chosen = [choice] if isinstance(choice, Mapping) else []
    if any(tool.get("type") == "mcp" for tool in (*params.get("tools", ()), *chosen)):
        raise ValueError(
            "tools: a reply out of band cannot call the tools of an MCP server, because it ends with the call and "
            "nobody can go on with the result; leave them out of tools and tool_choice, or ask in the conversation."
        )


def _check_played_aside(params: Mapping[str, Any]) -> None:
    if params.get("tools") or params.get("tool_choice", "none") != "none":
        raise ValueError(
            "tools: a reply out of band that LiveKit plays cannot call any, because their results go into the "
            "conversation, where the call is not; leave tools and tool_choice out, or play=True."
        )


def _input(given: Input, record: ToRecord) -> list[dict[str, Any]]:
    if isinstance(given, llm.ChatContext):
        given = [given]
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Sequence):
        raise ValueError("input is not a list of items: pass a ChatContext, or a list of chat items or of dicts.")
    items: list[dict[str, Any]] = []
    for place, item in enumerate(given):
        if isinstance(item, llm.ChatContext):
            context = llm.ChatContext(list(item.items))
            remove_instructions(context)
            items += filter(None, (_from_chat_item(record(item)) for item in context.items))
        elif isinstance(item, (llm.ChatMessage, llm.FunctionCall, llm.FunctionCallOutput)):
            items += filter(None, [_from_chat_item(record(item))])
        else:
            items.append(_from_dict(f"input[{place}]", plain(item)))
    return items


def _from_chat_item(record: Record | None) -> dict[str, Any] | None:
    """An item of LiveKit's as GA takes it; None for its own kinds, and for one without content.

    Without its id: the model sees a copy, also when the conversation has an item of this id.
    """
    payload = create_payload(record.item) if record is not None else None
    return {key: value for key, value in payload.items() if key != "id"} if payload is not None else None


def _from_dict(name: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise ValueError(f"{name} has no 'type': pass an item of LiveKit's, or a dict such as GA takes it.")
    for field in _ITEM_FIELDS.get(item["type"], ()):
        if item.get(field) is None:
            raise ValueError(f"{name}.{field} is missing: an item of type {item['type']} needs it.")
    if not is_json(item):
        raise ValueError(f"{name} has something in it that JSON cannot hold: use texts, numbers, lists and dicts.")
    parts = item.get("content") if item["type"] == "message" else None
    for number, part in enumerate(parts if isinstance(parts, list) else ()):
        url = part.get("image_url") if isinstance(part, dict) else None
        if url is not None and not str(url).startswith("data:"):
            raise ValueError(
                f"{name}.content[{number}].image_url is no data: URL, and GA takes no links: pass an ImageContent in a "
                "ChatMessage, whose link is fetched."
            )
    if item["type"] == "item_reference":
        return {**item, "id": short_id(str(item["id"]))}
    return item
