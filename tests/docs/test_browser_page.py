"""The code of docs/browser.md, run against the emulator."""

from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from livekit.agents import Agent

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn

from .programs import program


class Shop(Agent):
    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def on_enter(self) -> None:
        self.session.generate_reply()


async def test_a_call_is_made_and_an_agent_is_attached_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    page = await program("docs/browser.md")
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.addTransceiver("audio")
        await peer.setLocalDescription(await peer.createOffer())
        answer, call_id = await page["make"](peer.localDescription.sdp)
        assert answer.startswith("v=0")
        attached = asyncio.ensure_future(page["attach"](call_id, Shop()))
        await server.wait_sent("response.done")
        assert server.sessions[0].config["instructions"] == "Be brief."
        assert server.sessions[0].config["audio"]["output"]["voice"] == "marin"
        server.calls.end(server.calls.live(call_id), "hangup")
        await asyncio.wait_for(attached, 10)
        await peer.close()
