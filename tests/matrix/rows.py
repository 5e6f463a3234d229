"""The rows of the matrix: what is installed together, and the table that docs and README quote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

HEAD = ("livekit-agents", "livekit", "Python", "websockets", "RealtimeModel", "STT")


@dataclass(frozen=True, slots=True)
class Row:
    """One environment. `livekit` is the SDK that the release asks for; of a range, its lowest."""

    agents: str
    livekit: str
    python: str
    websockets: str
    more: tuple[str, ...] = ()
    """What else a worker of that time has."""

    @property
    def name(self) -> str:
        """What `ROWS=` calls it."""
        return f"{self.agents}-py{self.python}"

    @property
    def requirements(self) -> list[str]:
        """What pip is told, besides the wheel."""
        pins = {"livekit-agents": self.agents, "livekit": self.livekit, "websockets": self.websockets}
        return [*(f"{name}=={number}" for name, number in pins.items()), *self.more]

    def cells(self, outcome: Mapping[str, str]) -> tuple[str, ...]:
        """Its line of the table; `outcome` by the column's name."""
        return (self.agents, self.livekit, self.python, self.websockets, *(outcome[name] for name in HEAD[4:]))


# livekit-agents 1.3 and 1.5 import httpx, which openai brought until release 3.
ROWS = (
    Row("1.2.8", "1.0.12", "3.10", "15.0.1", ("livekit-api==1.0.5", "livekit-protocol==1.0.6")),
    Row("1.2.8", "1.2.0", "3.13", "17.4"),
    Row("1.3.12", "1.0.23", "3.11", "15.0.1", ("openai<3", "livekit-plugins-silero==1.3.12")),
    Row("1.5.17", "1.1.8", "3.12", "16.0", ("openai<3",)),
    Row("1.6.10", "1.1.14", "3.13", "16.1.1"),
    Row("1.7.1", "1.1.15", "3.12", "17.4"),
    Row("1.8.9", "1.1.21", "3.10", "15.0.1"),
    Row("1.8.9", "1.1.21", "3.14", "17.4"),
    Row("1.8.9", "1.1.21", "3.13", "17.4"),
)
OLDEST, NEWEST = ROWS[0], ROWS[-1]


def chosen(names: str) -> list[Row]:
    """The rows that `names` (separated by blanks or commas) means; "" for all. Raises ValueError for an unknown one."""
    known = {row.name: row for row in ROWS} | {"oldest": OLDEST, "newest": NEWEST}
    wanted = names.replace(",", " ").split()
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"ROWS: {', '.join(unknown)} unknown; there are {', '.join(known)}.")
    return [known[name] for name in wanted] or list(ROWS)


def line(cells: tuple[str, ...]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def table(outcomes: Mapping[Row, Mapping[str, str]]) -> str:
    """The table of these rows."""
    rule = "|" + "---|" * len(HEAD)
    return "\n".join([line(HEAD), rule, *(line(row.cells(outcome)) for row, outcome in outcomes.items())])


def written(page: str) -> list[str]:
    """The lines of the table in a page's text; empty when it has none."""
    lines = page.splitlines()
    if line(HEAD) not in lines:
        return []
    rest = lines[lines.index(line(HEAD)) :]
    return rest[: next((at for at, text in enumerate(rest) if not text.startswith("|")), len(rest))]
