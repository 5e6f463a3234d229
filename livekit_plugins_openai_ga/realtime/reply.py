"""A reply that somebody asked for: its streams as LiveKit reads them, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass

from livekit.agents import llm

from ..framework import make


@dataclass(frozen=True, slots=True)
class ReplyEnd:
    """How a reply ended.

    Attributes:
        status: `completed`, `cancelled`, `incomplete`, `failed`, or `lost` with its connection.
        reason: the server's word for it, such as `max_output_tokens`; "" when there is none.
        text: what was written or said, its messages joined by newlines; a part of it when `status` is not `completed`.
        calls: the complete function calls in it.
        error: why it failed or was lost; None for the other statuses.
    """

    status: str
    reason: str
    text: str
    calls: tuple[llm.FunctionCall, ...]
    error: llm.RealtimeError | None


class Reply(llm.GenerationCreatedEvent):
    """What the future of `generate_reply` gives: LiveKit's event, and a short way to what comes of it.

    Of a reply that LiveKit plays, the two streams are LiveKit's, and empty here; `text` and `end` tell all the same.
    """

    def __init__(
        self,
        *,
        message_stream: AsyncIterable[llm.MessageGeneration],
        function_stream: AsyncIterable[llm.FunctionCall],
        user_initiated: bool,
        response_id: str,
        ended: asyncio.Future[ReplyEnd],
        cancel: Callable[[str], None],
    ) -> None:
        super().__init__(message_stream, function_stream, user_initiated)
        self.response_id: str = response_id  # older releases of LiveKit have no field for it
        self._ended = ended
        self._cancel = cancel

    async def end(self) -> ReplyEnd:
        """How the reply ended; waits for it, and does not raise."""
        return await asyncio.shield(self._ended)

    def when_ended(self, listener: Callable[[ReplyEnd], None]) -> None:
        """Call `listener` with how it ended, in the step of the loop after that."""
        self._ended.add_done_callback(lambda ended: listener(ended.result()))

    async def text(self) -> str:
        """All that was written or said; waits for the end. Raises RealtimeError when that is not complete."""
        end = await self.end()
        if end.status == "completed":
            return end.text
        reason = f" ({end.reason})" if end.reason else ""
        told = f"The reply ended as {end.status}{reason}; end() has the part of it that came."
        raise end.error or make(llm.RealtimeError, told, code=end.reason or end.status)

    def cancel(self) -> None:
        """Stop making it. Does nothing when it has ended."""
        if not self._ended.done():
            self._cancel(self.response_id)
