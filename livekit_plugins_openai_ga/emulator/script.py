"""What the emulator hears and answers.

The emulator does not understand speech. A `Script` is a list of turns, each saying what the user is taken to have
said (`heard`) and what the model does about it: speaks, calls a tool, stays silent or fails. Every reply takes the
next turn, over all the sessions of one emulator, so a conversation goes on where it was after a reconnect.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

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

        Raises ValueError, with the file and the turn, for anything that is not one.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as exc:
            raise ValueError(f"{path}: the script cannot be read ({exc.strerror}).") from exc
        except ValueError as exc:
            raise ValueError(f"{path}: the script is not JSON ({exc}).") from exc
        if isinstance(data, list):
            data = {"turns": data}
        if not isinstance(data, dict) or not isinstance(data.get("turns"), list):
            raise ValueError(f"{path}: a script is a list of turns, or an object with a `turns` list.")
        try:
            return cls(
                [_turn(t, f"turn {n}") for n, t in enumerate(data["turns"], 1)],
                out_of_band=[_turn(t, f"out_of_band {n}") for n, t in enumerate(data.get("out_of_band", []), 1)],
            )
        except ValueError as exc:
            raise ValueError(f"{path}: {exc}") from exc

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


_TURN_KEYS = {f.name for f in fields(Turn)}


def _turn(data: object, where: str) -> Turn:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not an object.")
    if unknown := sorted(set(data) - _TURN_KEYS):
        known = ", ".join(sorted(_TURN_KEYS))
        raise ValueError(f"{where} has an unknown key `{unknown[0]}`; a turn has {known}.")
    values = dict(data)
    try:
        if values.get("tool") is not None:
            values["tool"] = ToolCall(**values["tool"])
        values["tools"] = tuple(ToolCall(**call) for call in values.get("tools", ()))
        values["messages"] = tuple(values.get("messages", ()))
        if values.get("failure") is not None:
            kind, code, message = values["failure"]
            values["failure"] = (kind, code, message)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"{where} is not a turn ({exc}).") from exc
    return Turn(**values)
