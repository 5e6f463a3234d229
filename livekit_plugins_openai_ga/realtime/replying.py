"""The calls of a session that ask for replies, and take them back."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal

from livekit.agents import llm, utils
from livekit.agents.types import NOT_GIVEN, NotGivenOr

from ..framework import make
from . import saying
from .asking import Asking, Input, asking
from .events import SaidOtherwise
from .limit import Limited
from .pictures import REFUSED_HERE, Pictures
from .reply import Reply, ReplyEnd
from .streams import refusal

if TYPE_CHECKING:
    from .model import RealtimeModel


class Replying(Limited):
    """A session that can be asked for replies."""

    def __init__(self, realtime_model: RealtimeModel, *, turn_detection_disabled: bool = False) -> None:
        super().__init__(realtime_model, turn_detection_disabled=turn_detection_disabled)
        self._asking: dict[str, asyncio.Task[None]] = {}  # replies that are not ready to be asked for, by key

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
        if self._is_refused(key):
            return future
        future.add_done_callback(lambda done: self._reply_awaited(key, done))
        if pictures.missing:
            self._ask_later(key, self._fetch(key, pictures, ask))
        else:
            self._ask(key, asked)
        return future

    def say(self, text: str | AsyncIterable[str]) -> asyncio.Future[Reply]:  # type: ignore[override]  # as above
        """Have the model read a text aloud, into the conversation; for LiveKit, which plays it (`AgentSession.say`).

        A text in pieces is read to its end first; cancelling the future ends that. The model may say it in other words;
        the event `said_otherwise` tells. Raises NotImplementedError without `read_aloud`, and ValueError for a text
        without a word. The future is as that of `generate_reply`.
        """
        if not (self._options.read_aloud and self._options.audio_output):
            raise NotImplementedError(saying.NO_SAY)
        params = saying.reading(text) if isinstance(text, str) else {}
        key = utils.shortuuid("response_create_")
        future = self._streams.ask(key, self._cancel_reply)
        if self._is_refused(key):
            return future
        future.add_done_callback(lambda done: self._reply_awaited(key, done))
        if isinstance(text, str):
            self._read_aloud(key, future, text, params)
        else:
            self._ask_later(key, self._hear_out(key, future, text))
        return future

    def _read_aloud(self, key: str, future: asyncio.Future[Reply], text: str, params: dict[str, Any]) -> None:
        future.add_done_callback(lambda done: self._said(done, text))
        self._ask(key, Asking(params, aside=False, play=None))

    async def _hear_out(self, key: str, future: asyncio.Future[Reply], text: AsyncIterable[str]) -> None:
        whole = "".join([piece async for piece in text])
        params = saying.reading(whole)
        if self._streams.waits(key) and not self._is_refused(key):
            self._read_aloud(key, future, whole, params)

    def _said(self, future: asyncio.Future[Reply], text: str) -> None:
        if future.cancelled() or future.exception() is not None:
            return
        reply = future.result()

        def ended(end: ReplyEnd) -> None:
            similarity = saying.similarity(text, end.text)
            if end.status == "completed" and similarity < 1.0:
                self._telling.log.warning(
                    "what was to be read aloud was said in other words (similarity %.2f)", similarity
                )
                self.emit("said_otherwise", SaidOtherwise(reply.response_id, text, end.text, similarity))

        reply.when_ended(ended)

    def _is_refused(self, key: str) -> bool:
        """Whether no replies are made any more; whoever waits for this one is told."""
        refused = self._over or self._spending.refusing
        if refused is not None:
            self._streams.fail(key, refusal(refused))
        return refused is not None

    def _refuse(self) -> None:
        super()._refuse()
        for task in self._asking.values():
            task.cancel()

    def _ask(self, key: str, asked: Asking) -> None:
        played = asked.aside and bool(asked.play)
        self._do(self._conversation.answers.ask(key, asked.params, aside=asked.aside, played=played))

    def _ask_later(self, key: str, asking: Coroutine[Any, Any, None]) -> None:
        """Ask for the reply `key` when that is ready to be asked for; `aclose` ends what is not, and so does whoever
        cancels its future.
        """

        def done(task: asyncio.Task[None]) -> None:
            del self._asking[key]
            if task.cancelled():
                self._is_refused(key)
            elif (cause := task.exception()) is not None and not self._is_refused(key):
                told = f"What was to be asked for could not be had ({type(cause).__name__}); see the cause."
                error = make(llm.RealtimeError, told, code=None)
                error.__cause__ = cause
                self._streams.fail(key, error)

        task = self._asking[key] = asyncio.create_task(asking)
        task.add_done_callback(done)

    async def _fetch(self, key: str, pictures: Pictures, ask: Callable[[], Asking]) -> None:
        await pictures.fetch()
        if not self._streams.waits(key) or self._is_refused(key):
            return
        asked = ask()
        if (refused := pictures.refused) is not None:
            self._streams.fail(key, refusal(self._telling.report(refused, REFUSED_HERE)))
        else:
            self._ask(key, asked)

    def _reply_awaited(self, key: str, future: asyncio.Future[Reply]) -> None:
        if future.cancelled():
            if (asking := self._asking.get(key)) is not None:
                asking.cancel()
            self._streams.forget(key)
            self._do(self._conversation.answers.give_up(key, time.time()))

    def _cancel_reply(self, response_id: str) -> None:
        self._do(self._conversation.answers.cancel(response_id, time.time()))

    def interrupt(self) -> None:
        """Cancel the reply that is being made; does nothing when there is none."""
        self._spending.silent(time.time())
        self._do(self._conversation.interrupt(time.time()))
