"""What an application does in a call, and everything it is given back."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from livekit import rtc
from livekit.agents import function_tool, llm

from livekit_plugins_openai_ga import MCPTool, RealtimeSession
from livekit_plugins_openai_ga.realtime import MCPApprovalRequested, Reply

CHUNK_MS = 100
CLOSE_LIMIT_S = 1.0 + 0.05
_SAMPLES = 24 * CHUNK_MS
_LOUD = b"\x00\x20" * _SAMPLES
_QUIET = b"\x00\x00" * _SAMPLES
_MARK = struct.Struct("<hhI")
MARK_BYTES = _MARK.size


@dataclass(slots=True)
class Asked:
    """A reply that was asked for; `marker` stands in its instructions."""

    marker: str
    future: asyncio.Future[Reply]
    out_of_band: bool


@dataclass(slots=True)
class Heard:
    """One reply as it was read."""

    event: llm.GenerationCreatedEvent
    reader: asyncio.Task[None]
    messages: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    ended_at: float = 0.0
    spoken_ms: dict[str, float] = field(default_factory=dict)


def listen(session: RealtimeSession, event: Any, listener: Callable[[Any], None]) -> None:
    """Hear of an event. LiveKit reads the signature of every listener at every event; one written down is read fast.

    LiveKit only logs what a listener raises; here it is a violation.
    """

    def call(*args: Any) -> None:
        try:
            listener(*args)
        except Exception as exc:
            asyncio.get_running_loop().call_exception_handler({"message": f"on {event}", "exception": exc})

    call.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    session.on(event, call)


def chunk_number(pcm: bytes) -> int | None:
    """The number a chunk of user audio was pushed with."""
    magic, check, number = _MARK.unpack(pcm[:MARK_BYTES])
    return number if (magic, check) == (1, 2) else None


def _tool(name: str) -> Any:
    """A tool with its schema: LiveKit takes longer to make one from a signature than a call takes to connect."""
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

    async def call(raw_arguments: dict[str, object]) -> str:
        return str(raw_arguments["city"])

    return function_tool(call, raw_schema={"name": name, "description": "It depends.", "parameters": city})


TOOLS = ((), (_tool("get_weather"),), (_tool("get_weather"), _tool("get_time")))


class Application:
    """Drives one session. `problems` are the exceptions that no call promises."""

    def __init__(
        self, session: RealtimeSession, *, reading: float, approvals: tuple[bool | None, ...] = (), served: bool = False
    ) -> None:
        self.session = session
        self.asked: list[Asked] = []
        self.heard: list[Heard] = []
        self.calls: list[asyncio.Task[None]] = []
        self.errors: list[llm.RealtimeModelError] = []
        self.loud: set[int] = set()
        self.pushed = 0
        self.pieces = 0  # read from any stream
        self.cleared = False
        self.restarts = 0
        self.closed_at: float | None = None
        self.interrupted = False
        self.taken_out: set[str] = set()  # ids of items
        self.taken_back: set[str] = set()  # ids of replies
        self.problems: list[str] = []
        self._reading = reading
        self._told: list[str] = []
        listen(session, "generation_created", self._reply_began)
        self.served = served
        self._approvals = cycle(approvals or (None,))
        self._shop = MCPTool(
            server_label="shop",
            server_url="https://shop.test/mcp",
            require_approval="always" if approvals else "never",
        )
        listen(session, "error", self._failed)
        listen(session, "mcp_approval_requested", self._decide)

    # What the schedule names.

    async def set_up(self) -> None:
        chat = llm.ChatContext.empty()
        chat.add_message(role="system", content="Earlier.")
        chat.add_message(role="user", content="Hello.")
        self._call(self.session.update_instructions("Be brief."))
        self._call(self.session.update_chat_ctx(chat))
        self._call(self.session.update_tools(self._tools(1)))

    async def speak(self, loud: int, quiet: int) -> None:
        for is_loud in [True] * loud + [False] * quiet:
            number, self.pushed = self.pushed, self.pushed + 1
            if is_loud:
                self.loud.add(number)
            pcm = _MARK.pack(1, 2, number) + (_LOUD if is_loud else _QUIET)[MARK_BYTES:]
            self.session.push_audio(rtc.AudioFrame(pcm, 24000, 1, _SAMPLES))
            await asyncio.sleep(CHUNK_MS / 1000)

    async def commit(self) -> None:
        self.session.commit_audio()

    async def clear(self) -> None:
        self.cleared = True
        self.session.clear_audio()

    async def reply(self, cancel_after: float | None, out_of_band: bool) -> None:
        marker = f"<<{len(self.asked)}>>"
        if out_of_band:
            play = len(self.asked) % 2 == 0
            future = self.session.generate_reply(instructions=marker, conversation="none", play=play)
            if not play:
                future.add_done_callback(self._aside_began)
        else:
            future = self.session.generate_reply(instructions=marker)
        self.asked.append(Asked(marker, future, out_of_band))
        if cancel_after is not None:
            asyncio.get_running_loop().call_later(cancel_after, self._take_back, future)

    def _take_back(self, future: asyncio.Future[Reply]) -> None:
        if not future.cancel() and future.exception() is None and len(self.asked) % 2:
            future.result().cancel()
            self.taken_back.add(str(future.result().response_id))

    async def interrupt(self) -> None:
        self.interrupted = True
        self.session.interrupt()

    async def truncate(self, end_ms: int) -> None:
        if not self.heard or not self.heard[-1].messages:
            return
        heard = self.heard[-1]
        message = heard.messages[-1]
        modalities: list[Any] = ["audio", "text"]
        self.session.truncate(
            message_id=message,
            modalities=modalities,
            audio_end_ms=end_ms,
            audio_transcript=f"cut at {end_ms}" if end_ms else "",
        )

    async def change_history(self, how: str) -> None:
        chat = self.session.chat_ctx
        items = chat.items
        if how == "add":
            chat.add_message(role="user", content=f"Typed {len(self.calls)}.")
        elif how == "clear":
            self.taken_out.update(item.id for item in items)
            items.clear()
        elif items and how == "drop":
            self.taken_out.add(items.pop(len(items) // 2).id)
        elif items and how == "move":
            items.append(items.pop(0))
        elif items and how == "edit" and isinstance(items[-1], llm.ChatMessage):
            items[-1].content = [f"Edited {len(self.calls)}."]
        self._call(self.session.update_chat_ctx(chat))

    async def change_instructions(self, number: int) -> None:
        self._call(self.session.update_instructions(f"Be {number}."))

    async def change_tools(self, number: int) -> None:
        self._call(self.session.update_tools(self._tools(number)))

    async def change_options(self, tool_choice: Any) -> None:
        self.session.update_options(tool_choice=tool_choice)

    async def change_voice(self, voice: str) -> None:
        self.session.update_options(voice=voice)

    async def restart(self) -> None:
        self.restarts += 1
        self.session.restart()

    async def close(self, steps: int = 0) -> None:
        """`steps` of the event loop from now."""
        self._call(self._close(steps))

    def _tools(self, number: int) -> list[Any]:
        return [*TOOLS[number], *([self._shop] if self.served else [])]

    def _decide(self, request: MCPApprovalRequested) -> None:
        decision = next(self._approvals)
        if decision is not None:
            asyncio.get_running_loop().call_later(0.5, self._answer, request, decision)

    def _answer(self, request: MCPApprovalRequested, approve: bool) -> None:
        with contextlib.suppress(llm.RealtimeError):  # its connection has gone
            request.approve() if approve else request.deny("No.")

    # What comes of it.

    async def _close(self, steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        self.closed_at = loop.time()
        await self.session.aclose()
        if (took := loop.time() - self.closed_at) > CLOSE_LIMIT_S:
            self.problems.append(f"aclose took {took:.3f} s")

    def _too_late(self, what: str) -> None:
        if self.closed_at is not None:
            self.problems.append(f"told after the session was closed: {what}")

    def _failed(self, error: llm.RealtimeModelError) -> None:
        self._too_late(f"error {error.error!r}")
        self.errors.append(error)

    def _call(self, call: Coroutine[Any, Any, None]) -> None:
        self.calls.append(asyncio.ensure_future(self._answered(call)))

    async def _answered(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        except llm.RealtimeError:
            pass
        except Exception as exc:
            self.problems.append(f"a call raised {exc!r}")

    def _reply_began(self, event: llm.GenerationCreatedEvent) -> None:
        self._too_late(f"generation_created {event.response_id}")
        if event.response_id in self._told:
            self.problems.append(f"generation_created twice for {event.response_id}")
        self._told.append(str(event.response_id))
        self._begin(event)

    def _aside_began(self, future: asyncio.Future[Reply]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._begin(future.result())

    def _begin(self, event: llm.GenerationCreatedEvent) -> None:
        heard = Heard(event, asyncio.ensure_future(asyncio.sleep(0)))
        heard.reader = asyncio.ensure_future(self._read(heard))
        self.heard.append(heard)

    async def _read(self, heard: Heard) -> None:
        calls = asyncio.ensure_future(self._take_calls(heard))
        async for message in heard.event.message_stream:
            heard.messages.append(message.message_id)
            text = asyncio.ensure_future(self._drain(message.text_stream))
            async for frame in message.audio_stream:
                before = heard.spoken_ms.get(message.message_id, 0.0)
                heard.spoken_ms[message.message_id] = before + frame.samples_per_channel / 24
                self.pieces += 1
                await asyncio.sleep(self._reading)
            await text
            await message.modalities
        await calls
        heard.ended_at = asyncio.get_running_loop().time()

    async def _take_calls(self, heard: Heard) -> None:
        async for call in heard.event.function_stream:
            heard.calls.append(call.call_id)
            self.pieces += 1
            await asyncio.sleep(self._reading)

    async def _drain(self, stream: Any) -> None:
        async for _ in stream:
            self.pieces += 1
            await asyncio.sleep(self._reading)
