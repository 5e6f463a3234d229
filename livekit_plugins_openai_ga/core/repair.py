"""What to leave out of a refused update so that the rest of it may hold: one tool, or the voice.

The server drops a whole update for one bad part. Which part that was stands in the error: in `param`
(`session.tools[2].parameters`), in the code, or only in the message, which then names the tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import Failure
from ..wire.session import Payload
from ..wire.values import value
from . import effects as fx
from .effects import Effects

VOICE_IS_FIXED = "cannot_update_voice"
VOICE_DEFERRED = fx.Noticed("voice deferred", "the agent has spoken, so its voice changes with the next connection")

_PLACE = re.compile(r"\btools(?:\[(\d+)\]|\.(\d+)\b)")
_OF_TOOLS = re.compile(r"^(session\.)?tools\b")


@value
class Repair:
    """Leave out this tool, or (None) the voice."""

    tool: Mapping[str, Any] | None

    def without(self, payload: Payload) -> Payload:
        """The payload without it; `{}` when nothing is left to say."""
        if self.tool is None:
            return without_voice(payload)[0]
        if "tools" not in payload:
            return payload
        return {**payload, "tools": [tool for tool in payload["tools"] or () if tool != self.tool]}

    def told(self, failure: Failure) -> Effects:
        """The error that a missing tool is. A voice that comes later is none."""
        if self.tool is None:
            return []
        meaning = f"The tool {_name(self.tool)!r} is left out; the rest of the configuration is kept."
        return [fx.Report(replace(failure, meaning=meaning, remedy="Correct the tool, then pass all tools again."))]


def repair(change: Payload, failure: Failure) -> Repair | None:
    """What to leave out of `change`, which was refused; None when the failure does not say, or all of it is bad."""
    if failure.code == VOICE_IS_FIXED:
        return Repair(None) if without_voice(change)[1] else None
    tool = _refused_tool(change.get("tools") or [], failure)
    return Repair(tool) if tool is not None else None


def without_voice(payload: Payload) -> tuple[Payload, Payload]:
    """The payload without the agent's voice, and what was taken out; `{}` for one in which there is nothing."""
    audio = payload.get("audio") or {}
    output = audio.get("output") or {}
    if "voice" not in output:
        return payload, {}
    taken = {"audio": {"output": {"voice": output["voice"]}}}
    output = _without("voice", output)
    audio = {**_without("output", audio), **({"output": output} if output else {})}
    rest = {**_without("audio", payload), **({"audio": audio} if audio else {})}
    return ({} if rest.keys() <= {"type"} else rest), taken


def _without(name: str, payload: Payload) -> Payload:
    return {key: value for key, value in payload.items() if key != name}


def _name(tool: Mapping[str, Any]) -> str:
    return str(tool.get("name") or tool.get("server_label") or "")


def _refused_tool(tools: list[Mapping[str, Any]], failure: Failure) -> Mapping[str, Any] | None:
    param, message = failure.param or "", failure.message
    if param and not _OF_TOOLS.match(param):
        return None  # a message may name a tool that is not to blame, such as that of a tool choice
    place = _PLACE.search(param) or _PLACE.search(message)
    if place is not None:
        index = int(place[1] or place[2])
        return tools[index] if index < len(tools) else None
    named = [tool for tool in tools if re.search(rf"""['"`]{re.escape(_name(tool))}['"`]""", message)]
    return named[0] if len(named) == 1 and _name(named[0]) else None
