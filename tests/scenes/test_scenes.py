"""Conversations as files, replayed through the core and through the emulator.

A scene is one JSON object a line. Both ends of this project have to agree with it: `core.Conversation` must make of the
server's lines exactly what the scene expects, and the emulator must answer the client's lines with the same events.

    {"note": "..."}                        for the reader
    {"emulator": {"turns": [...], ...}}    the emulator's script and knobs; without it only the core plays
    {"call": "ask", "key": "k1", ...}      what LiveKit, or the transport, asks of the core: a method
    {"client": "response.create", ...}     the event that leaves because of that, or because of the line before
    {"server": {...}}                      a whole server event
    {"expect": [{"effect": ...}, ...]}     every effect since the last expect, in order; only the named fields compared

What the core wants to send stands in client lines, not in expects; user audio does not pass through the core. "(200 ms
of audio)" stands for so much silent PCM and "(speech: Stop.)" for the emulator's synthetic voice. `at` on a line sets
the wall clock, in seconds.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from livekit_plugins_openai_ga.core import effects as fx
from livekit_plugins_openai_ga.core.conversation import Conversation
from livekit_plugins_openai_ga.core.record import Record
from livekit_plugins_openai_ga.emulator import EmulatorSession, Knobs, Script
from livekit_plugins_openai_ga.emulator.actions import Action, Send
from livekit_plugins_openai_ga.emulator.voice import synthetic
from livekit_plugins_openai_ga.wire.items import Item
from livekit_plugins_openai_ga.wire.server_events import from_payload

Line = dict[str, Any]
Event = dict[str, Any]

BYTES_PER_MS = 48
PATHS = sorted(Path(__file__).parent.glob("*.jsonl"))
KINDS = ("note", "emulator", "call", "client", "server", "expect")


def read(path: Path) -> list[Line]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, line in enumerate(lines, 1):
        assert sum(kind in line for kind in KINDS) == 1, f"{path.name}:{number} is not one of {KINDS}"
    return lines


SCENES = {path.stem: read(path) for path in PATHS}
EMULATED = {name: lines for name, lines in SCENES.items() if any("emulator" in line for line in lines)}


def pcm(words: str) -> bytes | None:
    """The audio that the words in a scene stand for; None when they are only words."""
    if silence := re.fullmatch(r"\((\d+) ms of (audio|silence)\)", words):
        return bytes(int(silence[1]) * BYTES_PER_MS)
    if speech := re.fullmatch(r"\(speech: (.+)\)", words):
        return synthetic(speech[1])
    return None


def with_audio(event: Mapping[str, Any]) -> Event:
    """The event as it stands on the wire."""
    found = {key: pcm(value) for key, value in event.items() if isinstance(value, str)}
    return {**event, **{key: b64encode(audio).decode() for key, audio in found.items() if audio is not None}}


# -- the core ------------------------------------------------------------------------------------------------------


def matches(expected: Any, actual: Any) -> bool:
    """Whether `actual` has what is written in a scene: objects by their named fields, all else by value."""
    if isinstance(actual, bytes):
        return isinstance(expected, str) and pcm(expected) == actual
    if isinstance(expected, dict):
        fields = actual if isinstance(actual, Mapping) else {key: getattr(actual, key) for key in expected}
        return all(key in fields and matches(value, fields[key]) for key, value in expected.items())
    return bool(expected == actual)


class CoreReplay:
    """Plays a scene's server lines and calls to a `Conversation` and checks what comes of them."""

    def __init__(self, lines: list[Line]) -> None:
        first = next(line for line in lines if line.get("client") == "session.update")
        self.conversation = Conversation(first["session"])
        self.now = 0.0
        self.effects: list[fx.Effect] = []
        self.to_send: list[Event] = []

    def play(self, line: Line) -> None:
        self.now = line.get("at", self.now)
        if "server" in line:
            self.note(self.conversation.receive(from_payload(with_audio(line["server"])), self.now))
        elif "call" in line:
            self.note(self.call(line["call"], {k: v for k, v in line.items() if k not in ("call", "at")}))
        elif "expect" in line:
            self.expect(line["expect"])
        elif "client" in line and not line["client"].startswith("input_audio_buffer."):
            assert self.to_send, f"nothing is to be sent, expected {line['client']}"
            assert self.to_send.pop(0) == frame(line)

    def note(self, effects: list[fx.Effect]) -> None:
        assert not self.to_send, f"the scene sends something else first; left: {self.to_send}"
        self.to_send += [effect.event for effect in effects if isinstance(effect, fx.Send)]
        # Limits come at any time, as in `course`.
        self.effects += [effect for effect in effects if not isinstance(effect, (fx.Send, fx.RateLimits))]

    def call(self, name: str, arguments: dict[str, Any]) -> list[fx.Effect]:
        if name in ("opened", "closed", "interrupt", "give_up"):
            arguments["now"] = self.now
        if "append" in arguments:
            new = [
                Record(Item(**{**item, "content": tuple(item.get("content", ()))}), self.now)
                for item in arguments.pop("append")
            ]
            arguments["target"] = [*self.conversation.mirror, *new]
        items = arguments.pop("items", [])
        owner = self.conversation if hasattr(self.conversation, name) else self.conversation.answers
        effects: list[fx.Effect] = getattr(owner, name)(*items, **arguments)
        return effects

    def expect(self, expected: list[dict[str, Any]]) -> None:
        assert [type(effect).__name__ for effect in self.effects] == [wanted["effect"] for wanted in expected]
        for wanted, effect in zip(expected, self.effects, strict=True):
            fields = {key: value for key, value in wanted.items() if key != "effect"}
            assert matches(fields, effect), f"expected {fields}, came {effect}"
        self.effects.clear()


@pytest.mark.parametrize("name", SCENES)
def test_the_core_makes_of_a_scene_what_it_expects(name: str) -> None:
    replay = CoreReplay(SCENES[name])
    for number, line in enumerate(SCENES[name], 1):
        try:
            replay.play(line)
        except AssertionError as exc:
            raise AssertionError(f"{name}.jsonl:{number}: {exc}") from exc
    assert not replay.effects, "effects behind the last expect"
    assert not replay.to_send, "client events behind the last client line"


# -- the emulator --------------------------------------------------------------------------------------------------

TRANSCRIPTION = "conversation.item.input_audio_transcription."


def frame(line: Line) -> Event:
    """The client event of a line."""
    return {"type": line["client"], **{key: value for key, value in line.items() if key not in ("client", "at")}}


def course(events: list[Event]) -> list[str]:
    """Event types in order, for comparison.

    A run of deltas counts once for each type in it: how much one delta holds is nobody's promise. Transcription events
    and rate limits are asynchronous to everything else, so they are left out.
    """
    types: list[str] = []
    run: set[str] = set()
    for name in (event["type"] for event in events):
        if name.startswith(TRANSCRIPTION) or name == "rate_limits.updated":
            continue
        if not name.endswith(".delta"):
            run.clear()
        elif name in run:
            continue
        else:
            run.add(name)
        types.append(name)
    return types


def server_ids(events: list[Event]) -> dict[str, list[str]]:
    """The ids of responses, items and calls, each in order of appearance."""
    ids: dict[str, dict[str, None]] = {"response": {}, "item": {}, "call": {}}
    for event in events:
        item = event.get("item") or {}
        for kind, value in (
            ("response", (event.get("response") or {}).get("id")),
            ("item", item.get("id") or event.get("item_id")),
            ("call", item.get("call_id")),
        ):
            if value is not None:
                ids[kind][value] = None
    return {kind: list(found) for kind, found in ids.items()}


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with every id in it replaced."""
    if isinstance(value, dict):
        return {key: renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


class EmulatorReplay:
    """Sends a scene's client lines to the emulator, each when it has come as far as the scene has, in virtual time."""

    def __init__(self, emulator: dict[str, Any], tmp_path: Path) -> None:
        settings = dict(emulator)
        path = tmp_path / "script.json"
        path.write_text(json.dumps({key: settings.pop(key) for key in ("turns", "out_of_band") if key in settings}))
        self.script = Script.load(path)
        self.knobs = Knobs(speak=synthetic, **settings)
        self.connections = 0
        self.now = 0.0
        self.seen: list[Event] = []
        self.scene: list[Event] = []
        self.connect()

    def connect(self) -> None:
        self.connections += 1
        self.session = EmulatorSession(self.script, knobs=self.knobs, now=self.now, number=self.connections)
        self.collect(self.session.start(self.now))

    def play(self, line: Line) -> None:
        if "server" in line:
            self.scene.append(line["server"])
        elif line.get("call") == "closed":
            self.catch_up()
            self.session.connection_lost(1006, "")
            self.connect()
        elif line.get("client") == "input_audio_buffer.append":
            self.catch_up()
            self.speak(pcm(line["audio"]) or b"")
        elif "client" in line:
            self.catch_up()
            self.send(frame(line))

    def catch_up(self) -> None:
        """Let time pass until the emulator has said what the scene has."""
        target = course(self.scene)
        while len(course(self.seen)) < len(target) and self.step():
            pass
        assert course(self.seen)[: len(target)] == target

    def finish(self) -> None:
        """Let the emulator say all it has to."""
        end = self.now + 60
        while self.step(end):
            pass

    def step(self, end: float = float("inf")) -> bool:
        due = self.session.next_deadline()
        if due is None or due > end:
            return False
        self.now = max(self.now, due)
        self.collect(self.session.tick(self.now))
        return True

    def send(self, event: Event) -> None:
        ours, theirs = server_ids(self.scene), server_ids(self.seen)
        names = {old: new for kind in ours for old, new in zip(ours[kind], theirs[kind], strict=False)}
        self.collect(self.session.receive(json.dumps(renamed(event, names)), self.now))

    def speak(self, audio: bytes, *, chunk_ms: int = 20) -> None:
        """Append audio in real time."""
        for chunk in chunks(audio, chunk_ms * BYTES_PER_MS):
            self.send({"type": "input_audio_buffer.append", "audio": b64encode(chunk).decode()})
            end = self.now + chunk_ms / 1000
            while self.step(end):
                pass
            self.now = end

    def collect(self, actions: list[Action]) -> None:
        self.seen += [action.event for action in actions if isinstance(action, Send)]


def chunks(audio: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


@pytest.mark.parametrize("name", EMULATED)
def test_the_emulator_takes_the_course_of_a_scene(name: str, tmp_path: Path) -> None:
    lines = EMULATED[name]
    replay = EmulatorReplay(next(line["emulator"] for line in lines if "emulator" in line), tmp_path)
    for number, line in enumerate(lines, 1):
        try:
            replay.play(line)
        except AssertionError as exc:
            raise AssertionError(f"{name}.jsonl:{number}: {exc}") from exc
    replay.finish()
    assert course(replay.seen) == course(replay.scene)
