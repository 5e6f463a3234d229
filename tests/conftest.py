"""What modules in this folder share."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from livekit_plugins_openai_ga.log import socket_logger

LOGGERS = (
    *("", "websockets", "websockets.client", "websockets.server", "asyncio", "aiohttp", "aiohttp.client"),
    *("livekit", "livekit.agents", "livekit.plugins.openai_ga", socket_logger.name),
)


class OneRoomAtATime(LoadFileScheduling):
    """All tests of a file on one worker, and those of all rooms: two rooms at a time are too much for two cores."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/rooms" if nodeid.startswith("tests/rooms/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneRoomAtATime | None:
    """What `--dist loadfile` means here."""
    return OneRoomAtATime(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture
def everything_at_debug(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """As an application does that sets all there is to DEBUG, the loggers of libraries included."""
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
async def every_callback_told(everything_at_debug: None) -> None:
    """asyncio in debug mode, and each callback slow enough for it to print: tasks, futures, results, arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Self-signed certificates, with their keys, by the host they are for."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with openssl")
    made = {}
    for host in ("localhost", "elsewhere.example"):
        made[host] = tmp_path_factory.mktemp("certificates") / f"{host}.pem"
        names = f"subjectAltName=DNS:{host}"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", f"/CN={host}", "-addext", names, "-keyout", "key.pem", "-out", "cert.pem"),
            ],
            cwd=made[host].parent,
            check=True,
            capture_output=True,
        )
        parts = [(made[host].parent / name).read_text() for name in ("key.pem", "cert.pem")]
        made[host].write_text("".join(parts))
    return made
