"""What the emulator hears and answers.

The emulator does not understand speech. A `Script` is a list of turns, each saying what the user is taken to have
said (`heard`) and what the model does about it: speaks, calls a tool, stays silent or fails. Every reply takes the
next turn, over all the sessions of one emulator, so a conversation goes on where it was after a reconnect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
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
class MCPCall:
    """A call of a tool that the server runs itself: `name` of the MCP server with the label `server`.

    It takes `seconds` and gives `output`, or the `error` (type, message) with one of the types `protocol_error`,
    `tool_execution_error` and `http_error`.
    """

    server: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    output: str = ""
    error: tuple[str, str] | None = None
    seconds: float = 0.5


@dataclass(frozen=True, slots=True)
class Turn:
    """One user turn and the reply to it.

    `heard` is the transcript given to the user's audio ("" for a greeting, or for the reply after a tool call).
    The reply is `say` or several `messages`, then `tool` or several `tools`, then `mcp`; with none of them the response
    completes without output. What the server tells of an MCP call is the next turn, when the client asks for it.
    `failure` ends the response as failed with that `(type, code, message)`, `incomplete` with that reason after half
    of the speech, `stall` stops mid-speech and never ends it. `latency` is in seconds, on top of the emulator's own.

    Transcription models report, where they can, `languages` (codes; () for undetermined, None for the first one the
    session names, else "en") and `logprobs`: one per word of `heard`, over and over when there are fewer.
    """

    heard: str = ""
    say: str = ""
    messages: tuple[str, ...] = ()
    tool: ToolCall | None = None
    tools: tuple[ToolCall, ...] = ()
    mcp: tuple[MCPCall, ...] = ()
    failure: tuple[str, str, str] | None = None
    incomplete: str = ""
    stall: bool = False
    latency: float = 0.0
    languages: tuple[str, ...] | None = None
    logprobs: tuple[float, ...] = (-0.05,)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every message of the reply, in order."""
        return ((self.say,) if self.say else ()) + tuple(self.messages)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every tool call of the reply, in order."""
        return ((self.tool,) if self.tool else ()) + tuple(self.tools)


@dataclass(slots=True, eq=False)
class Claim:
    """A turn that is being transcribed; without a script, one that nobody has to move on for.

    The script moves on when the transcript is out and not before: audio that a lost session leaves without one, and
    that is sent again, is heard as the same words. `live` says whether the session that claims the turn still lives.
    """

    turn: Turn = Turn()
    position: int = -1
    script: Script | None = None
    live: Callable[[], bool] = lambda: True

    def settle(self) -> None:
        """The transcript is out, or has failed for good."""
        if self.script is not None:
            self.script.settle(self)

    def give_back(self) -> None:
        """Nothing will be told of this turn here; the next claim gets it again."""
        self.live = lambda: False


class Script:
    """Turns and the place reached in them. `out_of_band` turns answer `conversation: "none"` responses.

    `translations` are turns for translation sessions, by the language that these translate into, each list with a
    place of its own: in a room, several of them hear one speaker. Other languages take what is in `turns`.
    """

    def __init__(
        self,
        turns: Iterable[Turn] = (),
        *,
        out_of_band: Iterable[Turn] = (),
        translations: Mapping[str, Iterable[Turn]] = MappingProxyType({}),
    ) -> None:
        self.turns = tuple(turns)
        self.out_of_band = tuple(out_of_band)
        self.translations = {language: Script(turns) for language, turns in translations.items()}
        self.position = 0
        self._out_of_band_position = 0
        self._claims: list[Claim] = []
        # Turns beyond `position` whose transcripts came before those of earlier ones.
        self._settled: set[int] = set()

    @classmethod
    def load(cls, path: str | Path) -> Script:
        """Read a JSON file: a list of turns, or `{"turns": [], "out_of_band": [], "translations": {"de": []}}`.

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
        translations: Mapping[str, Any] = data.get("translations", {})
        try:
            _FILE(data, "")
            for language, turns in translations.items():
                _TURNS(turns, f"translations.{language}")
        except Refused as exc:
            raise ValueError(f"{path}: {exc}") from exc
        return cls(
            map(_turn, data["turns"]),
            out_of_band=map(_turn, data.get("out_of_band", ())),
            translations={language: map(_turn, turns) for language, turns in translations.items()},
        )

    def mcp_tools(self, server: str) -> list[str]:
        """The tools of the MCP server with this label: those that the script calls."""
        calls = (call for turn in (*self.turns, *self.out_of_band) for call in turn.mcp)
        return list(dict.fromkeys(call.name for call in calls if call.server == server))

    def hear(self) -> Turn:
        """The turn that the reply to user audio committed now will take; its `heard` is the transcript."""
        return self._at(self._answering(heard=True)) or Turn()

    def claim(self, live: Callable[[], bool]) -> Claim:
        """The next turn with a `heard` for a session that only transcribes; an empty one after the last.

        Several can be claimed at a time, by one session or more. Claims of sessions not `live` any more are void.
        """
        self._claims = [claim for claim in self._claims if claim.live()]
        taken = self._settled | {claim.position for claim in self._claims}
        for position in range(self.position, len(self.turns)):
            if self.turns[position].heard and position not in taken:
                claim = Claim(self.turns[position], position, self, live)
                self._claims.append(claim)
                return claim
        return Claim()

    def settle(self, claim: Claim) -> None:
        """The transcript of a claimed turn is out."""
        claim.give_back()
        if claim.position < self.position:
            return
        self._settled.add(claim.position)
        for position in range(self.position, max(self._settled) + 1):
            if position in self._settled:
                self._settled.discard(position)
                self.position = position + 1
            elif self.turns[position].heard:
                return

    def take(self, *, heard: bool) -> Turn:
        """The turn of a reply created now. `heard`: it answers user input, so a turn without `heard` is passed over."""
        self.position = self._answering(heard=heard)
        turn = self._at(self.position)
        if turn is None:
            return Turn(say=SCRIPT_IS_OVER)
        self.position += 1
        return turn

    def take_translation(self, language: str) -> Turn:
        """The turn of speech heard by a session that translates into this language."""
        return self.translations.get(language, self).take(heard=True)

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
                if self.turns[position].heard and position not in self._settled:
                    return position
        return self.position


_TOOL = Object({"name": Text(), "arguments": mapping}, ("name",))
_MCP = Object(
    {
        "server": Text(),
        "name": Text(),
        "arguments": mapping,
        "output": Text(),
        "error": Array(Text(), shortest=2, longest=2),
        "seconds": Number(0, integer=False),
    },
    ("server", "name"),
)
_TURN = Object(
    {
        "heard": Text(),
        "say": Text(),
        "messages": Array(Text()),
        "tool": _TOOL,
        "tools": Array(_TOOL),
        "mcp": Array(_MCP),
        "failure": Array(Text(), shortest=3, longest=3),
        "incomplete": Text(),
        "stall": boolean,
        "latency": Number(0, integer=False),
        "languages": Array(Text()),
        "logprobs": Array(Number(None, 0, integer=False), shortest=1),
    }
)
_TURNS = Array(_TURN)
_FILE = Object({"turns": _TURNS, "out_of_band": _TURNS, "translations": mapping}, ("turns",))


def _turn(data: Mapping[str, Any]) -> Turn:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    if "tool" in data:
        values["tool"] = ToolCall(**data["tool"])
    if "tools" in data:
        values["tools"] = tuple(ToolCall(**call) for call in data["tools"])
    if "mcp" in data:
        values["mcp"] = tuple(_mcp_call(call) for call in data["mcp"])
    return Turn(**values)


def _mcp_call(data: Mapping[str, Any]) -> MCPCall:
    error = {"error": tuple(data["error"])} if "error" in data else {}
    return MCPCall(**{**data, **error})
