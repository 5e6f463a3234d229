"""LiveKit's fallback adapter moves a call from one of our models to the next."""

from __future__ import annotations

from livekit.agents import APIConnectOptions, llm

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
from livekit_plugins_openai_ga.emulator.faults import RejectHandshake

ONCE = APIConnectOptions(max_retry=0, timeout=2.0)


async def test_a_model_that_cannot_be_set_up_is_passed_over(start_call):
    refused = RejectHandshake("invalid_api_key", "Incorrect API key provided.", 3000)
    async with (
        Emulator(Script([Turn(say="Hello from one.")])) as first,
        Emulator(faults=[refused]) as second,
        Emulator(Script([Turn(say="Hello from three.")])) as third,
    ):
        models = [
            RealtimeModel(api_key="sk-test", base_url=server.base_url, conn_options=ONCE)
            for server in (first, second, third)
        ]
        call = await start_call(first, model=llm.RealtimeModelFallbackAdapter(models))
        await call.session.generate_reply()
        await first.aclose()
        await call.until(lambda: third.received("session.update") != [])
        await call.session.generate_reply()
        assert call.texts("assistant") == ["Hello from one.", "Hello from three."]
        assert call.named("close") == []
