"""A real LiveKit server on this machine, for the room tests and `make room`: found, installed on request, run, stopped.

`python -m livekit_plugins_openai_ga.devtools.livekit_server` installs it with the Go toolchain into the user's cache.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from livekit import api

VERSION = "v1.13.5"
"""The release that the room tests were written against."""
MODULE = "github.com/livekit/livekit-server/cmd/server"
HOST = "127.0.0.1"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class LiveKitServer:
    """Where a LiveKit server is, and the key that opens it."""

    url: str
    api_key: str = "devkey"
    api_secret: str = field(default="a secret for this machine only, 32+", repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What LiveKit's tools read: `LIVEKIT_URL`, `LIVEKIT_API_KEY`, `LIVEKIT_API_SECRET`."""
        return {"LIVEKIT_URL": self.url, "LIVEKIT_API_KEY": self.api_key, "LIVEKIT_API_SECRET": self.api_secret}

    def token(self, identity: str, room: str, *, agent: bool = False, hours: float = 1.0) -> str:
        """A token to join `room` as `identity`; `agent`: as an agent, not as a caller."""
        grants = api.VideoGrants(room_join=True, room=room, agent=agent, can_update_own_metadata=True)
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(identity).with_grants(grants)
        if agent:
            token = token.with_kind("agent")
        return token.with_ttl(datetime.timedelta(hours=hours)).to_jwt()


def cached() -> Path:
    """Where `install` puts the program."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "livekit-plugins-openai-ga" / VERSION / "livekit-server"


def find() -> str | None:
    """The `livekit-server` on the PATH, else the one that `install` made, else None."""
    return shutil.which("livekit-server") or (str(cached()) if cached().exists() else None)


def version(program: str) -> str:
    """What `program` says of its version, such as `livekit-server version 1.13.5`; "" when it says nothing."""
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()


def is_pinned(program: str) -> bool:
    """Whether it is the release that the room tests were written against."""
    return version(program).split()[-1:] == [VERSION.lstrip("v")]


def install() -> Path:
    """Build the pinned release with Go, unless it is there.

    Raises:
        RuntimeError: There is no Go, or it cannot build the release. The message is for a user.
    """
    target = cached()
    if target.exists():
        return target
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(
            "livekit-server is not here, and neither is Go to build it: install Go (https://go.dev/dl) or "
            "livekit-server itself (https://docs.livekit.io/home/self-hosting/local)."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as made:
        # In a folder without go.mod; a cross-compiling GOOS would give a program that does not run here.
        environment = {key: value for key, value in os.environ.items() if key not in ("GOOS", "GOARCH", "GOFLAGS")}
        done = subprocess.run(
            [go, "install", f"{MODULE}@{VERSION}"], env={**environment, "GOBIN": made}, cwd=made, check=False
        )
        if done.returncode:
            raise RuntimeError(f"Go could not build livekit-server {VERSION}; what it said is above.")
        os.replace(Path(made) / "server", target)  # at once: a build that was interrupted leaves nothing behind
    return target


@contextlib.contextmanager
def livekit_server(program: str, *, log: Path | None = None) -> Iterator[LiveKitServer]:
    """Run `program` on free ports of the loopback interface for as long as the block lasts.

    `log`: a file that gets what the server prints; without it, nobody does.

    Raises:
        RuntimeError: It did not start. The message says what it printed last.
    """
    server = LiveKitServer(f"ws://{HOST}:{_free_port(socket.SOCK_STREAM)}")
    with tempfile.TemporaryDirectory() as folder:
        written = log or Path(folder) / "livekit-server.log"
        with written.open("wb") as output:
            process = subprocess.Popen(
                [program, "--dev", "--config-body", _config(server)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the callers, who leave first
            )
        try:
            _wait_until_ready(server, process, written)
            yield server
        finally:
            _stop(process)


def _config(server: LiveKitServer) -> str:
    """Everything on loopback, media over one UDP port; JSON is YAML, too."""
    return json.dumps(
        {
            "port": int(server.url.rpartition(":")[2]),
            "bind_addresses": [HOST],
            "keys": {server.api_key: server.api_secret},
            "rtc": {
                "udp_port": _free_port(socket.SOCK_DGRAM),
                "tcp_port": 0,
                "node_ip": HOST,
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo", "lo0"]},
                "ips": {"includes": [f"{HOST}/32"]},
            },
            # A room of a test that went wrong does not linger.
            "room": {"empty_timeout": 60, "departure_timeout": 20},
            "logging": {"level": "info"},
        }
    )


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(server: LiveKitServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # `http_proxy` is not for this machine
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), direct.open(server.url.replace("ws:", "http:"), timeout=1.0):
            return
        time.sleep(_POLL_SECONDS)
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise RuntimeError(f"livekit-server did not start: {' | '.join(said) or 'it printed nothing'}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    # After the second signal it does not wait for those who are still in a room.
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> int:
    """Install, unless there is one. Returns 1 when that did not work."""
    try:
        program = find() or str(install())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{program}: {version(program)}")
    if not is_pinned(program):
        print(f"The room tests were written against {VERSION}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
