"""From a number to a call: what the application does and when, what the network and the server do to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from livekit_plugins_openai_ga.emulator import faults as fl
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.script import MCPCall, ToolCall, Turn

from .network import Path

MAX_RETRY = 3
HEARTBEAT_S = 3.0

CLIENT_EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "conversation.item.create",
    "conversation.item.delete",
    "conversation.item.truncate",
    "response.create",
    "response.cancel",
)
SERVER_EVENTS = (
    "session.created",
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.input_audio_transcription.completed",
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_audio.delta",
    "response.output_audio_transcript.delta",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
)
# Events that say what is so, not what is new: a second one changes nothing.
IDEMPOTENT = (
    "session.updated",
    "conversation.item.added",
    "conversation.item.input_audio_transcription.completed",
    "response.created",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
)
GARBAGE: tuple[Any, ...] = (
    "{",
    "[]",
    "null",
    b"\x00\xff\xfe",
    '{"type": 7}',
    {"type": "weather.changed", "rain": True},
)


@dataclass(frozen=True, slots=True)
class Action:
    """What the application does, `after` seconds behind the one before it. `what` names a method of `Application`."""

    after: float
    what: str
    with_: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"+{self.after:.3f} {self.what}{self.with_}"


@dataclass(slots=True)
class Schedule:
    """One call. `server_vad`: the server detects turns. `reading`: seconds a reader waits before each piece.

    `transcribes`: the user's turns are to be transcribed. `resume_replies` is the option of that name. `approvals` is
    what becomes of calls of MCP servers that need one, in turn: True, False, or None (nobody says); () for none needed.
    """

    seed: int
    server_vad: bool = False
    transcribes: bool = True
    resume_replies: Literal["unheard", "never"] = "unheard"
    reading: float = 0.0
    max_session_duration: float | None = None
    knobs: Knobs = field(default_factory=Knobs)
    turns: list[Turn] = field(default_factory=list)
    faults: list[fl.Fault] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    approvals: tuple[bool | None, ...] = ()

    def told(self) -> str:
        """The call as a person reads it."""
        lines = [
            f"seed {self.seed}: {'server VAD' if self.server_vad else 'manual turns'}, "
            f"reads every {self.reading} s, recycles after {self.max_session_duration} s, "
            f"transcribes: {self.transcribes}, resumes replies: {self.resume_replies}, approvals: {self.approvals}",
            *(f"  fault   {fault}" for fault in self.faults),
            *(f"  path {n}  {path}" for n, path in enumerate(self.paths)),
            *(f"  turn    {turn}" for turn in self.turns),
            *(f"  does    {action}" for action in self.actions),
        ]
        return "\n".join(lines)


LAYERS = 3
"""What was thought of later, in steps: more faults; connections that are replaced and calls that end in the middle;
tools that the server runs."""


def schedule(seed: int, *, layers: int = LAYERS) -> Schedule:
    """The call with this number; always the same. With fewer `layers` it has nothing of what was thought of later."""
    dice = random.Random(seed)
    made = Schedule(
        seed,
        server_vad=dice.random() < 0.5,
        reading=dice.choice((0.0, 0.0, 0.0, 0.05, 0.5)),
        max_session_duration=dice.choice((None, None, None, None, 12.0, 16.0)),
        knobs=Knobs(
            pace=dice.choice((1.0, 5.0, 20.0)),
            delta_ms=dice.choice((200, 400)),
            transcription_latency=dice.choice((0.02, 0.15, 1.5)),
            rate_limits=dice.choice(("after", "before", "never")),
            transcripts=dice.choice(("async", "async", "before_done", "after_done")),
            audio_done_first=dice.random() < 0.5,
            item_done_first=dice.random() < 0.5,
            speak=speak,
        ),
    )
    made.turns = [_turn(dice, number) for number in range(14)]
    made.faults = [_fault(dice) for _ in range(dice.choice((0, 1, 1, 1, 2, 2, 3)))]
    made.paths = [any_path(dice) for _ in range(dice.choice((0, 1, 1, 2, 2, 3)))]
    made.actions = _actions(dice, made.server_vad)
    if layers >= 1:
        _add(random.Random(f"more {seed}"), made)
    if layers >= 2:
        _end(random.Random(f"ends {seed}"), made)
    if layers >= 3:
        _serve(random.Random(f"mcp {seed}"), made)
    return made


def _add(dice: random.Random, made: Schedule) -> None:
    """What was thought of later, from dice of its own: a seed keeps what it had."""
    made.resume_replies = dice.choice(("unheard", "unheard", "unheard", "unheard", "never"))
    made.transcribes = dice.random() < 0.7
    weights = [weight for weight, _ in _MORE_FAULTS]
    count = dice.choice((0, 0, 1, 1, 2))
    made.faults += [make(dice) for make in dice.choices([make for _, make in _MORE_FAULTS], weights, k=count)]
    for _ in range(dice.choice((0, 0, 1))):
        place = dice.randrange(len(made.actions) + 1)
        made.actions.insert(place, Action(dice.choice((0.0, 0.3)), "change_voice", (dice.choice(("marin", "cedar")),)))


def _end(dice: random.Random, made: Schedule) -> None:
    """New connections, and the end, while things happen; what is done to a call that is over must do no harm."""
    for what, chances in (("restart", (0, 0, 0, 1, 1, 2)), ("close", (0, 0, 0, 0, 1))):
        for _ in range(dice.choice(chances)):
            place = dice.randrange(len(made.actions) + 1)
            after = dice.choice((0.0, 0.0, 0.01, 0.1, 0.3, 1.0))
            actions = [Action(after, what)]
            if what == "close" and dice.random() < 0.5:  # in one of the steps in which a connection is let go of
                actions = [Action(after, "restart"), Action(0.0, "close", (dice.randrange(8),))]
            made.actions[place:place] = actions


def _serve(dice: random.Random, made: Schedule) -> None:
    """Tools that the server runs, in one call of three."""
    if dice.random() < 0.65:
        return
    made.knobs = replace(made.knobs, mcp_in_response=dice.random() < 0.5)
    made.approvals = dice.choice(((), (), (True,), (True, False, None)))
    for place in dice.sample(range(len(made.turns)), dice.choice((1, 2, 4, 6))):
        calls = tuple(_mcp_call(dice, f"{place}.{k}") for k in range(dice.choice((1, 1, 1, 2))))
        made.turns[place] = replace(made.turns[place], tool=None, mcp=calls)
    if dice.random() < 0.5:
        on, nth = dice.choice(_OF_CALLS), dice.choice((1, 1, 2))
        faults: tuple[fl.Fault, ...] = (fl.DropOn(on, nth), fl.SwallowOn(on, nth), fl.RepeatOn(on, nth))
        made.faults.append(dice.choice((*faults, fl.PostponeOn(on, nth), fl.FailToolList())))


_OF_CALLS = ("response.mcp_call.in_progress", "response.mcp_call.completed", "response.mcp_call_arguments.done")


def _mcp_call(dice: random.Random, name: str) -> MCPCall:
    error = dice.choice((None, None, None, ("http_error", "Bad gateway")))
    output = "" if error else f"found {name}"
    return MCPCall(
        "shop", "find", {"what": name}, output=output, error=error, seconds=dice.choice((0.0, 0.3, 2.0, 9.0))
    )


def speak(text: str, voice: str, speed: float) -> bytes:
    """80 ms of sound for each word; a real voice takes longer to make than everything else in a run."""
    return b"\x10\x27" * (24 * 80 * len(text.split()))


def _turn(dice: random.Random, number: int) -> Turn:
    words = " ".join(f"w{number}.{k}" for k in range(dice.choice((1, 3, 8, 20))))
    kind = dice.random()
    heard = f"heard {number}"
    if kind < 0.15:
        return Turn(heard=heard, tool=ToolCall("get_weather", {"city": f"C{number}"}))
    if kind < 0.25:
        return Turn(heard=heard, messages=(words, f"more {number}"))
    if kind < 0.30:
        return Turn(heard=heard, failure=("server_error", "server_error", "The server had an error."))
    if kind < 0.35:
        return Turn(heard=heard, say=words, incomplete="max_output_tokens")
    if kind < 0.38:
        return Turn(heard=heard)
    return Turn(heard=heard, say=words, latency=dice.choice((0.0, 0.0, 0.3, 2.0)))


def _occasion(dice: random.Random, events: Sequence[str]) -> dict[str, Any]:
    return {"on": dice.choice(events), "nth": dice.choice((1, 1, 2, 2, 3, 5, 8))}


def _close(dice: random.Random) -> fl.Fault:
    code = dice.choice((1001, 1001, 1011, 1011, 1011, 1012, 1006, 1000, 3000, 4000))
    if code == 1006:
        return fl.DropOn(**_occasion(dice, CLIENT_EVENTS + SERVER_EVENTS))
    error = dice.choice((None, ("server_error", "The server had an error.")))
    return fl.CloseOn(code=code, reason="simulated", error=error, **_occasion(dice, CLIENT_EVENTS + SERVER_EVENTS))


def _reject(dice: random.Random) -> fl.Fault:
    code, kind = dice.choice((("invalid_value", "invalid_request_error"), ("server_error", "server_error")))
    return fl.RejectOn(code=code, message="No.", error_type=kind, **_occasion(dice, CLIENT_EVENTS))


_FAULTS: tuple[tuple[int, Callable[[random.Random], fl.Fault]], ...] = (
    (6, _close),
    (4, lambda dice: fl.DropOn(**_occasion(dice, CLIENT_EVENTS + SERVER_EVENTS))),
    (3, lambda dice: fl.FreezeOn(**_occasion(dice, CLIENT_EVENTS + SERVER_EVENTS))),
    (5, _reject),
    (3, lambda dice: fl.DelayOn(seconds=dice.choice((0.05, 0.5, 4.0)), **_occasion(dice, SERVER_EVENTS))),
    (2, lambda dice: fl.InjectOn(data=dice.choice(GARBAGE), **_occasion(dice, SERVER_EVENTS))),
    (3, lambda dice: fl.RepeatOn(**_occasion(dice, IDEMPOTENT))),
    (2, lambda dice: fl.FailResponse(nth=dice.choice((1, 2, 3)))),
    (1, lambda dice: fl.FailTranscription(nth=dice.choice((1, 2)))),
    (1, lambda dice: fl.DelayTranscription(seconds=dice.choice((1.0, 5.0)), nth=dice.choice((1, 2)))),
    (2, lambda dice: fl.ExpireAfter(seconds=dice.choice((0.5, 3.0, 8.0)))),
    (
        3,
        lambda dice: fl.RefuseHandshake(
            status=dice.choice((408, 429, 500, 503, 503, 401)), times=dice.choice((1, 2, 5))
        ),
    ),
    (1, lambda dice: fl.RejectHandshake(nth=dice.choice((1, 2)))),
)


_PASSING = (
    ("server_error", "The server had an error while processing your request."),
    ("rate_limit_exceeded", "Rate limit reached. Please try again in 1.3s."),
    ("rate_limit_exceeded", "Rate limit reached. Please try again in 60s."),
)
MOVABLE = (
    "conversation.item.added",
    "conversation.item.done",
    "conversation.item.input_audio_transcription.completed",
    "rate_limits.updated",
)
"""Events that may as well come behind the next one: nothing says which is first."""


def _fail_reply(dice: random.Random) -> fl.Fault:
    code, message = dice.choice(_PASSING)
    return fl.FailResponse(code, message, nth=dice.choice((1, 1, 2, 3)), times=dice.choice((1, 2, 3, 6)))


def _refuse_tool(dice: random.Random) -> fl.Fault:
    place = f"session.tools[{dice.choice((0, 0, 1))}].name"
    return fl.RejectOn(
        "session.update", "invalid_value", "No such tool.", place, nth=dice.choice((1, 2)), times=dice.choice((1, 2))
    )


_MORE_FAULTS: tuple[tuple[int, Callable[[random.Random], fl.Fault]], ...] = (
    (4, _fail_reply),
    (2, _refuse_tool),
    (3, lambda dice: fl.PostponeOn(on=dice.choice(MOVABLE), nth=dice.choice((1, 2, 3)), times=dice.choice((1, 20)))),
    (3, lambda dice: fl.DropOn(on=dice.choice(BEGINNINGS), nth=dice.choice((1, 1, 2, 3)))),
)
BEGINNINGS = (
    "input_audio_buffer.committed",
    "conversation.item.added",
    "response.created",
    "response.content_part.added",
)
"""A connection that is lost right behind these: something has begun, and little is known of it."""


def _fault(dice: random.Random) -> fl.Fault:
    weights = [weight for weight, _ in _FAULTS]
    return dice.choices([make for _, make in _FAULTS], weights)[0](dice)


def any_path(dice: random.Random) -> Path:
    path = Path(latency=dice.choice((0.001, 0.02, 0.1, 0.4)))
    kind = dice.random()
    if kind < 0.12:
        path.refused = True
    elif kind < 0.16:
        path.lost = True
    elif kind < 0.34:
        path.cut_after = dice.choice((200, 1_500, 3_000, 10_000, 50_000, 120_000)) + dice.randrange(1_000)
    elif kind < 0.46:
        path.cut_sending = dice.choice((100, 1_500, 3_000, 20_000, 60_000)) + dice.randrange(1_000)
    elif kind < 0.60:
        path.silent_after = dice.choice((1_000, 3_000, 10_000, 50_000)) + dice.randrange(1_000)
        path.silent_for = dice.choice((None, None, 0.5, 4.0))
    elif kind < 0.66:
        path.bytes_per_s = dice.choice((20_000.0, 100_000.0))
    return path


def _actions(dice: random.Random, server_vad: bool) -> list[Action]:
    actions = [Action(0.0, "set_up")] if dice.random() < 0.7 else []
    for _ in range(dice.randrange(3, 13)):
        after = dice.choice((0.0, 0.0, 0.01, 0.1, 0.3, 1.0, 3.0))
        actions.append(Action(after, *dice.choices(_ACTIONS, _WEIGHTS)[0](dice)))
        if actions[-1].what == "speak" and not server_vad and dice.random() < 0.8:
            actions.append(Action(0.0, "commit"))
            if dice.random() < 0.7:
                actions.append(Action(0.0, "reply", _reply(dice)))
    return actions


def _reply(dice: random.Random) -> tuple[Any, ...]:
    """Seconds until it is cancelled, or None; whether it is out of band."""
    return (dice.choice((None, None, None, 0.0, 0.01, 0.1, 1.0)), dice.random() < 0.1)


_TABLE: tuple[tuple[int, Callable[[random.Random], tuple[Any, ...]]], ...] = (
    (8, lambda dice: ("speak", (dice.choice((1, 4, 8, 20)), dice.choice((0, 4, 8))))),
    (7, lambda dice: ("reply", _reply(dice))),
    (3, lambda dice: ("interrupt",)),
    (4, lambda dice: ("truncate", (dice.choice((0, 100, 700, 60_000)),))),
    (4, lambda dice: ("change_history", (dice.choice(("add", "add", "drop", "drop", "edit", "move", "clear")),))),
    (2, lambda dice: ("change_instructions", (dice.randrange(100),))),
    (2, lambda dice: ("change_tools", (dice.randrange(3),))),
    (1, lambda dice: ("change_options", (dice.choice((None, "none", "auto")),))),
    (1, lambda dice: ("commit",)),
    (1, lambda dice: ("clear",)),
)
_WEIGHTS = [weight for weight, _ in _TABLE]
_ACTIONS = [make for _, make in _TABLE]
