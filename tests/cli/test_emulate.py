"""`livekit-openai-ga emulate` as a user meets it: on a terminal, in a pipe, as JSON, and with arguments of no use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from livekit_plugins_openai_ga.cli import main
from livekit_plugins_openai_ga.emulator.__main__ import main as by_module
from livekit_plugins_openai_ga.emulator.named_faults import table
from tests.docs.blocks import blocks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "emulate.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "examples" / "scripts" / "agent.json"
KEY = "sk-proj-" + "Ab1" * 14
BETA = {"type": "session.update", "session": {"type": "realtime", "modalities": ["text"]}}
TOKEN = "a-token-of-another-server"


def command(*arguments: str, module: str = "livekit_plugins_openai_ga") -> list[str]:
    return [sys.executable, "-m", module, *(["emulate"] * (module.count(".") == 0)), "--port", "0", *arguments]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    kept.pop("NO_COLOR", None)
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


class Running:
    """The command, while it serves; `out` is all that it wrote."""

    def __init__(self, process: asyncio.subprocess.Process, out: asyncio.StreamReader) -> None:
        self.process = process
        self._out = out
        self.out = ""

    async def until(self, text: str) -> str:
        while text not in self.out:
            piece = await asyncio.wait_for(self._out.read(2**16), 30)
            assert piece, f"It ended before it wrote {text!r}:\n{self.out}"
            self.out += piece.decode()
        return self.out

    async def url(self) -> str:
        found = re.search(r"http://[\d.:]+/v1", await self.until("/v1"))
        assert found
        return found[0]

    async def end(self, sign: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(sign)
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more
            self.out += (await asyncio.wait_for(self._out.read(), 30)).decode()
        return await asyncio.wait_for(self.process.wait(), 30)


@contextlib.asynccontextmanager
async def running(*arguments: str, terminal: bool = False, **how: str) -> AsyncIterator[Running]:
    if not terminal:
        process = await asyncio.create_subprocess_exec(
            *command(*arguments, **how), env=environment(), stdout=asyncio.subprocess.PIPE, limit=2**24
        )
        assert process.stdout
        reader = process.stdout
    else:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *command(*arguments, **how), env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
        )
    try:
        yield Running(process, reader)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def dialled(base_url: str) -> AsyncIterator[ClientConnection]:
    url = base_url.replace("http://", "ws://") + "/realtime?model=gpt-realtime-2.1"
    async with connect(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
        yield client


async def send(client: ClientConnection, *events: dict[str, Any]) -> None:
    for event in events:
        await client.send(json.dumps(event))


async def until(client: ClientConnection, event_type: str) -> list[dict[str, Any]]:
    events = [json.loads(await asyncio.wait_for(client.recv(), 30))]
    while events[-1]["type"] != event_type:
        events.append(json.loads(await asyncio.wait_for(client.recv(), 30)))
    return events


def without_times(text: str) -> list[str]:
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8765", plain(text).replace("\r\n", "\n"))
    return [re.sub(r"^ *\d+\.\d{3}  ", "", line) for line in text.splitlines()]


async def test_it_shows_what_the_page_says_that_it_shows() -> None:
    async with running("--script", str(SCRIPT), "--fault", "drop@done") as emulate:
        async with dialled(await emulate.url()) as client:
            await until(client, "session.created")
            await send(client, BETA, {"type": "response.create"})
            with pytest.raises(ConnectionClosed):
                await until(client, "nothing")
        await emulate.until("ended")
        assert await emulate.end(signal.SIGINT) == 1
    shown, _ = blocks("docs/emulate.md", "text")
    assert sorted(without_times(emulate.out)) == sorted(without_times(shown.code))


async def test_on_a_terminal_what_is_wrong_stands_out_in_lines_that_fit() -> None:
    async with running(terminal=True) as emulate:
        async with dialled(await emulate.url()) as client:
            await send(client, {"type": "response.surprise\x1b[2J", "event_id": "x" * 20})
            await until(client, "error")
        await emulate.until("ended")
        assert await emulate.end() == 1
    assert "\x1b[32mconnected" in emulate.out
    assert "\x1b[31;1mrefused" in emulate.out
    assert "\x1b[2J" not in emulate.out
    assert "Supported values are: 'session.update'" in " ".join(plain(emulate.out).split())
    assert max(map(len, plain(emulate.out).splitlines()[3:])) <= 80


async def test_in_json_a_line_is_a_thing_that_happened() -> None:
    tool = {"type": "mcp", "server_label": "s", "server_url": "https://mcp.example", "authorization": TOKEN}
    async with running("--json", "--script", str(SCRIPT), "--fault", "refuse@response.cancel") as emulate:
        async with dialled(json.loads(await emulate.until("\n"))["base_url"]) as client:
            await send(client, {"type": "session.update", "session": {"type": "realtime", "tools": [tool]}})
            await send(client, {"type": "response.create"}, {"type": "input_audio_buffer.append", "audio": "AAAAAA=="})
            await until(client, "response.done")
            await send(client, {"type": "response.cancel"})
            await until(client, "error")
        await emulate.until('"ended"')
        assert await emulate.end() == 0  # the one refusal was asked for
    told = [json.loads(line) for line in emulate.out.splitlines()]
    assert [each["what"] for each in told[:3]] == ["serving", "connected", "sent"]
    assert all(each["at"] > 1.7e9 for each in told)
    received = [each["event"] for each in told if each["what"] == "received"]
    assert received[2] == {"type": "input_audio_buffer.append", "audio": {"bytes": 4}}
    deltas = [
        each["event"]["delta"] for each in told if each.get("event", {}).get("type") == "response.output_audio.delta"
    ]
    assert sum(delta["bytes"] for delta in deltas) > 10_000
    (refused,) = [each for each in told if each["what"] == "refused"]
    assert (refused["event"]["type"], refused["error"]["code"]) == ("response.cancel", "invalid_value")
    assert [each["fault"] for each in told if each["what"] == "fault"] == ["refuse@response.cancel"]
    assert {key: told[-1][key] for key in ("what", "sessions", "refused")} == {
        "what": "over",
        "sessions": 1,
        "refused": 0,
    }
    assert TOKEN not in emulate.out
    assert KEY not in emulate.out
    for what in {each["what"] for each in told}:
        assert f"`{what}`" in PAGE


BETA_SECRET = {"session": {"type": "realtime", "modalities": ["text"]}}


@pytest.mark.parametrize(
    ("path", "key", "body", "shown"),
    [
        ("/realtime/sessions", KEY, {}, "404: Invalid URL (POST /v1/realtime/sessions)"),
        (
            "/realtime/client_secrets",
            KEY,
            BETA_SECRET,
            "400: unknown_parameter: Unknown parameter",
        ),
        ("/realtime/client_secrets", "", {}, "401: "),
    ],
)
async def test_a_request_that_is_refused_counts(path: str, key: str, body: dict[str, Any], shown: str) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with running() as emulate:
        async with ClientSession(headers=headers) as http, http.post(await emulate.url() + path, json=body):
            pass
        assert await emulate.end() == 1
    assert f"POST /v1{path}: {shown}" in emulate.out
    assert emulate.out.endswith("0 sessions; refused once, see above.\n")


async def test_a_request_that_a_fault_refuses_does_not_count() -> None:
    async with running("--fault", "http:503") as emulate:
        async with ClientSession() as http, http.post(await emulate.url() + "/realtime/client_secrets") as answer:
            assert answer.status == 503
        assert await emulate.end() == 0
    assert "nothing was refused" in emulate.out


async def test_a_key_that_is_quoted_is_not_shown() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"My key is {KEY}."}]}
    for form in ((), ("--json",)):
        async with running(*form) as emulate:
            async with dialled(await emulate.url()) as client:
                await send(client, {"type": "conversation.item.create", "item": item}, {"type": KEY})
                await until(client, "error")
            await emulate.until("ended")
            await emulate.end()
        assert "My key is [redacted]" in emulate.out
        assert KEY not in emulate.out


async def test_it_can_say_nothing_and_still_count() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ("--quiet", "--port", str(port))
    async with running(*arguments, module="livekit_plugins_openai_ga.emulator") as emulate:
        for _ in range(300):
            with contextlib.suppress(OSError):
                async with dialled(f"http://127.0.0.1:{port}/v1") as client:
                    await send(client, BETA)
                    await until(client, "error")
                break
            await asyncio.sleep(0.1)
        assert await emulate.end() == 1
        assert emulate.out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fault", "drpo@3s"], "'drpo' is no fault. Did you mean drop?"),
        (["--latency", "80"], "'80' is not a time: write 80ms or 1.5s."),
        (
            ["--tls", "no-cert.pem", "no-key.pem"],
            "--tls: no-cert.pem and no-key.pem are not a certificate and its key (No such file or directory).",
        ),
        (["--port", "99999"], "--port 99999 is no port: give one up to 65535, or 0 for any free one."),
        (["--script", "nowhere.json"], "nowhere.json: the script cannot be read (No such file or directory)."),
    ],
)
@pytest.mark.parametrize("start", [by_module, lambda arguments: main(["emulate", *arguments])])
def test_what_cannot_be_used_is_one_sentence(start: Any, arguments: list[str], sentence: str, capsys: Any) -> None:
    assert start(arguments) == 2
    assert tuple(capsys.readouterr()) == ("", f"emulate: {sentence}\n")


def test_a_port_that_is_taken_is_named_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["emulate", "--port", port]) == 2
    told = "is taken by another program: give another --port, or --port 0 for any free one."
    assert tuple(capsys.readouterr()) == ("", f"emulate: --port {port} at --host 127.0.0.1 {told}\n")


def test_a_host_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--host", "192.0.2.1", "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith("emulate: --port 0 at --host 192.0.2.1 cannot be listened on (")


def test_the_faults_are_listed_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--list-faults", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["faults"][0] == {
        "name": "drop",
        "written": "drop@reply:1",
        "does": "break the TCP connection (1006)",
        "timed": True,
    }
    assert [row["written"] for row in listed["faults"]] == re.findall(r"\S+@\S+", table())[: len(listed["faults"])]
    assert listed["occasions"]["reply"] == "response.created"


def test_the_faults_are_listed_as_the_page_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--list-faults"]) == 0
    assert capsys.readouterr().out == table() + "\n"
    _, shown = blocks("docs/emulate.md", "text")
    assert shown.code == table() + "\n"


def test_the_page_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["emulate", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert options <= set(re.findall(r"--[a-z-]+", PAGE))
