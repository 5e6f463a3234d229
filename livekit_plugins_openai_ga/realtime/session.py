"""LiveKit's `RealtimeSession` on GA: the calls an `AgentSession` makes. Each is an event into the core.

What comes back, from the core and from the socket, is the business of `shell.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from livekit import rtc
from livekit.agents import llm, utils
from livekit.agents.types import NOT_GIVEN, NotGivenOr
from livekit.agents.utils import is_given

from ..core import effects as fx
from ..core.setup import Phase
from ..errors import Failure, Kind, from_exception
from ..framework import make, sets_up_in_steps
from ..info import SessionInfo
from ..wire import client_events
from .pictures import REFUSED_HERE, Pictures
from .replying import Replying
from .shown import ContextLine
from .streams import refusal
from .video import Video

if TYPE_CHECKING:
    from .model import RealtimeModel

MIN_COMMIT_MS = 100.0
"""GA refuses to commit less audio than this."""

SLOW_LINE_LIMITS = 6
"""So many times its limit more a request has on a line that has not taken all that was sent: pictures may be before it.
On one that is slower than the audio, that is always so."""


class RealtimeSession(Replying):
    """One conversation with OpenAI, kept alive over reconnects. Made by `RealtimeModel.session()`.

    Besides LiveKit's events it emits `openai_server_event_received` and `openai_client_event_queued`, each with the raw
    event as a dict: before it is handled, and when it leaves. `events` has the others: `session_created`,
    `model_changed`, `rate_limits_updated`, `input_audio_timeout_triggered`, `response_incomplete`, `said_otherwise`,
    `mcp_tools_listed`, `mcp_approval_requested`, `call_ended`, `cost_warning` and `cost_limit_reached`.
    """

    def __init__(self, realtime_model: RealtimeModel, *, turn_detection_disabled: bool = False) -> None:
        super().__init__(realtime_model, turn_detection_disabled=turn_detection_disabled)
        self._video = Video(self._options.images)
        self._contexts = ContextLine()

    # -- what LiveKit reads --------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> llm.RealtimeCapabilities:
        """What this session can do. Its options can be others than the model's: turn detection may be off here."""
        options = self._options
        return replace(
            self._model.capabilities, turn_detection=options.server_turns, user_transcription=options.transcribes
        )

    @property
    def chat_ctx(self) -> llm.ChatContext:
        """The conversation as the server has it: spoken turns as their transcripts, interrupted ones as heard.

        An item is the same object each time, until it changes; one that was edited in place changes with the next sync.
        """
        return llm.ChatContext(self._shown.items())

    @property
    def tools(self) -> llm.ToolContext:
        """The tools the model may call."""
        return self._tools.context

    @property
    def has_active_generation(self) -> bool:
        """Whether a reply is being made or waited for, or a server-side tool runs for one."""
        return self._streams.active or self._conversation.server_tools.running

    @property
    def counters(self) -> dict[str, int]:
        """What was survived so far: unknown, malformed and benign server events, dropped calls, by name."""
        return dict(self._telling.notices.counts)

    @property
    def info(self) -> SessionInfo:
        """How the session and its connection are right now. Made when asked for; safe to log."""
        return self._telling.trail.info(
            over=self._over is not None,
            phase=self._conversation.phase,
            outbox=self._outbox,
            notices=self._telling.notices,
            turns_dropped=self._conversation.spoken.dropped,
            items_pending=self._conversation.history.pending,
        )

    # -- configuration and history -------------------------------------------------------------------------------

    async def update_instructions(self, instructions: str) -> None:
        """Change the system prompt. Raises RealtimeError when the server refuses it; the old one then stays."""
        await self._reconfigure(instructions=instructions)

    async def update_tools(self, tools: list[llm.Tool]) -> None:
        """Change the tools. Raises RealtimeError when the server refuses them; the old ones then stay.

        An MCP server is an `MCPTool`, or GA's dict for one; ValueError says what is wrong with it.

        When the server names one tool as the reason, only that one is left out: an `error` event tells, `tools` is what
        remains, and nothing is raised.
        """
        await self._reconfigure(tools=tools)

    async def _reconfigure(
        self, *, instructions: NotGivenOr[str] = NOT_GIVEN, tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN
    ) -> None:
        if self._over is not None:
            raise refusal(self._over)
        if is_given(instructions):
            self._instructions = instructions
        if is_given(tools):
            self._tools.take(tools)
        if sets_up_in_steps() and not self._conversation.config.was_confirmed:
            # LiveKit would wait a round trip for each, and only logs what they raise; a refusal is an `error` event.
            self._do(self._conversation.configure(self._payload()))
            return
        key = utils.shortuuid("config_")
        failure = await self._request(key, lambda: self._conversation.configure(self._payload(), key))
        if failure is not None:
            raise refusal(failure)

    async def update_chat_ctx(self, chat_ctx: llm.ChatContext) -> None:
        """Make the server's history equal to `chat_ctx`. Raises RealtimeError when the server does not answer.

        Instructions, handoffs and configuration updates in it are LiveKit's own and stay here. An item the server
        refuses is left out and reported, and one that it does not delete stays; the rest goes on. Images that are links
        are fetched first (see `Images`). One that cannot be sent is left out and reported; when the rest is done, that
        raises RealtimeError, too. In later contexts the same `ImageContent` stays out without a word.
        """
        pictures = Pictures(self._options.images, self._contexts.left_out)
        records = self._shown.records(chat_ctx.items, pictures.part)
        if pictures.missing or self._contexts:
            records = await self._contexts.fetched(self._shown.awaited(chat_ctx.items, records), pictures)
        key = utils.shortuuid("chat_ctx_")
        if (failure := await self._request(key, lambda: self._conversation.sync(records, key))) is not None:
            raise refusal(failure)
        if (refused := pictures.refused) is not None:
            raise refusal(self._telling.report(refused, REFUSED_HERE))

    async def _request(self, key: str, start: Callable[[], list[fx.Effect]]) -> Failure | None:
        """Start a request and wait for its answer: without limit while there is no connection, because every attempt
        has one. Returns why it was refused, or None.

        A connection on which no answer comes for `request_timeout` (longer while the line is slow) is given up: the
        peer is dead, or an event was lost, and the next connection is told everything anew. Raises RealtimeError when
        that does not answer either. A long history has as many answers as changes, and the whole time for each.
        """
        if self._over is not None:
            return self._over
        future = self._requests.open(key)
        self._do(start())
        limit, line, history = self._options.request_timeout, self._supervisor, self._conversation.history
        left = history.waiting(key)
        asked_on = line.served if self._conversation.phase is Phase.READY else None
        given_up: int | None = None
        slow, behind = 0, not line.flushed  # how often it was granted its limit again; whether it had not left yet
        while True:
            await asyncio.wait({future}, timeout=limit)
            if future.done():
                return future.result()
            before, left = left, history.waiting(key)
            on = line.served if self._conversation.phase is Phase.READY else None
            if on is None or on != asked_on:  # it has the whole time on each connection
                asked_on, slow, behind = on, 0, not line.flushed
            elif on == given_up or left < before:
                continue  # it is being closed; or being answered, item by item
            elif slow < SLOW_LINE_LIMITS and (behind or not line.flushed):  # and it has the whole time when it has left
                slow, behind = slow + 1, not line.flushed
            elif given_up is not None:
                self._requests.settle(key, None)
                late = f"OpenAI did not answer within {limit:g} s, on two connections in a row."
                raise make(llm.RealtimeError, late, code="timeout")
            else:
                given_up = on
                late = f"The server did not answer a request within {limit:g} s."
                line.hang_up(replace(from_exception(TimeoutError()), message=late))

    async def _update_session(
        self,
        *,
        instructions: NotGivenOr[str] = NOT_GIVEN,
        chat_ctx: NotGivenOr[llm.ChatContext] = NOT_GIVEN,
        tools: NotGivenOr[list[llm.Tool]] = NOT_GIVEN,
    ) -> None:
        """Everything an agent starts with, in one update with the history right behind it."""
        waits = []
        if is_given(instructions) or is_given(tools):
            waits.append(self._reconfigure(instructions=instructions, tools=tools))
        if is_given(chat_ctx):
            waits.append(self.update_chat_ctx(chat_ctx))
        with self._telling.last_news.held_back():
            results = await asyncio.gather(*waits, return_exceptions=True)
        for result in results:
            if isinstance(result, llm.RealtimeError) and self._over is None:
                self._telling.log.error("the agent starts without a part of its setup: %s", result)
            elif isinstance(result, BaseException) and not isinstance(result, llm.RealtimeError):
                raise result

    def update_options(self, *, tool_choice: NotGivenOr[llm.ToolChoice | None] = NOT_GIVEN, **given: Any) -> None:
        """Change options of this session; sends what differs. Takes what `RealtimeModel.update_options` takes.

        Raises ValueError for a value GA would refuse and TypeError for a name it does not know.
        """
        self._options = self._options.updated({"tool_choice": tool_choice, **given})
        self._do(self._conversation.configure(self._payload()))
        self._listen()

    # -- audio, video, raw events --------------------------------------------------------------------------------

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Send user audio: any sample rate, any number of channels, any length."""
        self._supervisor.put_audio(self._input.push(frame))

    def push_video(self, frame: rtc.VideoFrame) -> None:
        """Show the model one frame, as a user item. Dropped when it would be stale: without a connection, or (that is
        counted) while what was sent before has not left yet; and when it comes too soon (`Images.min_interval`).

        The model keeps them all. Here, and in LiveKit's copies, only the newest keeps its picture, and a reconnect
        brings back that one only.
        """
        if not self._supervisor.flushed:  # the line is slower than the video: audio comes first
            self._telling.notices.noticed(fx.Noticed("video frame not sent", "what was sent before has not left yet"))
            return
        item = self._video.item(frame, asyncio.get_running_loop().time())
        if item is not None:
            self._do(self._conversation.show(item))

    def commit_audio(self) -> None:
        """Make a user turn of the audio pushed since the last one. Does nothing below 100 ms, which GA refuses."""
        self._supervisor.put_audio(self._input.flush())
        if self._outbox.uncommitted_ms >= MIN_COMMIT_MS:
            self._outbox.put_commit(client_events.audio_commit(event_id=utils.shortuuid("commit_")))
            self._supervisor.wake()

    def clear_audio(self) -> None:
        """Forget the audio that is not part of a turn yet, here and at the server."""
        self._input.clear()
        self._outbox.put_clear(client_events.audio_clear(event_id=utils.shortuuid("clear_")))
        self._supervisor.wake()

    def send_event(self, event: Any) -> None:
        """Send a raw client event: a dict or an openai SDK object. It leaves after the audio pushed before it."""
        payload = event.model_dump(by_alias=True, exclude_unset=True) if hasattr(event, "model_dump") else dict(event)
        if self._over is None:
            self._outbox.put_foreign(payload)
            self._supervisor.wake()

    # -- replies -------------------------------------------------------------------------------------------------

    def truncate(
        self,
        *,
        message_id: str,
        modalities: list[Literal["text", "audio"]],
        audio_end_ms: int,
        audio_transcript: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """Cut a message to what was heard: `audio_end_ms` of it, whose text is `audio_transcript`.

        The server and `chat_ctx` then hold only that. Never cuts beyond the audio received, which GA refuses.
        """
        heard = audio_transcript if is_given(audio_transcript) else None
        spoken = "audio" in modalities
        row = self._streams.row(message_id)
        self._spending.silent(time.time())
        self._do(self._conversation.truncate(*row, spoken=spoken, audio_end_ms=audio_end_ms, heard=heard))

    def restart(self) -> None:
        """Change to a new connection now, with the configuration and the history. A reply that is being heard ends.

        For a model that has lost the thread. `session_reconnected` tells when the new connection works. While there is
        none, a new one is on its way anyway, and this does nothing.
        """
        self._supervisor.renew(0.0)

    async def aclose(self) -> None:
        """End the session: every stream and future ends, the socket closes. Never raises; takes a second at most."""
        if self._over is None:
            self._end(Failure(Kind.FATAL, "session_closed", "", "The session was closed.", "Open a new session."))
        tasks = [self._main, *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
