"""Where the pages' code runs: the emulator, and an environment that leads to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from livekit import api

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

WEBHOOK_SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An emulator that OPENAI_BASE_URL leads to, with keys for whatever a page opens."""
    turns = [Turn(heard="Good morning.", say="Guten Morgen.") for _ in range(50)]
    async with Emulator(Script(turns)) as running:
        for name in ("AZURE_OPENAI_AD_TOKEN", "OPENAI_PROXY", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_WEBHOOK_SECRET", WEBHOOK_SECRET)
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", running.azure_endpoint)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "0123456789abcdef" * 2)
        monkeypatch.setenv("SHOP_TOKEN", "hush-hush")
        yield running


@pytest.fixture
async def dispatches(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[api.CreateAgentDispatchRequest]]:
    """The API of a LiveKit server, as far as it takes dispatches of agents: what it was asked for."""
    asked: list[api.CreateAgentDispatchRequest] = []

    async def create(request: web.Request) -> web.Response:
        asked.append(api.CreateAgentDispatchRequest.FromString(await request.read()))
        made = api.AgentDispatch(id="AD_1", room=asked[-1].room)
        return web.Response(body=made.SerializeToString(), content_type="application/protobuf")

    app = web.Application()
    app.router.add_post("/twirp/livekit.AgentDispatchService/CreateDispatch", create)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("LIVEKIT_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("LIVEKIT_API_KEY", "devkey")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "secret" * 6)
    yield asked
    await runner.cleanup()
