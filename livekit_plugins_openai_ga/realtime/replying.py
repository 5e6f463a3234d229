"""The calls of a session that ask for replies, and take them back."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from livekit.agents import llm, utils
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from .asking import Asking, Input, asking
from .pictures import Pictures
from .reply import Reply
from .shell import Shell
from .streams import refusal

if TYPE_CHECKING:
    from .model import RealtimeModel


class Replying(Shell):
    """A session that can be asked for replies."""

    def __init__(self, realtime_model: RealtimeModel, *, turn_detection_disabled: bool = False) -> None:
        super().__init__(realtime_model, turn_detection_disabled=turn_detection_disabled)
        self._asking: set[asyncio.Task[None]] = set()  # replies whose images are being fetched

    def generate_reply(  # type: ignore[override]  # a Future of more than LiveKit asks for
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,
        play: NotGivenOr[bool] = NOT_GIVEN,
        conversation: NotGivenOr[Literal["auto", "none"]] = NOT_GIVEN,
        input: NotGivenOr[Input] = NOT_GIVEN,
        output_modalities: NotGivenOr[list[Literal["text", "audio"]]] = NOT_GIVEN,
        voice: NotGivenOr[Any] = NOT_GIVEN,
        max_output_tokens: NotGivenOr[int | Literal["inf"]] = NOT_GIVEN,
        reasoning: NotGivenOr[Any] = NOT_GIVEN,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        prompt: NotGivenOr[Any] = NOT_GIVEN,
        metadata: NotGivenOr[Mapping[str, str]] = NOT_GIVEN,
    ) -> asyncio.Future[Reply]:
        """Ask for a reply. It waits for the configuration and, in the conversation, while another one is being made.

        LiveKit passes the first three, and plays what the future gives. A call with any other keyword is your own:
        LiveKit plays its reply like one the server began, unless it is out of band.

        Args:
            instructions: added to the session's for this reply; out of band they stand alone.
            tool_choice: replaces the session's for this reply.
            tools: replace the session's for this reply.
            play: whether LiveKit plays it in the room. Default: yes, but out of band no; then it is only yours to read.
            conversation: `none` makes it out of band: beside the conversation, and without a trace in it.
            input: what the model is to see instead of the conversation: a ChatContext or a list of its items, of GA's
                items as dicts (`{"type": "item_reference", "id": ...}` for one in the conversation), or both; `[]` for
                nothing.
            output_modalities: `["audio"]` or `["text"]`.
            voice: as in the constructor. GA refuses another one once the agent has spoken.
            max_output_tokens: a number or `inf`.
            reasoning: for reasoning models, for example `{"effort": "low"}`.
            parallel_tool_calls: for reasoning models.
            prompt: a stored prompt, `{"id": "pmpt_..."}`.
            metadata: up to 15 pairs of texts, keys of 64 and values of 512 characters, for OpenAI's dashboard.

        Returns:
            A future of the reply. It fails with RealtimeError when the server refuses it (with the server's code), when
            it does not begin within `reply_timeout` seconds of being sent, or when the session ends. Cancelling the
            future cancels the reply; so does `cancel` of what it gives.

        Raises:
            ValueError: a value GA would refuse.
        """
        pictures = Pictures(self._options.images)
        ask = functools.partial(
            asking,
            self._options,
            {
                "tool_choice": tool_choice,
                "conversation": conversation,
                "output_modalities": output_modalities,
                "voice": voice,
                "max_output_tokens": max_output_tokens,
                "reasoning": reasoning,
                "parallel_tool_calls": parallel_tool_calls,
                "prompt": prompt,
                "metadata": metadata,
            },
            instructions=instructions,
            session_instructions=self._instructions,
            tools=tools,
            input=input,
            play=play,
            picture=pictures.part,
        )
        asked = ask()
        if (refused := pictures.refused) is not None:
            raise ValueError(f"input: {refused.sentence()}")
        key = utils.shortuuid("response_create_")
        future = self._streams.ask(key, self._cancel_reply, play=asked.play)
        if self._over is not None:
            self._streams.fail(key, refusal(self._over))
            return future
        future.add_done_callback(lambda done: self._reply_awaited(key, done))
        if pictures.missing:
            task = asyncio.create_task(self._fetch_and_ask(key, pictures, ask))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            self._ask(key, asked)
        return future

    def _ask(self, key: str, asked: Asking) -> None:
        played = asked.aside and bool(asked.play)
        self._do(self._conversation.answers.ask(key, asked.params, aside=asked.aside, played=played))

    async def _fetch_and_ask(self, key: str, pictures: Pictures, ask: Callable[[], Asking]) -> None:
        try:
            await pictures.fetch()
        finally:
            if self._over is not None:
                self._streams.fail(key, refusal(self._over))
        if not self._streams.waits(key):
            return
        asked = ask()
        if (refused := pictures.refused) is not None:
            self._streams.fail(key, refusal(self._report(refused)))
        else:
            self._ask(key, asked)

    def _reply_awaited(self, key: str, future: asyncio.Future[Reply]) -> None:
        if future.cancelled():
            self._streams.forget(key)
            self._do(self._conversation.answers.give_up(key, time.time()))

    def _cancel_reply(self, response_id: str) -> None:
        self._do(self._conversation.answers.cancel(response_id, time.time()))

    def interrupt(self) -> None:
        """Cancel the reply that is being made; does nothing when there is none."""
        self._do(self._conversation.interrupt(time.time()))
