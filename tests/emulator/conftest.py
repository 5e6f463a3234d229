"""A session driven in virtual time: no socket, no waiting."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from livekit_plugins_openai_ga.emulator import EmulatorSession, Knobs, Script
from livekit_plugins_openai_ga.emulator.actions import Action, Close, Send
from livekit_plugins_openai_ga.emulator.voice import synthetic

BYTES_PER_MS = 48


class Talk:
    """Sends client events to a session and collects what comes back; `run` lets time pass."""

    def __init__(self, session: EmulatorSession) -> None:
        self.session = session
        self.now = 0.0
        self.actions: list[Action] = []
        self._collect(session.start(0.0))

    def __call__(self, event_type: str, **fields: Any) -> list[dict[str, Any]]:
        return self.frame(json.dumps({"type": event_type, **fields}))

    def frame(self, data: str | bytes) -> list[dict[str, Any]]:
        return self._collect(self.session.receive(data, self.now))

    def configure(self, **session: Any) -> list[dict[str, Any]]:
        return self("session.update", session={"type": self.session.config["type"], **session})

    def run(self, seconds: float = 60.0) -> list[dict[str, Any]]:
        end = self.now + seconds
        events: list[dict[str, Any]] = []
        while (due := self.session.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            events += self._collect(self.session.tick(self.now))
        self.now = end
        return events

    def hear(self, pcm: bytes, *, chunk_ms: int = 20) -> list[dict[str, Any]]:
        """Append audio in real time, in chunks."""
        step = chunk_ms * BYTES_PER_MS
        events: list[dict[str, Any]] = []
        for start in range(0, len(pcm), step):
            encoded = base64.b64encode(pcm[start : start + step]).decode()
            events += self("input_audio_buffer.append", audio=encoded)
            events += self.run(chunk_ms / 1000)
        return events

    def append(self, pcm: bytes) -> list[dict[str, Any]]:
        """Append audio all at once."""
        return self("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    @property
    def closed(self) -> Close | None:
        return self.session.closed

    def _collect(self, actions: list[Action]) -> list[dict[str, Any]]:
        self.actions += actions
        return [action.event for action in actions if isinstance(action, Send)]


def names(events: list[dict[str, Any]]) -> list[str]:
    """Event types, runs of the same delta counted once."""
    result: list[str] = []
    for event in events:
        if not (result and result[-1] == event["type"] and event["type"].endswith(".delta")):
            result.append(event["type"])
    return result


def speech(text: str = "Hello there", *, before_ms: int = 100, after_ms: int = 400) -> bytes:
    """The synthetic voice between two silences: the same bytes on every machine."""
    return bytes(before_ms * BYTES_PER_MS) + synthetic(text) + bytes(after_ms * BYTES_PER_MS)


@pytest.fixture(name="names")
def _names() -> Callable[[list[dict[str, Any]]], list[str]]:
    return names


@pytest.fixture(name="speech")
def _speech() -> Callable[..., bytes]:
    return speech


@pytest.fixture
def talk() -> Callable[..., Talk]:
    def begin(script: Script | None = None, *, knobs: Knobs | None = None, **options: Any) -> Talk:
        knobs = knobs or Knobs(speak=synthetic)
        return Talk(EmulatorSession(script or Script(), knobs=knobs, **options))

    return begin
