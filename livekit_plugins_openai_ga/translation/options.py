"""What the user asked of a translation: one frozen `Options`, checked before any network, and what is sent for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import models
from .. import session_fields as fields
from ..connection import Connection
from ..core.bill import WARNING_AT
from ..framework import LanguageCode
from ..log import logger
from ..prices import Price, checked
from ..recording.recorder import Recorder, RecorderOption, chosen
from ..spending import BY_LENGTH, checked_limit
from ..transport.link import Link
from ..wire import translation
from ..wire.endpoint import Endpoint, Service
from ..wire.session import Payload, fresh

LANGUAGES = ("de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "vi", "zh")
"""Target languages that OpenAI documents. Its server takes more (about 70 were seen in an error message)."""

DEFAULT_SOURCE_MODEL = "gpt-realtime-whisper"
"""What writes down the source; OpenAI's guide names no other."""

DEFAULT_DRAIN_TIMEOUT = 30.0
DEFAULT_REPLAY_AUDIO = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """Everything the user asked for, in plain form. Make it with `create`, change it with `with_language`.

    Attributes:
        connection: Where the server is, and who we are there.
        model: The model id.
        target_language: ISO 639-1, for example `de`.
        source_model: What writes down the source; None: nobody does.
        noise_reduction: In wire form, or None.
        skip_silence: Leave out silence by which translated speech would come later and later.
        drain_timeout: Seconds without a sign of progress after which the rest of a translation is given up.
        max_replay_audio: Seconds of source audio that are kept for a reconnect, at most.
        prices: USD by model id, before the table's.
        max_cost: USD that a stream may cost; None: no limit.
        recorder: What records; None: nothing does.
    """

    connection: Connection
    model: str
    target_language: str
    source_model: str | None = None
    noise_reduction: Mapping[str, Any] | None = None
    skip_silence: bool = True
    drain_timeout: float = DEFAULT_DRAIN_TIMEOUT
    max_replay_audio: float = DEFAULT_REPLAY_AUDIO
    prices: Mapping[str, Price] = field(default_factory=dict, repr=False)
    max_cost: float | None = None
    recorder: Recorder | None = None

    @classmethod
    def create(
        cls,
        connection: Connection,
        *,
        model: str,
        target_language: str,
        transcribe_source: bool | str | None,
        noise_reduction: str | None,
        skip_silence: bool,
        drain_timeout: float,
        max_replay_audio: float,
        prices: Mapping[str, Price] | None = None,
        max_cost: float | None = None,
        recorder: RecorderOption = False,
    ) -> Options:
        """Check everything. Raises ValueError: one sentence that names the parameter."""
        made = cls(
            connection,
            _model(model, native=connection.is_native),
            language(target_language),
            _source_model(transcribe_source),
            _noise_reduction(noise_reduction),
            fields.flag("skip_silence", skip_silence),
            float(fields.number("drain_timeout", drain_timeout, 1)),
            float(fields.number("max_replay_audio", max_replay_audio, 0, 600)),
            checked(prices),
            recorder=chosen(recorder),
        )
        made.endpoint()
        return replace(made, max_cost=checked_limit(max_cost, made.prices, [(m, BY_LENGTH) for m in made.billed]))

    def with_language(self, target_language: str) -> Options:
        """These options for another language. Raises ValueError."""
        return replace(self, target_language=language(target_language))

    def payload(self) -> Payload:
        """The `session` that the server is told, complete."""
        return translation.session_payload(
            target_language=self.target_language,
            source_model=self.source_model,
            noise_reduction=self.noise_reduction,
        )

    def requested(self) -> Payload:
        """The session as it is asked for over HTTP, with a client secret: there, no URL names the model."""
        return {"type": "translation", "model": self.model, **fresh(self.payload())}

    def restored(self, wanted: Payload) -> Options:
        """These options with the language that a payload asks for: the server refused another one."""
        return replace(self, target_language=wanted["audio"]["output"]["language"])

    @property
    def billed(self) -> tuple[str, ...]:
        """The models that are billed for the source audio."""
        return (self.model,) if self.source_model is None else (self.model, self.source_model)

    @property
    def price(self) -> float | None:
        """USD per minute of source audio; None when it is not known."""
        found = [models.price_of(name, self.prices) for name in self.billed]
        known = [price.per_minute for price in found if price is not None and price.per_minute is not None]
        return sum(known) if len(known) == len(found) else None

    @property
    def marks_ms(self) -> tuple[float, ...]:
        """After how much source audio, in ms, the bill comes near the limit, and reaches it; empty without one."""
        if self.max_cost is None or not self.price:
            return ()
        return tuple(part * self.max_cost / self.price * 60_000 for part in (WARNING_AT, 1.0))

    def endpoint(self) -> Endpoint:
        """Where its sockets go. Without credentials that are asked for each time."""
        return self.connection.endpoint(Service.TRANSLATION, model=self.model)

    def served_by(self, other: Options) -> bool:
        """Whether a socket that was opened for `other` options serves these, too."""
        return (self.connection, self.model) == (other.connection, other.model)

    async def open(self, timeout: float) -> Link:
        """Open a socket within `timeout` seconds. Raises `LinkFailed`."""
        return await self.connection.open(Service.TRANSLATION, model=self.model, timeout=timeout)


def language(value: Any) -> str:
    """A target language as the server takes it. Raises ValueError for what is no language code."""
    code = LanguageCode(value).language if isinstance(value, str) else ""
    if not re.fullmatch("[a-z]{2,3}", code):
        raise ValueError(
            f"target_language={value!r} is not a language code: use one of {', '.join(map(repr, LANGUAGES))}."
        )
    if code not in LANGUAGES:
        logger.warning("target_language=%r is not among those that OpenAI documents; its server decides", code)
    return code


def _model(value: Any, *, native: bool) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"model is missing: pass model='{models.DEFAULT_TRANSLATION}'.")
    known = models.find(value)
    if native and known is not None and known.use is not models.Use.TRANSLATION:
        raise ValueError(f"model={value!r} is not for translation: use '{models.DEFAULT_TRANSLATION}'.")
    return value


def _source_model(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if value is True:
        return DEFAULT_SOURCE_MODEL
    if not isinstance(value, str) or not value:
        raise ValueError(f"transcribe_source={value!r} is not supported: pass True, False, or a model's name.")
    known = models.find(value)
    if known is not None and known.use is not models.Use.TRANSCRIPTION:
        raise ValueError(f"transcribe_source={value!r} does not transcribe: use '{DEFAULT_SOURCE_MODEL}'.")
    return value


def _noise_reduction(value: Any) -> dict[str, Any] | None:
    return None if value is None else {"type": fields.one_of("noise_reduction", value, ("near_field", "far_field"))}
