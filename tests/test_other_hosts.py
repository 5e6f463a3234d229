"""Whom a key is shown to: the host that was named, once its certificate has proved it, and nobody it sends us to."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, APIError

from livekit_plugins_openai_ga import STT, RealtimeModel

KEY = "sk-proj-notforeverybody1234567890"
HEADERS = {"Authorization": f"authorization: bearer {KEY}", "api-key": f"api-key: {KEY}"}
ONCE = APIConnectOptions(max_retry=0, timeout=5.0)
ROOT = Path(__file__).parent.parent


# -- three kinds of session, two kinds of header ---------------------------------------------------------------------


def silence() -> rtc.AudioFrame:
    return rtc.AudioFrame(bytes(24000), 24000, 1, 12000)


async def converse(base_url: str, header: str) -> APIError:
    more: dict[str, Any] = {"api_key": KEY, "base_url": base_url, "conn_options": ONCE, "allow_insecure": True}
    azure = header == "api-key"
    model = RealtimeModel.with_azure(azure_deployment="m", **more) if azure else RealtimeModel(**more)
    session = model.session()
    told: asyncio.Queue[Any] = asyncio.Queue()
    session.on("error", told.put_nowait)
    error = await asyncio.wait_for(told.get(), 8)
    await session.aclose()
    assert isinstance(error.error, APIError)
    return error.error


def transcriber(base_url: str, header: str, **more: Any) -> STT:
    more |= {"api_key": KEY, "base_url": base_url, "allow_insecure": True}
    return STT.with_azure(azure_deployment="m", **more) if header == "api-key" else STT(**more)


async def stream(base_url: str, header: str) -> APIError:
    stt = transcriber(base_url, header)
    listening = stt.stream(conn_options=ONCE)
    with pytest.raises(APIError) as caught:
        async for _ in listening:
            pass
    await stt.aclose()
    return caught.value


async def upload(base_url: str, header: str) -> APIError:
    stt = transcriber(base_url, header, use_realtime=False)
    with pytest.raises(APIError) as caught:
        await stt.recognize([silence()], conn_options=ONCE)
    await stt.aclose()
    return caught.value


KINDS = {"conversation": converse, "stream": stream, "upload": upload}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_headers = pytest.mark.parametrize("header", HEADERS)


@asynccontextmanager
async def raw(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that answers every request head with `answer`; gives its port, and the heads it got, in lower case."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head.decode().lower())
        if length := re.search(r"content-length: (\d+)", heads[-1]):
            await reader.readexactly(int(length[1]))  # else the answer would be lost with a reset
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


def redirect(status: int, target: str) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()


# -- redirects -------------------------------------------------------------------------------------------------------


@every_kind
@both_headers
@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_takes_the_key_nowhere(kind: str, header: str, status: int) -> None:
    async with raw(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as (other, got):
        async with raw(redirect(status, f"http://localhost:{other}/v1/elsewhere")) as (port, heads):
            error = await KINDS[kind](f"http://127.0.0.1:{port}/v1", header)
        assert got == []
    assert [HEADERS[header] in head for head in heads] == [True]
    assert error.body.http_status == status  # type: ignore[attr-defined]
    assert not error.retryable


# -- certificates ----------------------------------------------------------------------------------------------------


def proof(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@every_kind
@both_headers
async def test_a_certificate_that_nobody_signed_is_refused_before_anything_is_said(
    kind: str, header: str, certificates: dict[str, Path]
) -> None:
    async with raw(b"", proof(certificates["localhost"])) as (port, heads):
        error = await KINDS[kind](f"https://localhost:{port}/v1", header)
    assert heads == []
    assert str(error.message).startswith("bad_certificate: ")
    assert "The certificate is not trusted." in error.message
    assert "if a proxy inspects TLS, install its certificate" in error.message
    assert not error.retryable


_IN_A_PROCESS_THAT_TRUSTS = """
import asyncio, importlib.util, json, sys
spec = importlib.util.spec_from_file_location("hosts", sys.argv[1])
hosts = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hosts)
async def main():
    told = {}
    for kind, play in hosts.KINDS.items():
        for base_url in sys.argv[2:]:
            told[f"{kind} {base_url}"] = (await play(base_url, "Authorization")).message
    print(json.dumps(told))
asyncio.run(main())
"""


async def test_a_trusted_certificate_is_taken_for_its_own_host_only(certificates: dict[str, Path]) -> None:
    trusted = certificates["localhost"].parent / "trusted.pem"
    trusted.write_text("".join(path.read_text() for path in certificates.values()))
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    async with (
        raw(refusal, proof(certificates["localhost"])) as (right, heard),
        raw(refusal, proof(certificates["elsewhere.example"])) as (wrong, overheard),
    ):
        urls = [f"https://localhost:{port}/v1" for port in (right, wrong)]
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _IN_A_PROCESS_THAT_TRUSTS, __file__, *urls),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "SSL_CERT_FILE": str(trusted), "PYTHONPATH": str(ROOT)},
        )
        output, _ = await asyncio.wait_for(running.communicate(), 40)
    codes = {where: said.partition(":")[0] for where, said in json.loads(output.splitlines()[-1]).items()}
    assert codes == {
        f"{kind} {url}": code for kind in KINDS for url, code in zip(urls, ("http_401", "bad_certificate"), strict=True)
    }
    assert [HEADERS["Authorization"] in head for head in heard] == [True] * 3
    assert overheard == []


_A_CALL_OVER_TLS = """
import asyncio, ssl, sys
from livekit_plugins_openai_ga import RealtimeModel
from livekit_plugins_openai_ga.emulator import Emulator, Script, Turn
async def main():
    proof = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    proof.load_cert_chain(sys.argv[1])
    async with Emulator(Script([Turn(say="A long answer, said in many words. " * 20)]), ssl=proof) as server:
        session = RealtimeModel(base_url=server.base_url.replace("127.0.0.1", "localhost")).session()
        made = await session.generate_reply()
        async for message in made.message_stream:
            heard = sum([frame.duration async for frame in message.audio_stream])
            print("".join([text async for text in message.text_stream]))
        await session.aclose()
        print(heard > 30, len(server.sessions))
asyncio.run(main())
"""


async def test_a_long_reply_is_heard_over_tls(certificates: dict[str, Path]) -> None:
    proof = certificates["localhost"]
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _A_CALL_OVER_TLS, proof),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "SSL_CERT_FILE": str(proof), "PYTHONPATH": str(ROOT)},
    )
    output, _ = await asyncio.wait_for(running.communicate(), 50)
    assert output.decode().splitlines() == [("A long answer, said in many words. " * 20), "True 1"]
