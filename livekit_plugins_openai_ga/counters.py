"""What a worker's Prometheus endpoint tells of this plugin: one table of metrics, and what feeds them.

LiveKit Agents opens the endpoint (`AgentServer(prometheus_port=...)`) and brings `prometheus_client`, which it imports
itself. Every metric has labels, so none has a value, or a file, in a process that has no session: in LiveKit's
multiprocess mode the worker clears the folder of these files after this module was imported.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import prometheus_client

from .core.effects import ReplyEnded
from .core.usage import ReplyUsage, TranscriptionUsage
from .errors import Failure
from .failures import CLOSE_CODES, EXCEPTIONS, FAILURES
from .log import logger

PREFIX = "livekit_openai_ga_"

Kind = Literal["realtime", "stt"]
Outcome = Literal["reconnect", "fatal", "request_failed", "reply_failed", "transcription_failed"]
"""What happened. The code does not tell: an empty account ends a session, or leaves a turn without its text."""
STATUSES = frozenset({"completed", "cancelled", "failed", "incomplete", "lost"})
"""How replies end. A server may say something else, which is `other`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: its name after `PREFIX`, what makes it, its labels besides `kind` and `model`, what it means."""

    name: str
    make: Callable[[str, str, Sequence[str]], Any]
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def series(self) -> str:
        """The name that Prometheus shows; a histogram's has `_bucket`, `_sum` and `_count` behind it."""
        return PREFIX + self.name


_counter = prometheus_client.Counter
_gauge = functools.partial(prometheus_client.Gauge, multiprocess_mode="livesum")
_brief = functools.partial(prometheus_client.Histogram, buckets=(0.1, 0.2, 0.3, 0.5, 0.8, 1.3, 2.0, 5.0))
_long = functools.partial(prometheus_client.Histogram, buckets=(0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0))


TABLE: tuple[Row, ...] = (
    Row("sessions", _gauge, "Open now: conversations, and streams of speech to text"),
    Row("connections_total", _counter, "Connections opened"),
    Row("failures_total", _counter, "What failed, and what happened next", ("outcome", "code")),
    Row("reconnect_seconds", _long, "From a lost connection to the next one that works"),
    Row("lost_audio_seconds_total", _counter, "User audio that no reconnect could bring back"),
    Row("replies_total", _counter, "Replies that ended", ("status",)),
    Row("first_output_seconds", _brief, "From the beginning of a reply to its first speech or text"),
    Row("tokens_total", _counter, "Tokens billed", ("type",)),
    Row("cached_tokens_total", _counter, "Input tokens that came from the cache; `tokens_total` has them, too"),
    Row("billed_audio_seconds_total", _counter, "Audio that is billed by its length, not in tokens"),
)
"""Every metric has the labels `kind` (`realtime`, `stt`) and `model` (as asked for), and those named here."""

_METRICS: Mapping[str, Any] = {
    row.name: row.make(row.series, row.meaning, ("kind", "model", *row.labels)) for row in TABLE
}

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


class _Nowhere:
    """Takes what cannot be written down: the folder of LiveKit's multiprocess mode may be gone, and a call goes on."""

    def inc(self, amount: float = 1) -> None: ...

    def dec(self, amount: float = 1) -> None: ...

    def observe(self, amount: float) -> None: ...


@functools.cache
def _tell_once(problem: str) -> None:
    logger.warning("metrics cannot be written, so calls are not counted: %s", problem)


class Counters:
    """One session's part in the numbers. It only adds; nothing here is called for a frame of audio."""

    def __init__(self, kind: Kind, model: str) -> None:
        """A session begins. `model`: as asked for; the label stays although a session may go on with another."""
        self._kind = kind
        self._model = model
        self._open = True
        self._lost_at: float | None = None
        self._lost_audio_ms = 0.0
        self._metric("sessions").inc()

    def _metric(self, name: str, **labels: str) -> Any:
        try:
            return _METRICS[name].labels(**{"kind": self._kind, "model": self._model, **labels})
        except OSError as exc:
            _tell_once(exc.strerror or type(exc).__name__)
            return _Nowhere()

    def connected(self, lost_audio_ms: float) -> None:
        """A connection was opened. `lost_audio_ms`: user audio lost since the session began."""
        self._metric("connections_total").inc()
        self._lost_audio(lost_audio_ms)

    def failed(self, failure: Failure, outcome: Outcome) -> None:
        """A connection, a request, a reply or a transcription failed."""
        self._metric("failures_total", outcome=outcome, code=code_label(failure.code)).inc()

    def lost(self) -> None:
        """The connection broke, or the one after it did before it worked."""
        if self._lost_at is None:
            self._lost_at = time.monotonic()

    def ready(self) -> None:
        """A connection is configured."""
        if self._lost_at is not None:
            self._metric("reconnect_seconds").observe(time.monotonic() - self._lost_at)
            self._lost_at = None

    def replied(self, ended: ReplyEnded) -> None:
        """A reply is over."""
        self._metric("replies_total", status=ended.status if ended.status in STATUSES else "other").inc()
        if ended.first_output_at is not None:
            self._metric("first_output_seconds").observe(max(0.0, ended.first_output_at - ended.started_at))
        usage = ended.usage or ReplyUsage()
        counts = {
            "input_text": usage.input_text,
            "input_audio": usage.input_audio,
            "input_image": usage.input_image,
            "input_other": usage.input - usage.input_text - usage.input_audio - usage.input_image,
            "output_text": usage.output_text,
            "output_audio": usage.output_audio,
            "output_other": usage.output - usage.output_text - usage.output_audio,
        }
        self._billed(counts)
        self._metric("cached_tokens_total").inc(usage.cached)

    def transcribed(self, usage: TranscriptionUsage, model: str | None = None) -> None:
        """Speech was transcribed, by `model` when that is not the session's own."""
        labels = {"model": model} if model else {}
        counts = {
            "input_audio": usage.input_audio,
            "input_other": usage.input - usage.input_audio,
            "output_text": usage.output,
        }
        self._billed(counts, **labels)
        if usage.seconds:
            self._metric("billed_audio_seconds_total", **labels).inc(usage.seconds)

    def closed(self, lost_audio_ms: float) -> None:
        """The session is over; a second time does nothing."""
        if self._open:
            self._open = False
            self._metric("sessions").dec()
            self._lost_audio(lost_audio_ms)

    def _billed(self, counts: Mapping[str, int], **labels: str) -> None:
        for name, count in counts.items():
            if count > 0:
                self._metric("tokens_total", type=name, **labels).inc(count)

    def _lost_audio(self, total_ms: float) -> None:
        if total_ms > self._lost_audio_ms:
            self._metric("lost_audio_seconds_total").inc((total_ms - self._lost_audio_ms) / 1000)
            self._lost_audio_ms = total_ms
