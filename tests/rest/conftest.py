"""A server that answers requests as it is told to, and remembers them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from livekit.agents import APIConnectOptions

QUICK = APIConnectOptions(max_retry=2, retry_interval=0.0, timeout=2.0)


@dataclass
class Told:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Desk:
    """Answers with `answers`, the last one for ever."""

    base_url: str = ""
    answers: list[dict[str, Any]] = field(default_factory=lambda: [{"status": 200}])
    told: list[Told] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.told.append(
            Told(request.path_qs, {k.lower(): v for k, v in request.headers.items()}, await request.read())
        )
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(**given)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    await runner.cleanup()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
