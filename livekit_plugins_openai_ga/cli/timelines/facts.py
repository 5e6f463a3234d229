"""What a recording tells, as data: who spoke when, what each turn took, what was cut, what broke, what it cost.

Times are ms since the recording began. `events` are places in the recording's entries: what a fact was read from.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ...core.usage import ReplyUsage, total
from ...recording.entries import Header

Lane = Literal["user", "agent", "tools", "network"]
LANES: tuple[Lane, ...] = ("user", "agent", "tools", "network")

VERSION = 1
"""Of what `as_json` gives."""


@dataclass(slots=True)
class Utterance:
    """Something that the user said, or wrote (`typed`).

    Attributes:
        id: Of the item.
        start_ms: The beginning, with the server's padding before it.
        end_ms: The end of the speech, as well as it is known; None: it goes on.
        end_from: What says so: "sound" (the kept audio), "detector" (where the server's turn detection put it, without
            the silence it waits for), "server" (with it), "commit" (the client ended the turn), "typed".
        stopped_ms: When it was told that the user had stopped: speech_stopped, or the client's own commit.
        text: The transcript; "" when there is none.
        first_text_ms: When the first of it came.
        text_ms: When all of it was there.
        error: Why there is no transcript.
        typed: It was written, by the application.
        apart: It is no part of the talk: of an older conversation that was brought along, or the silence of a timeout.
        usage: What the transcript took: tokens or seconds.
        cost_usd: What the transcript cost; None: no price is known, or nothing was reported.
    """

    id: str
    start_ms: float
    end_ms: float | None = None
    end_from: str = ""
    stopped_ms: float | None = None
    text: str = ""
    first_text_ms: float | None = None
    text_ms: float | None = None
    error: str = ""
    typed: bool = False
    apart: bool = False
    usage: ReplyUsage | None = None
    cost_usd: float | None = None
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Speech:
    """One message of the agent, as it was played: the times are worked out, nobody recorded them.

    Attributes:
        id: Of the item.
        reply: The id of its response.
        start_ms: When the first of it was played.
        end_ms: When the last of it that was heard was played.
        made_ms: How much audio came.
        heard_ms: How much of it was played before it was cut.
        cut: Whether it was cut.
    """

    id: str
    reply: str
    start_ms: float
    end_ms: float
    made_ms: float
    heard_ms: float
    text: str = ""
    cut: bool = False
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Reply:
    """One response of the model.

    Attributes:
        id: Of the response.
        asked_ms: When the client asked for it; None: the server began it by itself.
        created_ms: response.created.
        first_ms: The first audio, or text in a reply that is not spoken.
        done_ms: response.done; None: it never came.
        status: completed, cancelled, incomplete or failed; "" without an end.
        reason: Why it did not complete.
        apart: Out of band: not a part of the conversation.
        lost: It has no end because its connection was lost.
        model: That made it.
        cost_usd: None: no price is known, or no usage was reported.
    """

    id: str
    created_ms: float
    asked_ms: float | None = None
    first_ms: float | None = None
    done_ms: float | None = None
    status: str = ""
    reason: str = ""
    text: str = ""
    apart: bool = False
    lost: bool = False
    model: str = ""
    speeches: list[Speech] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    usage: ReplyUsage | None = None
    cost_usd: float | None = None
    events: list[int] = field(default_factory=list)

    @property
    def cut(self) -> bool:
        """Whether some of it was not heard."""
        return any(speech.cut for speech in self.speeches)


@dataclass(slots=True)
class ToolCall:
    """A tool was called; `server` is the label of the MCP server that OpenAI called for it, "" for a function.

    `end_ms` is when its output was sent (MCP: when it was told); None: never.
    """

    id: str
    name: str
    start_ms: float
    end_ms: float | None = None
    arguments: str = ""
    output: str = ""
    error: str = ""
    server: str = ""
    reply: str = ""
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Connection:
    """One link to the server. `end_ms` None: it was open to the end."""

    link: int
    start_ms: float
    session: str = ""
    end_ms: float | None = None
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Outage:
    """There was no connection from `start_ms` to `end_ms` (None: never again).

    `told`: the file says when it was lost; without that, `start_ms` is when the server was last heard of.
    """

    start_ms: float
    end_ms: float | None = None
    code: str = ""
    text: str = ""
    planned: bool = False
    told: bool = True
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Problem:
    """An error, in the words of whoever reported it. `lane` is what it is about."""

    at_ms: float
    lane: Lane
    code: str
    text: str
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Phrase:
    """A piece of a translation's texts, of the source (`lane` "user") or of what it is translated into ("agent").

    `behind_ms`: how long after the source of it was sent its first word came; None: not told.
    """

    lane: Lane
    start_ms: float
    end_ms: float
    text: str
    behind_ms: float | None = None
    events: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Moment:
    """Something that happened at a point in time and is none of the above: a key pressed, a new configuration."""

    at_ms: float
    lane: Lane
    kind: str
    text: str
    events: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wait:
    """From the end of what the user said to the first sound, in ms; the four parts make up the whole.

    Attributes:
        total_ms: The whole.
        noticing_ms: Until it was told that the user had stopped.
        asking_ms: From there until the first reply was begun.
        tools_ms: From there until the reply was begun that is heard: 0 unless tools had to be called first.
        making_ms: From there until its first sound came.
    """

    total_ms: float
    noticing_ms: float
    asking_ms: float
    tools_ms: float
    making_ms: float


@dataclass(slots=True)
class Turn:
    """What the user said and the replies to it. Number 0 is what came before the user said anything."""

    number: int
    user: Utterance | None
    replies: list[Reply] = field(default_factory=list)
    wait: Wait | None = None

    @property
    def usage(self) -> ReplyUsage | None:
        """Tokens of all its replies."""
        used: ReplyUsage | None = None
        for reply in self.replies:
            used = total(used, reply.usage)
        return used


@dataclass(slots=True)
class Facts:
    """All that a recording tells."""

    header: Header
    model: str
    duration_ms: float
    entries: int
    sent_ms: float = 0.0
    """User audio that was sent."""
    turns: list[Turn] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    tools: list[ToolCall] = field(default_factory=list)
    phrases: list[Phrase] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    audio_cost_usd: float | None = None
    """What a translation cost, by the minute of the audio that was sent; None: another kind, or no price is known."""

    @property
    def waits(self) -> list[float]:
        """Every turn's wait for the first sound, in ms."""
        return [turn.wait.total_ms for turn in self.turns if turn.wait is not None]

    @property
    def texted(self) -> list[float]:
        """From the end of each piece of speech to its whole text, in ms; without those in which nothing was said."""
        return [
            said.text_ms - said.end_ms
            for said in self.utterances
            if said.text and said.text_ms is not None and said.end_ms is not None and not said.typed
        ]

    @property
    def speeches(self) -> list[Speech]:
        """All that the agent said, as it was played."""
        return [speech for reply in self.replies for speech in reply.speeches]

    @property
    def interruptions(self) -> int:
        """How often the agent was cut short. What was still queued behind a cut was not interrupted."""
        return sum(speech.cut and speech.heard_ms > 0 for speech in self.speeches)

    @property
    def usage(self) -> ReplyUsage | None:
        """Tokens of all replies."""
        used: ReplyUsage | None = None
        for reply in self.replies:
            used = total(used, reply.usage)
        return used

    @property
    def costs(self) -> list[float | None]:
        """Of everything that was billed, in USD; None for what has no known price."""
        billed: list[Reply | Utterance] = [*self.replies, *self.utterances]
        costs = [one.cost_usd for one in billed if one.usage is not None]
        return costs if self.header.kind != "translation" else [self.audio_cost_usd]

    @property
    def cost_usd(self) -> float | None:
        """The sum of what is known of them; None when nothing is."""
        known = [cost for cost in self.costs if cost is not None]
        return sum(known) if known else None


TOKENS = {
    "audio in": "input_audio",
    "text in": "input_text",
    "image in": "input_image",
    "cached": "cached",
    "audio out": "output_audio",
    "text out": "output_text",
}
"""What each kind of token is called -> its field. Those from the cache are among those read."""


def tokens(usage: ReplyUsage | None) -> dict[str, int]:
    """Counts by kind, without those that are 0."""
    counts = {name: getattr(usage, attribute, 0) for name, attribute in TOKENS.items()}
    return {name: count for name, count in counts.items() if count}


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of them lie, itself one of them. Raises IndexError when there are none."""
    return sorted(values)[max(0, min(len(values) - 1, math.ceil(share * len(values)) - 1))]


def as_json(facts: Facts) -> dict[str, Any]:
    """All of it as plain data; docs/timeline.md describes the keys."""
    shown: dict[str, Any] = {"timeline": VERSION}
    for one in fields(facts):
        value = getattr(facts, one.name)
        shown[one.name] = _plain(value)
    shown["turns"] = [
        {
            "number": turn.number,
            "user": None if turn.user is None else turn.user.id,
            "replies": [reply.id for reply in turn.replies],
            "wait": None if turn.wait is None else _plain(turn.wait),
            "tokens": tokens(turn.usage),
            "cost_usd": _sum(reply.cost_usd for reply in turn.replies),
        }
        for turn in facts.turns
    ]
    shown["summary"] = _summary(facts)
    return shown


def _summary(facts: Facts) -> dict[str, Any]:
    waits = facts.waits
    return {
        "turns": sum(turn.user is not None for turn in facts.turns),
        "wait_ms": None
        if not waits
        else {
            "median": round(statistics.median(waits), 1),
            "p95": round(percentile(waits, 0.95), 1),
            "longest": round(max(waits), 1),
        },
        "interruptions": facts.interruptions,
        "tool_calls": len(facts.tools),
        "outages": sum(not outage.planned for outage in facts.outages),
        "errors": len(facts.problems),
        "tokens": tokens(facts.usage),
        "cost_usd": facts.cost_usd,
        "costs_unknown": sum(cost is None for cost in facts.costs),
    }


def _sum(costs: Any) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, times to a tenth of a ms."""
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {
            key: round(inner, 1) if key.endswith("_ms") and isinstance(inner, float) else _plain(inner)
            for key, inner in value.items()
        }
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
