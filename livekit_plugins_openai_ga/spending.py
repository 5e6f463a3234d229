"""What a session spends: summed, logged, and told when it comes near the limit that `max_cost` sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from . import models, prices
from .core.bill import Bill, Billed, Reached, SessionUsage
from .core.usage import ReplyUsage
from .counters import Counters
from .errors import from_server_error
from .log import Log
from .prices import Price
from .session_fields import number

GRACE_S = 10.0
"""How long an application that listens to `cost_limit_reached` has to say goodbye and hang up, in s."""

LIMIT_REACHED = from_server_error("max_cost_reached", None, None)
"""Why a session ends that has cost what it may."""

CostEvents = Literal["cost_warning", "cost_limit_reached"]


@dataclass(frozen=True, slots=True)
class CostWarning:
    """The event `cost_warning`: the session has cost 80 % of `max_cost`. Comes once, or not at all when one reply
    leads from below it to the limit.

    Attributes:
        cost_usd: What it has cost so far, in USD.
        max_cost: The limit, in USD.
    """

    cost_usd: float
    max_cost: float


@dataclass(frozen=True, slots=True)
class CostLimitReached:
    """The event `cost_limit_reached`: the session has cost `max_cost`. Comes once.

    What is under way is heard out. Say goodbye now and hang up: after the grace time the session ends by itself, with
    the error `max_cost_reached`.

    Attributes:
        cost_usd: What it has cost so far, in USD; more than the limit, since a bill comes behind what it is for.
        max_cost: The limit, in USD.
        grace: Time until the session ends by itself, in s.
    """

    cost_usd: float
    max_cost: float
    grace: float = GRACE_S


Tell = Callable[[CostEvents, Any], object]
"""Gives the listeners of a session an event. Where `announce` is asked whether there are any, it says so."""


class Spending:
    """One session's bill. `tell(name, event)` gives its listeners an event."""

    __slots__ = ("_max_cost", "_tell", "bill")

    def __init__(self, known: Mapping[str, Price], max_cost: float | None, tell: Tell) -> None:
        self.bill = Bill(known, max_cost)
        self._max_cost = max_cost
        self._tell = tell

    def usage(self, pending: Sequence[tuple[str, ReplyUsage]] = ()) -> SessionUsage:
        """What was used so far, and what is to be added, by model."""
        return self.bill.usage(pending)

    def add(self, model: str, usage: ReplyUsage | None, counters: Counters, log: Log) -> Reached | None:
        """This much of `model` was billed ("": of one that is not known; None: nobody says how much). Returns what is
        reached by it.
        """
        billed = self.bill.add(model, usage)
        counters.billed(usage or ReplyUsage(), billed.cost, model)
        self._write(billed, log)
        if billed.reached is not None and self._max_cost is not None:
            spent = f"the session has cost ${self.bill.usd:.4f} of the ${_plain(self._max_cost)} that max_cost allows"
            log.warning("%s%s", spent, ": it ends" if billed.reached == "limit" else "", extra=self._fields())
        return billed.reached

    def announce(self, reached: Reached) -> bool:
        """Tell the application; returns what `tell` does, which may be whether anybody listens."""
        limit = self._max_cost or 0.0
        if reached == "warning":
            return bool(self._tell("cost_warning", CostWarning(self.bill.usd, limit)))
        return bool(self._tell("cost_limit_reached", CostLimitReached(self.bill.usd, limit)))

    def closed(self, log: Log) -> None:
        """The session is over: say what it has cost."""
        if self.bill.empty:
            return
        usage = self.usage()
        rest = "" if usage.cost_complete else ", and what has no price here"
        told = "the session cost $%.4f%s (prices of %s; the bill is OpenAI's)"
        log.info(told, usage.cost_usd, rest, usage.prices_date, extra=self._fields())

    def _fields(self) -> dict[str, Any]:
        usage = self.usage()
        return {"cost_usd": round(usage.cost_usd, 6), "cost_complete": usage.cost_complete}

    def _write(self, billed: Billed, log: Log) -> None:
        if log.isEnabledFor(logging.DEBUG):
            parts = {f"cost_{name}": usd for name, usd in billed.cost.parts.items() if usd}
            about = {"billed_model": billed.model, "cost_unknown": billed.cost.unknown, **parts}
            log.debug("billed: $%.6f", billed.cost.known, extra=about)
        if not billed.known_before:
            say = log.info if self._max_cost is None else log.warning
            model = billed.model or "a model without a name"
            if billed.cost == prices.UNTOLD:
                say("the server does not say what was used of %s: the cost of the session leaves it out", model)
                return
            told = "no price is known for %s of %s: the cost of the session leaves it out; pass prices={%r: Price(...)}"
            say(told, ", ".join(billed.cost.unknown), model, billed.model)


HEARD = ("text_in", "text_cached", "text_out", "audio_in", "audio_cached")
"""What any conversation is billed for. Speech and pictures cost extra."""

BY_LENGTH = ("per_minute",)
"""What a model is billed for that counts no tokens."""

_BY_TOKEN = ("audio_in", "text_in", "text_out")


def for_transcripts(model: str, known: Mapping[str, Price]) -> tuple[str, ...]:
    """What a model that writes down speech is billed for."""
    price, entry = models.price_of(model, known), models.find(model)
    by_token = entry.usage == "tokens" if entry is not None else price is not None and price.audio_in is not None
    return _BY_TOKEN if by_token else BY_LENGTH


def checked_limit(
    max_cost: Any, known: Mapping[str, Price], needed: Iterable[tuple[str, Iterable[str]]]
) -> float | None:
    """The `max_cost=` of a constructor, in USD. `needed`: the models that are billed, and the prices each needs.

    Raises ValueError, one sentence: it is no amount, or a price is not known, without which no limit can be held.
    """
    if max_cost is None:
        return None
    limit = float(number("max_cost", max_cost, 0))
    if limit <= 0:
        raise ValueError(f"max_cost={max_cost!r} allows nothing: use USD above 0, or None for no limit.")
    for model, names in needed:
        if lacking := prices.missing(models.price_of(model, known), names):
            raise ValueError(
                f"max_cost cannot be held: {', '.join(lacking)} of {model!r} has no price here; "
                f"pass prices={{{model!r}: Price({lacking[0]}=...)}}."
            )
    return limit


def _plain(amount: float) -> str:
    """`amount` as people write money: never with an exponent."""
    return f"{Decimal(f'{amount:g}'):f}"
