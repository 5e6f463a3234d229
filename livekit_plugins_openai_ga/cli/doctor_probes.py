"""The steps of `doctor` that touch the network, on the parts that an agent's sessions are made of."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from livekit import rtc

from ..audio import InputAudio
from ..connection import Connection
from ..core.setup import failure_of
from ..devtools import wav
from ..errors import from_exception
from ..transport.link import CLOSE_TIMEOUT_S, Link, LinkFailed
from ..wire import client_events, server_events, translation
from ..wire import server_events as ev
from ..wire.endpoint import Endpoint, Service
from ..wire.session import SAMPLE_RATE, Payload
from . import doctor_steps as steps
from .doctor_exchange import Exchange
from .doctor_steps import Outcome, Session, Step, Verdict, failed, of_failure, ok, warning
from .doctor_way import Way

_HEARTBEAT_S = 0.5
"""Shortest time between pings. A peer without a sign of life for twice that is dead; the steps behind it are spared."""

_CHUNK_BYTES = SAMPLE_RATE * 2 // 5  # 200 ms, which suits translation, too
_QUESTION = {
    "conversation": "none",
    "output_modalities": ["text"],
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say: ready."}]}],
}
_SPOKEN_MS = (400, 2600)
"""Where a sentence is in the recording that comes with the package."""


class Asked(Protocol):
    """Options of a session, as far as a doctor needs them."""

    def endpoint(self) -> Endpoint:
        """Where its socket goes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is examined.

    Attributes:
        kind: The kind of session.
        model: The model, or the deployment on Azure.
        key: The verdict on the key.
        connection: Where, and as whom. Without a usable key, with any.
        options: Makes the options and the `session` payload; raises ValueError, one sentence.
        timeout: Seconds that one wait may take.
        today: The date that shutdown dates are counted from.
    """

    kind: Session
    model: str
    key: Verdict
    connection: Connection
    options: Callable[[], tuple[Asked, Payload]]
    timeout: float
    today: date = field(default_factory=date.today)


def tone(seconds: float) -> bytes:
    """A quiet 440 Hz: int16 mono PCM at 24 kHz."""
    step = 2 * math.pi * 440 / SAMPLE_RATE
    samples = (round(3000 * math.sin(step * n)) for n in range(round(seconds * SAMPLE_RATE)))
    return struct.pack(f"<{round(seconds * SAMPLE_RATE)}h", *samples)


class Examination:
    """Runs the steps of one plan, once."""

    def __init__(self, plan: Plan) -> None:
        where = plan.connection.endpoint(Service.UPLOAD)  # its host is the sockets' host, and it needs no model
        parts = urlsplit(where.url)
        self.secrets = where.secrets
        self._plan = plan
        secure = parts.scheme == "https"
        self._way = Way(
            where.host,
            parts.port or (443 if secure else 80),
            secure=secure,
            local=where.is_local,
            timeout=plan.timeout,
        )
        self._endpoint: Endpoint | None = None
        self._payload: Payload = {}
        self._link: Link | None = None
        self._exchange: Exchange | None = None
        self._gone = False

    @property
    def address(self) -> str:
        """Host and port, for people."""
        return self._way.address

    async def run(self, tell: Callable[[Outcome], None]) -> list[Outcome]:
        """Go through all steps and tell of each when it ends."""
        outcomes: list[Outcome] = []
        try:
            for step in steps.steps_of(self._plan.kind):
                outcome = await self._examine(step, outcomes)
                outcomes.append(outcome)
                tell(outcome)
        finally:
            if self._link is not None:
                await self._link.close()
        return outcomes

    async def _examine(self, step: Step, before: list[Outcome]) -> Outcome:
        left_out = steps.skipped(step, before, self._gone)
        if left_out is not None:
            return Outcome(step, left_out.clean(self.secrets), None)
        started = time.perf_counter()
        try:
            verdict = await _PROBES[step.name](self)
        except LinkFailed as exc:
            self._gone = self._link is not None and not self._link.alive
            verdict = of_failure(self._plan.connection.explained(exc.failure, self._plan.connection.api_key))
        except Exception as exc:  # the other steps may say more than this one's traceback
            verdict = of_failure(from_exception(exc))
        ms = (time.perf_counter() - started) * 1000
        if self._exchange is not None:
            verdict = steps.with_oddities(verdict, *self._exchange.oddities())
        return Outcome(step, steps.patient(step, verdict, ms).clean(self.secrets), ms)

    # -- before the socket ---------------------------------------------------------------------------------------

    async def _look_at_key(self) -> Verdict:
        return self._plan.key

    async def _look_at_model(self) -> Verdict:
        plan = self._plan
        native = plan.connection.is_native
        verdict = steps.model_verdict(plan.model, plan.kind, today=plan.today, native=native)
        try:
            options, self._payload = plan.options()
            self._endpoint = options.endpoint()
        except ValueError as exc:
            if verdict.status is not steps.Status.FAILED:
                return failed(str(exc), "Correct the setting it names.", "bad_setting")
        else:
            self.secrets = self._endpoint.secrets
        return verdict

    # -- on the socket -------------------------------------------------------------------------------------------

    async def _upgrade(self) -> Verdict:
        assert self._endpoint is not None
        self._link = await Link.dial(self._endpoint, timeout=self._plan.timeout)
        return ok("101, the socket is open", http_status=101, request_id=self._link.request_id)

    async def _begin(self) -> Verdict:
        link = self._opened
        await link.begin(timeout=self._plan.timeout, heartbeat=max(_HEARTBEAT_S, self._plan.timeout / 4))
        decode = translation.from_payload if self._plan.kind == "translation" else server_events.from_payload
        self._exchange = Exchange(link, decode, self._plan.timeout)
        created = await self._exchange.until(ev.SessionCreated.type)
        told = created.session if isinstance(created, ev.SessionCreated) else {}
        details = {"session_id": link.session_id, "request_id": link.request_id, "expires_at": link.expires_at}
        kind = {**told, "type": "translation"} if self._plan.kind == "translation" else told  # it may not say its type
        return steps.session_verdict(kind, self._plan.kind, **details)

    async def _configure(self) -> Verdict:
        await self._talk.say(client_events.session_update(self._payload, event_id="doctor_configuration"))
        updated = await self._talk.until(ev.SessionUpdated.type)
        assert isinstance(updated, ev.SessionUpdated)
        return steps.configuration_verdict(self._payload, updated.session)

    async def _hear(self) -> Verdict:
        await self._play(tone(1.0))
        if self._plan.kind == "translation":
            # Nothing answers audio here; an update behind it is answered when the server has taken it.
            await self._talk.say(client_events.session_update(self._payload, event_id="doctor_audio"))
            await self._talk.until(ev.SessionUpdated.type)
        else:
            await self._talk.say(client_events.audio_clear(event_id="doctor_audio"))
            await self._talk.until("input_audio_buffer.cleared")
        return ok("1 s of a tone was taken", seconds=1.0)

    async def _reply(self) -> Verdict:
        await self._talk.say(client_events.response_create(_QUESTION, event_id="doctor_reply"))
        started, first, text = time.perf_counter(), None, ""
        while True:
            event = await self._talk.until(ev.TextDelta.type, ev.ResponseDone.type)
            if isinstance(event, ev.TextDelta):
                first = (time.perf_counter() - started) * 1000 if first is None else first
                text += event.delta
            elif isinstance(event, ev.ResponseDone):
                return _replied(event.response, text, first)

    async def _transcribe(self) -> Verdict:
        await self._play(_spoken())
        await self._talk.say(client_events.audio_commit(event_id="doctor_commit"))
        event = await self._talk.until(ev.TranscriptionCompleted.type, ev.TranscriptionFailed.type)
        if isinstance(event, ev.TranscriptionFailed):
            return of_failure(failure_of(event.error))
        assert isinstance(event, ev.TranscriptionCompleted)
        return steps.answer_verdict(event.transcript, "a spoken sentence", transcript=event.transcript)

    async def _translate(self) -> Verdict:
        await self._talk.say(translation.session_close(event_id="doctor_close"))
        try:
            await self._talk.until(translation.SessionClosed.type)
        except LinkFailed as exc:
            if exc.failure.close_code != 1000:
                raise
            told = "the server closed the socket without `session.closed`, so nobody knows whether it had told all"
            return failed(told, "Check what a gateway on the way changes.", exc.failure.label)
        return ok("the server told all it had and closed the session")

    async def _goodbye(self) -> Verdict:
        link = self._opened
        ended = self._plan.kind == "translation"  # there the server may have closed the socket behind its session
        if not link.alive and not ended:
            await self._talk.until("")
        started = time.monotonic()
        await link.close()
        if time.monotonic() - started > CLOSE_TIMEOUT_S and not ended:
            remedy = "Nothing needs to be done; a proxy that does this leaves sockets open."
            return warning("the server did not answer the close", remedy, "close_unanswered")
        return ok("closed")

    # -- parts ---------------------------------------------------------------------------------------------------

    @property
    def _opened(self) -> Link:
        assert self._link is not None
        return self._link

    @property
    def _talk(self) -> Exchange:
        assert self._exchange is not None
        return self._exchange

    async def _play(self, pcm: bytes) -> None:
        append = (translation if self._plan.kind == "translation" else client_events).AUDIO_APPEND
        for start in range(0, len(pcm), _CHUNK_BYTES):
            await self._talk.say(append.event(pcm[start : start + _CHUNK_BYTES]))


def _replied(response: ev.Response, text: str, first_text_ms: float | None) -> Verdict:
    why = response.status_details
    details = {
        "status": response.status,
        **({} if first_text_ms is None else {"first_text_ms": round(first_text_ms, 1)}),
    }
    if response.status == "completed":
        after = "" if first_text_ms is None else f", first text after {first_text_ms:.0f} ms"
        return steps.answer_verdict(text, f"a reply{after}", **details)
    if why is not None and why.error is not None:
        return of_failure(failure_of(why.error))
    reason = (why.reason or why.type) if why is not None else ""
    told = f"the reply ended as {response.status or 'nothing'}{f': {reason}' if reason else ''}"
    return warning(told, "Run this again; if it stays, check the model's limits.", "reply_incomplete", **details)


def _spoken() -> bytes:
    samples, rate = wav.read_wav(Path(wav.__file__).with_name("caller.wav"))
    begin, end = (ms * rate // 1000 for ms in _SPOKEN_MS)
    said, audio = samples[begin:end], InputAudio()
    chunks = audio.push(rtc.AudioFrame(said.tobytes(), rate, said.shape[1], len(said)))
    return b"".join([*chunks, *audio.flush()])


_PROBES: Mapping[str, Callable[[Examination], Awaitable[Verdict]]] = {
    "key": Examination._look_at_key,
    "model": Examination._look_at_model,
    "proxy": lambda it: it._way.look_at_proxy(),
    "dns": lambda it: it._way.look_up(),
    "connect": lambda it: it._way.connect(),
    "upgrade": Examination._upgrade,
    "session": Examination._begin,
    "configuration": Examination._configure,
    "audio": Examination._hear,
    "reply": Examination._reply,
    "transcript": Examination._transcribe,
    "translation": Examination._translate,
    "goodbye": Examination._goodbye,
}
