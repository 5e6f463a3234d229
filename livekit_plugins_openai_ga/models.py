"""One table of OpenAI's realtime models: what each is for, how long it lives, what it takes, what it costs.

The options, the emulator and the demo's bill read this table. An id that is not in it is not an error: gateways use
aliases, and new models appear. Facts are from OpenAI's model, price and deprecation pages and the `openai` SDK's types.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .prices import NO_PRICES, Cost, Price, Usage, cost_by

DEFAULT_REALTIME = "gpt-realtime-2.1"
DEFAULT_INPUT_TRANSCRIPTION = "gpt-transcribe"
DEFAULT_TRANSCRIPTION = "gpt-transcribe"
DEFAULT_TRANSLATION = "gpt-realtime-translate"

PRICES_DATE = "2026-07"
"""ISO month of the oldest price page copy in the table; the newest are from 2026-10."""


class Use(enum.Enum):
    """The kind of session a model works in."""

    REALTIME = "realtime"
    TRANSCRIPTION = "transcription"
    TRANSLATION = "translation"
    LIVE = "live"
    """OpenAI's separate Live API; the Realtime API refuses these models."""


class Stage(enum.Enum):
    """Where a model is in its life."""

    CURRENT = "current"
    DEPRECATED = "deprecated"
    SHUT_DOWN = "shut down"


@dataclass(frozen=True, slots=True)
class Model:
    """What is known about one model id.

    Attributes:
        id: The exact id.
        use: The kind of session it works in.
        stage: Current, deprecated or shut down.
        shutdown: ISO date of the shutdown, announced or past; "" when there is none.
        replacement: The id to use instead; "" when there is no need.
        reasoning: Takes `reasoning` and `parallel_tool_calls`.
        context_tokens: Size of the context, in tokens; None when unknown.
        max_output_tokens: Longest reply, in tokens; None when unknown.
        takes: Transcription models: which of language, languages, keywords, prompt, delay, turn_detection and
            logprobs are documented or were seen to work.
        deltas_before_commit: Transcription models: text arrives while the user still speaks.
        usage: Transcription models: reports "tokens" or "duration"; "" for the other models.
        price: What it costs; None when unknown.
    """

    id: str
    use: Use
    stage: Stage = Stage.CURRENT
    shutdown: str = ""
    replacement: str = ""
    reasoning: bool = False
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    takes: frozenset[str] = frozenset()
    deltas_before_commit: bool = False
    usage: str = ""
    price: Price | None = None


_LARGE = Price(4.0, 0.40, 24.0, 32.0, 0.40, 64.0, 5.0, 0.50)
_LARGE_NOT_REASONING = Price(4.0, 0.40, 16.0, 32.0, 0.40, 64.0, 5.0, 0.50)
_MINI = Price(0.60, 0.06, 2.40, 10.0, 0.30, 20.0, 0.80, 0.08)

_LEGACY_AUDIO_SHUTDOWN = "2027-01-20"
_LEGACY_TRANSCRIPTION_SHUTDOWN = "2027-02-26"
_BETA_SHUTDOWN = "2026-05-07"

_TOKENS_MODEL_TAKES = frozenset({"turn_detection", "language", "prompt", "logprobs"})


def _reasoning(model_id: str, price: Price) -> Model:
    return Model(
        model_id,
        Use.REALTIME,
        reasoning=True,
        context_tokens=128_000,
        max_output_tokens=32_000,
        price=price,
    )


def _ending_realtime(
    model_id: str,
    shutdown: str,
    replacement: str,
    *,
    stage: Stage = Stage.DEPRECATED,
    context: int | None = 32_000,
    price: Price | None = None,
) -> Model:
    output = None if context is None else 4_096
    return Model(
        model_id,
        Use.REALTIME,
        stage,
        shutdown,
        replacement,
        context_tokens=context,
        max_output_tokens=output,
        price=price,
    )


def _beta(model_id: str, replacement: str, *, shutdown: str = _BETA_SHUTDOWN, context: int = 32_000) -> Model:
    return _ending_realtime(model_id, shutdown, replacement, stage=Stage.SHUT_DOWN, context=context)


def _ending_transcription(
    model_id: str, takes: frozenset[str], usage: str, context: int | None = 16_000, price: Price | None = None
) -> Model:
    return Model(
        model_id,
        Use.TRANSCRIPTION,
        Stage.DEPRECATED,
        _LEGACY_TRANSCRIPTION_SHUTDOWN,
        "gpt-transcribe",
        context_tokens=context,
        max_output_tokens=None if context is None else 2_000,
        takes=takes,
        usage=usage,
        price=price,
    )


_TABLE = (
    _reasoning("gpt-realtime-2.1", _LARGE),
    _reasoning("gpt-realtime-2.1-mini", _MINI),
    _reasoning("gpt-realtime-2", _LARGE),
    Model(
        "gpt-realtime-1.5",
        Use.REALTIME,
        context_tokens=32_000,
        max_output_tokens=4_096,
        price=_LARGE_NOT_REASONING,
    ),
    _ending_realtime("gpt-realtime", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1", price=_LARGE_NOT_REASONING),
    _ending_realtime("gpt-realtime-2025-08-28", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1", price=_LARGE_NOT_REASONING),
    _ending_realtime("gpt-realtime-mini", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1-mini", price=_MINI),
    _ending_realtime("gpt-realtime-mini-2025-12-15", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1-mini", price=_MINI),
    _ending_realtime("gpt-realtime-mini-2025-10-06", "2026-07-23", "gpt-realtime-2.1-mini", stage=Stage.SHUT_DOWN),
    _beta("gpt-4o-realtime-preview", "gpt-realtime-2.1"),
    _beta("gpt-4o-realtime-preview-2024-10-01", "gpt-realtime-2.1", shutdown="2025-10-10"),
    _beta("gpt-4o-realtime-preview-2024-12-17", "gpt-realtime-2.1"),
    _beta("gpt-4o-realtime-preview-2025-06-03", "gpt-realtime-2.1"),
    _beta("gpt-4o-mini-realtime-preview", "gpt-realtime-2.1-mini", context=16_000),
    _beta("gpt-4o-mini-realtime-preview-2024-12-17", "gpt-realtime-2.1-mini", context=16_000),
    # Chat models that the SDK's realtime literal lists as well; nothing says that `/realtime` takes them.
    Model("gpt-audio-1.5", Use.REALTIME),
    _ending_realtime("gpt-audio-mini", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1-mini", context=None),
    _ending_realtime("gpt-audio-mini-2025-12-15", _LEGACY_AUDIO_SHUTDOWN, "gpt-realtime-2.1-mini", context=None),
    Model("gpt-audio-mini-2025-10-06", Use.REALTIME),
    Model(
        "gpt-live-transcribe",
        Use.TRANSCRIPTION,
        takes=frozenset({"languages", "keywords", "prompt", "delay"}),
        deltas_before_commit=True,
        usage="duration",
        price=Price(per_minute=0.017),
    ),
    Model(
        "gpt-realtime-whisper",
        Use.TRANSCRIPTION,
        context_tokens=16_000,
        max_output_tokens=2_000,
        takes=frozenset({"language", "delay", "logprobs"}),
        deltas_before_commit=True,
        usage="duration",
        price=Price(per_minute=0.017),
    ),
    Model(
        "gpt-transcribe",
        Use.TRANSCRIPTION,
        takes=frozenset({"turn_detection", "languages", "keywords", "prompt"}),
        usage="duration",
        price=Price(per_minute=0.0045),
    ),
    # OpenAI's pages do not agree on what these cost: its page of models says less for audio than its page of prices.
    _ending_transcription("gpt-4o-transcribe", _TOKENS_MODEL_TAKES, "tokens"),
    _ending_transcription("gpt-4o-mini-transcribe", _TOKENS_MODEL_TAKES, "tokens"),
    _ending_transcription("gpt-4o-mini-transcribe-2025-12-15", _TOKENS_MODEL_TAKES, "tokens"),
    _ending_transcription("gpt-4o-transcribe-diarize", frozenset({"turn_detection", "language"}), "tokens"),
    _ending_transcription(
        "whisper-1",
        frozenset({"turn_detection", "language", "prompt"}),
        "duration",
        context=None,
        price=Price(per_minute=0.006),
    ),
    Model(
        "gpt-realtime-translate",
        Use.TRANSLATION,
        context_tokens=16_000,
        max_output_tokens=2_000,
        price=Price(per_minute=0.034),
    ),
    Model("gpt-live-1", Use.LIVE, price=Price(per_minute=0.05)),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.id: model for model in _TABLE})
"""Every known model by its exact id."""


def find(model_id: str) -> Model | None:
    """Return the table's entry for exactly this id; None for an alias or an id newer than the table."""
    return MODELS.get(model_id)


def lifecycle_warning(model_id: str) -> str | None:
    """Return one sentence with the shutdown date and the replacement; None for current and unknown models."""
    model = find(model_id)
    if model is None or model.stage is Stage.CURRENT:
        return None
    # The date is stated, not compared with today: this table may be older or younger than the reader's clock.
    fate = "was shut down on" if model.stage is Stage.SHUT_DOWN else "is deprecated, with shutdown date"
    return f"Model {model.id} {fate} {model.shutdown}: use {model.replacement} instead."


def price_of(model_id: str, prices: Mapping[str, Price] = NO_PRICES) -> Price | None:
    """The price of this model: the one in `prices` before the table's; None when neither knows it."""
    model = find(model_id)
    return prices.get(model_id, None if model is None else model.price)


def cost(usage: Usage, model: str | Price | None) -> Cost:
    """What this usage costs, in USD, part by part; a part that was used and has no price here is None.

    `model`: its id, for the table's price; or a price. None, or an id without a price: nothing is known.
    """
    price = price_of(model) if isinstance(model, str) else model
    return cost_by(price or Price(), usage)
