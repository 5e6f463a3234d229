"""`doctor` against the emulator, through each of its faults, and against servers that are none."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import math
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from livekit_plugins_openai_ga.cli import doctor
from livekit_plugins_openai_ga.cli.doctor_probes import Examination
from livekit_plugins_openai_ga.cli.doctor_steps import Outcome, Status
from livekit_plugins_openai_ga.cli.doctor_way import proxy_for
from livekit_plugins_openai_ga.emulator import Emulator, Knobs, Script, Turn
from livekit_plugins_openai_ga.emulator import faults as f
from livekit_plugins_openai_ga.emulator.voice import synthetic

KEY = "sk-proj-" + "Ab1" * 14
BETA_SESSION = {"id": "sess_1", "object": "realtime.session", "modalities": ["text"], "input_audio_format": "pcm16"}
OTHER_VOICE = {"type": "realtime", "audio": {"output": {"voice": "alloy"}}}
OTHER_FORMAT = {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}
A_WHILE = "1.2"
"""Seconds that a wait may take where one is in vain."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http", "https", "ws", "wss", "socks", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def examine(*arguments: str) -> dict[str, Outcome]:
    """The outcome of each step, by its name."""
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    outcomes = await Examination(doctor.planned(parser.parse_args(arguments))).run(lambda outcome: None)
    return {outcome.step.name: outcome for outcome in outcomes}


def emulator(*faults: f.Fault, **knobs: Any) -> Emulator:
    script = Script([Turn(heard="Hello, who am I talking to?", say="Ready.")] * 3)
    return Emulator(script, knobs=Knobs(speak=synthetic, **knobs), faults=faults)


def trouble(outcomes: dict[str, Outcome]) -> list[tuple[str, Status, str]]:
    """The steps that neither went well nor were left out."""
    return [
        (name, o.verdict.status, o.verdict.code)
        for name, o in outcomes.items()
        if o.verdict.status not in (Status.OK, Status.SKIPPED)
    ]


@dataclass(frozen=True)
class Case:
    """A fault, and the step that has to name it. `code` is that of the step; "" when nothing is wrong."""

    fault: f.Fault
    step: str = ""
    code: str = ""
    kind: str = ""
    status: Status = Status.FAILED

    def __str__(self) -> str:
        on = getattr(self.fault, "on", "") or getattr(self.fault, "status", "") or getattr(self.fault, "code", "")
        return f"{self.kind}{type(self.fault).__name__}-{on}-{self.code}"


def warns(fault: f.Fault, step: str, code: str, kind: str = "") -> Case:
    return Case(fault, step, code, kind, Status.WARNING)


CREATED, UPDATE, UPDATED = "session.created", "session.update", "session.updated"
APPEND, CLEARED = "input_audio_buffer.append", "input_audio_buffer.cleared"
NEWS = {"type": "response.brand_new", "event_id": "event_1"}
OLD_NAME = {"type": "conversation.item.created", "event_id": "event_1", "item": {"id": "item_1", "type": "message"}}
REFUSAL = f.error_event("server_error", "The server had an error.", "server_error")

CASES = [
    Case(f.RefuseHandshake(400), "upgrade", "http_400"),
    Case(f.RefuseHandshake(401), "upgrade", "http_401"),
    Case(f.RefuseHandshake(403), "upgrade", "http_403"),
    Case(f.RefuseHandshake(404), "upgrade", "http_404"),
    Case(f.RefuseHandshake(429, retry_after=3), "upgrade", "http_429"),
    Case(f.RefuseHandshake(200, "<html>Welcome</html>"), "upgrade", "http_200"),
    Case(f.RefuseHandshake(302), "upgrade", "http_302"),
    Case(f.RefuseHandshake(503), "upgrade", "http_503"),
    Case(f.RejectHandshake(), "session", "invalid_model"),
    Case(f.RejectHandshake("invalid_api_key", "Incorrect API key provided: 12.", 3000), "session", "invalid_api_key"),
    Case(f.RejectHandshake("beta_api_shape_disabled", "The beta is gone."), "session", "beta_api_shape_disabled"),
    Case(
        f.RejectHandshake("insufficient_quota", "You exceeded your quota.", 1008, "insufficient_quota"),
        "session",
        "insufficient_quota",
    ),
    Case(f.SwallowOn(CREATED), "session", "timeout"),
    Case(f.AlterOn(CREATED, {"session": BETA_SESSION}), "session", "beta_answer"),
    Case(f.AlterOn(CREATED, without=["session"]), "session", "unexpected_answer"),
    Case(f.AlterOn(CREATED, {"session": {"type": "transcription"}}), "session", "wrong_session"),
    Case(f.AlterOn(CREATED, {"session": BETA_SESSION}), "session", "beta_answer", "--stt"),
    warns(f.InjectOn(CREATED, "no JSON"), "session", "malformed_event"),
    warns(f.InjectOn(UPDATED, b"\x00\xff"), "configuration", "malformed_event"),
    Case(f.InjectOn(UPDATED, NEWS)),
    Case(f.DropOn(UPDATE), "configuration", "close_1006"),
    Case(f.CloseOn(UPDATE, 1011, "gone"), "configuration", "close_1011"),
    Case(f.CloseOn(UPDATE, 4000, error=("invalid_model", "No such model.")), "configuration", "invalid_model"),
    Case(f.FreezeOn(UPDATE), "configuration", "timeout"),
    Case(f.RejectOn(UPDATE, "unknown_parameter", "Unknown.", "session.x"), "configuration", "unknown_parameter"),
    Case(f.RejectOn(UPDATE, None, "No."), "configuration", "invalid_request_error", "--stt"),
    Case(f.RejectOn(UPDATE, "invalid_value", "No."), "configuration", "invalid_value", "--translate"),
    Case(f.SwallowOn(UPDATED), "configuration", "timeout"),
    warns(f.AlterOn(UPDATED, {"session": OTHER_VOICE}), "configuration", "configuration_differs"),
    Case(f.AlterOn(UPDATED, {"session": OTHER_FORMAT}), "configuration", "format_not_kept"),
    warns(f.DelayOn(UPDATED, 2.05), "configuration", "slow"),
    Case(f.RepeatOn(UPDATED)),
    Case(f.PostponeOn(UPDATED)),
    Case(f.DropOn(APPEND), "audio", "close_1006"),
    Case(f.CloseOn(APPEND, 1009, "too big"), "audio", "close_1009"),
    Case(f.RejectOn(APPEND, "invalid_value", "Bad audio.", "audio"), "audio", "invalid_value"),
    Case(f.RejectOn(APPEND, "invalid_value", "Bad audio.", "audio"), "audio", "invalid_value", "--stt"),
    Case(f.RejectOn("session." + APPEND, "invalid_value", "Bad."), "audio", "invalid_value", "--translate"),
    Case(f.SwallowOn(CLEARED), "audio", "timeout"),
    Case(f.FailResponse(), "reply", "server_error"),
    Case(f.FailResponse("rate_limit_exceeded", "Slow down."), "reply", "rate_limit_exceeded"),
    Case(f.FailResponse("insufficient_quota", "No credit.", "insufficient_quota"), "reply", "insufficient_quota"),
    Case(f.RejectOn("response.create", "invalid_value", "No.", "response.input"), "reply", "invalid_value"),
    Case(f.SwallowOn("response.create"), "reply", "timeout"),
    Case(f.CloseOn("response.output_text.delta", 1012), "reply", "close_1012"),
    Case(f.InjectOn("response.created", REFUSAL), "reply", "server_error"),
    warns(f.InjectOn("response.created", OLD_NAME), "reply", "beta_names"),
    Case(f.FailToolList()),  # a doctor has no tools
    Case(f.FailTranscription(), "transcript", "audio_unintelligible", "--stt"),
    Case(f.DelayTranscription(math.inf), "transcript", "timeout", "--stt"),
    Case(f.DropOn("input_audio_buffer.commit"), "transcript", "close_1006", "--stt"),
    Case(f.SwallowOn("session.close"), "translation", "timeout", "--translate"),
    Case(f.SwallowOn("session.closed"), "translation", "close_1000", "--translate"),
    Case(f.DropOn("session.close"), "translation", "close_1006", "--translate"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_each_fault_is_named_by_its_step(case: Case) -> None:
    waits = case.code == "timeout"
    arguments = [*([case.kind] if case.kind else []), *(["--timeout", A_WHILE] if waits else [])]
    async with emulator(case.fault) as server:
        outcomes = await examine("--base-url", server.base_url, *arguments)
    expected = [(case.step, case.status, case.code)] if case.code else []
    assert trouble(outcomes)[:1] == expected
    for outcome in outcomes.values():
        verdict = outcome.verdict
        assert bool(verdict.remedy) == (verdict.status in (Status.FAILED, Status.WARNING)), verdict
        assert (outcome.ms is None) == (verdict.status is Status.SKIPPED)
        assert verdict.summary


def test_no_fault_of_the_emulator_is_left_out() -> None:
    tried = {type(case.fault) for case in CASES} | {f.ExpireAfter, f.After}  # which have tests of their own
    assert tried == {*get_args(f.EventFault), *(kind for kind in get_args(f.Fault) if isinstance(kind, type))}


async def test_a_session_that_expires_is_named_wherever_it_strikes() -> None:
    async with emulator(f.ExpireAfter(0.03)) as server:
        outcomes = await examine("--base-url", server.base_url)
    assert [code for _, _, code in trouble(outcomes)] == ["session_expired"]


async def test_a_connection_that_breaks_after_a_while_is_named_wherever_it_does() -> None:
    async with emulator(f.After(0.03, f.DropOn(""))) as server:
        outcomes = await examine("--base-url", server.base_url)
    assert [code for _, _, code in trouble(outcomes)] == ["close_1006"]


@pytest.mark.parametrize("kind", [[], ["--stt"], ["--translate"], ["--stt", "--model", "gpt-live-transcribe"]], ids=str)
async def test_nothing_is_wrong_with_a_server_that_works(kind: list[str]) -> None:
    async with emulator() as server:
        outcomes = await examine("--base-url", server.base_url, *kind)
        assert {o.verdict.status for o in outcomes.values()} == {Status.OK}
        assert server.sessions[0].closed is not None
    assert outcomes["session"].verdict.details["session_id"].startswith("sess_")


async def test_what_was_said_and_heard_is_told() -> None:
    async with emulator() as server:
        heard = await examine("--base-url", server.base_url, "--stt")
        said = await examine("--base-url", server.base_url)
    assert heard["transcript"].verdict.details["transcript"] == "Hello, who am I talking to?"
    assert said["reply"].verdict.details["first_text_ms"] > 0


async def test_when_the_connection_is_gone_the_rest_is_left_out() -> None:
    async with emulator(f.DropOn(UPDATE)) as server:
        outcomes = await examine("--base-url", server.base_url)
    left = {name: outcomes[name].verdict.summary for name in ("audio", "reply", "goodbye")}
    assert set(left.values()) == {"the connection is gone"}


async def test_after_a_refusal_the_session_is_tried_further() -> None:
    async with emulator(f.RejectOn(UPDATE, "invalid_value", "No.")) as server:
        outcomes = await examine("--base-url", server.base_url)
    assert outcomes["reply"].verdict.status is Status.OK


async def test_a_wrong_key_is_named_after_the_101_and_not_shown() -> None:
    async with emulator(api_keys=frozenset({"sk-other"})) as server:
        outcomes = await examine("--base-url", server.base_url)
    assert trouble(outcomes) == [("session", Status.FAILED, "invalid_api_key")]
    shown = json.dumps([outcome.as_json() for outcome in outcomes.values()])
    assert KEY not in shown
    assert KEY[-4:] not in shown


async def test_a_client_secret_that_is_refused_is_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "ek_" + "Ab1" * 14)
    async with emulator() as server:
        outcomes = await examine("--base-url", server.base_url)
    assert trouble(outcomes) == [
        ("key", Status.WARNING, "client_secret"),
        ("session", Status.FAILED, "client_secret_refused"),
    ]


@pytest.mark.parametrize("raw", [f'"{KEY}"', f"{KEY[:20]} {KEY[20:]}", "sk-..."])
async def test_a_key_that_cannot_be_one_is_not_sent(raw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", raw)
    async with emulator() as server:
        outcomes = await examine("--base-url", server.base_url)
        assert server.handshakes == []
    assert [name for name, _, _ in trouble(outcomes)] == ["key"]
    assert outcomes["connect"].verdict.status is Status.OK


async def test_a_model_that_the_plugin_refuses_is_not_tried() -> None:
    async with emulator() as server:
        outcomes = await examine("--base-url", server.base_url, "--stt", "--model", "gpt-realtime-2.1")
        assert server.handshakes == []
    assert trouble(outcomes) == [("model", Status.FAILED, "bad_setting")]


async def test_a_gateway_that_opens_no_transcription_by_its_url_is_named() -> None:
    async with emulator(gateway_urls=False) as server:
        outcomes = await examine("--base-url", server.base_url, "--stt")
    assert trouble(outcomes) == [("session", Status.FAILED, "invalid_model")]


@pytest.mark.parametrize("kind", [[], ["--stt"]], ids=str)
async def test_azure_is_examined_on_its_own_path(kind: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with emulator(api_keys=frozenset({"azure-key"})) as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.azure_endpoint)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
        good = await examine("--azure", "--model", "my-deployment", *kind)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "another")
        bad = await examine("--azure", "--model", "my-deployment", *kind)
        assert all(handshake.is_azure for handshake in server.handshakes)
    assert trouble(good) == []
    assert trouble(bad) == [("upgrade", Status.FAILED, "http_401")]


# -- servers that are none ---------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def answering(data: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port where each request is answered with `data`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def closed_port() -> int:
    async with answering(b"") as port:
        return port


async def test_a_closed_port_is_named() -> None:
    outcomes = await examine("--base-url", f"http://127.0.0.1:{await closed_port()}/v1")
    assert trouble(outcomes) == [("connect", Status.FAILED, "connection_refused")]
    assert "Connection refused" in outcomes["connect"].verdict.summary


async def test_a_host_that_does_not_resolve_is_named() -> None:
    outcomes = await examine("--base-url", "https://realtime.invalid/v1")
    assert trouble(outcomes) == [("dns", Status.FAILED, "host_not_found")]
    assert outcomes["upgrade"].verdict.status is Status.SKIPPED


async def test_an_address_that_is_tried_in_vain_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    async def both(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    async with emulator() as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both, raising=False)
        outcomes = await examine("--base-url", server.base_url)
    assert outcomes["connect"].verdict.code == "address_unreachable"
    assert outcomes["connect"].verdict.details["unreachable"] == {"127.0.0.2": "connection_refused"}


async def test_a_web_server_that_has_no_websocket_is_named() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as port:
        outcomes = await examine("--base-url", f"http://127.0.0.1:{port}/v1")
    assert trouble(outcomes) == [("upgrade", Status.FAILED, "http_200")]


async def test_a_server_that_speaks_no_http_is_named() -> None:
    async with answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as port:
        outcomes = await examine("--base-url", f"http://127.0.0.1:{port}/v1")
    assert [(name, status) for name, status, _ in trouble(outcomes)] == [("upgrade", Status.FAILED)]


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "3"]
    subprocess.run([*command, *files, *subject], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


async def test_a_certificate_that_nobody_trusts_is_named(certificate: ssl.SSLContext) -> None:
    async with answering(b"", certificate) as port:
        outcomes = await examine("--base-url", f"https://localhost:{port}/v1")
    assert trouble(outcomes)[0] == ("connect", Status.FAILED, "bad_certificate")
    assert "self-signed certificate" in outcomes["connect"].verdict.summary.replace("self signed", "self-signed")


async def test_a_certificate_that_ends_soon_is_worth_a_warning(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    async with answering(b"", certificate) as port:
        outcomes = await examine("--base-url", f"https://127.0.0.1:{port}/v1")
        assert trouble(outcomes)[0] == ("connect", Status.FAILED, "bad_certificate")  # another name
        outcomes = await examine("--base-url", f"https://localhost:{port}/v1")
    assert trouble(outcomes)[0] in [
        ("connect", Status.WARNING, "certificate_ends"),
        ("connect", Status.WARNING, "address_unreachable"),  # localhost is ::1, too
    ]
    assert outcomes["connect"].verdict.details["certificate_ends"].endswith("GMT")


async def test_plain_http_behind_https_is_named() -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        outcomes = await examine("--base-url", f"https://127.0.0.1:{port}/v1", "--timeout", A_WHILE)
    assert [(name, status) for name, status, _ in trouble(outcomes)] == [("connect", Status.FAILED)]


# -- proxies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden", "502 Bad Gateway"])
async def test_a_proxy_that_refuses_is_named(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as port:
        monkeypatch.setenv("https_proxy", f"http://somebody:hunter2secret@127.0.0.1:{port}")
        outcomes = await examine("--base-url", "https://realtime.invalid/v1")
    assert trouble(outcomes) == [("upgrade", Status.FAILED, f"proxy_{status[:3]}")]
    assert outcomes["proxy"].verdict.details == {"proxy": f"http://127.0.0.1:{port}"}
    assert "hunter2secret" not in json.dumps([outcome.as_json() for outcome in outcomes.values()])


async def test_a_proxy_that_lets_through_is_part_of_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # only a look whether somebody listens
            writer.close()
            return
        asked.append(head.split()[1].decode())
        port = int(asked[-1].rpartition(":")[2])
        to, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(to, writer))

    asked: list[str] = []
    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    try:
        async with emulator() as server:
            url = server.base_url.replace("127.0.0.1", "realtime.invalid")
            outcomes = await examine("--base-url", url, "--allow-insecure")
    finally:
        proxy.close()
    assert trouble(outcomes) == []
    assert [name.partition(":")[0] for name in asked] == ["realtime.invalid"]


async def test_a_proxy_that_is_not_there_is_told_from_a_server_that_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{await closed_port()}")
    outcomes = await examine("--base-url", "https://realtime.invalid/v1")
    assert trouble(outcomes) == [("connect", Status.FAILED, "connection_refused")]
    assert "proxy" in outcomes["connect"].verdict.remedy


@pytest.mark.parametrize("url", ["127.0.0.1:3128", "http://", "ftp://proxy:21", "http://proxy:port"])
async def test_a_proxy_that_is_no_url_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", url)
    outcomes = await examine("--base-url", f"https://127.0.0.1:{await closed_port()}/v1")
    assert trouble(outcomes)[0] == ("proxy", Status.FAILED, "bad_proxy")


@pytest.mark.skipif(importlib.util.find_spec("python_socks") is not None, reason="the package is there")
async def test_a_proxy_that_needs_a_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5h://127.0.0.1:1")
    outcomes = await examine("--base-url", "https://realtime.invalid/v1")
    assert trouble(outcomes)[0] == ("proxy", Status.FAILED, "no_socks")
    assert outcomes["upgrade"].verdict.status is Status.SKIPPED


async def test_a_proxy_on_the_way_to_this_machine_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{await closed_port()}")
    async with emulator() as server:
        proxied = await examine("--base-url", server.base_url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        direct = await examine("--base-url", server.base_url)
    assert trouble(proxied)[0] == ("proxy", Status.WARNING, "proxy_for_local")
    assert trouble(direct) == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"https_proxy": "http://a:1"},
        {"http_proxy": "http://b:1"},
        {"wss_proxy": "http://c:1", "https_proxy": "http://a:1"},
        {"socks_proxy": "http://d:1", "https_proxy": "http://a:1"},
        {"https_proxy": "socks5h://e:1"},
        {"https_proxy": "http://a:1", "no_proxy": "example.com"},
        {"https_proxy": "http://a:1", "no_proxy": "other.org"},
    ],
    ids=str,
)
@pytest.mark.parametrize("url", ["wss://www.example.com/v1", "ws://www.example.com:8080/v1"])
def test_the_proxy_is_the_one_that_websockets_takes(
    environment: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from websockets import uri

    try:
        from websockets.proxy import get_proxy
    except ImportError:  # before 16
        get_proxy = uri.get_proxy  # type: ignore[attr-defined]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    parsed = uri.parse_uri(url)
    assert proxy_for(parsed.host, parsed.port, secure=parsed.secure) == get_proxy(parsed)
