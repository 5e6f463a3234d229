"""Facts as lines for a terminal: what it is, one bar for each lane, what happened, the turns, and what it comes to."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone

from ... import models
from ...devtools import timeline as drawn
from ...devtools.display import clean, wrap
from ..output import Output
from .facts import Facts, Lane, Turn, tokens
from .marks import Mark, marks, seconds

_LANES: Mapping[Lane, drawn.Lane] = {"user": "caller", "agent": "agent", "tools": "tool", "network": "session"}
_LABELS: Mapping[drawn.Lane, str] = {there: here for here, there in _LANES.items()}
_TRANSLATED: Mapping[drawn.Lane, str] = {**_LABELS, "caller": "source", "agent": "target"}
_COLOURS: Mapping[drawn.Lane, str] = {"caller": "cyan", "agent": "green", "tool": "yellow", "session": "blue"}

PRICES = f"OpenAI's prices of {models.PRICES_DATE}"

KINDS = {"realtime": "Conversation with", "stt": "Speech to text by", "translation": "Translation by"}
"""Kind of session -> how a title begins."""


def lines(facts: Facts, output: Output, width: int | None) -> list[str]:
    """All of it. `width`: columns of the terminal; None: there is none, and lines have 120."""
    columns = max(width or 120, drawn.MIN_WIDTH)
    pen = _Pen(output, _TRANSLATED if facts.header.kind == "translation" else _LABELS)
    entries = [_entry(mark) for mark in marks(facts)]
    shown = [output.paint(line, "bold") for line in wrap(title(facts), columns)]
    if entries:
        length = facts.duration_ms / 1000
        shown += ["", *drawn.bars(entries, columns, length=length, labels=pen.labels, paint=pen.paint)]
        shown += ["", *drawn.listing(entries, columns, labels=pen.labels, paint=pen.paint)]
    table = list(_turns(facts, output))
    shown += ["", *table] if table else []
    return [*shown, "", *(row for line in sums(facts) for row in _hanging(line, columns))]


def title(facts: Facts) -> str:
    """What was recorded, in one sentence."""
    header = facts.header
    where = f" at {header.host}" if header.host else ""
    when = f", {datetime.fromtimestamp(header.at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC" if header.at else ""
    model = facts.model or "an unknown model"
    count = f"{facts.entries:,} event{'' if facts.entries == 1 else 's'}"
    return clean(f"{KINDS[header.kind]} {model}{where}{when}: {seconds(facts.duration_ms)}, {count}.")


class _Pen:
    """Paints the parts of a drawing."""

    def __init__(self, output: Output, labels: Mapping[drawn.Lane, str]) -> None:
        self.labels = labels
        self._output = output

    def paint(self, text: str, part: drawn.Part, entry: drawn.Entry | None) -> str:
        """`text` in the colours of its part."""
        if part in ("time", "axis") or entry is None:
            return self._output.paint(text, "dim")
        if part == "lane":
            return self._output.paint(text, "red" if entry.bad else _COLOURS[entry.lane])
        return self._output.paint(text, "red") if entry.bad else text


def _entry(mark: Mark) -> drawn.Entry:
    until = None if mark.end_ms is None else mark.end_ms / 1000
    remarks = tuple(map(clean, mark.remarks))
    return drawn.Entry(
        mark.start_ms / 1000,
        _LANES[mark.lane],
        clean(mark.text),
        until,
        mark.tone == "cut",
        remarks,
        mark.tone == "bad",
    )


_HEAD = f"{'turn':>4} {'at':>9} {'first sound':>12}   {'noticing':>8} {'asking':>7} {'tools':>7} {'making':>7}"


def _turns(facts: Facts, output: Output) -> Iterator[str]:
    if not any(turn.wait for turn in facts.turns):
        return
    yield output.paint(f"{_HEAD} {'cost':>10}", "bold")
    for turn in facts.turns:
        yield _turn(turn)


def _turn(turn: Turn) -> str:
    begins = turn.user.start_ms if turn.user is not None else turn.replies[0].created_ms
    cost = sum(reply.cost_usd or 0.0 for reply in turn.replies)
    shown = f"${cost:.4f}" if any(reply.cost_usd is not None for reply in turn.replies) else ""
    row = f"{turn.number:>4} {begins / 1000:>7.1f} s"
    if turn.wait is None:
        return f"{row} {'':12}   {'':8} {'':7} {'':7} {'':7} {shown:>10}".rstrip()
    wait = turn.wait
    parts = (wait.noticing_ms, wait.asking_ms, wait.tools_ms, wait.making_ms)
    noticing, asking, tools, making = (f"{part:,.0f}" for part in parts)
    whole = f"{wait.total_ms:,.0f} ms"
    return f"{row} {whole:>12} = {noticing:>8} {asking:>7} {tools:>7} {making:>7} {shown:>10}".rstrip()


def sums(facts: Facts) -> Iterator[str]:
    """What it comes to, a sentence or two a line."""
    if facts.waits:
        yield f"From the end of speech to the first sound: {_spread(facts.waits)}."
    if facts.header.kind == "stt" and facts.texted:
        yield f"From the end of speech to its text: {_spread(facts.texted)}."
    behind = [phrase.behind_ms for phrase in facts.phrases if phrase.lane == "agent" and phrase.behind_ms is not None]
    if behind:
        yield f"Behind the speaker: {_spread(behind)}."
    lost = sum(not outage.planned for outage in facts.outages)
    counts = f"Connections lost: {lost}. Errors: {len(facts.problems)}."
    if facts.header.kind == "realtime":
        counts = f"Interruptions: {facts.interruptions}. Tool calls: {len(facts.tools)}. {counts}"
    yield counts
    used = tokens(facts.usage)
    if used:
        yield f"Tokens: {', '.join(f'{count:,} {kind}' for kind, count in used.items())}."
    if facts.costs:
        yield cost_line(facts)


def cost_line(facts: Facts) -> str:
    """What it cost, and what of it is not known."""
    unknown = sum(cost is None for cost in facts.costs)
    if facts.cost_usd is None:
        return "Cost: unknown, there is no price for this model."
    without = f", without {unknown} of unknown price" if unknown else ""
    return f"Cost: ${facts.cost_usd:.4f}{without} ({PRICES})."


def _spread(values: list[float]) -> str:
    times = "once" if len(values) == 1 else f"{len(values)} times"
    if len(values) == 1:
        return f"{values[0]:,.0f} ms, {times}"
    return f"median {statistics.median(values):,.0f} ms, longest {max(values):,.0f} ms, {times}"


def _hanging(line: str, columns: int) -> list[str]:
    first, *rest = wrap(line, columns)
    return [first, *(f"        {row}" for part in rest for row in wrap(part, columns - 8))]
