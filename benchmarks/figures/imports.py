"""Import of the plugin, after `livekit.agents`, which every agent imports anyway. In a fresh interpreter each time.

Bytecode is there: the first import of each process that measures writes it, and is not counted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

from benchmarks.figures import Figure, Row, Subject, Turns

# Python looks through all its objects whenever enough new ones have come. That takes 20 to 90 ms, and which import it
# falls into is chance. So it has done so before, and does so again in here only if this import alone makes enough.
PROGRAM = """
import gc
import time
from benchmarks import plugins
if {blocks_fast}:
    plugins.block_fast()
import livekit.agents
gc.collect()
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
import {rest}
print(time.perf_counter() - began)
"""
OURS = "livekit_plugins_openai_ga"
MODULES = {"official": ("livekit.plugins.openai", "sys"), "ours": (OURS, f"{OURS}.rest, {OURS}.translation")}
"""What an agent imports, and what comes later when it is asked for: nothing of the official plugin's."""


async def once(subject: Subject) -> dict[str, float]:
    """In ms: `ms`, and `all_ms` with what comes later."""
    module, rest = MODULES[subject.plugin]
    program = PROGRAM.format(module=module, rest=rest, blocks_fast=subject.plugin == "ours")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, env=environment)
    told, _ = await started.communicate()
    return dict(zip(("ms", "all_ms"), (float(line) * 1000 for line in told.split()), strict=True))


async def measure(subject: Subject) -> Turns:
    if not subject.quick:
        await once(subject)
    found = []
    for _ in range(subject.turns):
        await subject.turn()
        found.append(await once(subject))
    return found


FIGURE = Figure(
    name="imports",
    title="Import, beyond `livekit.agents`",
    measure=measure,
    fresh=False,
    rounds=13,
    turns=13,
    rows=(
        Row("import of the plugin", "ms", "ms", target=0.25),
        Row("with what comes when it is asked for", "all_ms", "ms", target=0.25),
    ),
)
