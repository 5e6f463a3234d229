"""An hour-long call, and an hour of dictation, in virtual time; and what a session holds at any moment of it."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectOptions, llm
from livekit.agents import stt as lk

from livekit_plugins_openai_ga import STT, RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator, Script
from livekit_plugins_openai_ga.emulator import faults as fl
from livekit_plugins_openai_ga.emulator.knobs import Knobs
from livekit_plugins_openai_ga.emulator.script import ToolCall, Turn

from .application import CHUNK_MS, Application
from .listening import STREAMING
from .network import Network
from .run import Outcome, simulate
from .schedule import HEARTBEAT_S, speak

PACKAGE = "livekit_plugins_openai_ga."
TURNS = 120
BETWEEN_S = 30.0
ITEMS_KEPT = 20
"""The application shortens the history to so many items, so whatever grows is not the conversation."""
LOOKS = 4

CONTAINERS = (dict, list, set, tuple, deque, frozenset)

Held = Counter[str]


def _ours(thing: object) -> bool:
    module = str(type(thing).__module__)
    return module.startswith(PACKAGE) and not module.startswith(PACKAGE + "emulator")


def _inside(thing: object) -> Iterator[tuple[str, object]]:
    if isinstance(thing, dict):
        yield from (("[]", value) for value in thing.values())
    elif isinstance(thing, CONTAINERS):
        yield from (("[]", value) for value in thing)
    elif _ours(thing):
        slots = (name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ()))
        names = {*getattr(thing, "__dict__", ()), *slots}
        yield from ((f".{name}", getattr(thing, name)) for name in names if hasattr(thing, name))


def held(session: RealtimeSession | lk.RecognizeStream) -> Held:
    """How many elements are in each container that a session holds, by the way to it; and how many objects of each of
    the package's classes there are anywhere."""
    found: Held = Counter()
    seen, todo = {id(session)}, deque[tuple[str, object]]([("session", session)])
    while todo:
        path, thing = todo.popleft()
        if isinstance(thing, CONTAINERS):
            found[path] += len(thing)
        for name, value in _inside(thing):
            if id(value) not in seen and (_ours(value) or isinstance(value, CONTAINERS)):
                seen.add(id(value))
                todo.append((path + name, value))
    gc.collect()
    found.update(f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects() if _ours(thing))
    return found


def _script() -> list[Turn]:
    turns = []
    for number in range(2 * TURNS):
        words = " ".join(["word"] * (3 + number % 20))
        call = ToolCall("get_weather", {"city": f"C{number}"}) if number % 5 == 4 else None
        turns.append(Turn(heard=f"heard {number}", say="" if call else words, tool=call))
    return turns


class Hour:
    """Somebody who talks for an hour."""

    def __init__(self, session: RealtimeSession, network: Network, *, restarts: bool) -> None:
        self.session = session
        self.network = network
        self.app = Application(session, reading=0.0)
        self.held: list[Held] = []
        self.heard = self.calls = self.errors = 0
        self._restarts = restarts

    async def play(self, turns: int) -> None:
        """So many turns; looks at what is held at `LOOKS` of them."""
        await self.app.set_up()
        for number in range(1, turns + 1):
            await self.app.speak(8, 6)
            await asyncio.sleep(0.4 if number % 7 == 0 else BETWEEN_S / 2)
            if number % 7 == 0:
                await self.app.interrupt()
                await self.app.truncate(100)
            await self._answer_calls()
            if self._restarts and number % 15 == 0:
                self.session.restart()
            await asyncio.sleep(BETWEEN_S / 2)
            if number % 3 == 0:
                await self._shorten()
            if number % (turns // LOOKS) == 0:
                await asyncio.sleep(BETWEEN_S)
                await self._shorten()
                self._forget()
                self.held.append(held(self.session))

    def _forget(self) -> None:
        """What only the simulation holds."""
        self.heard += len(self.app.heard)
        self.calls += sum(len(heard.calls) for heard in self.app.heard)
        self.errors += len(self.app.errors)
        for things in (self.app.heard, self.app.errors, self.app.asked, self.app.calls, self.network.clients):
            things.clear()  # type: ignore[attr-defined]

    async def _answer_calls(self) -> None:
        calls = self.app.heard[-1].calls if self.app.heard else []
        if calls:
            context = self.session.chat_ctx.copy()
            for call in calls:
                output = llm.FunctionCallOutput(call_id=call, name="get_weather", output="sunny", is_error=False)
                context.items.append(output)
            await self.session.update_chat_ctx(context)
            await self.app.reply(None, False)

    async def _shorten(self) -> None:
        context = self.session.chat_ctx.copy()
        del context.items[: -ITEMS_KEPT or None]
        await self.session.update_chat_ctx(context)


def hour(*, rough: bool, transcribes: bool, turns: int = TURNS) -> tuple[Outcome, list[Held]]:
    """Play it; what did not hold, and what was held at each look. `rough`: connections end, and changes are refused."""
    looks: list[Held] = []
    network = Network()

    async def call(outcome: Outcome) -> None:
        faults: list[fl.Fault] = [fl.DropOn(on="response.content_part.added", nth=nth) for nth in range(10, turns, 25)]
        for nth in range(9, turns, 20):
            faults.append(fl.RejectOn(on="conversation.item.delete", code="server_error", message="No.", nth=nth))
        knobs = Knobs(pace=5.0, delta_ms=400, speak=speak, lifetime=7200.0)
        async with Emulator(Script(_script()), knobs=knobs, faults=faults if rough else []) as server:
            session = RealtimeModel(
                api_key="sk-simulated",
                base_url=server.base_url,
                input_audio_transcription={"model": "gpt-4o-mini-transcribe"} if transcribes else None,
                turn_detection={"type": "server_vad", "interrupt_response": True},
                conn_options=APIConnectOptions(max_retry=3, retry_interval=0.5, timeout=5.0),
                heartbeat=HEARTBEAT_S,
                max_session_duration=600.0 if rough else None,
            ).session()
            caller = Hour(session, network, restarts=rough)
            try:
                await caller.play(turns)
            finally:
                looks.extend(caller.held)
                outcome.violations += caller.app.problems
                outcome.facts = {
                    "connections": len(server.sessions),
                    "replies": caller.heard,
                    "calls": caller.calls,
                    "errors": caller.errors,
                }
                await session.aclose()

    return simulate(1, network, call), looks


async def _dictate(stream: lk.RecognizeStream, *, whole: bool) -> None:
    """A sentence: 0.8 s of speech and a pause. `whole`: it is ended here."""
    for is_loud in [True] * 8 + [False] * 6:
        pcm = (b"\x00\x20" if is_loud else b"\x00\x00") * (24 * CHUNK_MS)
        stream.push_frame(rtc.AudioFrame(pcm, 24000, 1, 24 * CHUNK_MS))
        await asyncio.sleep(CHUNK_MS / 1000)
    if whole:
        stream.flush()


def dictation(model: str, *, rough: bool, turns: int = TURNS) -> tuple[Outcome, list[Held]]:
    """The same for speech to text."""
    looks: list[Held] = []
    network = Network()

    async def call(outcome: Outcome) -> None:
        faults: list[fl.Fault] = [fl.DropOn(on="input_audio_buffer.committed", nth=nth) for nth in range(5, turns, 9)]
        knobs = Knobs(speak=speak, lifetime=7200.0)
        script = Script([Turn(heard=f"heard {number}") for number in range(2 * turns)])
        async with Emulator(script, knobs=knobs, faults=faults if rough else []) as server:
            recycled = 600.0 if rough else None
            options: dict[str, Any] = {"model": model, "vad": None, "max_session_duration": recycled}
            stt = STT(api_key="sk-simulated", base_url=server.base_url, heartbeat=HEARTBEAT_S, **options)
            stream = stt.stream(conn_options=APIConnectOptions(max_retry=3, retry_interval=0.5, timeout=5.0))
            finals = 0

            async def read() -> None:
                nonlocal finals
                async for event in stream:
                    finals += event.type == lk.SpeechEventType.FINAL_TRANSCRIPT

            reading = asyncio.ensure_future(read())
            for number in range(1, turns + 1):
                await _dictate(stream, whole=model == STREAMING)
                await asyncio.sleep(BETWEEN_S)
                if number % (turns // LOOKS) == 0:
                    network.clients.clear()
                    looks.append(held(stream))
            await stream.aclose()
            await reading
            await stt.aclose()
            outcome.facts = {"connections": len(server.sessions), "finals": finals}

    return simulate(1, network, call), looks
