"""Plays one schedule: client and emulator on one virtual loop. `play(seed)` gives what did not hold."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from livekit.agents import APIConnectOptions

from livekit_plugins_openai_ga import RealtimeModel, RealtimeSession
from livekit_plugins_openai_ga.emulator import Emulator, Script

from . import invariants
from .application import Application
from .network import Network
from .schedule import HEARTBEAT_S, LAYERS, MAX_RETRY, Schedule, schedule
from .virtual_loop import Stuck, VirtualLoop, world_of
from .watch import Watch

QUIET_S = 9.0
"""Nothing happened for so long: the call has come to rest. Longer than the heartbeat needs to find a dead peer, and any
single delay; shorter than a connection that is to be replaced lives."""
POLL_S = 0.5
REST_LIMIT_S = 120.0


@dataclass(slots=True)
class Outcome:
    """What became of a schedule. `trace` is the same for the same seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    trace: str = ""
    virtual_s: float = 0.0
    facts: dict[str, int] = field(default_factory=dict)


def play(seed: int, *, layers: int = LAYERS, log: bool = False) -> Outcome:
    """Play the schedule with this number. Never raises for what the code under test does."""
    planned = schedule(seed, layers=layers)
    network = Network(seed, planned.paths)
    return simulate(seed, network, lambda outcome: _call(planned, network, outcome), log=log)


def simulate(
    seed: int, network: Network, call: Callable[[Outcome], Coroutine[Any, Any, None]], *, log: bool = False
) -> Outcome:
    """Run `call` on a virtual loop, where this network is the only one; what never ends is a violation."""
    loop = VirtualLoop(network)
    outcome = Outcome(seed)
    random.seed(seed)
    with world_of(loop), _logging(log):
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(call(outcome))
        except Stuck as exc:
            outcome.violations.append(f"stuck: {exc}")
            _end_all(loop)
        finally:
            asyncio.set_event_loop(None)
            outcome.virtual_s = loop.now
            outcome.violations += [f"asyncio was told of: {problem}" for problem in loop.problems]
            loop.close()
    return outcome


@contextlib.contextmanager
def _logging(enabled: bool) -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET if enabled else logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _end_all(loop: VirtualLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    with contextlib.suppress(Stuck):
        loop.run_until_complete(asyncio.sleep(60))


async def _call(planned: Schedule, network: Network, outcome: Outcome) -> None:
    async with Emulator(Script(planned.turns), knobs=planned.knobs, faults=planned.faults) as server:
        session = _session(server, planned)
        served = any(turn.mcp for turn in planned.turns)
        app = Application(session, reading=planned.reading, approvals=planned.approvals, served=served)
        watch = Watch(session, app, server, network, planned)
        for action in planned.actions:
            await asyncio.sleep(action.after)
            await getattr(app, action.what)(*action.with_)
        rested = await _rest(watch)
        outcome.violations += invariants.at_rest(watch, rested)
        outcome.violations += await invariants.closing(watch)
        outcome.facts = watch.facts()
        outcome.trace = trace(server)
    outcome.violations += await invariants.afterwards()


def _session(server: Emulator, planned: Schedule) -> RealtimeSession:
    detection: Any = {"type": "server_vad", "interrupt_response": True} if planned.server_vad else None
    return RealtimeModel(
        api_key="sk-simulated",
        base_url=server.base_url,
        turn_detection=detection,
        input_audio_transcription={"model": "gpt-4o-mini-transcribe"} if planned.transcribes else None,
        resume_replies=planned.resume_replies,
        conn_options=APIConnectOptions(max_retry=MAX_RETRY, retry_interval=0.5, timeout=5.0),
        heartbeat=HEARTBEAT_S,
        max_session_duration=planned.max_session_duration,
    ).session()


async def _rest(watch: Watch) -> bool:
    """Wait until nothing has happened for a while; returns whether it came to that."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REST_LIMIT_S
    seen, since = watch.activity(), loop.time()
    while loop.time() < deadline:
        await asyncio.sleep(POLL_S)
        if (now := watch.activity()) != seen or not watch.settled():
            seen, since = now, loop.time()
        elif loop.time() - since >= QUIET_S:
            return True
    return False


def trace(server: Emulator) -> str:
    """A fingerprint of all that went over the wire, without the ids that the framework draws."""
    names = [
        [[event.get("type") for event in session.received], [event.get("type") for event in session.sent]]
        for session in server.sessions
    ]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]
