"""The same for translation: somebody speaks, falls silent, is muted, comes late; the network is hostile; and each piece
of speech must be translated once, in order.

The emulated model says what it heard, some time later: 20 ms of source with a number in them. `play(seed)` gives what
did not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Literal

from livekit import rtc
from livekit.agents import APIConnectOptions, APIError

from livekit_plugins_openai_ga import TranslationStream, Translator
from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.emulator import faults as fl
from livekit_plugins_openai_ga.emulator.interpreter import DELTA_BYTES
from livekit_plugins_openai_ga.emulator.knobs import Knobs

from .invariants import CLOSE_LIMIT_S, dead_peer
from .network import Network
from .run import Outcome, simulate, trace
from .schedule import GARBAGE, HEARTBEAT_S, MAX_RETRY, any_path

CELL_MS = 20
CELL_BYTES = CELL_MS * 48
END_LIMIT_S = 300.0
SPEECH_BYTES_PER_S = 70_000
"""A source takes so much of a line, in base64."""
_MARK = b"\x01\x00\x02\x00"
_CLIENT = ("session.update", "session.input_audio_buffer.append", "session.close")
_SERVER = (
    "session.created",
    "session.updated",
    "session.output_transcript.delta",
    "session.output_audio.delta",
    "session.closed",
)

How = Literal["speaks", "is silent", "is muted", "comes late"]


@dataclass(slots=True)
class Interview:
    """Somebody speaks. `parts`: how, and for how many cells. `languages`: changed to one of these now and then."""

    seed: int
    parts: list[tuple[How, int]]
    ends: bool
    changes_language: bool
    knobs: Knobs
    max_session_duration: float | None
    faults: list[fl.Fault] = field(default_factory=list)
    paths: list[Any] = field(default_factory=list)
    reading: float = 0.0

    def told(self) -> str:
        """What happens as a person reads it."""
        how = "and ends" if self.ends else "and is closed in the middle"
        lag, speed, silence = (
            self.knobs.translation_lag,
            self.knobs.translation_speed,
            self.knobs.translation_silence,
        )
        lines = [
            f"seed {self.seed}: {self.parts} {how}, lag {lag} s, speed {speed}, silence {silence}, recycles after "
            f"{self.max_session_duration} s, reads every {self.reading} s",
            *(f"  fault   {fault}" for fault in self.faults),
            *(f"  path {n}  {path}" for n, path in enumerate(self.paths)),
        ]
        return "\n".join(lines)


def schedule(seed: int) -> Interview:
    """The interview with this number; always the same."""
    dice = random.Random(f"translation {seed}")
    made = Interview(
        seed,
        parts=[_part(dice) for _ in range(dice.randrange(2, 9))],
        ends=dice.random() < 0.85,
        changes_language=dice.random() < 0.3,
        knobs=Knobs(
            translation_lag=dice.choice((0.2, 1.0, 3.0)),
            translation_speed=dice.choice((1.2, 2.4, 20.0)),
            translation_silence=dice.random() < 0.7,
            interpret=interpret,
        ),
        max_session_duration=dice.choice((None, None, None, 4.0, 9.0)),
        reading=dice.choice((0.0, 0.0, 0.05, 0.5)),
    )
    made.faults = [_fault(dice) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
    made.paths = [any_path(dice) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
    if dice.random() < 0.1:
        _make_wordy(made, dice)
    return made


def _make_wordy(made: Interview, dice: random.Random) -> None:
    """The model says twice as much as it heard, so it falls behind, and a planned change comes in the middle of that.

    Only planned changes: of what it is more than 6 s behind, a connection that breaks loses the rest, as documented.
    """
    made.knobs = replace(made.knobs, interpret=ramble, translation_speed=dice.choice((2.4, 20.0)))
    made.parts = [("speaks", dice.randrange(100, 250)) for _ in range(dice.randrange(10, 16))]
    made.max_session_duration = dice.choice((4.0, 9.0))
    made.faults, made.paths = [], []


def _part(dice: random.Random) -> tuple[How, int]:
    how: How = dice.choice(("speaks", "speaks", "is silent", "is muted", "comes late"))
    return how, dice.randrange(3, 60) if how == "comes late" else dice.randrange(3, 250)


def _on(dice: random.Random, events: tuple[str, ...] = (*_CLIENT, *_SERVER)) -> dict[str, Any]:
    return {"on": dice.choice(events), "nth": dice.choice((1, 1, 2, 3, 5, 20, 50))}


_FAULTS: tuple[tuple[int, Callable[[random.Random], fl.Fault]], ...] = (
    (6, lambda dice: fl.DropOn(**_on(dice))),
    (4, lambda dice: fl.CloseOn(code=dice.choice((1000, 1001, 1011, 1012)), reason="simulated", **_on(dice))),
    (1, lambda dice: fl.CloseOn(code=dice.choice((3000, 4000)), reason="simulated", **_on(dice))),
    (4, lambda dice: fl.FreezeOn(**_on(dice))),
    (1, lambda dice: fl.RejectOn(code="invalid_value", message="No.", param="session", **_on(dice, _CLIENT[:1]))),
    (2, lambda dice: fl.DelayOn(seconds=dice.choice((0.05, 0.5, 4.0)), **_on(dice, _SERVER))),
    (2, lambda dice: fl.InjectOn(data=dice.choice(GARBAGE), **_on(dice, _SERVER))),
    (1, lambda dice: fl.RepeatOn(**_on(dice, ("session.updated", "session.closed")))),
    (3, lambda dice: fl.ExpireAfter(seconds=dice.choice((0.5, 3.0, 8.0)))),
    (2, lambda dice: fl.RefuseHandshake(status=dice.choice((408, 429, 500, 503)), times=dice.choice((1, 2)))),
    (1, lambda dice: fl.RejectHandshake(nth=dice.choice((1, 2)))),
)


def _fault(dice: random.Random) -> fl.Fault:
    return dice.choices([make for _, make in _FAULTS], [weight for weight, _ in _FAULTS])[0](dice)


def cell(number: int, *, loud: bool) -> bytes:
    """20 ms of source: silence, or a sound with its number in it."""
    if not loud:
        return bytes(CELL_BYTES)
    return (_MARK + struct.pack("<I", number) + b"\x00\x20" * CELL_BYTES)[:CELL_BYTES]


def cells(pcm: bytes) -> list[int]:
    """The numbers in a piece of audio."""
    starts = range(0, len(pcm) - 7, CELL_BYTES)
    return [struct.unpack_from("<I", pcm, at + 4)[0] for at in starts if pcm[at : at + 4] == _MARK]


def interpret(frame: bytes, language: str) -> tuple[str, bytes]:
    """What the emulated model says: the same."""
    return " ".join(map(str, cells(frame))) + " ", frame


def ramble(frame: bytes, language: str) -> tuple[str, bytes]:
    """The same, and as much again in the next step: 400 ms of audio belong to each."""
    text, pcm = interpret(frame, language)
    return text, pcm + bytes(2 * DELTA_BYTES - len(pcm))


def play(seed: int, *, log: bool = False) -> Outcome:
    """Play the interview with this number. Never raises for what the code under test does."""
    interview = schedule(seed)
    network = Network(seed, interview.paths)
    return simulate(seed, network, lambda outcome: _translate(interview, network, outcome), log=log)


class _Speaker:
    """Speaks, and reads what comes."""

    def __init__(self, interview: Interview, stream: TranslationStream) -> None:
        self.interview = interview
        self.stream = stream
        self.said: list[int] = []
        self.pushed = 0
        self.heard: list[int] = []
        self.read_texts: list[int] = []
        self.errors: list[Exception] = []
        self.closed = 0
        stream.on("closed", self._closed)

    def _closed(self) -> None:
        self.closed += 1

    async def talk(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        for part, (how, count) in enumerate(self.interview.parts):
            if self.interview.changes_language:
                self.stream.update_options(target_language=("de", "fr", "ja")[part % 3])
            for _ in range(count):
                at += CELL_MS / 1000
                if how != "comes late":
                    await asyncio.sleep(max(0.0, at - loop.time()))
                if how == "is muted":
                    continue
                if how == "comes late" and loop.time() < at and _ == 0:
                    await asyncio.sleep(count * CELL_MS / 1000)
                self._push(loud=how != "is silent")

    def _push(self, *, loud: bool) -> None:
        if loud:
            self.said.append(self.pushed)
        self.stream.push_frame(rtc.AudioFrame(cell(self.pushed, loud=loud), 24000, 1, CELL_BYTES // 2))
        self.pushed += 1

    async def read(self) -> None:
        await asyncio.gather(self._read_audio(), self._read_texts())

    async def _read_audio(self) -> None:
        try:
            async for frame in self.stream.audio:
                self.heard += cells(bytes(frame.data))
                await asyncio.sleep(self.interview.reading)
        except APIError as exc:
            self.errors.append(exc)

    async def _read_texts(self) -> None:
        try:
            async for told in self.stream.transcript:
                self.read_texts += map(int, told.text.split())
        except APIError as exc:
            self.errors.append(exc)


async def _translate(interview: Interview, network: Network, outcome: Outcome) -> None:
    async with Emulator(knobs=interview.knobs, faults=interview.faults) as server:
        translator = Translator(
            target_language="de",
            transcribe_source=True,
            api_key="sk-simulated",
            base_url=server.base_url,
            conn_options=APIConnectOptions(max_retry=MAX_RETRY, retry_interval=0.5, timeout=5.0),
            heartbeat=HEARTBEAT_S,
            max_session_duration=interview.max_session_duration,
        )
        stream = translator.stream()
        speaker = _Speaker(interview, stream)
        reading = asyncio.ensure_future(speaker.read())
        with contextlib.suppress(RuntimeError):  # it has ended by an error
            await speaker.talk()
        if interview.ends:
            stream.end_input()
            await asyncio.wait({reading}, timeout=END_LIMIT_S)
            outcome.violations += _dead_peer(interview, network) or _ended(speaker, reading)
        outcome.violations += await _closed(speaker, reading)
        outcome.violations += _sent(server)
        outcome.facts = _facts(speaker, server)
        outcome.trace = trace(server)
        await translator.aclose()
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    outcome.violations += [f"a task is left: {task!r}"[:300] for task in left]


def _dead_peer(interview: Interview, network: Network) -> list[str]:
    """On a line that is slower than speech, writes are held up although the peer is alive."""
    slow = any(path.bytes_per_s is not None and path.bytes_per_s < SPEECH_BYTES_PER_S for path in interview.paths)
    return [] if slow else dead_peer(network)


def _ended(speaker: _Speaker, reading: asyncio.Task[None]) -> list[str]:
    if not reading.done():
        return [f"the iterators have not ended after {END_LIMIT_S:g} s"]
    if reading.exception() is not None:
        return [f"reading raised {reading.exception()!r}"]
    found = list(_once(speaker))
    if speaker.errors:
        return found
    dropped = speaker.stream.info.audio_dropped
    for name, told in (("heard", speaker.heard), ("read", speaker.read_texts)):
        missing = sorted(set(speaker.said) - set(told))
        if len(missing) * CELL_MS / 1000 > dropped + 0.001:
            found.append(f"not {name}: {_ranges(missing)}; {dropped:.1f} s are counted as dropped")
    return found


def _once(speaker: _Speaker) -> Iterator[str]:
    for name, told in (("heard", speaker.heard), ("read", speaker.read_texts)):
        wrong = [pair for pair in pairwise(told) if pair[0] >= pair[1]]
        if wrong:
            yield f"{name} twice or out of order, at {wrong[:5]}"
        if strange := set(told) - set(speaker.said):
            yield f"{name}, but never said: {_ranges(sorted(strange))}"


def _ranges(numbers: list[int]) -> str:
    ends = [n for n in numbers if n - 1 not in numbers or n + 1 not in numbers]
    return f"{len(numbers)} cells, {ends[:12]}"


def _sent(server: Emulator) -> list[str]:
    """Every message is one step of the model."""
    sizes = {len(event["audio"]) for event in server.received("session.input_audio_buffer.append")}
    return [] if sizes <= {12_800} else [f"messages of {sizes} characters"]


async def _closed(speaker: _Speaker, reading: asyncio.Task[None]) -> list[str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await speaker.stream.aclose()
    took = loop.time() - began
    found = [f"aclose took {took:.3f} s"] if took > CLOSE_LIMIT_S else []
    await asyncio.wait({reading}, timeout=1.0)
    if not reading.done():
        found.append("closed, the iterators have not ended")
    return found if speaker.closed == 1 else [*found, f"`closed` was told {speaker.closed} times"]


def _facts(speaker: _Speaker, server: Emulator) -> dict[str, int]:
    return {
        "connections": len(server.sessions),
        "said": len(speaker.said),
        "heard": len(speaker.heard),
        "errors": len(speaker.errors),
    }
