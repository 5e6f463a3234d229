"""The tools of a session: as LiveKit knows them, and as GA takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from livekit.agents import llm

from . import mapping

MAX_KNOWN = 1024
"""Tools remembered; a refusal brings back those of the last update that was taken."""


class Tools:
    """What the model may call. `payloads` are the tools as GA takes them, in order."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self._context = llm.ToolContext.empty()
        self._known: deque[tuple[Mapping[str, Any], llm.Tool]] = deque(maxlen=MAX_KNOWN)  # newest last

    @property
    def context(self) -> llm.ToolContext:
        """The tools as LiveKit knows them; a copy."""
        return self._context.copy()

    def take(self, tools: Sequence[llm.Tool]) -> None:
        """Have these tools from now on. One that GA would refuse is left out, with a line in the log."""
        self.payloads, taken = mapping.to_tools(tools)
        self._known += zip(self.payloads, taken, strict=True)
        self._context = llm.ToolContext(taken)

    def restore(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Have these again, which were all taken before: the server refused something."""
        if list(payloads) == self.payloads:
            return
        found = [next((pair for pair in reversed(self._known) if pair[0] == payload), None) for payload in payloads]
        back = [pair for pair in found if pair is not None]
        self._known += back
        self.payloads = [dict(payload) for payload, _ in back]
        self._context = llm.ToolContext([tool for _, tool in back])
