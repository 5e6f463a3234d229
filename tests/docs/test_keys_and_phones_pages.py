"""The code in the pages about keys and phone calls, run against the emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from livekit_plugins_openai_ga.emulator import Emulator
from livekit_plugins_openai_ga.emulator.ringing import incoming
from livekit_plugins_openai_ga.wire.endpoint import Service

from .blocks import blocks
from .conftest import WEBHOOK_SECRET as SECRET
from .given import GIVEN
from .programs import program, run


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_a_phone_call_is_answered(server: Emulator, serve: Any) -> None:
    url = f"{await serve((await program('docs/telephony.md'))['app'])}/webhook"
    call = await server.ring(url, secret=SECRET)
    assert (call.state, call.config["audio"]["output"]["voice"]) == ("live", "marin")
    assert call.config["instructions"] == "You answer the phone of a small shop. Be brief."


async def test_who_is_not_openai_is_sent_away_and_a_replay_changes_nothing(server: Emulator, serve: Any) -> None:
    url = f"{await serve((await program('docs/telephony.md'))['app'])}/webhook"
    with pytest.raises(RuntimeError, match="400"):
        await server.ring(url, secret="another")
    again = incoming(server.calls.ring(), url, SECRET, media_security="srtp")
    assert [await again.send(), await again.send()] == [200, 200]
    assert len([request for request in server.requests if request.path.endswith("accept")]) == 1


async def test_a_call_that_could_not_be_accepted_is_taken_when_it_is_told_again(server: Emulator, serve: Any) -> None:
    url = f"{await serve((await program('docs/telephony.md'))['app'])}/webhook"
    call = server.calls.ring()
    server.calls.end(call, "gone")
    told = incoming(call, url, SECRET, media_security="srtp")
    assert [await told.send(), await told.send()] == [500, 500]


async def test_a_browser_gets_a_client_secret(server: Emulator, serve: Any) -> None:
    url = await serve((await program("docs/keys.md"))["app"])
    async with aiohttp.ClientSession() as http, http.post(f"{url}/token") as answer:
        told = await answer.json()
    secret = server.secrets.find(told["value"])
    assert secret is not None
    assert secret.expires_at == told["expires_at"]
    assert secret.config["instructions"] == "Be brief."


async def test_a_key_comes_from_wherever_it_is_kept(server: Emulator) -> None:
    (block, _) = blocks("docs/keys.md", "python")
    names = GIVEN["docs/keys.md"]()
    await run(block, names)
    connection = names["model"].options.connection
    link = await connection.open(Service.REALTIME, model="gpt-realtime-2.1")
    await link.close()
    assert server.handshakes[0].headers["authorization"] == "Bearer sk-from-the-vault-openai"
