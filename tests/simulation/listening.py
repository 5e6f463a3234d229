"""The same for speech to text: somebody speaks, the network is hostile, and each sentence must come out once, in order.

`play(seed)` gives what did not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, APIError
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT
from livekit_plugins_openai_ga.emulator import Emulator, Script
from livekit_plugins_openai_ga.emulator import faults as fl
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.script import Turn

from .application import CHUNK_MS
from .delivery import arrivals
from .invariants import CLOSE_LIMIT_S, dead_peer
from .network import Network
from .run import Outcome, simulate, trace
from .schedule import BEGINNINGS, GARBAGE, HEARTBEAT_S, MAX_RETRY, MOVABLE, any_path, speak

END_LIMIT_S = 120.0
STREAMING = "gpt-live-transcribe"
_EVENTS = (
    "session.update",
    "input_audio_buffer.append",
    "input_audio_buffer.commit",
    "session.created",
    "session.updated",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
)
_IDEMPOTENT = ("session.updated", "conversation.item.added", "conversation.item.input_audio_transcription.completed")


@dataclass(slots=True)
class Speech:
    """Somebody speaks: `sentences` are chunks of 100 ms, loud and then quiet. `reading`: seconds after each event."""

    seed: int
    model: str
    sentences: list[tuple[int, int]]
    ends: bool
    knobs: Knobs
    max_session_duration: float | None
    faults: list[fl.Fault] = field(default_factory=list)
    paths: list[Any] = field(default_factory=list)
    reading: float = 0.0

    @property
    def faithful(self) -> bool:
        """Whether every text that the server made arrived. One that was lost on the way is not made again: the script
        has moved on, and the same audio is then heard as the next sentence. So it goes with a second connection."""
        lossy = (fl.FailTranscription, fl.DelayTranscription, fl.RejectOn, fl.DropOn, fl.FreezeOn)
        cut = any((path.cut_after, path.cut_sending, path.silent_after) != (None, None, None) for path in self.paths)
        return not cut and not any(isinstance(fault, lossy) for fault in self.faults)

    @property
    def out_of_order(self) -> bool:
        """Whether texts come out of order on purpose."""
        return any(isinstance(fault, fl.DelayTranscription) for fault in self.faults)

    def told(self) -> str:
        """What happens as a person reads it."""
        how = "and ends" if self.ends else "and is closed in the middle"
        lines = [
            f"seed {self.seed}: {self.model}, {self.sentences} {how}, recycles after {self.max_session_duration} s, "
            f"reads every {self.reading} s",
            *(f"  fault   {fault}" for fault in self.faults),
            *(f"  path {n}  {path}" for n, path in enumerate(self.paths)),
        ]
        return "\n".join(lines)


def schedule(seed: int) -> Speech:
    """The speech with this number; always the same."""
    dice = random.Random(f"stt {seed}")
    speech = Speech(
        seed,
        model=dice.choice(("gpt-transcribe", "gpt-transcribe", STREAMING)),
        sentences=[(dice.randrange(4, 16), dice.randrange(8, 14)) for _ in range(dice.randrange(1, 6))],
        ends=dice.random() < 0.85,
        knobs=Knobs(transcription_latency=dice.choice((0.02, 0.15, 1.5)), speak=speak),
        max_session_duration=dice.choice((None, None, None, 3.0, 8.0)),
    )
    speech.faults = [_fault(dice) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
    speech.paths = [any_path(dice) for _ in range(dice.choice((0, 1, 1, 2, 3)))]
    more = random.Random(f"more stt {seed}")
    speech.reading = more.choice((0.0, 0.0, 0.05, 1.0))
    if more.random() < 0.4:
        speech.faults.append(fl.PostponeOn(more.choice(MOVABLE), more.choice((1, 2)), more.choice((1, 20))))
    if more.random() < 0.2:
        speech.faults.append(fl.DropOn(more.choice(BEGINNINGS[:2]), more.choice((1, 2, 3))))
    return speech


def _on(dice: random.Random, events: tuple[str, ...] = _EVENTS) -> dict[str, Any]:
    return {"on": dice.choice(events), "nth": dice.choice((1, 1, 2, 3, 5, 20))}


_FAULTS: tuple[tuple[int, Callable[[random.Random], fl.Fault]], ...] = (
    (5, lambda dice: fl.DropOn(**_on(dice))),
    (4, lambda dice: fl.CloseOn(code=dice.choice((1000, 1001, 1011, 1012)), reason="simulated", **_on(dice))),
    (1, lambda dice: fl.CloseOn(code=dice.choice((3000, 4000)), reason="simulated", **_on(dice))),
    (3, lambda dice: fl.FreezeOn(**_on(dice))),
    (1, lambda dice: fl.RejectOn(code="invalid_value", message="No.", **_on(dice, _EVENTS[:3]))),
    (2, lambda dice: fl.DelayOn(seconds=dice.choice((0.05, 0.5, 4.0)), **_on(dice, _EVENTS[3:]))),
    (2, lambda dice: fl.InjectOn(data=dice.choice(GARBAGE), **_on(dice, _EVENTS[3:]))),
    (2, lambda dice: fl.RepeatOn(**_on(dice, _IDEMPOTENT))),
    (1, lambda dice: fl.FailTranscription(nth=dice.choice((1, 2)))),
    (2, lambda dice: fl.DelayTranscription(seconds=dice.choice((1.0, 5.0)), nth=dice.choice((1, 2)))),
    (2, lambda dice: fl.ExpireAfter(seconds=dice.choice((0.5, 3.0)))),
    (2, lambda dice: fl.RefuseHandshake(status=dice.choice((408, 429, 500, 503)), times=dice.choice((1, 2)))),
    (1, lambda dice: fl.RejectHandshake(nth=dice.choice((1, 2)))),
)


def _fault(dice: random.Random) -> fl.Fault:
    return dice.choices([make for _, make in _FAULTS], [weight for weight, _ in _FAULTS])[0](dice)


def play(seed: int, *, log: bool = False) -> Outcome:
    """Play the speech with this number. Never raises for what the code under test does."""
    speech = schedule(seed)
    network = Network(seed, speech.paths)
    return simulate(seed, network, lambda outcome: _listen(speech, network, outcome), log=log)


class _Listener:
    """Speaks, and reads what comes."""

    def __init__(self, speech: Speech, stream: Any) -> None:
        self.speech = speech
        self.stream = stream
        self.events: list[lk.SpeechEvent] = []
        self.error: Exception | None = None
        self.loud: set[int] = set()
        self.pushed = 0

    async def talk(self) -> None:
        for loud, quiet in self.speech.sentences:
            for is_loud in [True] * loud + [False] * quiet:
                pcm = struct.pack("<hhI", 1, 2, self.pushed) + (b"\x00\x20" if is_loud else b"\x00\x00") * (
                    24 * CHUNK_MS
                )
                if is_loud:
                    self.loud.add(self.pushed)
                self.pushed += 1
                self.stream.push_frame(rtc.AudioFrame(pcm[: 48 * CHUNK_MS], 24000, 1, 24 * CHUNK_MS))
                await asyncio.sleep(CHUNK_MS / 1000)
            if self.speech.model == STREAMING:
                self.stream.flush()

    async def read(self) -> None:
        try:
            async for event in self.stream:
                self.events.append(event)
                await asyncio.sleep(self.speech.reading)
        except APIError as exc:
            self.error = exc

    @property
    def finals(self) -> list[str]:
        """The texts that were final, without those of silence."""
        final = lk.SpeechEventType.FINAL_TRANSCRIPT
        texts = [event.alternatives[0].text for event in self.events if event.type == final]
        return [text for text in texts if text]


async def _listen(speech: Speech, network: Network, outcome: Outcome) -> None:
    turns = [Turn(heard=f"heard-{number}") for number in range(len(speech.sentences))]
    async with Emulator(Script(turns), knobs=speech.knobs, faults=speech.faults) as server:
        model = _model(server, speech)
        stream = model.stream(conn_options=APIConnectOptions(max_retry=MAX_RETRY, retry_interval=0.5, timeout=5.0))
        listener = _Listener(speech, stream)
        reading = asyncio.ensure_future(listener.read())
        with contextlib.suppress(RuntimeError):  # it has ended by an error
            await listener.talk()
        if speech.ends:
            with contextlib.suppress(RuntimeError):  # it has ended by an error
                stream.end_input()
            await asyncio.wait({reading}, timeout=END_LIMIT_S)
            outcome.violations += dead_peer(network) or _ended(listener, reading, server)
        outcome.violations += await _closed(stream, reading)
        outcome.facts = _facts(listener, server)
        outcome.trace = trace(server)
    await model.aclose()
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    outcome.violations += [f"a task is left: {task!r}"[:300] for task in left]


def _model(server: Emulator, speech: Speech) -> STT:
    return STT(
        api_key="sk-simulated",
        base_url=server.base_url,
        model=speech.model,
        vad=None,
        heartbeat=HEARTBEAT_S,
        max_session_duration=speech.max_session_duration,
    )


def _ended(listener: _Listener, reading: asyncio.Task[None], server: Emulator) -> list[str]:
    if not reading.done():
        return [f"the stream has not ended after {END_LIMIT_S:g} s"]
    if reading.exception() is not None:
        return [f"the stream raised {reading.exception()!r}"]
    found = _order(listener, server)
    if listener.error is not None:
        return found
    wanted = [f"heard-{number}" for number in range(len(listener.speech.sentences))]
    if listener.speech.faithful and len(server.sessions) == 1 and sorted(listener.finals) != wanted:
        found.append(f"finals are {listener.finals} for {len(wanted)} sentences")
    return found + _audio(listener, server)


def _order(listener: _Listener, server: Emulator) -> list[str]:
    """Texts come in the order in which they were said, each once; speech starts and ends in turns."""
    found = []
    numbers = [int(text.rpartition("-")[2]) for text in listener.finals]
    # The script goes by who asks first: what is said again on a second connection can get the text after the next.
    ordered = numbers == sorted(numbers) or len(server.sessions) > 1 or listener.speech.out_of_order
    if not ordered or len(numbers) != len(set(numbers)):
        found.append(f"finals are {listener.finals}")
    kinds = [
        event.type
        for event in listener.events
        if event.type in (lk.SpeechEventType.START_OF_SPEECH, lk.SpeechEventType.END_OF_SPEECH)
    ]
    starts = [kind == lk.SpeechEventType.START_OF_SPEECH for kind in kinds]
    if starts != [number % 2 == 0 for number in range(len(starts))]:
        found.append(f"speech starts and ends as {[kind.value for kind in kinds]}")
    return found


def _audio(listener: _Listener, server: Emulator) -> list[str]:
    found, arrived = [], set()
    for number, session in enumerate(server.sessions):
        chunks = arrivals(session)
        arrived.update(chunks)
        if chunks != sorted(set(chunks)):
            found.append(f"connection {number} got audio out of order or twice: {chunks}")
    if missing := listener.loud - arrived:
        found.append(f"audio is gone: chunks {sorted(missing)}")
    return found


async def _closed(stream: Any, reading: asyncio.Task[None]) -> list[str]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await stream.aclose()
    took = loop.time() - began
    found = [f"aclose took {took:.3f} s"] if took > CLOSE_LIMIT_S else []
    await asyncio.wait({reading}, timeout=1.0)
    return found if reading.done() else [*found, "closed, the stream has not ended"]


def _facts(listener: _Listener, server: Emulator) -> dict[str, int]:
    return {
        "connections": len(server.sessions),
        "chunks": listener.pushed,
        "finals": len(listener.finals),
        "errors": int(listener.error is not None),
    }
