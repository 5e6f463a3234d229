"""What an agent's call costs, beside LiveKit's own count of it; and a goodbye at the limit."""

from __future__ import annotations

from typing import Any

import pytest
from livekit.agents.metrics.usage import LLMModelUsage, STTModelUsage

from livekit_plugins_openai_ga.core.bill import ModelUsage
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn


def same(ours: ModelUsage, livekits: LLMModelUsage | STTModelUsage) -> bool:
    counts = {name: value for name, value in livekits.model_dump().items() if hasattr(ours, name)}
    assert len(counts) >= 4
    return all(getattr(ours, name) == value for name, value in counts.items())


async def test_livekit_counts_the_same(start_call: Any) -> None:
    turns = [Turn(heard="Hello.", say="Good morning."), Turn(heard="How are you?", say="I am well, thank you.")]
    async with Emulator(Script(turns)) as server:
        call = await start_call(server)
        for number, turn in enumerate(turns, start=1):
            call.microphone.say(turn.heard)
            await call.until(lambda number=number: len(call.texts("assistant")) == number)
        ours = {used.model: used for used in call.rt.usage.model_usage}
        livekits = {used.model: used for used in call.session.usage.model_usage}
        assert set(ours) == set(livekits) == {"gpt-realtime-2.1", "gpt-transcribe"}
        assert all(same(ours[model], livekits[model]) for model in ours)
        assert ours["gpt-realtime-2.1"].input_cached_tokens > 0
        assert call.rt.usage.cost_complete


async def test_without_a_listener_the_call_hears_the_reply_and_then_the_error(start_call: Any) -> None:
    async with Emulator(Script([Turn(say="Good morning, how can I help you?")] * 3)) as server:
        call = await start_call(server, max_cost=0.0001)
        await call.session.generate_reply()
        assert call.texts("assistant") == ["Good morning, how can I help you?"]
        assert [interrupted for _, interrupted in call.speaker.heard] == [False]
        await call.until(lambda: bool(call.named("error")))
        (error,) = call.named("error")
        assert error.error.error.body.code == "max_cost_reached"
        assert not error.error.recoverable
        await call.until(lambda: bool(call.named("close")))
        assert call.rt.usage.cost_usd == pytest.approx(call.rt.usage.model_usage[0].cost.total)
