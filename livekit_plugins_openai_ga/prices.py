"""Prices, and what a usage costs by them: arithmetic only. `models` has the table, `core.bill` sums of a session."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, or per minute of audio. None: there is no such price, or it is not known."""

    text_in: float | None = None
    text_cached: float | None = None
    text_out: float | None = None
    audio_in: float | None = None
    audio_cached: float | None = None
    audio_out: float | None = None
    image_in: float | None = None
    image_cached: float | None = None
    per_minute: float | None = None


class Usage(Protocol):
    """Counts to price. Cached tokens are part of the input counts, not on top of them."""

    @property
    def total(self) -> int:
        """All tokens; 0 when only those read and made are known."""

    @property
    def input(self) -> int:
        """All tokens read; 0 when only those by kind are known."""

    @property
    def output(self) -> int:
        """All tokens made; 0 when only those by kind are known."""

    @property
    def input_text(self) -> int:
        """Text tokens read, cached ones included."""

    @property
    def input_audio(self) -> int:
        """Audio tokens heard, cached ones included."""

    @property
    def input_image(self) -> int:
        """Image tokens seen, cached ones included."""

    @property
    def cached_text(self) -> int:
        """Those of `input_text` that came from the cache."""

    @property
    def cached_audio(self) -> int:
        """Those of `input_audio` that came from the cache."""

    @property
    def cached_image(self) -> int:
        """Those of `input_image` that came from the cache."""

    @property
    def output_text(self) -> int:
        """Text tokens written."""

    @property
    def output_audio(self) -> int:
        """Audio tokens spoken."""

    @property
    def seconds(self) -> float:
        """Seconds of audio, for models billed by the minute; otherwise 0."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a usage costs, in USD, part by part. 0.0: nothing of the kind was used. None: it was, and has no price here.

    Attributes:
        text_in: Text read and not cached; `audio_in` and `image_in` likewise.
        text_cached: Text from the cache; `audio_cached` and `image_cached` likewise.
        text_out: Text written.
        audio_out: Speech made.
        minutes: Audio that is billed by its length.
        other: Tokens of which the server did not say the kind, or that there were any: no price can be theirs, so 0.0
            or None.
    """

    text_in: float | None = 0.0
    text_cached: float | None = 0.0
    text_out: float | None = 0.0
    audio_in: float | None = 0.0
    audio_cached: float | None = 0.0
    audio_out: float | None = 0.0
    image_in: float | None = 0.0
    image_cached: float | None = 0.0
    minutes: float | None = 0.0
    other: float | None = 0.0

    @property
    def parts(self) -> dict[str, float | None]:
        """Each part by its name, in USD."""
        return dict(zip(PARTS, _amounts(self), strict=True))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The parts that have no price here."""
        return tuple(name for name, usd in zip(PARTS, _amounts(self), strict=True) if usd is None)

    @property
    def known(self) -> float:
        """The sum of the parts that have a price, in USD."""
        return sum(filter(None, _amounts(self)), 0.0)

    @property
    def total(self) -> float | None:
        """All of it, in USD; None when a part has no price here."""
        return None if self.unknown else self.known

    def __add__(self, other: Cost) -> Cost:
        """Both together. A part that is unknown in one of them is unknown."""
        pairs = zip(_amounts(self), _amounts(other), strict=True)
        return Cost(*(None if a is None or b is None else a + b for a, b in pairs))


PARTS: tuple[str, ...] = tuple(field.name for field in fields(Cost))
"""The parts of a cost, in order."""
_amounts: Callable[[Cost], tuple[float | None, ...]] = attrgetter(*PARTS)

UNTOLD = Cost(other=None)
"""The cost of what was made and billed, when the server does not say what was used."""


def cost_by(price: Price, usage: Usage) -> Cost:
    """What this usage costs by this price. More cached than read cannot be, and is never credited."""

    def usd(quantity: float, rate: float | None) -> float | None:
        return 0.0 if quantity <= 0 else None if rate is None else quantity * rate

    def tokens(count: int, rate: float | None) -> float | None:
        return usd(count / 1e6, rate)

    texts, audio, images = (
        (total - min(cached, total), min(cached, total))
        for total, cached in (
            (usage.input_text, usage.cached_text),
            (usage.input_audio, usage.cached_audio),
            (usage.input_image, usage.cached_image),
        )
    )
    read, made = usage.input_text + usage.input_audio + usage.input_image, usage.output_text + usage.output_audio
    kindless = max(usage.total, max(read, usage.input) + max(made, usage.output)) - read - made
    return Cost(
        text_in=tokens(texts[0], price.text_in),
        text_cached=tokens(texts[1], price.text_cached),
        text_out=tokens(usage.output_text, price.text_out),
        audio_in=tokens(audio[0], price.audio_in),
        audio_cached=tokens(audio[1], price.audio_cached),
        audio_out=tokens(usage.output_audio, price.audio_out),
        image_in=tokens(images[0], price.image_in),
        image_cached=tokens(images[1], price.image_cached),
        minutes=usd(usage.seconds / 60, price.per_minute),
        other=tokens(kindless, None),
    )


NO_PRICES: Mapping[str, Price] = {}
"""Nobody writes into it. A plain dict, which options can be copied with."""


def checked(prices: Any) -> Mapping[str, Price]:
    """The `prices=` of a constructor: model id -> `Price`; None: none. Raises ValueError, one sentence."""
    if prices is None:
        return NO_PRICES
    if not isinstance(prices, Mapping):
        raise ValueError(f"prices={prices!r} is not supported: pass a dict such as {{'my-model': Price(text_in=4.0)}}.")
    for model, price in prices.items():
        if not isinstance(model, str) or not isinstance(price, Price):
            raise ValueError(f"prices: {model!r} has {price!r}: pass a Price for each model's name.")
        for field in fields(Price):
            usd = getattr(price, field.name)
            number = isinstance(usd, (int, float)) and not isinstance(usd, bool) and math.isfinite(usd) and usd >= 0
            if usd is not None and not number:
                raise ValueError(f"prices: {field.name}={usd!r} of {model!r} is no price: use USD, 0 or more, or None.")
    return dict(prices)


def missing(price: Price | None, needed: Iterable[str]) -> tuple[str, ...]:
    """Which of the `needed` fields a price does not have."""
    return tuple(name for name in needed if price is None or getattr(price, name) is None)
