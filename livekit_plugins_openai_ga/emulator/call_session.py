"""The session of a call: its sound comes and goes beside the events, so the server plays the replies itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from . import g711
from .actions import Action, Event, Send
from .playing import Playing
from .script import Script
from .session import EmulatorSession
from .voice import BYTES_PER_MS

FRAME_MS = 20
"""The caller hears so much at a time."""


class CallSession(EmulatorSession):
    """A `realtime` session in a WebRTC or SIP call. `config` is what it was made or accepted with, see `asked.session`.

    Among `sent` are the `response.output_audio.delta` events, too, which become sound and do not go out.
    """

    def __init__(self, script: Script, config: Event, **given: Any) -> None:
        super().__init__(script, model=config["model"], minted=config, **given)
        self._playing = Playing(self._channel)
        self._handlers["output_audio_buffer.clear"] = lambda _: self._playing.clear()

    @property
    def _takes(self) -> str:
        return "call"

    def start(self, now: float) -> list[Action]:
        """What a healthy handshake is followed by."""
        return self._heard(super().start(now))

    def receive(self, frame: str | bytes, now: float) -> list[Action]:
        """Take one frame from the data channel, or from a socket into the call."""
        return self._heard(super().receive(frame, now))

    def tick(self, now: float) -> list[Action]:
        """Do what is due by `now`."""
        return self._heard(super().tick(now))

    def hear(self, pcm: bytes, now: float) -> list[Action]:
        """The caller's sound: 24 kHz int16 mono PCM."""
        self._channel.advance(now)
        if self.closed is None:
            self._listening.hear(pcm)
        return self._heard(self._channel.flush())

    def play(self, now: float) -> tuple[bytes, list[Action]]:
        """The next 20 ms for the caller, as 24 kHz int16 mono PCM, and what there is to tell of them."""
        actions = self.tick(now)
        pcm = self._playing.take(FRAME_MS * BYTES_PER_MS)
        return pcm, [*actions, *self._channel.flush()]

    def welcome(self) -> Event:
        """What a socket that attaches to the call is told first."""
        return {"type": "session.created", "event_id": self._channel.new_id("event"), "session": self.config}

    def _user_speaks(self) -> None:
        super()._user_speaks()
        if self._channel.turn_detection.get("interrupt_response"):
            self._playing.clear()

    def _heard(self, actions: Sequence[Action]) -> list[Action]:
        """Turn speech into sound, and leave out its events."""
        told = []
        for action in actions:
            event = action.event if isinstance(action, Send) else {}
            if event.get("type") == "response.output_audio.delta":
                self._playing.put(event["response_id"], event["item_id"], self._pcm(event["delta"]))
                continue
            if event.get("type") == "response.done":
                self._playing.complete(event["response"]["id"])
            told.append(action)
        return told

    def _pcm(self, encoded: str) -> bytes:
        data = base64.b64decode(encoded)
        encoding = self.config["audio"]["output"]["format"]["type"]
        return g711.decode(data, encoding) if encoding in g711.FORMATS else data
