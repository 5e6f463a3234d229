"""What the emulator hears and answers.

The emulator does not understand speech. A `Script` is a list of turns, each saying what the user is taken to have
said (`heard`) and what the model does about it: speaks, calls a tool, stays silent or fails. Every reply takes the
next turn, over all the sessions of one emulator, so a conversation goes on where it was after a reconnect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .conversation import Refused
from .grammar import Array, Number, Object, Text, boolean, mapping

SCRIPT_IS_OVER = "That is the end of my script. I am only an emulator, so I have nothing more to say."


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call the model makes; `arguments` go out as a JSON string."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """One user turn and the reply to it.

    `heard` is the transcript given to the user's audio ("" for a greeting, or for the reply after a tool call).
    The reply is `say` or several `messages`, then `tool` or several `tools`; with none of them the response
    completes without output. `failure` ends the response as failed with that `(type, code, message)`,
    `incomplete` with that reason after half of the speech, `stall` stops mid-speech and never ends it.
    `latency` is in seconds, on top of the emulator's own.
    """

    heard: str = ""
    say: str = ""
    messages: tuple[str, ...] = ()
    tool: ToolCall | None = None
    tools: tuple[ToolCall, ...] = ()
    failure: tuple[str, str, str] | None = None
    incomplete: str = ""
    stall: bool = False
    latency: float = 0.0

    @property
    def texts(self) -> tuple[str, ...]:
        """Every message of the reply, in order."""
        return ((self.say,) if self.say else ()) + tuple(self.messages)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every tool call of the reply, in order."""
        return ((self.tool,) if self.tool else ()) + tuple(self.tools)


class Script:
    """Turns and the place reached in them. `out_of_band` turns answer `conversation: "none"` responses."""

    def __init__(self, turns: Iterable[Turn] = (), *, out_of_band: Iterable[Turn] = ()) -> None:
        self.turns = tuple(turns)
        self.out_of_band = tuple(out_of_band)
        self.position = 0
        self._out_of_band_position = 0

    @classmethod
    def load(cls, path: str | Path) -> Script:
        """Read a JSON file: a list of turns, or `{"turns": [...], "out_of_band": [...]}`.

        Raises ValueError, with the file and the place in it, for anything that is not one.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as exc:
            raise ValueError(f"{path}: the script cannot be read ({exc.strerror}).") from exc
        except ValueError as exc:
            raise ValueError(f"{path}: the script is not JSON ({exc}).") from exc
        if isinstance(data, list):
            data = {"turns": data}
        if not isinstance(data, dict):
            raise ValueError(f"{path}: a script is a list of turns, or an object with a `turns` list.")
        try:
            _FILE(data, "")
        except Refused as exc:
            raise ValueError(f"{path}: {exc}") from exc
        return cls(map(_turn, data["turns"]), out_of_band=map(_turn, data.get("out_of_band", ())))

    def hear(self) -> str:
        """The transcript of user audio committed now: the `heard` of the turn its reply will take."""
        turn = self._at(self._answering(heard=True))
        return turn.heard if turn else ""

    def take(self, *, heard: bool) -> Turn:
        """The turn of a reply created now. `heard`: it answers user input, so a turn without `heard` is passed over."""
        self.position = self._answering(heard=heard)
        turn = self._at(self.position)
        if turn is None:
            return Turn(say=SCRIPT_IS_OVER)
        self.position += 1
        return turn

    def take_out_of_band(self) -> Turn:
        """The turn of an out-of-band reply; these have a list of their own and disturb no conversation."""
        if self._out_of_band_position >= len(self.out_of_band):
            return Turn(say=SCRIPT_IS_OVER)
        self._out_of_band_position += 1
        return self.out_of_band[self._out_of_band_position - 1]

    def _at(self, position: int) -> Turn | None:
        return self.turns[position] if position < len(self.turns) else None

    def _answering(self, *, heard: bool) -> int:
        if heard:
            for position in range(self.position, len(self.turns)):
                if self.turns[position].heard:
                    return position
        return self.position


_TOOL = Object({"name": Text(), "arguments": mapping}, ("name",))
_TURN = Object(
    {
        "heard": Text(),
        "say": Text(),
        "messages": Array(Text()),
        "tool": _TOOL,
        "tools": Array(_TOOL),
        "failure": Array(Text(), shortest=3, longest=3),
        "incomplete": Text(),
        "stall": boolean,
        "latency": Number(0, integer=False),
    }
)
_FILE = Object({"turns": Array(_TURN), "out_of_band": Array(_TURN)}, ("turns",))


def _turn(data: Mapping[str, Any]) -> Turn:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    if "tool" in data:
        values["tool"] = ToolCall(**data["tool"])
    if "tools" in data:
        values["tools"] = tuple(ToolCall(**call) for call in data["tools"])
    return Turn(**values)
