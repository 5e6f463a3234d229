"""Import of the plugin, after `livekit.agents`, which every agent imports anyway. In a fresh interpreter each time.

Bytecode is there: the first import of each process that measures writes it, and is not counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

from benchmarks.figures import Figure, Row, Subject, Turns

PROGRAM = """
import time
from benchmarks import plugins
if {blocks_fast}:
    plugins.block_fast()
import livekit.agents
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""
MODULES = {"official": "livekit.plugins.openai", "ours": "livekit_plugins_openai_ga"}


async def once(subject: Subject) -> float:
    """In ms."""
    program = PROGRAM.format(module=MODULES[subject.plugin], blocks_fast=subject.plugin == "ours")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, env=environment)
    told, _ = await started.communicate()
    return float(told) * 1000


async def measure(subject: Subject) -> Turns:
    if not subject.quick:
        await once(subject)
    found = []
    for _ in range(subject.turns):
        await subject.turn()
        found.append({"ms": await once(subject)})
    return found


FIGURE = Figure(
    name="imports",
    title="Import, beyond `livekit.agents`",
    measure=measure,
    fresh=False,
    rounds=9,
    turns=9,
    rows=(Row("import of the plugin", "ms", "ms", target=0.25),),
)
