"""How long a session takes from `session()` until OpenAI has confirmed its configuration: dialled, and prewarmed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from livekit.agents import Agent, llm

from ..framework import flat_tools, plain_instructions
from ..realtime import RealtimeModel, RealtimeSession

PATIENCE_SECONDS = 10.0
"""How long a session is waited for."""


class TimedModel(RealtimeModel):
    """A model that knows how long its newest session took to be ready."""

    def __init__(self, **options: Any) -> None:
        """`options`: those of `RealtimeModel`."""
        super().__init__(**options)
        self.ready_after: float | None = None
        """Seconds; None: it is not ready yet."""

    def session(self, *, turn_detection_disabled: bool = False) -> RealtimeSession:
        """Open a session, and time it."""
        loop = asyncio.get_running_loop()
        began, self.ready_after = loop.time(), None
        session = super().session(turn_detection_disabled=turn_detection_disabled)

        def look() -> None:
            if self.ready_after is None and session.info.state == "ready":
                self.ready_after = loop.time() - began

        # The event comes before the session has taken it in.
        session.on("openai_server_event_received", lambda _: loop.call_soon(look))
        return session


async def dialled(model: TimedModel, agent: Agent) -> float | None:
    """Seconds until a session for this agent that has to dial is ready; None when it does not come to that.

    The session is closed again; nothing is said in it, so it costs nothing.
    """
    session = model.session()
    try:
        with contextlib.suppress(llm.RealtimeError, asyncio.TimeoutError):
            await asyncio.wait_for(_set_up(session, agent), PATIENCE_SECONDS)
            await asyncio.sleep(0)
    finally:
        await session.aclose()
    return model.ready_after


async def _set_up(session: RealtimeSession, agent: Agent) -> None:
    text = plain_instructions(agent.instructions, spoken=True)
    await asyncio.gather(session.update_instructions(text), session.update_tools(flat_tools(agent.tools)))
