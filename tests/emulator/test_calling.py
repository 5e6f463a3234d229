"""Calls over real WebRTC, with a second peer in place of a browser, and the sockets that attach to them."""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn, speak
from livekit_plugins_openai_ga.emulator.webrtc import WebRtcPeer

from .test_server import dial, receive

SESSION = {"type": "realtime", "audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}
KEY = {"Authorization": "Bearer sk-test"}


class Voice(MediaStreamTrack):
    """Says this, then nothing, for as long as somebody listens."""

    kind = "audio"

    def __init__(self, pcm: bytes) -> None:
        super().__init__()
        self._pcm = pcm
        self._position = 0
        self._begin = 0.0

    async def recv(self) -> Any:
        loop = asyncio.get_running_loop()
        self._begin = self._begin or loop.time()
        await asyncio.sleep(self._begin + self._position / 24000 - loop.time())
        start = self._position * 2
        samples = np.frombuffer(self._pcm[start : start + 960].ljust(960, b"\0"), dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 24000, self._position, fractions.Fraction(1, 24000)
        self._position += 480
        return frame


class Caller:
    """A peer that calls, and what it is told and hears."""

    def __init__(self, says: bytes = b"") -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peer.addTrack(Voice(says))
        self.channel = self.peer.createDataChannel("oai-events")
        self.events: list[dict[str, Any]] = []
        self.loudest = 0
        self._changed = asyncio.Event()
        self.channel.on("message", self._note)
        self.peer.on("track", lambda track: asyncio.ensure_future(self._listen(track)))

    def _note(self, text: str) -> None:
        self.events.append(json.loads(text))
        self._changed.set()

    async def told(self, name: str) -> None:
        """Wait for an event of this name."""

        async def wait() -> None:
            while name not in self.names:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(wait(), 15)

    async def _listen(self, track: Any) -> None:
        try:
            while True:
                frame = await track.recv()
                self.loudest = max(self.loudest, int(np.abs(frame.to_ndarray().astype(int)).max()))
        except MediaStreamError:
            return

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return self.peer.localDescription.sdp

    async def calls(self, server: Emulator, session: Any = SESSION) -> str:
        """Returns the id of the call."""
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("sdp", await self.offer(), content_type="application/sdp")
        form.add_field("session", json.dumps(session), content_type="application/json")
        return await self.post(server, form, KEY)

    async def post(self, server: Emulator, body: Any, headers: dict[str, str]) -> str:
        url = f"{server.base_url}/realtime/calls"
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            assert answer.content_type == "application/sdp"
            await self.peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
            return answer.headers["Location"].removeprefix("/v1/realtime/calls/")

    @property
    def names(self) -> list[str]:
        return [event["type"] for event in self.events]

    def sends(self, event_type: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": event_type, **fields}))


@pytest.fixture
async def caller():
    callers: list[Caller] = []

    def make(says: bytes = b"") -> Caller:
        callers.append(Caller(says))
        return callers[-1]

    yield make
    for each in callers:
        await each.peer.close()


async def test_a_caller_is_heard_and_hears_the_answer(caller):
    script = Script([Turn(heard="Where is it?", say="On its way.")])
    async with Emulator(script) as server:
        page = caller(bytes(24000) + speak("Where is it?"))
        await page.calls(server)
        await server.wait_sent("output_audio_buffer.stopped", timeout=15)
        await page.told("output_audio_buffer.stopped")
        assert page.names[0] == "session.created"
        for name in ("input_audio_buffer.speech_started", "response.output_audio_transcript.done", "response.done"):
            assert name in page.names
        assert "response.output_audio.delta" not in page.names
        assert page.loudest > 3000
        spoken = next(item for item in server.sessions[0].conversation if item.fields["role"] == "user")
        assert np.abs(np.frombuffer(bytes(spoken.audio), "<i2").astype(int)).max() > 3000


async def test_the_data_channel_and_a_socket_see_the_same_call(caller):
    async with Emulator(Script([Turn(say="Hello.")])) as server:
        page = caller()
        call_id = await page.calls(server)
        await page.told("session.created")
        async with dial(server, f"?call_id={call_id}") as socket:
            assert (await receive(socket))["session"]["model"] == "gpt-realtime-2.1"
            page.sends("session.update", session={"type": "realtime", "instructions": "From the page."})
            assert (await receive(socket))["session"]["instructions"] == "From the page."
            await socket.send(json.dumps({"type": "response.create"}))
            await page.told("output_audio_buffer.stopped")
            told = [await receive(socket)]
            while told[-1]["type"] != "output_audio_buffer.stopped":
                told.append(await receive(socket))
            assert {event["type"] for event in told} <= set(page.names)
            assert {"response.output_audio_transcript.delta", "output_audio_buffer.started"} <= set(page.names)


async def test_a_caller_who_leaves_ends_the_call_and_its_sockets(caller):
    async with Emulator() as server:
        page = caller()
        call_id = await page.calls(server)
        await page.told("session.created")
        async with dial(server, f"?call_id={call_id}") as socket:
            await receive(socket)
            await page.peer.close()
            await socket.wait_closed()
            assert socket.close_code == 1000
        assert next(iter(server.calls)).outcome == "the caller left"


async def test_a_client_secret_calls_with_bare_sdp(caller):
    async with Emulator() as server:
        url = f"{server.base_url}/realtime/client_secrets"
        wanted = {"session": {"type": "realtime", "instructions": "Minted."}}
        async with aiohttp.ClientSession() as http, http.post(url, json=wanted, headers=KEY) as answer:
            secret = (await answer.json())["value"]
        page = caller()
        sdp = {"Authorization": f"Bearer {secret}", "Content-Type": "application/sdp"}
        await page.post(server, (await page.offer()).encode(), sdp)
        await page.told("session.created")
        assert page.events[0]["session"]["instructions"] == "Minted."


@pytest.mark.parametrize(
    ("form", "headers", "status", "words"),
    [
        ({"sdp": "v=0", "session": '{"type": "realtime"}'}, {}, 401, "Missing bearer"),
        ({"session": '{"type": "realtime"}'}, KEY, 400, "'sdp'"),
        ({"sdp": "v=0", "session": '{"type": "realtime", "voice": "ash"}'}, KEY, 400, "session.voice"),
        ({"sdp": "v=0", "session": "{"}, KEY, 400, "session"),
        ({"sdp": "v=0", "session": '{"type": "transcription"}'}, KEY, 400, "realtime sessions only"),
        ({"sdp": "nonsense", "session": '{"type": "realtime"}'}, KEY, 400, "SDP"),
        ("v=0", {**KEY, "Content-Type": "application/sdp"}, 400, "client secret"),
    ],
)
async def test_an_offer_that_cannot_be_taken_is_refused(form, headers, status, words):
    async with Emulator() as server:
        body = form
        if isinstance(form, dict):
            body = aiohttp.FormData(default_to_multipart=True)
            for name, value in form.items():
                body.add_field(name, value)
        url = f"{server.base_url}/realtime/calls"
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
            assert answer.status == status
            assert words in (await answer.json())["error"]["message"]
        assert [call.state for call in server.calls if call.state != "ended"] == []


async def test_a_page_of_another_site_may_ask():
    async with Emulator() as server:
        asks = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        url = f"{server.base_url}/realtime/calls"
        async with aiohttp.ClientSession() as http, http.options(url, headers=asks) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        async with aiohttp.ClientSession() as http, http.post(url, headers=asks) as answer:
            assert (answer.status, answer.headers["Access-Control-Expose-Headers"]) == (401, "Location")
        async with aiohttp.ClientSession() as http, http.post(url) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_without_aiortc_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "livekit_plugins_openai_ga.emulator.webrtc", raising=False)
    monkeypatch.setitem(sys.modules, "aiortc", None)
    async with Emulator() as server:
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("sdp", "v=0")
        form.add_field("session", '{"type": "realtime"}')
        url = f"{server.base_url}/realtime/calls"
        async with aiohttp.ClientSession() as http, http.post(url, data=form, headers=KEY) as answer:
            assert answer.status == 501
            assert "[emulator]" in (await answer.json())["error"]["message"]


async def test_a_socket_for_a_call_that_is_not_there_is_refused_before_it_opens():
    async with Emulator() as server, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(f"{server.base_url}/realtime?call_id=rtc_nobody", headers=KEY)
        assert caught.value.status == 404


async def test_a_page_without_a_data_channel_fills_no_memory(caller) -> None:
    quiet = WebRtcPeer(hear=lambda _: None, receive=lambda _: None, connected=lambda: None, gone=lambda: None)
    for number in range(1500):
        quiet.send({"type": f"told.{number}"})
    late = caller()
    await late.peer.setRemoteDescription(RTCSessionDescription(await quiet.answer(await late.offer()), "answer"))
    await late.told("told.1499")
    assert late.names == [f"told.{number}" for number in range(500, 1500)]
    await quiet.aclose()
