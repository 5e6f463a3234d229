"""What a figure is made of. Every module beside this one measures one thing and says so in its `FIGURE`.

    async def measure(subject: Subject) -> Turns: ...
    FIGURE = Figure(name=..., title=..., measure=measure, rows=(Row(...), ...))

`measure` runs in a child process that plays one plugin, against a server in another process. The runner imports these
modules, too, so a figure imports neither plugin by itself: `subject.model()` and `subject.stt()` do.

Some figures, those of CPU among them, keep their sessions and measure in short turns, `subject.turns` of them, each
behind an `await subject.turn()`: the other plugins have theirs in between, or at the same time. The others measure once
and give one round's numbers.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import time
from collections import ChainMap
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal, TypeVar

from benchmarks import plugins
from benchmarks.control import Server

Plugin = Literal["ours", "ours_fast", "official", "nobody"]
"""`nobody` has no plugin: what it takes is what the benchmark takes."""

Turns = list[dict[str, float]]
"""Named numbers, of one round after the other."""

T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """Who is measured, and what against.

    Attributes:
        plugin: `ours` (without what the extra `fast` brings), `ours_fast`, `official`, or `nobody`.
        url: The counting server's base URL, for example `ws://127.0.0.1:4711/v1`.
        seconds: How long to measure, after a warm-up.
        turns: How often; sessions are kept in between.
        turn: Waits until this process may work. Until then, and from the end of one turn to the next, it must not, but
            for a figure whose plugins have their turns together.
        quick: Only a trial that everything works: few sessions, no numbers worth anything.
        server: Tells the counting server how to behave, and asks it what it saw.
        closing: What it closes at the end; a figure may add its own.
    """

    plugin: Plugin
    url: str
    seconds: float
    turns: int
    turn: Callable[[], Awaitable[None]]
    quick: bool
    server: Server
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    def model(self, **options: Any) -> Any:
        """The plugin's `RealtimeModel` on the counting server. Options: what both constructors take."""
        return plugins.realtime_model(self.plugin, self.url, self.closing, options)

    async def sessions(self, count: int, *, first: int = 0, **options: Any) -> list[Any]:
        """So many sessions of one `model`, in the order of their connections, open and configured.

        `first`: so many others are open on this server.
        """
        model, sessions = self.model(**options), []
        for number in range(count):
            sessions.append(model.session())
            await self.server.opened(first + number + 1)
        return sessions

    def stt(self, **options: Any) -> Any:
        """The plugin's `STT` on the counting server, over a socket. Options: what both constructors take."""
        return plugins.stt(self.plugin, self.url, self.closing, options)

    def with_fewer_turns(self, times: int) -> Subject:
        """The same, with so many times fewer turns, for what needs not be as sure. The last rounds lack its numbers."""
        return replace(self, turns=max(1, self.turns // times))

    def count(self, sessions: int) -> int:
        """So many sessions, or a few in a quick trial."""
        return min(sessions, 3) if self.quick else sessions

    async def warm_up(self) -> None:
        """Wait until what only happens at the beginning is over: 0.5 s."""
        await asyncio.sleep(0.1 if self.quick else 0.5)

    async def settle(self) -> None:
        """Wait until what only happens at the beginning of a turn is over: 0.2 s."""
        await asyncio.sleep(0.1 if self.quick else 0.2)

    async def cpu(self, seconds: float | None = None) -> float:
        """CPU seconds that this process uses per second, over the next `seconds`; default the subject's."""
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(self.seconds if seconds is None else seconds)
        return (time.process_time() - used) / (time.monotonic() - began)


@dataclass(frozen=True)
class Row:
    """One line of the table. Less is better in all of them.

    Attributes:
        title: What it says.
        key: The number of `measure` that it shows.
        unit: Of that number.
        target: At most so much; None: shown only.
        compare: What the target is for: `ours`, the number itself, or `ratio`, ours divided by the official plugin's.
        plugin: Which of ours it shows.
        floor: The number of what the benchmark takes for itself, which is subtracted: the mean of all plugins of the
            round that tell it. It is the same work in all of them, so the mean is surer, and what is wrong with it
            meets all alike.
    """

    title: str
    key: str
    unit: str
    target: float | None = None
    compare: Literal["ours", "ratio"] = "ratio"
    plugin: Literal["ours", "ours_fast"] = "ours"
    floor: str | None = None


@dataclass(frozen=True)
class Figure:
    """One figure: what is measured, how often, and the rows that come of it.

    Attributes:
        name: The module's name; `--only` takes it.
        title: For people.
        measure: Gives named numbers, a dict for each turn.
        rows: What is shown of them.
        seconds: How long each measurement takes, without its warm-up.
        rounds: How often each plugin is measured, in turn.
        turns: How many of these rounds one call of `measure` has; `rounds` is a multiple of it.
        plugins: Who is measured, in the order of the first round.
        fresh: New processes for each call of `measure`; else one for each plugin, which waits while the others are
            measured. Importing LiveKit takes longer than most measurements.
        together: All plugins have their turn at the same time, on the same CPU (of two). How fast the machine is just
            then meets all alike, and so does that they are in each other's way.
    """

    name: str
    title: str
    measure: Callable[[Subject], Awaitable[Turns]]
    rows: tuple[Row, ...]
    seconds: float = 5.0
    rounds: int = 5
    turns: int = 1
    plugins: tuple[Plugin, ...] = ("ours", "official")
    fresh: bool = True
    together: bool = False


def rotated(order: Sequence[T], by: int) -> list[T]:
    """The same order, from another one on."""
    first = by % len(order)
    return [*order[first:], *order[:first]]


def side_by_side(*cases: Turns) -> Turns:
    """The numbers of several cases, turn by turn; one with fewer turns has none in the last rounds."""
    return [dict(ChainMap(*of_turn)) for of_turn in zip_longest(*cases, fillvalue={})]


def load(name: str) -> Figure:
    """The figure of that name. Raises ModuleNotFoundError."""
    figure: Figure = importlib.import_module(f"{__name__}.{name}").FIGURE
    return figure


def names() -> list[str]:
    """All figures there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
