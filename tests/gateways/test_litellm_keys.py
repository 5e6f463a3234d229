"""Client secrets and WebRTC calls through a LiteLLM proxy, with the emulator behind it."""

from __future__ import annotations

import json

import pytest
from livekit.agents import APIStatusError

from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.rest import Calls, create_client_secret

from .conftest import GATEWAY_KEY, UPSTREAM_KEY, Gateway


async def test_a_secret_is_made_for_the_model_behind_the_alias(gateway: Gateway) -> None:
    async with gateway.upstream() as server:
        model = RealtimeModel(model="agent", base_url=gateway.base_url, api_key=GATEWAY_KEY)
        secret = await create_client_secret(model, instructions="Be brief.")
        (request,) = server.requests
        assert request.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert json.loads(request.body)["session"]["model"] == secret.session["model"] == "gpt-realtime-2.1"
        assert secret.session["instructions"] == "Be brief."
        assert server.secrets.find(secret.value) is None, "the proxy gives out a key of its own"


async def test_the_proxys_secret_makes_a_call_with_the_offer_alone(gateway: Gateway) -> None:
    aiortc = pytest.importorskip("aiortc")
    async with gateway.upstream() as server:
        model = RealtimeModel(model="agent", base_url=gateway.base_url, api_key=GATEWAY_KEY)
        secret = await create_client_secret(model)
        peer = aiortc.RTCPeerConnection()
        peer.createDataChannel("oai-events")
        peer.addTransceiver("audio", direction="sendrecv")
        await peer.setLocalDescription(await peer.createOffer())
        calls = Calls(base_url=gateway.base_url, api_key=secret.value)
        call = await calls.create(peer.localDescription.sdp)
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(call.sdp, "answer"))
        (made,) = server.calls
        assert made.state == "live"
        assert call.call_id == "", "the proxy keeps the id to itself (1.106.2)"
        await peer.close()


async def test_what_the_server_behind_it_refuses_is_told(gateway: Gateway) -> None:
    async with gateway.upstream():
        with pytest.raises(APIStatusError, match=r"session\.bogus") as caught:
            await create_client_secret(
                {"type": "realtime", "model": "agent", "bogus": 1}, base_url=gateway.base_url, api_key=GATEWAY_KEY
            )
        assert caught.value.status_code == 400
