"""A LiteLLM proxy in a process of its own, with the emulator as the server behind it.

The proxy starts once for all tests. The emulator is a new one in each, on the port that the proxy was told.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from livekit_plugins_openai_ga.emulator import Emulator

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".venv" / "litellm" / "bin" / "litellm"
START_S = 90.0
"""It takes six seconds where nothing else runs."""
GATEWAY_KEY, UPSTREAM_KEY = "sk-gateway-1234567890", "sk-upstream-1234567890"
MODELS = {
    "agent": "gpt-realtime-2.1",
    "ears": "gpt-4o-transcribe",
    "gpt-transcribe": "gpt-transcribe",
    "gpt-live-transcribe": "gpt-live-transcribe",
}
"""What clients ask the proxy for, and what it asks for."""


@dataclass(frozen=True)
class Gateway:
    """A running proxy: where clients find it, and where it looks for its server."""

    port: int
    upstream_port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def upstream(self, *args: Any, **given: Any) -> Emulator:
        """An emulator where the proxy looks for OpenAI; its arguments without the port."""
        return Emulator(*args, port=self.upstream_port, **given)


def _command() -> str | None:
    """The proxy's program: $LITELLM when set, else where `make test` puts it, else one on the PATH."""
    here = str(INSTALLED) if INSTALLED.exists() else None
    return os.environ.get("LITELLM") or here or shutil.which("litellm")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _config(upstream_port: int) -> str:
    models = "".join(
        f"  - model_name: {alias}\n"
        f"    litellm_params: {{model: openai/{model}, api_base: 'http://127.0.0.1:{upstream_port}/v1', "
        f"api_key: {UPSTREAM_KEY}}}\n"
        for alias, model in MODELS.items()
    )
    return f"model_list:\n{models}general_settings: {{master_key: {GATEWAY_KEY}}}\n"


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"LiteLLM did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)  # it leads a group of its own, so nothing of it stays behind
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    command = _command()
    if command is None:
        pytest.skip("LiteLLM is not installed: run `make test`, or set LITELLM to the program `litellm`")
    home = tmp_path_factory.mktemp("litellm")
    port, upstream_port = _free_ports(2)
    (home / "config.yaml").write_text(_config(upstream_port))
    log = home / "log"
    # Neither the machine's settings nor the network: prices come with the package.
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, lambda: _answers(port), log)
        yield Gateway(port, upstream_port)
    finally:
        _stop(process)
