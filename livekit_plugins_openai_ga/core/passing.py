"""Events that change nothing here: passed on to the application, or noticed as odd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..wire import server_events as ev
from . import effects as fx
from .effects import Effects

Handlers = Mapping[type[ev.ServerEvent], Callable[[object, Any, float], Effects]]
"""What each kind of event does: whoever it happens to, event and time (s) in, effects out."""


def _input_timeout(_: object, event: ev.InputTimeout, now: float) -> Effects:
    return [fx.InputTimeout(event.item_id, event.audio_start_ms, event.audio_end_ms)]


def _rate_limits(_: object, event: ev.RateLimitsUpdated, now: float) -> Effects:
    return [fx.RateLimits(event.rate_limits)]


def _nothing(_: object, event: ev.ServerEvent, now: float) -> Effects:
    return []


def _unknown(_: object, event: ev.Unknown, now: float) -> Effects:
    return [fx.Noticed("unknown event", event.name)]


def _malformed(_: object, event: ev.Malformed, now: float) -> Effects:
    return [fx.Noticed("malformed event", f"{event.name or 'frame'}: {event.problem}")]


PASSED_ON: Handlers = {
    ev.InputTimeout: _input_timeout,
    ev.RateLimitsUpdated: _rate_limits,
}
NOTICED: Handlers = {
    ev.SessionCreated: _nothing,  # the link waited for it
    ev.PlaybackStarted: _nothing,  # these three are for `call`
    ev.PlaybackStopped: _nothing,
    ev.PlaybackCleared: _nothing,
    ev.Ignored: _nothing,
    ev.Unknown: _unknown,
    ev.Malformed: _malformed,
}
