"""The emulator on real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import sys

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, asked, faults
from livekit_plugins_openai_ga.emulator.__main__ import main
from livekit_plugins_openai_ga.emulator.voice import synthetic

KEY = {"Authorization": "Bearer sk-test"}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
FAST = Knobs(pace=100.0, speak=synthetic)


def dial(server, query="?model=gpt-realtime-2.1", *, headers=None, path="/realtime", **options):
    url = server.base_url.replace("http://", "ws://") + path + query
    return connect(url, additional_headers=KEY if headers is None else headers, **options)


async def receive(client):
    return json.loads(await client.recv())


async def until(client, event_type):
    while (event := await receive(client))["type"] != event_type:
        pass
    return event


async def test_a_conversation_over_a_socket():
    async with Emulator(Script([Turn(say="Hello.")]), knobs=FAST) as server, dial(server) as client:
        assert (await receive(client))["type"] == "session.created"
        await client.send(json.dumps({"type": "response.create"}))
        done = await until(client, "response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Hello."
        assert [event["type"] for event in server.sessions[0].received] == ["response.create"]
        assert server.handshakes[0].query == {"model": "gpt-realtime-2.1"}
        assert server.handshakes[0].headers["authorization"] == "Bearer sk-test"
        assert "sk-test" not in repr(server.handshakes)


REJECTED = [
    ("?model=gpt-realtime-2.1", {}, None, 3000),
    ("?model=gpt-realtime-2.1", {"Authorization": "Bearer sk-wrong"}, "invalid_api_key", 3000),
    ("?model=nonsense", KEY, "invalid_model", 4000),
    ("?model=gpt-live-1", KEY, "invalid_model", 4000),
    ("?model=gpt-4o-realtime-preview", KEY, "invalid_model", 4000),
    ("?model=gpt-transcribe", KEY, "invalid_model", 4000),
    ("?model=gpt-transcribe&intent=transcription", KEY, "invalid_model", 4000),
    ("", KEY, "missing_model", 4000),
    ("?model=gpt-realtime-2.1", {**KEY, "OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled", 4000),
    ("?intent=transcription", {**KEY, "OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled", 4000),
]


@pytest.mark.parametrize(("query", "headers", "code", "close_code"), REJECTED)
async def test_a_bad_handshake_is_accepted_then_refused(query, headers, code, close_code):
    async with Emulator(knobs=Knobs(api_keys=frozenset({"sk-test"}), gateway_urls=False)) as server:
        async with dial(server, query, headers=headers) as client:
            error = await receive(client)
            assert (error["type"], error["error"]["code"]) == ("error", code)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd.code == close_code
        expected = "invalid_request_error" + (f".{code}" if code else "")
        assert closed.value.rcvd.reason == expected
        assert server.sessions == []


@pytest.mark.parametrize("query", ["?intent=transcription", "?intent=transcription&model=gpt-transcribe"])
async def test_an_intent_opens_a_transcription_session(query):
    async with Emulator() as server, dial(server, query) as client:
        assert (await receive(client))["session"]["type"] == "transcription"


async def test_a_call_is_joined_without_a_model():
    async with Emulator() as server:
        call = server.calls.create(asked.session({"type": "realtime", "model": "gpt-realtime-mini"}, server.knobs))
        async with dial(server, f"?call_id={call.id}") as client:
            assert (await receive(client))["session"]["model"] == "gpt-realtime-mini"


async def test_garbage_and_delays_reach_the_client():
    planned = [faults.InjectOn("session.created", "{garbage"), faults.DelayOn("session.created", 0.05)]
    async with Emulator(faults=planned) as server, dial(server) as client:
        assert await client.recv() == "{garbage"
        begin = asyncio.get_running_loop().time()
        assert (await receive(client))["type"] == "session.created"
        assert asyncio.get_running_loop().time() - begin > 0.03


async def test_other_paths_are_not_found():
    async with Emulator() as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server, path="/chat")
        assert refused.value.response.status_code == 404


async def test_a_handshake_can_be_refused_with_a_status_and_then_works():
    fault = faults.RefuseHandshake(429, '{"error": {"code": "slow_down"}}', retry_after=2)
    async with Emulator(faults=[fault]) as server:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server)
        response = refused.value.response
        assert (response.status_code, response.headers["Retry-After"]) == (429, "2")
        assert b"slow_down" in response.body
        async with dial(server) as client:
            assert (await receive(client))["type"] == "session.created"
        assert len(server.handshakes) == 2


async def test_a_handshake_can_be_rejected_after_the_101():
    fault = faults.RejectHandshake("model_not_found", "No such model.")
    async with Emulator(faults=[fault]) as server, dial(server) as client:
        assert (await receive(client))["error"]["code"] == "model_not_found"
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd.code == 4000


async def test_a_delay_does_not_outlive_the_server():
    async with Emulator(faults=[faults.DelayOn("session.created", 60)]) as server:
        client = await dial(server)
        await server.wait_until(lambda: len(server.sessions) == 1)
    with pytest.raises(ConnectionClosed):
        await client.recv()


async def test_drop_breaks_the_connection_without_a_close_frame():
    async with Emulator() as server, dial(server) as client:
        await receive(client)
        await server.drop()
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is None
        await server.wait_until(lambda: server.sessions[0].closed is not None)
        assert server.sessions[0].closed.code == 1006


async def test_close_sessions_sends_code_and_reason():
    async with Emulator() as server, dial(server) as client:
        await receive(client)
        await server.close_sessions(1012, "restart")
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "restart")
        await server.wait_until(lambda: server.sessions[0].closed is not None)


async def test_a_frozen_server_answers_neither_data_nor_pings():
    async with Emulator() as server, dial(server, ping_interval=0.05, ping_timeout=0.1, close_timeout=0.1) as client:
        await receive(client)
        await server.freeze()
        await client.send(json.dumps({"type": "response.create"}))
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.sent.reason == "keepalive ping timeout"
        assert server.received("response.create") == []


async def test_a_server_frozen_with_much_unread_stays_frozen():
    fault = faults.FreezeOn("input_audio_buffer.clear", nth=5)
    options = {"ping_interval": None, "close_timeout": 0.1}
    async with Emulator(faults=[fault]) as server, dial(server, **options) as client:
        # More than the library takes before it stops reading by itself, to begin again when there is room.
        for _ in range(200):
            await client.send(json.dumps({"type": "input_audio_buffer.clear"}))
        await server.wait_received("input_audio_buffer.clear", count=5)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(await client.ping(), 0.3)
        assert len(server.received("input_audio_buffer.clear")) == 5


async def test_what_a_frozen_server_had_heard_is_heard_again():
    script = Script([Turn(heard="Hello")])
    knobs = Knobs(transcription_latency=0.1, speak=synthetic)
    box = {"transcription": {"model": "whisper-1"}, "turn_detection": None}
    update = {"type": "session.update", "session": {"type": "transcription", "audio": {"input": box}}}
    append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(synthetic("Hello there")).decode()}
    async with Emulator(script, knobs=knobs) as server:
        for number in (1, 2):
            async with dial(server, "?intent=transcription", close_timeout=0.1) as client:
                for event in (update, append, {"type": "input_audio_buffer.commit"}):
                    await client.send(json.dumps(event))
                await server.wait_sent("conversation.item.done", count=number)
                if number == 1:
                    await server.freeze()
                else:
                    transcript = (await until(client, f"{TRANSCRIPTION}.completed"))["transcript"]
        assert transcript == "Hello"
        assert len(server.sent(f"{TRANSCRIPTION}.completed")) == 1


async def test_a_client_that_answers_no_pings_is_closed():
    async with Emulator(knobs=Knobs(ping_interval=0.05, ping_timeout=0.1)) as server:
        async with dial(server, ping_interval=None, close_timeout=0.1) as client:
            await receive(client)
            client.transport.pause_reading()
            await server.wait_until(lambda: server.sessions[0].closed is not None, timeout=15)
        assert server.sessions[0].closed.code == 1011


async def test_a_fault_during_a_reply_reaches_the_client():
    async with Emulator(Script([Turn(say="Hello there.")]), knobs=FAST) as server:
        server.add_fault(faults.CloseOn("response.output_audio.delta", 1011, "oops"))
        async with dial(server) as client:
            await client.send(json.dumps({"type": "response.create"}))
            with pytest.raises(ConnectionClosed) as closed:
                await until(client, "response.done")
            assert closed.value.rcvd.code == 1011


async def test_the_script_goes_on_after_a_reconnect():
    async with Emulator(Script([Turn(say="One."), Turn(say="Two.")]), knobs=FAST) as server:
        for expected in ("One.", "Two."):
            async with dial(server) as client:
                await client.send(json.dumps({"type": "response.create"}))
                done = await until(client, "response.done")
                assert done["response"]["output"][0]["content"][0]["transcript"] == expected
        await server.wait_until(lambda: all(session.closed for session in server.sessions))
        assert [session.closed.code for session in server.sessions] == [1000, 1000]


async def test_waiting_for_events_ends_with_them_or_with_a_timeout():
    async with Emulator(knobs=FAST) as server, dial(server) as client:
        waiting = asyncio.ensure_future(server.wait_received("response.create", count=2))
        for _ in range(2):
            await client.send(json.dumps({"type": "response.create"}))
        assert len(await waiting) == 2
        assert (await server.wait_sent("error"))[0]["error"]["code"] == "conversation_already_has_active_response"
        with pytest.raises(TimeoutError):
            await server.wait_received("response.cancel", timeout=0.01)


async def test_a_long_way_takes_its_time_and_keeps_the_order():
    loop = asyncio.get_running_loop()
    async with Emulator(knobs=Knobs(network_latency=0.2)) as server, dial(server) as client:
        began = loop.time()
        await receive(client)
        asked_at = loop.time()
        for number in range(50):
            await client.send(
                json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": str(number)}})
            )
        answers = [await receive(client) for _ in range(50)]
        assert loop.time() - asked_at >= 0.2
        assert [answer["session"]["instructions"] for answer in answers] == [str(number) for number in range(50)]
    assert asked_at >= began
    assert server.sessions[0].closed.code == 1000


async def test_a_request_takes_the_long_way_too():
    loop = asyncio.get_running_loop()
    async with Emulator(knobs=Knobs(network_latency=0.2)) as server, ClientSession() as http:
        for path, status in (("/realtime/client_secrets", 401), ("/audio/transcriptions", 401)):
            asked_at = loop.time()
            async with http.post(server.base_url + path) as answer:
                assert answer.status == status
            assert loop.time() - asked_at >= 0.2


async def test_leaving_ends_every_connection():
    async with Emulator() as server:
        client = await dial(server)
        await receive(client)
    with pytest.raises(ConnectionClosed):
        await client.recv()
    with pytest.raises(OSError, match="onnect"):
        await dial(server)


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    assert main(["--script", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    assert main(["--port", "99999"]) == 2


async def test_the_command_serves_and_says_what_it_cannot(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "livekit_plugins_openai_ga.emulator",
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        address, warning, use = [(await process.stdout.readline()).decode() for _ in range(3)]
        assert "does not understand speech" in warning
        assert use.split()[-1] == f"OPENAI_BASE_URL={address.split()[-1]}"
        url = address.split()[-1].replace("http://", "ws://")
        async with connect(url + "/realtime?model=gpt-realtime-2.1", additional_headers=KEY) as client:
            assert (await receive(client))["type"] == "session.created"
    finally:
        process.terminate()
        await process.wait()
