"""What is counted in a session: one table of metrics, and the three who read it.

Prometheus: LiveKit Agents opens the endpoint (`AgentServer(prometheus_port=...)`) and brings `prometheus_client`, which
it imports itself. Every metric has labels, so none has a value, or a file, in a process that has no session: in
LiveKit's multiprocess mode the worker clears the folder of these files after this module was imported.

OpenTelemetry: its API alone, as LiveKit's own metrics use it. Without a meter provider (the application's own, or
LiveKit's) nothing comes of it.

The session itself: `Counters.count`, for `RealtimeSession.info`.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import prometheus_client
from opentelemetry import metrics as opentelemetry

from .core.effects import ReplyEnded
from .core.usage import ReplyUsage
from .errors import Failure
from .failures import CLOSE_CODES, EXCEPTIONS, FAILURES
from .framework import job_attributes
from .log import logger
from .prices import Cost
from .transport.outbox import AudioCount
from .wire.values import value

PREFIX = "livekit_openai_ga_"
OPENTELEMETRY_PREFIX = "lk.openai_ga."

Kind = Literal["realtime", "stt", "translation"]
Outcome = Literal["reconnect", "fatal", "request_failed", "reply_failed", "transcription_failed"]
"""What happened. The code does not tell: an empty account ends a session, or leaves a turn without its text."""
STATUSES = frozenset({"completed", "cancelled", "failed", "incomplete", "lost"})
"""How replies end. A server may say something else, which is `other`."""
CONNECTION_LOST: frozenset[Outcome] = frozenset({"reconnect", "fatal"})
"""Outcomes of a connection; the others are those of something asked for on one."""


@value
class Row:
    """One metric: its plain name, what it means, its labels besides `kind` and `model`, its unit (s, USD or none).

    `shape` is `total` (only grows), `level` (goes up and down), or the buckets of a histogram.
    """

    name: str
    shape: Literal["total", "level"] | tuple[float, ...]
    meaning: str
    labels: tuple[str, ...] = ()
    unit: Literal["", "s", "USD"] = ""

    @property
    def series(self) -> str:
        """The name that Prometheus shows; a histogram's has `_bucket`, `_sum` and `_count` behind it."""
        return PREFIX + self.name + _UNITS[self.unit] + ("_total" if self.shape == "total" else "")

    @property
    def instrument(self) -> str:
        """The name in OpenTelemetry."""
        return OPENTELEMETRY_PREFIX + self.name


_UNITS: Mapping[str, str] = {"": "", "s": "_seconds", "USD": "_usd"}
_BRIEF = (0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0, 5.0)
_LONG = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


TABLE: tuple[Row, ...] = (
    Row("sessions", "level", "Open now: conversations, and streams of speech to text or of translation"),
    Row("connections", "total", "Connections opened"),
    Row("failures", "total", "What failed, and what happened next", ("outcome", "code")),
    Row("reconnect", _LONG, "From a lost connection to the next one that works", unit="s"),
    Row("lost_audio", "total", "User audio that no reconnect could bring back", unit="s"),
    Row(
        "dropped",
        "total",
        "What was kept for a connection and let go, because there was too much",
        ("what",),
    ),
    Row("replayed_audio", "total", "User audio that was sent again after a reconnect", unit="s"),
    Row("odd_events", "total", "What the server sent and nothing could be made of, and harmless errors", ("what",)),
    Row("replies", "total", "Replies that ended", ("status",)),
    Row("replies_again", "total", "Replies that were asked for again, because nothing of them had been heard"),
    Row("first_output", _BRIEF, "From the beginning of a reply to its first speech or text", unit="s"),
    Row("tokens", "total", "Tokens billed", ("type",)),
    Row("cached_tokens", "total", "Input tokens that came from the cache; `tokens` has them, too", ("type",)),
    Row("billed_audio", "total", "Audio that is billed by its length, not in tokens", unit="s"),
    Row("cost", "total", "What was billed, by the prices known here", ("type",), unit="USD"),
    Row(
        "unpriced",
        "total",
        "Replies, transcripts and stretches of audio of which a part has no price here, or is not told",
    ),
)
"""Every metric has the labels `kind` (one of `Kind`), `model` (as asked for), and those named here."""

_ROWS: Mapping[str, Row] = {row.name: row for row in TABLE}


def _prometheus(row: Row) -> Any:
    about = (row.series, row.meaning, ("kind", "model", *row.labels))
    if row.shape == "total":
        return prometheus_client.Counter(*about)
    if row.shape == "level":
        return prometheus_client.Gauge(*about, multiprocess_mode="livesum")
    return prometheus_client.Histogram(*about, buckets=row.shape)


def _instrument(meter: opentelemetry.Meter, row: Row) -> Any:
    about = (row.instrument, row.unit, row.meaning)
    if row.shape == "total":
        return meter.create_counter(*about)
    if row.shape == "level":
        return meter.create_up_down_counter(*about)
    return meter.create_histogram(*about, explicit_bucket_boundaries_advisory=row.shape)


_SERIES: Mapping[str, Any] = {row.name: _prometheus(row) for row in TABLE}
_METER = opentelemetry.get_meter("livekit-plugins-openai-ga")
_INSTRUMENTS: Mapping[str, Any] = {row.name: _instrument(_METER, row) for row in TABLE}


@functools.lru_cache(maxsize=1024)
def _series(name: str, *labels: tuple[str, str]) -> Any:
    """One of a row's series, which prometheus_client takes a third of `_add` to find. Raises OSError."""
    return _SERIES[name].labels(**dict(labels))


KNOWN_CODES = frozenset(
    {
        *FAILURES,
        *(f"close_{number}" for number in CLOSE_CODES),
        *(code for _, code, _ in EXCEPTIONS),
        "unexpected_error",
    }
)
"""Codes that have a series of their own; servers may make up any others."""


def code_label(code: str) -> str:
    """A code as a label, of which there may not be many: HTTP statuses by their hundred, unknown ones as `other`."""
    if code in KNOWN_CODES:
        return code
    status = re.fullmatch(r"http_([1-5])\d\d", code)
    return f"http_{status[1]}xx" if status else "other"


@functools.cache
def _tell_once(problem: str) -> None:
    logger.warning("metrics cannot be written, so calls are not counted: %s", problem)


class Counters:
    """One session's part in the numbers. It only adds; nothing here is called for a frame of audio."""

    __slots__ = ("_audio", "_dropped", "_job", "_kind", "_lost_at", "_model", "_open", "_own", "_told")

    def __init__(
        self,
        kind: Kind,
        model: str,
        audio: AudioCount | None = None,
        dropped: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """A session begins. `model`: as asked for; the label stays although a session may go on with another, but
        what is billed has its own.

        `audio` is where the session's audio is counted, `dropped` gives how much of what was let go; what is new in
        them is told at every other occasion.
        """
        self._kind = kind
        self._model = model
        # Of the beginning, and kept: a level goes down again in the series in which it went up.
        self._job = job_attributes()
        self._audio = audio or AudioCount()
        self._told = (0.0, 0.0)  # ms that were lost, and that were replayed
        self._dropped = dropped
        self._own: dict[tuple[Any, ...], float] = {}  # by name and labels: ("replies", ("status", "completed"))
        self._open = True
        self._lost_at: float | None = None
        self._add("sessions", 1)

    def count(self, name: str, **labels: str) -> float:
        """What this session has added to a row of the table, with these labels (and any others)."""
        wanted = labels.items()
        return sum(amount for (row, *having), amount in self._own.items() if row == name and wanted <= set(having))

    def _add(self, name: str, amount: float, **labels: str) -> None:
        row = _ROWS[name]
        key = (name, *labels.items())
        self._own[key] = self._own.get(key, 0) + amount
        told = {"kind": self._kind, "model": self._model, **labels}
        instrument = _INSTRUMENTS[name]
        tell = instrument.record if isinstance(row.shape, tuple) else instrument.add
        model = {"model_name": told["model"]}  # LiveKit's name for it
        tell(amount, {**self._job, **{key: told[key] for key in told if key != "model"}, **model})
        try:
            series = _series(name, *told.items())
        except OSError as exc:  # the folder of LiveKit's multiprocess mode may be gone, and a call goes on
            _tell_once(exc.strerror or type(exc).__name__)
            return
        (series.observe if isinstance(row.shape, tuple) else series.inc)(amount)

    def connected(self) -> None:
        """A connection was opened."""
        self._add("connections", 1)
        self._tell_audio()

    def failed(self, failure: Failure, outcome: Outcome) -> None:
        """A connection, a request, a reply or a transcription failed."""
        self._add("failures", 1, outcome=outcome, code=code_label(failure.code))

    def noticed(self, what: str) -> None:
        """Something odd and harmless, as the core names it."""
        self._add("odd_events", 1, what=what.replace(" ", "_"))

    def asked_again(self) -> None:
        """A reply was asked for once more."""
        self._add("replies_again", 1)

    def lost(self) -> None:
        """The connection broke, or the one after it did before it worked."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()

    def ready(self) -> None:
        """A connection is configured."""
        if self._lost_at is not None:
            self._add("reconnect", time.monotonic() - self._lost_at)
            self._lost_at = None

    def replied(self, ended: ReplyEnded) -> None:
        """A reply is over."""
        self._tell_audio()
        self._add("replies", 1, status=ended.status if ended.status in STATUSES else "other")
        if ended.first_output_at is not None:
            self._add("first_output", max(0.0, ended.first_output_at - ended.started_at))

    def billed(self, usage: ReplyUsage, cost: Cost, model: str = "") -> None:
        """A reply, a transcript or a stretch of audio was billed, by `model` when that is not the session's own."""
        self._tell_audio()
        labels = {"model": model} if model else {}
        inputs = {"input_text": usage.input_text, "input_audio": usage.input_audio, "input_image": usage.input_image}
        outputs = {"output_text": usage.output_text, "output_audio": usage.output_audio}
        cached = {"input_text": usage.cached_text, "input_audio": usage.cached_audio, "input_image": usage.cached_image}
        told: dict[str, dict[str, float | None]] = {
            "tokens": {
                **inputs,
                "input_other": usage.input - sum(inputs.values()),
                **outputs,
                "output_other": usage.output - sum(outputs.values()),
            },
            "cached_tokens": {**cached, "input_other": usage.cached - sum(cached.values())},
            "cost": cost.parts,
        }
        for name, amounts in told.items():
            for kind, amount in amounts.items():
                if amount is not None and amount > 0:
                    self._add(name, amount, type=kind, **labels)
        if usage.seconds > 0:
            self._add("billed_audio", usage.seconds, **labels)
        if cost.unknown:
            self._add("unpriced", 1, **labels)

    def closed(self) -> None:
        """The session is over; a second time does nothing."""
        if self._open:
            self._open = False
            self._add("sessions", -1)
            self._tell_audio()

    def _tell_audio(self) -> None:
        for what, count in self._dropped().items():
            if (new := count - self.count("dropped", what=what)) > 0:
                self._add("dropped", new, what=what)
        before, self._told = self._told, (self._audio.dropped, self._audio.replayed)
        for name, now, told in zip(("lost_audio", "replayed_audio"), self._told, before, strict=True):
            if now > told:
                self._add(name, (now - told) / 1000)
