"""What modules in this folder share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from livekit_plugins_openai_ga.log import socket_logger

LOGGERS = (
    *("", "websockets", "websockets.client", "websockets.server", "asyncio", "aiohttp", "aiohttp.client"),
    *("livekit", "livekit.agents", "livekit.plugins.openai_ga", socket_logger.name),
)


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
