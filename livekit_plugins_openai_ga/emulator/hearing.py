"""The transcript of one user turn: streaming models tell it while it is spoken, the others after its commit."""

from __future__ import annotations

from collections.abc import Callable

from . import config
from .actions import Event
from .channel import Channel
from .conversation import Item
from .script import Claim
from .transcribing import LOGPROBS, PREFIX, Transcriber
from .vad import STEP_BYTES, speech_ms
from .voice import BYTES_PER_MS


class Hearing:
    """What the script says about the audio since the last commit or clear, and how much of it was told."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._claim: Claim | None = None
        self._told = 0
        self._speech_ms = 0
        self._partial = b""

    def follow(self, pcm: bytes) -> list[Event]:
        """The deltas due after more audio, without an item id; only of streaming models."""
        transcriber, knobs = self._transcriber, self._channel.knobs
        if transcriber is None or not transcriber.streams:
            return []
        data = self._partial + pcm
        whole = len(data) // STEP_BYTES * STEP_BYTES
        self._partial = data[whole:]
        self._speech_ms += speech_ms(data[:whole])
        if not self._speech_ms:
            return []
        due = int(self._speech_ms / 1000 / knobs.seconds_per_word)
        if knobs.deltas_stop_after is not None:
            due = min(due, knobs.deltas_stop_after)
        deltas = transcriber.deltas(self._listen().turn)[self._told : due]
        self._told += len(deltas)
        return deltas

    def forget(self) -> None:
        """Nothing will be reported about this audio: its turn is still to be heard."""
        if self._claim is not None:
            self._claim.give_back()

    def commit(self, item: Item, pcm: bytes) -> Callable[[], None] | None:
        """The turn is over. Returns what reports its transcript; None when no transcript is asked for."""
        channel, transcriber = self._channel, self._transcriber
        spoken = self._claim is not None or bool(speech_ms(pcm))
        channel.user_was_heard = channel.user_was_heard or spoken
        if transcriber is None:
            self.forget()
            return None
        claim = self._listen() if spoken else Claim()
        report = _Report(channel, transcriber, claim, item, told=self._told, audio_ms=len(pcm) / BYTES_PER_MS)
        return report.begin

    @property
    def _transcriber(self) -> Transcriber | None:
        channel = self._channel
        settings = channel.config["audio"]["input"]["transcription"]
        if not settings:
            return None
        model = config.transcription_model(settings["model"], deployments=channel.deployments)
        include = channel.config["include"] or ()
        return Transcriber(model, settings, logprobs=LOGPROBS in include, leading_space=channel.knobs.leading_space)

    def _listen(self) -> Claim:
        if self._claim is None:
            channel = self._channel
            # In a conversation the reply takes the turn.
            transcribes = channel.is_transcription
            self._claim = channel.script.claim(channel.is_live) if transcribes else Claim(channel.script.hear())
        return self._claim


class _Report:
    """What is sent about a committed turn. Faults are drawn at the commit, so they count turns in their order."""

    def __init__(
        self, channel: Channel, transcriber: Transcriber, claim: Claim, item: Item, *, told: int, audio_ms: float
    ) -> None:
        self._channel = channel
        self._transcriber = transcriber
        self._claim = claim
        self._item = item
        self._told = told
        self._audio_ms = audio_ms
        self._error = channel.faults.transcription_error()
        self._delay = channel.faults.transcription_delay()

    def begin(self) -> None:
        """Report now, or as late as a fault says."""
        if self._delay is None:
            self._end()
            return
        if self._delay.deltas_first and not self._error:
            self._tell()
        self._channel.after(self._delay.seconds, self._end)

    def _tell(self) -> None:
        deltas = self._transcriber.deltas(self._claim.turn)
        told, self._told = self._told, len(deltas)
        for delta in deltas[told:]:
            self._channel.emit(f"{PREFIX}.delta", **self._place, **delta)

    def _end(self) -> None:
        channel, turn = self._channel, self._claim.turn
        if self._error:
            out = channel.emit(f"{PREFIX}.failed", **self._place, error=self._error)
        else:
            self._tell()
            self._item.fields["content"][0]["transcript"] = turn.heard
            fields = self._transcriber.completed(turn, self._audio_ms)
            out = channel.emit(f"{PREFIX}.completed", **self._place, **fields)
        if out:
            self._claim.settle()

    @property
    def _place(self) -> Event:
        return {"item_id": self._item.id, "content_index": 0}
