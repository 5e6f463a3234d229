"""examples/gateway.py behind a gateway with a path of its own, keys of its own and names of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from livekit_plugins_openai_ga.devtools.livekit_server import LiveKitServer
from livekit_plugins_openai_ga.devtools.room_caller import RoomCaller
from livekit_plugins_openai_ga.emulator import Emulator, Script

from .conftest import Microphone
from .example_call import EXAMPLES, ExampleCall, example_call, script
from .worker import environment, running_worker

pytestmark = pytest.mark.timeout(180)  # processes take long to start on a busy machine

TURNS = script("conversation.json")
ALIAS, KEY, PROVIDER_KEY = "house-voice", "key-for-the-gateway", "key-for-the-provider"


class Gateway:
    """Passes a socket at /team/v1/realtime on to the provider, under the provider's key and model."""

    def __init__(self, provider: Emulator) -> None:
        self.requests: list[web.Request] = []
        self.base_url = ""
        self._provider = provider

    async def _connect(self, request: web.Request) -> web.WebSocketResponse:
        self.requests.append(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}" or request.query.get("model") != ALIAS:
            raise web.HTTPUnauthorized
        client = web.WebSocketResponse()
        await client.prepare(request)
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                f"{self._provider.base_url}/realtime?model=gpt-realtime-2.1",
                headers={"Authorization": f"Bearer {PROVIDER_KEY}"},
            ) as provider,
        ):
            await asyncio.wait(
                [asyncio.ensure_future(_pass_on(client, provider)), asyncio.ensure_future(_pass_on(provider, client))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            await client.close()
        return client

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/team/v1/realtime", self._connect)
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/team/v1"
        try:
            yield
        finally:
            await runner.cleanup()


_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass_on(source: _Socket, target: _Socket) -> None:
    async for message in source:
        await target.send_str(message.data)


async def test_the_agent_talks_through_a_gateway(livekit: LiveKitServer, room_name: str) -> None:
    async with Emulator(Script(TURNS)) as provider:
        gateway = Gateway(provider)
        async with gateway.serve():
            variables = {
                **environment(livekit, gateway.base_url),
                "OPENAI_API_KEY": KEY,
                "GATEWAY_MODEL": ALIAS,
            }
            async with (
                running_worker(EXAMPLES / "gateway.py", "dev", variables) as worker,
                RoomCaller.join(livekit.url, livekit.token("caller", room_name)) as caller,
            ):
                call = ExampleCall(provider, worker, caller, Microphone())
                await caller.publish_microphone(call.microphone)
                await call.agent_arrives()
                await provider.wait_received("input_audio_buffer.append", timeout=30.0)
                call.microphone.say(TURNS[0].heard)
                await caller.until(lambda: call.agent_texts() == [TURNS[0].say])
        (request,) = gateway.requests
        assert request.headers["x-room"] == room_name
        assert not caller.texts("caller")  # it asks for no transcript, which LiteLLM would answer once more
        assert not [line for line in worker.log if KEY in line]


async def test_the_gateways_example_talks_to_the_emulator_by_one_variable(
    livekit: LiveKitServer, room_name: str
) -> None:
    async with example_call(livekit, room_name, "gateway.py", TURNS) as call:
        await call.model.wait_received("input_audio_buffer.append", timeout=30.0)
        assert call.model.handshakes[0].headers["x-room"] == room_name
