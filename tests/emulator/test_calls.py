"""The emulator's calls, by their id; OpenAI's own client answers, moves and ends them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from livekit_plugins_openai_ga.emulator import Emulator, asked
from livekit_plugins_openai_ga.emulator.__main__ import main
from livekit_plugins_openai_ga.emulator.calls import Call


def client_of(server: Emulator, key: str = "sk-test") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.base_url, api_key=key, max_retries=0)


async def test_a_sip_call_is_accepted_referred_and_gone() -> None:
    async with Emulator() as server:
        seen: list[tuple[str, str]] = []
        server.calls.watchers.append(lambda call: seen.append((call.id, call.state)))
        call = server.calls.ring([("From", "sip:+15550100@example.com")])
        calls = client_of(server).realtime.calls
        assert server.calls.live(call.id) is None
        await calls.accept(call.id, type="realtime", model="gpt-realtime-2.1", instructions="Be brief.")
        assert server.calls.live(call.id) is call
        assert (call.config["instructions"], call.config["model"]) == ("Be brief.", "gpt-realtime-2.1")
        await calls.refer(call.id, target_uri="tel:+15550123")
        assert call.outcome == "referred to tel:+15550123"
        assert seen == [(call.id, "ringing"), (call.id, "live"), (call.id, "ended")]
        server.calls.end(call, "again")
        assert (call.outcome, len(seen)) == ("referred to tel:+15550123", 3)


async def test_a_call_is_rejected_or_hung_up() -> None:
    async with Emulator() as server:
        calls = client_of(server).realtime.calls
        first, second, third = (server.calls.ring() for _ in range(3))
        await calls.reject(first.id)
        await calls.reject(second.id, status_code=486)
        await calls.accept(third.id, type="realtime")
        await calls.hangup(third.id)
        assert [call.outcome for call in server.calls] == ["rejected 603", "rejected 486", "hangup"]


async def test_what_cannot_be_done_is_refused_and_changes_nothing() -> None:
    async with Emulator() as server:
        calls = client_of(server).realtime.calls
        call = server.calls.ring()
        with pytest.raises(BadRequestError) as caught:
            await calls.accept(call.id, type="realtime", extra_body={"bogus": 1})
        assert (caught.value.code, caught.value.param) == ("unknown_parameter", "bogus")
        with pytest.raises(BadRequestError, match="ringing"):
            await calls.hangup(call.id)
        with pytest.raises(NotFoundError):
            await calls.hangup("rtc_nobody")
        await calls.accept(call.id, type="realtime")
        with pytest.raises(BadRequestError) as caught:
            await calls.refer(call.id, target_uri="mailto:nobody")
        assert caught.value.param == "target_uri"
        with pytest.raises(BadRequestError, match="live"):
            await calls.reject(call.id)
        assert call.state == "live"


async def test_a_webrtc_call_is_live_at_once_and_cannot_be_referred() -> None:
    async with Emulator() as server:
        call: Call = server.calls.create(asked.session({"type": "realtime"}, server.knobs))
        assert server.calls.live(call.id) is call
        with pytest.raises(BadRequestError, match="SIP"):
            await client_of(server).realtime.calls.refer(call.id, target_uri="tel:+15550123")


SECRET = "whsec_" + "c2VjcmV0" * 4


class Application:
    """Takes webhooks as an application would, with OpenAI's client, and accepts the calls they tell of."""

    def __init__(self, server: Emulator, status: int = 200) -> None:
        self._client = AsyncOpenAI(base_url=server.base_url, api_key="sk-test", webhook_secret=SECRET, max_retries=0)
        self._status = status
        self.events: list[Any] = []

    async def take(self, request: web.Request) -> web.Response:
        self.events.append(self._client.webhooks.unwrap(await request.read(), request.headers))
        if self._status == 200:
            await self._client.realtime.calls.accept(self.events[-1].data.call_id, type="realtime")
        return web.Response(status=self._status)


@pytest.fixture
async def webhook() -> AsyncIterator[Callable[[Application], Awaitable[str]]]:
    runners: list[web.AppRunner] = []

    async def serve(application: Application) -> str:
        app = web.Application()
        app.router.add_post("/webhook", application.take)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/webhook"

    yield serve
    for runner in runners:
        await runner.cleanup()


async def test_a_phone_call_is_told_by_a_webhook_that_openais_client_takes(webhook: Any) -> None:
    async with Emulator() as server:
        application = Application(server)
        url = await webhook(application)
        call = await server.ring(url, secret=SECRET, sip_headers=[("From", "<sip:+1@x>"), ("From", "<sip:+2@x>")])
        (event,) = application.events
        assert (event.type, event.data.call_id) == ("realtime.call.incoming", call.id)
        assert [(header.name, header.value) for header in event.data.sip_headers] == list(call.sip_headers)
        assert event.data.sip_media_security == "srtp"
        assert call.state == "live"


async def test_a_call_that_nobody_takes_is_over(webhook: Any) -> None:
    async with Emulator() as server:
        url = await webhook(Application(server, status=500))
        with pytest.raises(RuntimeError, match="500"):
            await server.ring(url, secret=SECRET)
        assert [call.outcome for call in server.calls] == ["nobody answered"]


async def test_the_command_rings_once(webhook: Any) -> None:
    async with Emulator() as silent:
        application = Application(silent, status=202)
        url = await webhook(application)
        command = ["-m", "livekit_plugins_openai_ga.emulator", "--port", "0", "--ring", url]
        environment = {**os.environ, "OPENAI_WEBHOOK_SECRET": SECRET}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=environment, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        said = [(await process.stdout.readline()).decode() for _ in range(4)]
        process.terminate()
        await process.wait()
        assert said[3].endswith("came in and is ringing\n")
        assert len(application.events) == 1


def test_the_command_says_what_ringing_needs(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.delenv("OPENAI_WEBHOOK_SECRET", raising=False)
    assert main(["--ring", "http://127.0.0.1:9/"]) == 2
    assert "OPENAI_WEBHOOK_SECRET" in capsys.readouterr().err
