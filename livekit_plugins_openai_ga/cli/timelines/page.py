"""Facts as one page for a browser: nothing is fetched, nothing of the recording is executed, all of it is readable
without JavaScript.

Everything that comes from a recording is escaped; besides, the page's policy allows one script and one style sheet, by
their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import re
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from html import escape
from importlib import resources

from ...devtools.display import clean
from ...recording.entries import Entry
from ...recording.scrub import Scrub
from ...redaction import redact
from ...version import __version__
from . import tables
from .drawing import Row, lanes, moment
from .facts import Facts, Lane, tokens
from .marks import Mark, marks, seconds
from .shown import as_text
from .story import Story
from .terminal import KINDS, PRICES
from .waves import Wave, wave

_NAMES: dict[str, dict[Lane, str]] = {
    "realtime": {"user": "User", "agent": "Agent", "tools": "Tools", "network": "Network"},
    "stt": {"user": "Speech", "agent": "Agent", "tools": "Tools", "network": "Network"},
    "translation": {"user": "Source", "agent": "Target", "tools": "Tools", "network": "Network"},
}
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WAYS = {"in": "from the server", "out": "to the server", "note": "the connection"}


def page(story: Story, *, name: str, entries: Sequence[Entry]) -> str:
    """The whole page. `name`: what the recording is called."""
    facts = story.facts
    style, script = (_asset(file) for file in ("page.css", "page.js"))
    allowed = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    shown = marks(facts)
    drawn, rows = lanes(facts, shown, _waves(story))
    names = _NAMES[facts.header.kind]
    body = "".join(
        [
            _head(facts, name),
            f'<ul class="tiles">{"".join(_tiles(facts))}</ul>',
            f'<section class="chart" aria-labelledby="lanes" data-ms="{facts.duration_ms:.1f}">',
            f'<div class="bar"><h2 id="lanes">Lanes</h2>{_legend(facts)}{_TOOLS}</div>',
            f'<div class="frame"><svg class="names" width="76" aria-hidden="true">{_labels(rows, shown, names)}</svg>',
            '<div class="scroller" tabindex="0" role="region" aria-label="Lanes, to be scrolled">',
            f'<div class="canvas">{drawn}</div></div></div>',
            f'<div id="detail" aria-live="polite"><p class="hint">{_HINT}</p></div></section>',
            tables.turns(facts),
            tables.segments(facts),
            _happened(shown, names, entries, _scrub(facts)),
            _foot(facts),
        ]
    )
    title = escape(_plain(f"{name}: {facts.model}"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{style}</style></head>\n<body>{body}<script>{script}</script></body></html>\n"
    )


_HINT = "Point at something, or move with the arrow keys, to see its events. Enter or a click keeps it."
_TOOLS = (
    '<div class="zoom" role="group" aria-label="Zoom">'
    '<button type="button" id="out" aria-label="Zoom out">\u2212</button>'
    '<output id="zoom">fits</output><button type="button" id="in" aria-label="Zoom in">+</button>'
    '<button type="button" id="fit">Fit</button></div>'
)


def _labels(rows: Sequence[Row], shown: Sequence[Mark], names: dict[Lane, str]) -> str:
    used = {mark.lane for mark in shown}
    return "".join(
        f'<text class="{row.lane}{"" if row.lane in used else " unused"}" y="{row.top + row.height // 2 + 4}">'
        f"{names[row.lane]}</text>"
        for row in rows
    )


def _asset(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _plain(text: str) -> str:
    """Without what HTML has no place for."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def _waves(story: Story) -> dict[Lane, Wave | None]:
    duration = story.facts.duration_ms
    played = ((piece.start_ms, piece.start_ms + piece.length_ms, piece.levels) for piece in story.played)
    return {"user": wave(story.sent.pieces, duration), "agent": wave(played, duration)}


def _head(facts: Facts, name: str) -> str:
    header = facts.header
    when = f"{datetime.fromtimestamp(header.at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC" if header.at else ""
    kept = "" if header.audio else "audio was not kept"
    redacted = "texts were left out" if header.redacted else ""
    parts = (header.host, when, seconds(facts.duration_ms), f"{facts.entries:,} events", kept, redacted)
    told = " \u00b7 ".join(escape(clean(part)) for part in parts if part)
    model = escape(clean(facts.model or "an unknown model"))
    return (
        f"<header><p class='file'>{escape(clean(name))}</p><h1>{KINDS[header.kind]} {model}</h1><p>{told}</p></header>"
    )


def _tiles(facts: Facts) -> Iterator[str]:
    for label, values in (
        ("First sound after", facts.waits),
        ("Text after", facts.texted if facts.header.kind == "stt" else []),
    ):
        if values:
            yield _tile(label, f"{statistics.median(values):,.0f} ms", f"median; longest {max(values):,.0f} ms")
    behind = [phrase.behind_ms for phrase in facts.phrases if phrase.lane == "agent" and phrase.behind_ms is not None]
    if behind:
        yield _tile("Behind the speaker", seconds(statistics.median(behind)), f"median; most {seconds(max(behind))}")
    if facts.header.kind == "realtime":
        spoken = sum(turn.user is not None for turn in facts.turns)
        yield _tile("Turns", str(spoken), f"{facts.interruptions} interrupted")
        left = sum(call.end_ms is None for call in facts.tools)
        answered = "all answered" if facts.tools else "none"
        yield _tile("Tool calls", str(len(facts.tools)), f"{left} never answered" if left else answered, bad=left > 0)
    lost = [outage for outage in facts.outages if not outage.planned]
    away = sum((facts.duration_ms if outage.end_ms is None else outage.end_ms) - outage.start_ms for outage in lost)
    yield _tile("Connections lost", str(len(lost)), f"{seconds(away)} without one" if lost else "none", bad=bool(lost))
    yield _tile(
        "Errors",
        str(len(facts.problems)),
        facts.problems[0].code if facts.problems else "none",
        bad=bool(facts.problems),
    )
    used = tokens(facts.usage)
    if used:
        total = facts.usage.total if facts.usage is not None else 0
        yield _tile("Tokens", f"{total:,}", ", ".join(f"{count:,} {kind}" for kind, count in used.items()))
    if facts.costs:
        unknown = sum(cost is None for cost in facts.costs)
        without = f"without {unknown} of unknown price; " if unknown else ""
        cost = "unknown" if facts.cost_usd is None else f"${facts.cost_usd:.4f}"
        yield _tile("Cost", cost, f"{without}{PRICES}")


def _tile(label: str, value: str, more: str, *, bad: bool = False) -> str:
    tone = ' class="bad"' if bad else ""
    said, told = escape(clean(value)), escape(clean(more))
    return f"<li{tone}><span>{escape(label)}</span><strong>{said}</strong><small>{told}</small></li>"


def _legend(facts: Facts) -> str:
    if not any(speech.cut for speech in facts.speeches):
        return ""
    return '<p class="legend"><span class="key cut"></span> cut when the user spoke</p>'


def _scrub(facts: Facts) -> Scrub:
    return Scrub(heard=facts.header.input_format, spoken=facts.header.output_format)


def _happened(shown: Sequence[Mark], names: dict[Lane, str], entries: Sequence[Entry], scrub: Scrub) -> str:
    rows = "".join(
        _row(number, mark, names, [(entries[at], as_text(entries[at], scrub)) for at in mark.events])
        for number, mark in enumerate(shown)
    )
    return f'<section aria-labelledby="log"><h2 id="log">What happened</h2><ol class="log">{rows}</ol></section>'


def _row(number: int, mark: Mark, names: dict[Lane, str], shown: Sequence[tuple[Entry, str]]) -> str:
    end = "" if mark.end_ms is None else f"\u2013{moment(mark.end_ms)}"
    remarks = "".join(f'<span class="remark">{escape(clean(remark))}</span>' for remark in mark.remarks)
    count = len(shown)
    events = "".join(_event(entry, text) for entry, text in shown)
    more = f"<details><summary>{count} event{'s' * (count != 1)}</summary>{events}</details>" if count else ""
    return (
        f'<li id="m{number}" class="{mark.lane} {mark.tone}"><span class="at">{moment(mark.start_ms)}{end}</span>'
        f'<span class="lane">{names[mark.lane]}</span><div><p dir="auto">{_text(mark)}</p>'
        f'<div class="more">{remarks}{more}</div></div></li>'
    )


def _text(mark: Mark) -> str:
    """What was said; of what was cut, the part that was probably not heard is marked."""
    text = clean(_plain(mark.text))
    if mark.heard is None or text.startswith("["):
        return escape(text)
    place = round(len(text) * mark.heard)
    if 0 < place < len(text):
        place = text.rfind(" ", 0, place + 1) + 1 or place
    return f"{escape(text[:place])}<s>{escape(text[place:])}</s>"


def _event(entry: Entry, text: str) -> str:
    way = _WAYS[entry.direction]
    head = f"{moment(entry.t_ms)} \u00b7 {escape(clean(redact(str(entry.event.get('type', '')))))} \u00b7 {way}"
    return f'<div class="event"><p>{head}</p><pre tabindex="0">{escape(_plain(text))}</pre></div>'


def _foot(facts: Facts) -> str:
    played = (
        "<p>When the agent's speech was played is worked out, not recorded: it begins when its first audio came, or "
        "when what came before it was over, and ends where the client said that it was cut. The text that is struck "
        "out is the share that was not heard.</p>"
        if facts.speeches
        else ""
    )
    return f"<footer>{played}<p>livekit-openai-ga {__version__}, timeline</p></footer>"
