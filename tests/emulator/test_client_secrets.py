"""The emulator's client secrets: OpenAI's own client asks for them, and they open the sessions they were minted for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, RateLimitError
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from livekit_plugins_openai_ga.emulator import Emulator, Knobs
from livekit_plugins_openai_ga.emulator.faults import RefuseHandshake


def client_of(server: Emulator, key: str = "sk-test") -> AsyncOpenAI:
    client = AsyncOpenAI(base_url=server.base_url, api_key=key, max_retries=0)
    client.websocket_base_url = server.base_url.replace("http://", "ws://")
    return client


async def session_of(client: AsyncOpenAI, **connect: Any) -> dict[str, Any]:
    """What the server tells of a session: `session.created`, or the error."""
    async with client.realtime.connect(**connect) as connection:
        event: Any = await connection.recv()
    return dict(event.to_dict())


async def test_a_secret_opens_sessions_with_its_configuration_until_it_expires() -> None:
    async with Emulator() as server:
        secret = await client_of(server).realtime.client_secrets.create(
            session={"type": "realtime", "model": "gpt-realtime-2.1", "instructions": "Be brief."},
            expires_after={"anchor": "created_at", "seconds": 60},
        )
        assert secret.value.startswith("ek_")
        assert secret.session.instructions == "Be brief."
        assert secret.expires_at == server.secrets.issued[0].expires_at
        for connect in ({"model": "gpt-realtime-2.1"}, {}):
            created = await session_of(client_of(server, secret.value), **connect)
            assert created["session"]["instructions"] == "Be brief."
            assert created["session"]["model"] == "gpt-realtime-2.1"
        assert len({session.id for session in server.sessions}) == 2
        server.secrets.expire()
        refused = await session_of(client_of(server, secret.value), model="gpt-realtime-2.1")
        assert refused["error"]["code"] == "invalid_api_key"


async def test_seconds_are_counted_from_when_it_was_made() -> None:
    async with Emulator() as server:
        now = 1_000_000.0
        server.secrets.clock = lambda: now
        secret = await client_of(server).realtime.client_secrets.create()
        assert secret.expires_at == 1_000_600
        assert server.secrets.find(secret.value) is not None
        now += 600
        assert server.secrets.find(secret.value) is None


async def test_a_secret_for_transcription_or_translation_opens_such_a_session() -> None:
    async with Emulator() as server:
        asked = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}
        heard = await client_of(server).realtime.client_secrets.create(session=asked)
        for extra in ({"intent": "transcription"}, {}):
            created = await session_of(client_of(server, heard.value), extra_query=extra)
            assert created["session"]["audio"]["input"]["transcription"]["model"] == "gpt-transcribe"

        wanted = {"model": "gpt-realtime-translate", "audio": {"output": {"language": "de"}}}
        told = await client_of(server).realtime.translations.client_secrets.create(session=wanted)
        assert (told.session.type, told.session.model) == ("translation", "gpt-realtime-translate")
        client = client_of(server, told.value)
        async with client.realtime.translations.connect(model="gpt-realtime-translate") as connection:
            created = (await connection.recv()).to_dict()
        assert created["session"]["audio"]["output"]["language"] == "de"


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"session": {"type": "realtime", "bogus": 1}}, "unknown_parameter", "session.bogus"),
        ({"session": {"type": "nope"}}, "invalid_value", "session.type"),
        ({"expires_after": {"anchor": "created_at", "seconds": 5}}, "integer_below_min_value", "expires_after.seconds"),
        ({"expires_after": {"seconds": 9999}}, "integer_above_max_value", "expires_after.seconds"),
        ({"session": None}, "invalid_type", "session"),
    ],
)
async def test_what_a_session_update_would_refuse_is_refused(asked: Any, code: str, param: str) -> None:
    async with Emulator() as server:
        with pytest.raises(BadRequestError) as caught:
            await client_of(server).realtime.client_secrets.create(extra_body=asked)
        assert (caught.value.code, caught.value.param) == (code, param)
        assert server.secrets.issued == []


async def test_a_translation_names_its_model_and_no_type() -> None:
    async with Emulator() as server:
        secrets = client_of(server).realtime.translations.client_secrets
        for session, param in (({}, "session.model"), ({"model": "m", "type": "translation"}, "session.type")):
            with pytest.raises(BadRequestError) as caught:
                await secrets.create(session=session)
            assert caught.value.param == param


async def test_only_a_real_key_makes_secrets() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-real"}))) as server:
        secret = await client_of(server, "sk-real").realtime.client_secrets.create()
        for key in ("sk-wrong", "ek_made_up", secret.value):
            with pytest.raises(AuthenticationError):
                await client_of(server, key).realtime.client_secrets.create()
        assert (await session_of(client_of(server, "ek_made_up"), model="gpt-realtime-2.1"))["type"] == "error"
        assert (await session_of(client_of(server, secret.value), model="gpt-realtime-2.1"))["type"] != "error"


async def test_a_minted_model_is_looked_at_only_when_a_session_begins() -> None:
    async with Emulator() as server:
        secret = await client_of(server).realtime.client_secrets.create(
            session={"type": "realtime", "model": "gpt-live-1"}
        )
        assert (await session_of(client_of(server, secret.value)))["error"]["code"] == "invalid_model"


async def test_a_request_can_be_made_to_fail() -> None:
    async with Emulator(faults=[RefuseHandshake(429, '{"error": {"code": "slow_down"}}', retry_after=1)]) as server:
        with pytest.raises(RateLimitError):
            await client_of(server).realtime.client_secrets.create()
        await client_of(server).realtime.client_secrets.create()
        assert [request.path for request in server.requests] == ["/v1/realtime/client_secrets"] * 2


async def test_azure_has_the_same_under_its_path_with_its_own_key_header() -> None:
    async with Emulator(knobs=Knobs(api_keys=frozenset({"azure-key"}))) as server:
        base = f"{server.azure_endpoint}/openai/v1"
        client = AsyncOpenAI(base_url=base, api_key="no-key", default_headers={"api-key": "azure-key"}, max_retries=0)
        secret = await client.realtime.client_secrets.create(session={"type": "realtime", "instructions": "Be brief."})
        await client.realtime.calls.reject(server.calls.ring().id)
        browser = AsyncOpenAI(base_url=base, api_key=secret.value, max_retries=0)
        browser.websocket_base_url = base.replace("http://", "ws://")
        assert (await session_of(browser, model="my-deployment"))["session"]["instructions"] == "Be brief."
        with pytest.raises(AuthenticationError):
            await browser.realtime.client_secrets.create()


async def test_a_browser_sends_its_secret_as_a_subprotocol() -> None:
    async with Emulator() as server:
        secret = server.secrets.mint({"type": "realtime", "instructions": "Be brief."})
        url = f"{server.base_url.replace('http', 'ws')}/realtime?model=gpt-realtime-2.1"
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{secret.value}")]
        async with connect(url, subprotocols=offered) as socket:
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv())["session"]["instructions"] == "Be brief."
