"""An emulated translation session: speech in, a continuous stream of translated speech and text out.

There are no turns on this wire: no item, no response, nothing that says where an utterance ends. The model goes in
steps of 200 ms of source audio, whatever the size of the appends, and stands still without any. `session.close` makes
it go through what is left, and through as much silence as it takes until it has said all, then `session.closed` comes.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from .. import models
from . import config
from .actions import Close, Event
from .channel import Channel
from .conversation import Refused
from .faults import FaultPlan
from .framing import FramedSession
from .grammar import wrong_value
from .interpreter import DELTA_BYTES, FRAME_BYTES, FRAME_MS, Interpreter, Memory
from .knobs import Knobs
from .script import Script
from .voice import BYTES_PER_MS

_BAD_AUDIO = (
    "Invalid 'audio'. Expected base64-encoded audio bytes (mono PCM16 at 24kHz) but got an invalid value instead."
)


class TranslationSession(FramedSession):
    """A `translation` session. `memory` is shared with the other sessions of an emulator."""

    def __init__(
        self,
        script: Script,
        *,
        model: str = "gpt-realtime-translate",
        knobs: Knobs | None = None,
        faults: FaultPlan | None = None,
        memory: Memory | None = None,
        now: float = 0.0,
        created_at: int = 1_789_000_000,
        number: int = 1,
        minted: Event | None = None,
    ) -> None:
        channel = Channel(script, knobs or Knobs(), faults or FaultPlan(), now, number)
        expires_at = created_at + int(channel.knobs.lifetime)
        channel.config = config.translation(model, channel.new_id("sess"), expires_at)
        if minted is not None:
            channel.config["audio"] = minted["audio"]
        handlers: dict[str, Callable[[Event], None]] = {
            "session.update": self._update,
            "session.input_audio_buffer.append": self._append,
            "session.close": self._close,
        }
        super().__init__(channel, handlers)
        self._interpreter = Interpreter(script, channel.knobs, memory or Memory(), channel.is_live)
        self._waiting = bytearray()  # source audio that the model has not taken
        self._elapsed_ms = 0
        self._running = False
        self._closing = False
        self.source_ms = 0.0
        """Source audio that was taken, in ms."""

    @property
    def elapsed_ms(self) -> int:
        """How far the model is in the source audio."""
        return self._elapsed_ms

    def _update(self, event: Event) -> None:
        asked = event["session"].get("audio", {}).get("input", {}).get("transcription")
        if asked and config.transcription_model(asked["model"], deployments=None) is None:
            known = tuple(model.id for model in models.MODELS.values() if model.use is models.Use.TRANSCRIPTION)
            raise wrong_value("session.audio.input.transcription.model", asked["model"], known)
        self._channel.config = config.translation_updated(self.config, event["session"])
        self._channel.emit("session.updated", session=self.config)

    def _append(self, event: Event) -> None:
        if self._closing:
            raise Refused("invalid_value", "The session is closing and takes no more audio.", "type")
        try:
            pcm = base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, ValueError):
            raise Refused("invalid_value", _BAD_AUDIO, "audio") from None
        if not pcm or len(pcm) % 2:
            raise Refused("invalid_value", _BAD_AUDIO, "audio")
        self.source_ms += len(pcm) / BYTES_PER_MS
        self._waiting += pcm
        self._go_on()

    def _close(self, _event: Event) -> None:
        if self._closing:
            raise Refused("invalid_value", "The session is closing already.", "type")
        self._closing = True
        self._waiting += bytes(-len(self._waiting) % FRAME_BYTES)
        self._go_on()

    def _go_on(self) -> None:
        if not self._running:
            self._running = True
            self._step()

    def _step(self) -> None:
        """Take a frame, if there is one, and come back when the next one can be taken."""
        channel = self._channel
        frame = bytes(self._waiting[:FRAME_BYTES])
        if len(frame) < FRAME_BYTES:
            if not self._closing:
                self._running = False
                return
            if self._interpreter.idle:
                channel.emit("session.closed")
                channel.do(Close(1000, ""))
                return
            frame = bytes(FRAME_BYTES)
        del self._waiting[:FRAME_BYTES]
        self._say(frame)
        channel.after(FRAME_MS / 1000 / channel.knobs.translation_speed, self._step)

    def _say(self, frame: bytes) -> None:
        channel, at = self._channel, self._elapsed_ms
        self._elapsed_ms += FRAME_MS
        said = self._interpreter.hear(frame, self.config["audio"]["output"]["language"])
        if self.config["audio"]["input"]["transcription"]:
            for word in said.source:
                channel.emit("session.input_transcript.delta", delta=word, elapsed_ms=at)
        for word in said.text:
            channel.emit("session.output_transcript.delta", delta=word, elapsed_ms=at)
        if said.pcm is None and not channel.knobs.translation_silence:
            return
        pcm = said.pcm or b""
        if channel.knobs.translation_silence:
            pcm = pcm.ljust(DELTA_BYTES, b"\0")
        audio = {"delta": base64.b64encode(pcm).decode(), "sample_rate": 24000, "channels": 1, "format": "pcm16"}
        channel.emit("session.output_audio.delta", **audio, elapsed_ms=at)
