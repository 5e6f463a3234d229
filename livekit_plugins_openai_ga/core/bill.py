"""What a session has used and what that costs: sums by model, and when a limit is reached. No clock, nobody told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..models import PRICES_DATE, price_of
from ..prices import NO_PRICES, UNTOLD, Cost, Price, cost_by
from ..wire.values import value
from .usage import ReplyUsage, total

WARNING_AT = 0.8
"""The part of its limit at which a session warns."""

_NOTHING = 1e-9
"""USD by which a sum of many parts may be too small."""

Reached = Literal["warning", "limit"]


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What a session has used of one model. Fields that LiveKit's `LLMModelUsage` and `STTModelUsage` have, mean the
    same; a realtime session has one for the model that speaks and one for the model that writes down what was heard.

    Attributes:
        model: The model's id, as asked for; "" when it is not known (a call that somebody else made).
        bills: Replies, or transcripts, or stretches of audio, that are in the counts.
        input_tokens: Tokens read, those below included.
        input_cached_tokens: Those of them that came from the cache.
        input_text_tokens: Text read; `input_cached_text_tokens` of it came from the cache.
        input_cached_text_tokens: See there.
        input_audio_tokens: Audio heard; `input_cached_audio_tokens` of it came from the cache.
        input_cached_audio_tokens: See there.
        input_image_tokens: Pictures seen; `input_cached_image_tokens` of it came from the cache.
        input_cached_image_tokens: See there.
        output_tokens: Tokens made, those below included.
        output_text_tokens: Text written.
        output_audio_tokens: Speech made.
        audio_duration: Audio that is billed by its length, in s.
        cost: In USD, part by part; a part that has no price here is None.
        cost_usd: The parts that have a price, in USD.
        unpriced: Those of `bills` of which a part had no price, or nothing was told, and is not in `cost_usd`.
    """

    model: str
    bills: int
    input_tokens: int
    input_cached_tokens: int
    input_text_tokens: int
    input_cached_text_tokens: int
    input_audio_tokens: int
    input_cached_audio_tokens: int
    input_image_tokens: int
    input_cached_image_tokens: int
    output_tokens: int
    output_text_tokens: int
    output_audio_tokens: int
    audio_duration: float
    cost: Cost
    cost_usd: float
    unpriced: int


@dataclass(frozen=True, slots=True)
class SessionUsage:
    """What a session has used so far, over all of its connections. Read-only; made when asked for.

    Attributes:
        model_usage: One for each model, as `AgentSession.usage` of LiveKit has it.
        cost_usd: What that costs, in USD, as far as there are prices.
        cost_complete: Whether `cost_usd` is all of it: everything that was billed had a price.
        prices_date: ISO month of the oldest price in the table; `prices=` goes before it.
    """

    model_usage: tuple[ModelUsage, ...]
    cost_usd: float
    cost_complete: bool
    prices_date: str = PRICES_DATE


@value
class Billed:
    """One entry of a bill.

    Attributes:
        model: Whose.
        cost: What it costs.
        known_before: Whether a part without a price had been met with this model before; True when there is none.
        reached: What the bill has reached by it, and had not before.
    """

    model: str
    cost: Cost
    known_before: bool = True
    reached: Reached | None = None


@dataclass(slots=True)
class _Sum:
    usage: ReplyUsage
    cost: Cost  # unknown as soon as one is
    usd: float = 0.0
    bills: int = 0
    unpriced: int = 0


class Bill:
    """Sums by model. `prices` go before the table's. `max_cost` (USD): the limit; None: there is none."""

    __slots__ = ("_max_cost", "_prices", "_sums", "reached", "usd")

    def __init__(self, prices: Mapping[str, Price] = NO_PRICES, max_cost: float | None = None) -> None:
        self._prices = prices
        self._max_cost = max_cost
        self._sums: dict[str, _Sum] = {}
        self.usd = 0.0
        """What it costs so far, as far as there are prices, in USD."""
        self.reached: Reached | None = None
        """What of the limit is reached."""

    def add(self, model: str, usage: ReplyUsage | None) -> Billed:
        """A reply, a transcript or a stretch of audio was billed. Counts that were not sent are 0; None: the server did
        not say at all what was used.
        """
        cost = UNTOLD if usage is None else cost_by(price_of(model, self._prices) or Price(), usage)
        entry = self._sums.get(model)
        if entry is None:
            entry = self._sums[model] = _Sum(ReplyUsage(), Cost())
        first = bool(cost.unknown) and not entry.unpriced
        entry.usage = total(entry.usage, usage) or entry.usage
        entry.cost += cost
        entry.usd += cost.known
        entry.bills += 1
        entry.unpriced += bool(cost.unknown)
        self.usd += cost.known
        return Billed(model, cost, not first, self._now_reached())

    def _now_reached(self) -> Reached | None:
        if self._max_cost is None or self.reached == "limit":
            return None
        spent = self.usd + _NOTHING
        if spent >= self._max_cost:
            self.reached = "limit"
        elif self.reached is None and spent >= WARNING_AT * self._max_cost:
            self.reached = "warning"
        else:
            return None
        return self.reached

    @property
    def empty(self) -> bool:
        """Whether nothing was billed."""
        return not self._sums

    def usage(self, pending: Sequence[tuple[str, ReplyUsage]] = ()) -> SessionUsage:
        """What there is so far, and what is to be added, by model."""
        if pending:
            both = Bill(self._prices)
            both._sums, both.usd = {model: replace(entry) for model, entry in self._sums.items()}, self.usd
            for model, usage in pending:
                both.add(model, usage)
            return both.usage()
        used = tuple(_model_usage(model, entry) for model, entry in self._sums.items())
        return SessionUsage(used, self.usd, not any(model.unpriced for model in used))


def _model_usage(model: str, entry: _Sum) -> ModelUsage:
    usage = entry.usage
    return ModelUsage(
        model=model,
        bills=entry.bills,
        input_tokens=usage.input,
        input_cached_tokens=usage.cached,
        input_text_tokens=usage.input_text,
        input_cached_text_tokens=usage.cached_text,
        input_audio_tokens=usage.input_audio,
        input_cached_audio_tokens=usage.cached_audio,
        input_image_tokens=usage.input_image,
        input_cached_image_tokens=usage.cached_image,
        output_tokens=usage.output,
        output_text_tokens=usage.output_text,
        output_audio_tokens=usage.output_audio,
        audio_duration=usage.seconds,
        cost=entry.cost,
        cost_usd=entry.usd,
        unpriced=entry.unpriced,
    )
