"""The lanes as SVG. Places are shares of the width, so that a page makes it longer by making it wider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from .facts import LANES, Facts, Lane
from .marks import Mark
from .waves import HEIGHT, Wave

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
_TICKS = 9
_AXIS = 26
_GAP = 10
_ROW = 30
_TALL = 76
_SPOKEN: tuple[Lane, ...] = ("user", "agent")
_LANES: Mapping[str, tuple[Lane, ...]] = {
    "realtime": LANES,
    "stt": ("user", "network"),
    "translation": ("user", "agent", "network"),
}
_MOMENTS: Mapping[str, str] = {
    "error": "M0 -8L8 7H-8Z",
    "typed": "M-7 -6H7V4H0L-4 8V4H-7Z",
    "key": "M-6 -6H6V6H-6Z",
}
_DIAMOND = "M0 -6L6 0L0 6L-6 0Z"


@dataclass(frozen=True, slots=True)
class Row:
    """Where a lane is drawn: from `top`, `height` high, in as many rows as marks overlap."""

    lane: Lane
    top: int
    height: int


def lanes(facts: Facts, marks: Sequence[Mark], waves: Mapping[Lane, Wave | None]) -> tuple[str, list[Row]]:
    """The drawing, and where its lanes are, for their names. A mark is a link to `#m<its number>`."""
    duration = max(facts.duration_ms, 1.0)
    stacks = {lane: _stacked(marks, lane) for lane in _LANES[facts.header.kind]}
    rows: list[Row] = []
    top = _AXIS
    for lane in stacks:
        count = max([1, *(row + 1 for row in stacks[lane].values())])
        height = _TALL if lane in _SPOKEN else count * _ROW
        rows.append(Row(lane, top, height))
        top += height + _GAP
    parts = [*_axis(duration, top)]
    for row in rows:
        parts.append(f'<rect class="ground" x="0" y="{row.top}" width="100%" height="{row.height}" rx="3"/>')
        wave = waves.get(row.lane)
        if wave is not None:
            parts.append(_wave(row, wave))
        parts += _lane(marks, row, stacks[row.lane], duration, has_sound=wave is not None)
    return (
        f'<svg class="lanes" role="group" aria-label="Lanes" width="100%" height="{top}">{"".join(parts)}</svg>',
        rows,
    )


def _stacked(marks: Sequence[Mark], lane: Lane) -> dict[int, int]:
    """Mark -> row: those of one lane that overlap are below each other. Speech is not: it has one row."""
    rows: dict[int, int] = {}
    ends: list[float] = []
    for number, mark in enumerate(marks):
        if mark.lane != lane:
            continue
        if lane in _SPOKEN or mark.end_ms is None or lane == "network":
            rows[number] = 0
            continue
        row = next((row for row, end in enumerate(ends) if end <= mark.start_ms), len(ends))
        ends[row:] = [mark.end_ms, *ends[row + 1 :]]
        rows[number] = row
    return rows


def _axis(duration: float, height: int) -> Iterator[str]:
    yield '<g class="axis">'
    step = next((step for step in _STEPS if duration / 1000 / step <= _TICKS), duration / 1000 / _TICKS)
    for number in range(int(duration / 1000 / step) + 1):
        at = number * step
        x = f"{at * 100_000 / duration:.3f}%"
        yield f'<line x1="{x}" x2="{x}" y1="18" y2="{height}"/><text x="{x}" y="12" dx="3">{clock(at)}</text>'
    yield "</g>"


def clock(at: float) -> str:
    """A time in s as a label: `0:05`, `1:02:03`; below 10 s steps, `0:00.5`."""
    whole, rest = divmod(round(at * 10), 10)
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
    return f"{text}.{rest}" if rest else text


def moment(at_ms: float) -> str:
    """A time in ms as a label, to a tenth of a second: `0:05.0`."""
    text = clock(at_ms / 1000)
    return text if "." in text else f"{text}.0"


def _wave(row: Row, wave: Wave) -> str:
    return (
        f'<svg class="wave {row.lane}" x="0" y="{row.top + 16}" width="100%" height="{row.height - 18}" '
        f'viewBox="0 0 {wave.units:.2f} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{wave.path}"/></svg>'
    )


def _lane(
    marks: Sequence[Mark], row: Row, stack: Mapping[int, int], duration: float, *, has_sound: bool
) -> Iterator[str]:
    # What has no length lies above what has, and what is bad above all.
    order = sorted(stack, key=lambda number: (marks[number].tone == "bad", marks[number].end_ms is None))
    for number in order:
        mark = marks[number]
        top = row.top if row.lane in _SPOKEN else row.top + stack[number] * _ROW
        height = row.height if row.lane in _SPOKEN else _ROW
        shape = _moment(mark, duration, top, height) if mark.end_ms is None else _bar(mark, duration, top, height)
        sound = " sound" if has_sound and mark.kind in ("speech", "phrase") else ""
        label = escape(f"{mark.lane}, {label_of(mark)}")
        yield (
            f'<a class="mark {mark.lane} {mark.kind} {mark.tone}{sound}" href="#m{number}" data-m="{number}" '
            f'aria-label="{label}">{shape}</a>'
        )


def label_of(mark: Mark) -> str:
    """A mark in one line."""
    span = moment(mark.start_ms)
    if mark.end_ms is not None:
        span += f" to {moment(mark.end_ms)}"
    text = mark.text if len(mark.text) <= 160 else f"{mark.text[:160]}..."
    return f"{span}: {text}{''.join(f' [{remark}]' for remark in mark.remarks)}"


def _bar(mark: Mark, duration: float, top: int, height: int) -> str:
    end = mark.start_ms if mark.end_ms is None else mark.end_ms
    x, width = mark.start_ms * 100 / duration, (end - mark.start_ms) * 100 / duration
    text = escape(mark.text[:240])
    thin = mark.kind in ("connection", "outage")
    inset = 11 if thin else 1
    cut = f'<line class="end" x1="100%" x2="100%" y1="0" y2="{height}"/>' if mark.tone == "cut" else ""
    words = "" if thin else f'<text x="5" y="{13 if height > _ROW else 19}">{text}</text>'
    return (
        f'<svg x="{x:.4f}%" y="{top}" width="{max(width, 0.0):.4f}%" height="{height}">'
        f'<rect y="{inset}" width="100%" height="{height - 2 * inset}" rx="3"/>{words}{cut}</svg>'
    )


def _moment(mark: Mark, duration: float, top: int, height: int) -> str:
    """A sign of a fixed size: an SVG of its own, because a path knows no shares of a width."""
    sign = _MOMENTS.get(mark.kind, _DIAMOND)
    y = top + (height // 2 if height <= _ROW else height - 12)
    return f'<svg x="{mark.start_ms * 100 / duration:.4f}%" y="{y}" overflow="visible"><path d="{sign}"/></svg>'
