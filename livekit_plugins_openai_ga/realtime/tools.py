"""The tools of a session: as LiveKit knows them, and as GA takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from livekit.agents import llm

from . import mapping

MAX_KNOWN = 1024
"""Tools remembered; a refusal brings back those of the last update that was taken."""


class Tools:
    """What the model may call. `payloads` are the tools as GA takes them, in order."""

    __slots__ = ("_known", "_taken", "payloads")

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self._taken: list[llm.Tool] = []
        self._known: list[tuple[Mapping[str, Any], llm.Tool]] = []  # newest last

    @property
    def context(self) -> llm.ToolContext:
        """The tools as LiveKit knows them; made when asked for."""
        return llm.ToolContext(self._taken)

    def take(self, tools: Sequence[llm.Tool]) -> None:
        """Have these tools from now on. One that GA would refuse is left out, with a line in the log."""
        self.payloads, self._taken = mapping.to_tools(tools)
        self._remember(zip(self.payloads, self._taken, strict=True))

    def restore(self, payloads: Sequence[Mapping[str, Any]]) -> None:
        """Have these again, which were all taken before: the server refused something."""
        if list(payloads) == self.payloads:
            return
        found = [next((pair for pair in reversed(self._known) if pair[0] == payload), None) for payload in payloads]
        back = [pair for pair in found if pair is not None]
        self._remember(back)
        self.payloads = [dict(payload) for payload, _ in back]
        self._taken = [tool for _, tool in back]

    def _remember(self, pairs: Iterable[tuple[Mapping[str, Any], llm.Tool]]) -> None:
        self._known += pairs
        del self._known[:-MAX_KNOWN]
