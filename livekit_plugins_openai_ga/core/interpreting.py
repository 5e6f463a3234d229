"""A translation over any number of connections: source audio and server events in, translated speech and texts out.

The model works in step with its input: for each 200 ms it hears, it says what it has to say by then, and `elapsed_ms`
tells how far it is. From that follows what happens when a connection breaks. The next session hears again what the
model may have heard and not yet said: the last `WARM_UP_MS` before the place reached. What it says up to that place has
been told and is left out; what it says behind it is new. Nothing is lost by this as long as the model is not further
behind the speaker than that, and nothing is said twice as long as it says the same thing of the same speech.

All places are ms of the audio that was ever put in; `place` turns the server's count, which begins anew with each
connection, into that.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .. import errors
from ..errors import Kind
from ..wire import server_events as ev
from ..wire import translation
from ..wire.codec import b64decode
from ..wire.session import BYTES_PER_MS, Payload
from ..wire.translation import ENGINE_FRAME_MS
from ..wire.values import value
from . import effects as fx
from . import passing
from .effects import Effects
from .setup import Phase, Setup, failure_of

WARM_UP_MS = 6000.0
"""How far the model may be behind the speaker, at most: so much is heard again after a reconnect."""

PAUSE_MS = 2000.0
"""When both sides were silent for this long, nobody minds a change of connection."""

QUIET_PEAK = 400
"""Samples (int16) below this are no speech: -38 dBFS."""

Channel = Literal["audio", "text", "source"]


@value
class Translated(fx.Effect):
    """More translated speech: int16 little-endian mono PCM at 24 kHz. `at_ms` is the place in the source."""

    pcm: bytes
    at_ms: float


@value
class TranslatedText(fx.Effect):
    """More text, of the translation or (`source`) of what the speaker said."""

    text: str
    at_ms: float
    source: bool


@value
class CloseSession(fx.Effect):
    """Ask the server, behind all audio so far, to tell the rest and end the session."""

    event: dict[str, Any]


@value
class Renewed(fx.Effect):
    """Everything on this connection has been told: go on with another one."""


@dataclass(slots=True)
class _Told:
    """How far one channel has been told: up to `at` (ms), and `count` events of exactly that place.

    `again` is the same for what a new connection tells once more; None when it is past that.
    """

    at: float = -math.inf
    count: int = 0
    again: tuple[float, int] | None = None

    def is_new(self, at: float) -> bool:
        """Whether an event at this place was not told on an earlier connection; notes that it is told now."""
        if self.again is not None:
            until, left = self.again
            if at < until or (at == until and left > 0):
                self.again = (until, left - (at == until))
                return False
            self.again = None
        self.at, self.count = at, self.count + 1 if at == self.at else 1
        return True

    def lost(self) -> None:
        """The connection is gone."""
        if self.at > -math.inf:
            self.again = (self.at, self.count)

    def complete(self, end: float) -> None:
        """All that belongs to the source up to `end` (ms) was told: what comes on another connection is new."""
        self.at, self.count, self.again = min(self.at, end), 0, None


class Interpreting:
    """One translation. `wanted` is the first `session` payload; `skip_silence` keeps translated speech in step."""

    def __init__(self, wanted: Payload, *, place: Callable[[float], float], skip_silence: bool = True) -> None:
        self.setup = Setup(wanted, self._event_id)
        self._place = place
        self._skip_silence = skip_silence
        self._serial = 0
        self._put_ms = 0.0
        self._loud: list[float] = []  # where steps with speech begin that the model has not reached
        self._heard_ms = -math.inf  # where the last speech ends that it has reached
        self._spoke_ms = -math.inf  # where it was when it last said anything
        self._reached_ms = 0.0  # how far it is
        self._engine_ms = 0.0  # the same in this connection's audio
        self._taken_ms = 0.0  # in this connection's audio: not needed any more
        self._ahead_ms = 0.0  # translated audio that was told, beyond the length of the source
        self._told: dict[Channel, _Told] = {"audio": _Told(), "text": _Told(), "source": _Told()}
        self._closing = False
        self._closed_at_ms = 0.0  # where it was asked to
        self._finishing = False
        self._finished = False

    @property
    def phase(self) -> Phase:
        """How far the current connection is."""
        return self.setup.phase

    @property
    def closing(self) -> bool:
        """Whether the server was asked to end this connection's session."""
        return self._closing

    @property
    def finishing(self) -> bool:
        """Whether there will be no more audio."""
        return self._finishing

    @property
    def ending(self) -> bool:
        """Whether the close that is under way is the last one: nothing was put in behind it, and nothing will be."""
        return self._closing and self._finishing and self._put_ms <= self._closed_at_ms

    @property
    def quiet(self) -> bool:
        """Nobody has said anything for a while, on either side: a good moment for another connection."""
        return not self._loud and self._reached_ms - max(self._heard_ms, self._spoke_ms) >= PAUSE_MS

    # -- the connection ------------------------------------------------------------------------------------------

    def opened(self, told: dict[str, Any] | None = None) -> Effects:
        """A new connection has a session; sends the configuration, or what it was not `told` of it ahead."""
        self._engine_ms = self._taken_ms = 0.0
        self._closing = False
        return self.setup.opened(told)

    def configure(self, wanted: Payload, key: str) -> Effects:
        """Change the configuration; `key` is settled when the server answers. Nothing may be sent behind a close, so
        then it waits for the next connection."""
        if self._closing:
            self.setup.config.want(wanted)
            self.setup.config.wait(key)
            return []
        return self.setup.configure(wanted, key)

    def receive(self, event: ev.ServerEvent) -> Effects:
        """One server event. Never raises, whatever the order of events."""
        handler = HANDLERS.get(type(event))
        return [] if handler is None or self._finished else handler(self, event, 0.0)

    def closed(self) -> None:
        """The connection is gone."""
        self.setup.closed()
        self._closing = False
        for told in self._told.values():
            told.lost()

    # -- the audio -----------------------------------------------------------------------------------------------

    def put(self, step: bytes) -> None:
        """One step of source audio was put in."""
        if loud(step):
            self._loud.append(self._put_ms)
        self._put_ms += len(step) / BYTES_PER_MS

    def finish(self) -> Effects:
        """There will be no more audio. `Finished` comes when everything was told."""
        self._finishing = True
        return self._close()

    def renew(self) -> Effects:
        """Bring this connection's session to its end, then go on with another one."""
        return self._close()

    def _close(self) -> Effects:
        if self.setup.phase is not Phase.READY or self._closing:
            return []  # on the next connection
        self._closing, self._closed_at_ms = True, self._put_ms
        return [CloseSession(translation.session_close(event_id=self._event_id("close")))]

    def _event_id(self, kind: str) -> str:
        self._serial += 1
        return f"{kind}_{self._serial}"

    # -- server events -------------------------------------------------------------------------------------------

    def _session_updated(self, event: ev.SessionUpdated, _now: float) -> Effects:
        effects = self.setup.updated(event)
        ready = any(isinstance(effect, fx.Ready) for effect in effects)
        return [*effects, *self._close()] if ready and self._finishing else effects

    def _error(self, event: ev.Error, _now: float) -> Effects:
        failure = failure_of(event.error)
        if failure.kind in (Kind.FATAL, Kind.RECONNECT):  # a close follows, or should
            return [fx.Disconnect(failure)]
        if (told := self.setup.refused(failure)) is not None:
            return told
        return [fx.Noticed("benign error", failure.code) if failure.kind is Kind.BENIGN else fx.Report(failure)]

    def _audio(self, event: translation.OutputAudioDelta, _now: float) -> Effects:
        try:
            pcm = b64decode(event.delta)
        except ValueError:
            return [fx.Noticed("malformed event", f"{event.type}: not base64")]
        at, told = self._reach(event.elapsed_ms, ENGINE_FRAME_MS), self._told["audio"]
        since, speaks = max(told.at, 0.0), loud(pcm)
        new = told.is_new(at)
        if new and speaks:
            self._spoke_ms = at
        effects = self._not_needed()
        if not new:
            return effects
        self._ahead_ms = max(0.0, self._ahead_ms - max(0.0, at - since))
        if self._skip_silence and not speaks and self._ahead_ms > 0:
            return effects
        self._ahead_ms += len(pcm) / BYTES_PER_MS
        return [Translated(pcm, at), *effects]

    def _reach(self, elapsed_ms: float | None, step_ms: float) -> float:
        """How far the model is, in all the source audio. Where the server does not tell, it counts steps of audio."""
        elapsed_ms = self._engine_ms + step_ms if elapsed_ms is None else elapsed_ms
        self._engine_ms = max(self._engine_ms, elapsed_ms)
        return self._place(elapsed_ms)

    def _not_needed(self) -> Effects:
        """Source audio that the next connection need not hear again."""
        self._reached_ms = self._place(self._engine_ms)
        while self._loud and self._loud[0] < self._reached_ms:
            self._heard_ms = max(self._heard_ms, self._loud.pop(0) + ENGINE_FRAME_MS)
        taken = self._engine_ms - WARM_UP_MS
        if taken < self._taken_ms + ENGINE_FRAME_MS:
            return []
        self._taken_ms = taken
        return [fx.AudioTaken(int(taken))]

    def _text(self, event: translation.OutputTranscriptDelta, _now: float) -> Effects:
        at = self._reach(event.elapsed_ms, 0.0)
        if not event.delta or not self._told["text"].is_new(at):
            return []
        self._spoke_ms = at
        return [TranslatedText(event.delta, at, source=False)]

    def _source_text(self, event: translation.InputTranscriptDelta, _now: float) -> Effects:
        at = self._reach(event.elapsed_ms, 0.0)
        if not event.delta or not self._told["source"].is_new(at):
            return []
        return [TranslatedText(event.delta, at, source=True)]

    def _session_closed(self, _event: translation.SessionClosed, _now: float) -> Effects:
        if not self._closing:
            return [fx.Disconnect(errors.from_close(1000, ""))]
        done: Effects = [fx.AudioTaken(_ALL_MS)]
        if self.ending:
            self._finished = True
            return [*done, fx.Finished()]
        # What was said behind the end took places in which the next session hears other speech.
        for told in self._told.values():
            told.complete(self._closed_at_ms)
        return [*done, Renewed()]


_ALL_MS = 2**53


def loud(pcm: bytes) -> bool:
    """Whether there may be speech in this audio. Every eighth sample is enough: a voice's pitch is below 400 Hz."""
    samples = array("h", pcm[: len(pcm) // 2 * 2])[::8]
    return bool(samples) and max(max(samples), -min(samples)) >= QUIET_PEAK


HANDLERS: Mapping[type[ev.ServerEvent], Callable[[Interpreting, Any, float], Effects]] = {
    ev.SessionUpdated: Interpreting._session_updated,
    ev.Error: Interpreting._error,
    translation.OutputAudioDelta: Interpreting._audio,
    translation.OutputTranscriptDelta: Interpreting._text,
    translation.InputTranscriptDelta: Interpreting._source_text,
    translation.SessionClosed: Interpreting._session_closed,
    **passing.NOTICED,
}
