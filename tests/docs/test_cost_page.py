"""The tables of docs/cost.md are what the prices give, and its agents do what it says."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from livekit.agents import AgentSession

from livekit_plugins_openai_ga import RealtimeModel, failures, models
from livekit_plugins_openai_ga.core.usage import ReplyUsage
from livekit_plugins_openai_ga.counters import TABLE
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .blocks import ROOT
from .programs import program

PAGE = "docs/cost.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
HEARD, SPOKEN = 600, 1200
"""Tokens of a minute."""


def usd(usage: ReplyUsage, model: str) -> float:
    total = models.cost(usage, model).total
    assert total is not None
    return total


def test_what_a_minute_costs_is_what_the_prices_say() -> None:
    current = [m for m in models.MODELS.values() if m.price is not None and not re.search(r"\d{4}-\d\d", m.id)]
    by_token = [
        f"| `{m.id}` | ${usd(ReplyUsage(input_audio=HEARD), m.id):.4f} "
        f"| ${usd(ReplyUsage(input_audio=HEARD, cached_audio=HEARD), m.id):.5f} "
        f"| ${usd(ReplyUsage(output_audio=SPOKEN), m.id):.4f} |"
        for m in current
        if m.use is models.Use.REALTIME
    ]
    by_length = [
        f"| `{m.id}` | ${usd(ReplyUsage(seconds=60), m.id):.4f} |"
        for m in current
        if m.use in (models.Use.TRANSCRIPTION, models.Use.TRANSLATION)
    ]
    assert re.findall(r"^\| `gpt.+\$.+\$.+\|$", TEXT, re.M) == by_token
    assert re.findall(r"^\| `[\w.-]+` \| \$[\d.]+ \|$", TEXT, re.M) == by_length


def call(minutes: int, model: str, *, cached: bool) -> float:
    """A call with a reply every 20 s: 8 s of the caller and 8 s of the agent, behind 1,000 tokens of instructions."""
    spent, history = 0.0, 0
    heard, spoken = 8 * HEARD // 60, 8 * SPOKEN // 60
    for turn in range(minutes * 3):
        usage = ReplyUsage(
            input_text=1000,
            cached_text=1000 if cached and turn else 0,
            input_audio=history + heard,
            cached_audio=history if cached else 0,
            output_audio=spoken,
        )
        spent += usd(usage, model) + usd(ReplyUsage(seconds=8), "gpt-transcribe")
        history += heard + spoken
    return spent


def test_what_a_call_costs_is_what_the_prices_give() -> None:
    def shown(amount: float, minutes: int) -> str:
        return f"${amount:.3f}" if minutes == 1 else f"${amount:.2f}"

    rows = []
    for minutes in (1, 10, 30):
        large, small = "gpt-realtime-2.1", "gpt-realtime-2.1-mini"
        ways = (
            call(minutes, large, cached=True),
            call(minutes, large, cached=False),
            call(minutes, small, cached=True),
        )
        rows.append(f"| {minutes} min | {' | '.join(shown(way, minutes) for way in ways)} |")
    assert re.findall(r"^\| \d+ min .+\|$", TEXT, re.M) == rows


def test_the_page_says_how_old_the_prices_are_and_knows_the_metrics() -> None:
    assert f"Those below are of {models.PRICES_DATE} to" in TEXT
    series = {row.series for row in TABLE}
    assert set(re.findall(r"livekit_openai_ga_\w+", TEXT)) <= series
    assert "max_cost_reached" in failures.FAILURES


async def test_the_agent_that_says_what_it_has_cost(server: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="cost")
    page = await program(PAGE)
    async with AgentSession(llm=RealtimeModel()) as session:
        await session.start(page["Thrifty"]())
        await session.generate_reply()
    lines = [record.getMessage() for record in caplog.records if record.name == "cost"]
    assert re.fullmatch(r"\$0\.\d{4}", lines[0])
    assert lines[1].startswith("gpt-realtime-2.1: ")


async def test_the_agent_with_a_limit_says_goodbye_and_hangs_up(server: Emulator) -> None:
    page = await program(PAGE)
    async with Emulator(Script([Turn(say="Hello, how can I help?"), Turn(say="Goodbye.")])) as small:
        closed: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        session = AgentSession(llm=RealtimeModel(base_url=small.base_url, max_cost=0.0001))
        session.on("close", closed.set_result)
        await session.start(page["Budgeted"]())
        told = await asyncio.wait_for(closed, 20)
        assert told.error is None  # type: ignore[attr-defined]
        first, last = small.received("response.create")
        assert "goodbye" in last["response"]["instructions"]
        assert "goodbye" not in first["response"]["instructions"]
        assert [event["response"]["status"] for event in small.sent("response.done")] == ["completed", "completed"]
    assert page["model"].options.max_cost == 0.5
