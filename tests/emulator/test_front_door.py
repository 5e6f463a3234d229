"""HTTP requests and WebSockets on one port."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl

import aiohttp
import pytest
from websockets.asyncio.client import connect

from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn, faults
from livekit_plugins_openai_ga.emulator.voice import synthetic

KEY = {"Authorization": "Bearer sk-test"}
FAST = Knobs(transcription_latency=0.0, speak=synthetic)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nnoise\r\n'
    b"--b--\r\n"
)
HEAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n"
)
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(FORM) + FORM


async def dial(server):
    return await asyncio.open_connection("127.0.0.1", int(server.base_url.split(":")[2].split("/")[0]))


async def exchange(server, *pieces):
    """Send bytes piece by piece and return everything that comes back."""
    reader, writer = await dial(server)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
    return int(status.split()[1]), headers, body


def script():
    return Script([Turn(heard="Hello there"), Turn(heard="Again")])


@pytest.mark.parametrize("pieces", [(WHOLE,), tuple(bytes([byte]) for byte in WHOLE), (WHOLE[:4], WHOLE[4:])])
async def test_a_request_is_answered_however_its_bytes_arrive(pieces):
    async with Emulator(script(), knobs=FAST) as server:
        status, headers, body = parsed(await exchange(server, *pieces))
        assert status == 200
        assert json.loads(body)["text"] == "Hello there"
        assert headers["content-type"] == "application/json"
        assert int(headers["content-length"]) == len(body)
        assert headers["x-request-id"]


async def test_a_chunked_body_is_put_together():
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (FORM[:7], FORM[7:50], FORM[50:]))
    request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nX-Trailer: 1\r\n\r\n"
    async with Emulator(script(), knobs=FAST) as server:
        status, _, body = parsed(await exchange(server, request))
        assert (status, json.loads(body)["text"]) == (200, "Hello there")


async def test_a_client_that_asks_first_is_told_to_go_on():
    async with Emulator(script(), knobs=FAST) as server:
        reader, writer = await dial(server)
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(FORM))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(FORM)
        assert parsed(await reader.read())[0] == 200
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /v1/chat/completions HTTP/1.1", 404),
        (b"DELETE /v1/audio/transcriptions HTTP/1.1", 404),
        (b"GET /v1/audio/transcriptions HTTP/1.1", 404),
        (b"POST nonsense", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: many", 400),
        (b"\x17\x03\x01 what is this", 400),
        (b"no-method-is-as-long-as-this-one", 400),
    ],
)
async def test_what_is_not_served_gets_a_status(request_line, status):
    async with Emulator(knobs=FAST) as server:
        assert parsed(await exchange(server, request_line + b"\r\n\r\n"))[0] == status
        assert server.uploads == []


async def test_both_kinds_share_the_port():
    async with Emulator(script(), knobs=FAST) as server:
        url = server.base_url.replace("http://", "ws://") + "/realtime?intent=transcription"
        async with connect(url, additional_headers={"Authorization": "Bearer sk-test"}) as client:
            assert json.loads(await client.recv())["type"] == "session.created"
            assert parsed(await exchange(server, WHOLE))[0] == 200
            await client.send("{}")
            assert json.loads(await client.recv())["type"] == "error"


async def test_a_frozen_session_does_not_stop_uploads():
    async with Emulator(script(), knobs=FAST) as server:
        url = server.base_url.replace("http://", "ws://") + "/realtime?intent=transcription"
        async with connect(url, additional_headers={"Authorization": "Bearer sk-test"}, close_timeout=0.1) as client:
            await client.recv()
            await server.freeze()
            assert parsed(await exchange(server, WHOLE))[0] == 200


async def test_leaving_ends_connections_that_say_nothing_or_wait():
    async with Emulator(script(), knobs=FAST, faults=[faults.DelayTranscription(float("inf"))]) as server:
        silent, silent_writer = await dial(server)
        half, half_writer = await dial(server)
        half_writer.write(WHOLE[:100])
        waiting, waiting_writer = await dial(server)
        waiting_writer.write(WHOLE)
        await server.wait_until(lambda: len(server.uploads) == 1)
    for reader, writer in ((silent, silent_writer), (half, half_writer), (waiting, waiting_writer)):
        with pytest.raises((ConnectionError, EOFError)):
            await reader.readexactly(1)
        writer.close()


@pytest.mark.parametrize("steps", range(6))
async def test_a_connection_that_comes_in_while_the_server_closes_does_not_hold_it_up(steps):
    server = Emulator(knobs=FAST)
    async with server:
        # Blocking, so that the server's side of it is only made in the steps that follow.
        with socket.create_connection(("127.0.0.1", int(server.base_url.split(":")[2].split("/")[0]))):
            for _ in range(steps):
                await asyncio.sleep(0)
            await asyncio.wait_for(server.aclose(), 5)


async def test_drop_breaks_off_uploads_that_wait():
    async with Emulator(script(), knobs=FAST, faults=[faults.DelayTranscription(float("inf"))]) as server:
        reader, writer = await dial(server)
        writer.write(WHOLE)
        await server.wait_until(lambda: len(server.uploads) == 1)
        await server.drop()
        with pytest.raises((ConnectionError, EOFError)):
            await reader.readexactly(1)
        writer.close()
        status, _, body = parsed(await exchange(server, WHOLE))
        assert (status, json.loads(body)["text"]) == (200, "Hello there")


async def test_a_caller_that_gives_up_leaves_its_turn_to_the_next():
    async with Emulator(script(), knobs=FAST, faults=[faults.DelayTranscription(float("inf"))]) as server:
        _, writer = await dial(server)
        writer.write(WHOLE)
        await server.wait_until(lambda: len(server.uploads) == 1)
        writer.close()
        await writer.wait_closed()
        answers = [json.loads(parsed(await exchange(server, WHOLE))[2])["text"] for _ in range(2)]
        assert answers == ["Hello there", "Again"]


async def test_a_server_can_be_opened_again():
    server = Emulator(script(), knobs=FAST)
    for expected in ("Hello there", "Again"):
        async with server:
            assert json.loads(parsed(await exchange(server, WHOLE))[2])["text"] == expected


async def test_a_client_that_speaks_tls_where_there_is_none_does_not_wait():
    seen = []
    async with Emulator(watch=seen.append) as server:
        url = server.base_url.replace("http://", "wss://") + "/realtime?model=gpt-realtime-2.1"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.wait_for(connect(url, additional_headers=KEY, open_timeout=None), 30)
    (told,) = seen
    assert (told.what, told.detail["code"]) == ("turned_away", "tls")


async def test_with_a_certificate_sockets_and_requests_are_encrypted(certificates):
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificates["localhost"])
    ours.load_cert_chain(certificates["localhost"])
    async with Emulator(Script([Turn(say="Hi.")]), ssl=ours) as server:
        assert server.base_url.startswith("https://")
        url = server.base_url.replace("127.0.0.1", "localhost")
        async with connect(
            url.replace("https://", "wss://") + "/realtime?model=gpt-realtime-2.1", additional_headers=KEY, ssl=theirs
        ) as client:
            assert json.loads(await client.recv())["type"] == "session.created"
        async with (
            aiohttp.ClientSession(headers=KEY) as http,
            http.post(f"{url}/realtime/client_secrets", json={}, ssl=theirs) as answer,
        ):
            assert answer.status == 200
