"""What the emulator plays into a call: in order, at the pace of the caller's ear, and told where it begins and ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from livekit_plugins_openai_ga.emulator import Knobs, Script, Turn, asked
from livekit_plugins_openai_ga.emulator.actions import Send
from livekit_plugins_openai_ga.emulator.call_session import CallSession

FRAME = 960
LOUD = b"\x11\x11"
ONE_SECOND = LOUD * 24000


class Ear:
    """A call with a clock of its own, and what the caller heard of it."""

    def __init__(self, *turns: Turn, **session: Any) -> None:
        knobs = Knobs(speak=lambda text, voice, speed: ONE_SECOND, pace=20.0)
        config = asked.session({"type": "realtime", **session}, knobs)
        self.session = CallSession(Script(list(turns)), config, knobs=knobs)
        self.now = 0.0
        self.heard = bytearray()
        self.told: list[dict[str, Any]] = []
        self.note(self.session.start(0.0))

    def note(self, actions: Any) -> None:
        self.told += [action.event for action in actions if isinstance(action, Send)]

    def sends(self, event_type: str, **fields: Any) -> None:
        self.note(self.session.receive(json.dumps({"type": event_type, **fields}), self.now))

    def listens(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            pcm, actions = self.session.play(self.now)
            assert len(pcm) == FRAME
            self.heard += pcm
            self.note(actions)

    @property
    def names(self) -> list[str]:
        return [event["type"] for event in self.told]

    @property
    def loud_ms(self) -> int:
        return self.heard.count(LOUD) // 24


def test_a_reply_is_heard_at_its_own_pace_and_told_from_beginning_to_end() -> None:
    ear = Ear(Turn(say="Hello."))
    ear.sends("response.create")
    ear.listens(0.5)
    assert "response.done" in ear.names  # made faster than it is heard
    assert ear.names.count("output_audio_buffer.started") == 1
    assert "output_audio_buffer.stopped" not in ear.names
    assert "response.output_audio.delta" not in ear.names
    ear.listens(1.0)
    assert ear.loud_ms == 1000
    assert ear.names[-1] == "output_audio_buffer.stopped"
    assert len(ear.heard) == 75 * FRAME  # silence is heard, too


def test_messages_of_one_reply_are_one_playback_and_two_replies_are_two() -> None:
    ear = Ear(Turn(messages=("One.", "Two.")), Turn(say="Three."))
    ear.sends("response.create")
    ear.listens(0.5)
    ear.sends("response.create")
    ear.listens(4.0)
    assert ear.loud_ms == 3000
    played = [name.rpartition(".")[2] for name in ear.names if name.startswith("output_audio_buffer")]
    assert played == ["started", "stopped", "started", "stopped"]


def test_what_is_cleared_is_not_heard_and_leaves_the_conversation() -> None:
    ear = Ear(Turn(say="Hello."))
    ear.sends("response.create")
    ear.listens(0.5)
    ear.sends("output_audio_buffer.clear")
    heard = ear.loud_ms
    ear.listens(1.0)
    assert ear.loud_ms == heard < 500
    (cut,) = [event for event in ear.told if event["type"] == "conversation.item.truncated"]
    assert cut["audio_end_ms"] == heard
    (item,) = ear.session.conversation
    assert item.audio_ms == heard
    assert ear.names[-2:] == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    ear.sends("output_audio_buffer.clear")
    assert ear.names.count("output_audio_buffer.cleared") == 1  # there was nothing to clear


@pytest.mark.parametrize("interrupts", [True, False])
def test_a_caller_who_speaks_ends_what_is_played_if_the_session_says_so(interrupts: bool) -> None:
    detection = {"type": "server_vad", "interrupt_response": interrupts, "create_response": False}
    ear = Ear(Turn(say="Hello."), audio={"input": {"turn_detection": detection}})
    ear.sends("response.create")
    ear.listens(0.4)
    ear.note(ear.session.hear(LOUD * 12000, ear.now))
    assert "input_audio_buffer.speech_started" in ear.names
    assert ("output_audio_buffer.cleared" in ear.names) is interrupts
    ear.listens(1.0)
    assert ("output_audio_buffer.stopped" in ear.names) is not interrupts


def test_telephone_formats_are_heard_as_speech() -> None:
    ear = Ear(Turn(say="Hello."), audio={"output": {"format": {"type": "audio/pcmu"}}})
    ear.sends("response.create")
    ear.listens(1.5)
    assert len(ear.heard) - ear.heard.count(bytes(FRAME)) * FRAME > 40000


def test_only_a_call_has_a_playback_to_clear() -> None:
    ear = Ear()
    ear.sends("output_audio_buffer.clear")
    assert "error" not in ear.names
