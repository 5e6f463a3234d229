"""An emulated translation session: speech in, a continuous stream of translated speech and text out.

There are no turns on this wire: no item, no response, nothing that says where an utterance ends. Inside, the end of
speech still decides when the script goes on; what it says then streams out in bursts, most of it after
`session.close`, which is answered by `session.closed` once everything is out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from . import config
from .actions import Close, Event
from .channel import Channel
from .conversation import Refused
from .faults import FaultPlan
from .framing import FramedSession
from .input_buffer import InputBuffer
from .knobs import Knobs
from .reply import words
from .script import Script
from .vad import SpeechStopped
from .voice import BYTES_PER_MS

# Observed: 400 ms of audio in each delta, while `elapsed_ms` advances by 200.
_DELTA_BYTES = 400 * BYTES_PER_MS
_ELAPSED_MS = 200
_PCM_24K: Mapping[str, Any] = {"type": "audio/pcm", "rate": 24000}
_DETECTION = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


class TranslationSession(FramedSession):
    """A `translation` session; each stretch of speech takes a turn of the script, `heard` and its translation `say`."""

    def __init__(
        self,
        script: Script,
        *,
        model: str = "gpt-realtime-translate",
        knobs: Knobs | None = None,
        faults: FaultPlan | None = None,
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
        self._buffer = InputBuffer(_DETECTION)
        self._waiting: list[tuple[str, Event]] = []
        self._elapsed_ms = 0
        self._streaming = False
        self._closing = False

    def _update(self, event: Event) -> None:
        self._channel.config = config.translation_updated(self.config, event["session"])
        self._channel.emit("session.updated", session=self.config)

    def _append(self, event: Event) -> None:
        if self._closing:
            raise Refused("invalid_value", "The session is closing and takes no more audio.", "type")
        pcm = self._buffer.append(event["audio"], _PCM_24K)
        for found in self._buffer.detect(pcm):
            if isinstance(found, SpeechStopped):
                self._buffer.take_turn(found.audio_end_ms)
                self._translate()

    def _close(self, _event: Event) -> None:
        self._closing = True
        if self._buffer.speaking:
            self._buffer.clear()
            self._translate()
        if not self._streaming:
            self._pump()

    def _translate(self) -> None:
        turn = self._channel.script.take(heard=True)
        if self.config["audio"]["input"]["transcription"]:
            self._waiting += [("session.input_transcript.delta", {"delta": word}) for word in words(turn.heard)]
        for text in turn.texts:
            pcm = self._channel.knobs.speak(text, "alloy", 1.0)
            self._waiting += [("session.output_transcript.delta", {"delta": word}) for word in words(text)]
            for start in range(0, len(pcm), _DELTA_BYTES):
                encoded = base64.b64encode(pcm[start : start + _DELTA_BYTES]).decode()
                audio = {"delta": encoded, "sample_rate": 24000, "channels": 1, "format": "pcm16"}
                self._waiting.append(("session.output_audio.delta", audio))
        if not self._streaming:
            self._streaming = True
            self._channel.after(self._channel.knobs.reply_latency, self._pump)

    def _pump(self) -> None:
        """Send text up to the next piece of audio, then that, then wait as long as it takes to make."""
        while self._waiting:
            event_type, fields = self._waiting.pop(0)
            self._channel.emit(event_type, **fields, elapsed_ms=self._elapsed_ms)
            if event_type == "session.output_audio.delta":
                self._elapsed_ms += _ELAPSED_MS
                self._channel.after(_DELTA_BYTES / BYTES_PER_MS / 1000 / self._channel.knobs.pace, self._pump)
                return
        self._streaming = False
        if self._closing:
            self._channel.emit("session.closed")
            self._channel.do(Close(1000, ""))
