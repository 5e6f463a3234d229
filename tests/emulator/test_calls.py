"""The emulator's calls, by their id; OpenAI's own client answers, moves and ends them."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from livekit_plugins_openai_ga.emulator import Emulator, asked
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
