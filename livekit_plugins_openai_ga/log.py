"""The package's one logger, and a second one that the websockets library writes to.

At DEBUG the websockets library prints request headers, the `Authorization` header among them. Its records go to
`socket_logger`, which drops everything below WARNING whatever level an application gives it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    LogAdapter = logging.LoggerAdapter[logging.Logger]
    Log = logging.Logger | LogAdapter
else:
    LogAdapter = logging.LoggerAdapter  # takes no parameter before Python 3.11
    Log = object

logger = logging.getLogger("livekit.plugins.openai_ga")


class _NoHandshakeDump(logging.Filter):
    """Let nothing below WARNING through: the library's DEBUG records carry headers and payloads."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


socket_logger = logging.getLogger("livekit.plugins.openai_ga.socket")
# `isEnabledFor(DEBUG)` is what the library asks before it formats a frame, so the level matters for speed, too.
socket_logger.setLevel(logging.WARNING)
socket_logger.addFilter(_NoHandshakeDump())
