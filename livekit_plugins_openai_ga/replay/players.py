"""The application of a recording: makes the calls that it must have made, on a session of this plugin."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from livekit import rtc
from livekit.agents import APIConnectOptions, llm

from .. import formats
from ..realtime import RealtimeModel
from ..recording.entries import Recording
from ..stt import STT
from ..translation import Translator
from . import wishes
from .told import Told, code_of

KEY = "sk-replay"

Event = Mapping[str, Any]


class Player(Protocol):
    """One application. `asked` are the calls that were made, in order."""

    asked: list[str]

    def begin(self) -> None:
        """Open the session, as it was configured."""

    def act(self, event: Event) -> None:
        """Make the call that this client event came of."""

    def renew(self) -> None:
        """Have the connection replaced, as planned."""

    async def aclose(self) -> None:
        """End the session."""


def _frame(event: Event, form: formats.AudioFormat) -> rtc.AudioFrame:
    try:
        pcm = form.decode(base64.b64decode(str(event.get("audio") or "")))
    except ValueError as problem:
        raise ValueError(f"{event['type']} carries audio that is no base64 ({problem}): correct it.") from None
    return rtc.AudioFrame(pcm, form.rate, 1, len(pcm) // 2)


class Conversation:
    """An application of `RealtimeModel`."""

    def __init__(self, recording: Recording, base_url: str, told: Told, model: type[RealtimeModel]) -> None:
        self.asked: list[str] = []
        self._recording = recording
        self._told = told
        self._form = formats.find(recording.header.input_format) or formats.PCM
        self._update = wishes.first_update(recording)
        self._instructions = ""
        self._asking: set[asyncio.Future[Any]] = set()
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._created: dict[str, llm.ChatItem] = {}
        given: dict[str, Any] = wishes.options(self._update, whole=True) if self._update is not None else {}
        given |= wishes.heartbeat(recording)
        if recording.header.model:
            given["model"] = recording.header.model
        self._model = model(
            base_url=base_url,
            api_key=KEY,
            recorder=False,
            input_chunk_ms=wishes.chunk_ms(recording),
            conn_options=APIConnectOptions(max_retry=wishes.retries(recording)),
            fallback_models=wishes.fallback_models(recording),
            **given,
        )

    def begin(self) -> None:
        """Open the session, with the instructions, tools and history it began with."""
        self._session = self._model.session()
        self._told.to_session(self._session)
        self._reconfigure(self._update or {})
        if items := list(wishes.history(self._recording.entries).values()):
            self._later(self._session.update_chat_ctx(llm.ChatContext(items)))

    def _reconfigure(self, update: Event) -> None:
        if isinstance(update.get("instructions"), str):
            self._instructions = update["instructions"]
            self._later(self._session.update_instructions(self._instructions))
        if update.get("tools"):
            self._later(self._session.update_tools([wishes.tool(payload) for payload in update["tools"]]))

    def _later(self, call: Any) -> None:
        task = asyncio.ensure_future(call)
        self._asking.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Future[Any]) -> None:
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._told.failed(f"a call failed: {code_of(error)}")

    def act(self, event: Event) -> None:
        """Make the call that this event came of."""
        call = _CALLS.get(str(event["type"]), Conversation._raw)
        if event["type"] not in _SILENT:
            self.asked.append(str(event["type"]))
        call(self, event)

    def _append(self, event: Event) -> None:
        self._session.push_audio(_frame(event, self._form))

    def _change(self, event: Event) -> None:
        update = event.get("session") or {}
        if update.get("tools") == []:
            self._later(self._session.update_tools([]))
        self._reconfigure(update)
        if given := wishes.options(update, whole=False):
            self._session.update_options(**given)

    def _create(self, event: Event) -> None:
        after = event.get("previous_item_id")
        item = wishes.chat_item(event.get("item") or {}) if after is not None else None
        if item is None:  # a picture of a video, or one that the application made itself
            self._raw(event)
            return
        self._created[item.id] = item
        context = self._context()
        if after == "root":
            context.items.insert(0, item)
        elif (place := next((n for n, one in enumerate(context.items) if one.id == after), None)) is not None:
            context.items.insert(place + 1, item)
        else:
            context.items.append(item)
        self._later(self._session.update_chat_ctx(context))

    def _delete(self, event: Event) -> None:
        self._created.pop(str(event.get("item_id")), None)
        context = self._context()
        context.items[:] = [item for item in context.items if item.id != event.get("item_id")]
        self._later(self._session.update_chat_ctx(context))

    def _context(self) -> llm.ChatContext:
        """What the server has, and what is on its way to it."""
        context = self._session.chat_ctx.copy()
        there = {item.id for item in context.items}
        waiting = [item for item in self._created.values() if item.id not in there]
        for item in waiting:
            context.items.append(item)
        self._created = {item.id: item for item in waiting}
        return context

    def _truncate(self, event: Event) -> None:
        item_id, end_ms = str(event.get("item_id")), int(event.get("audio_end_ms") or 0)
        self._session.truncate(message_id=item_id, modalities=["audio"], audio_end_ms=end_ms)

    def _reply(self, event: Event) -> None:
        given = wishes.reply(event.get("response") or {}, self._instructions)
        future = self._session.generate_reply(**given)
        self._asking.add(future)
        future.add_done_callback(self._answered)
        if given.get("conversation") == "none":
            future.add_done_callback(self._began)

    def _began(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._replies[str(future.result().response_id)] = future

    def _cancel(self, event: Event) -> None:
        aside = self._replies.get(str(event.get("response_id")))
        if aside is not None:
            aside.result().cancel()
        else:
            self._session.interrupt()

    def _raw(self, event: Event) -> None:
        self._session.send_event(dict(event))

    def renew(self) -> None:
        """Have the connection replaced."""
        self.asked.append("restart")
        self._session.restart()

    async def aclose(self) -> None:
        """End the session."""
        await self._session.aclose()
        await self._model.aclose()


_CALLS: Mapping[str, Callable[[Conversation, Event], None]] = {
    "input_audio_buffer.append": Conversation._append,
    "input_audio_buffer.commit": lambda player, event: player._session.commit_audio(),
    "input_audio_buffer.clear": lambda player, event: player._session.clear_audio(),
    "session.update": Conversation._change,
    "conversation.item.create": Conversation._create,
    "conversation.item.delete": Conversation._delete,
    "conversation.item.truncate": Conversation._truncate,
    "response.create": Conversation._reply,
    "response.cancel": Conversation._cancel,
}
_SILENT = frozenset({"input_audio_buffer.append"})


class Speech:
    """An application of `STT`."""

    def __init__(self, recording: Recording, base_url: str, told: Told, model: type[STT]) -> None:
        self.asked: list[str] = []
        self._told = told
        self._form = formats.find(recording.header.input_format) or formats.PCM
        given = wishes.transcription_options(wishes.first_update(recording) or {}, recording.header.model)
        given |= {**wishes.heartbeat(recording), "input_chunk_ms": wishes.chunk_ms(recording)}
        self._stt = model(base_url=base_url, api_key=KEY, recorder=False, vad=None, **given)

    def begin(self) -> None:
        """Open the stream."""
        self._stream = self._stt.stream()
        self._told.to_stream(self._stream)

    def act(self, event: Event) -> None:
        """Push the audio, or end the segment."""
        if event["type"] == "input_audio_buffer.append":
            self._stream.push_frame(_frame(event, self._form))
        elif event["type"] == "input_audio_buffer.commit":
            self.asked.append("flush")
            self._stream.flush()
        elif event["type"] == "session.update":
            self.asked.append("update_options")
            given = wishes.transcription_options(event.get("session") or {}, "")
            known = ("model", "language", "detect_language", "prompt", "keywords", "turn_detection", "delay")
            self._stt.update_options(**{name: given[name] for name in known if name in given})

    def renew(self) -> None:
        """A stream has no call for it; it does so by its age."""

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
        await self._stt.aclose()


class Interpreting:
    """An application of `Translator`."""

    def __init__(self, recording: Recording, base_url: str, told: Told, model: type[Translator]) -> None:
        self.asked: list[str] = []
        self._told = told
        given = wishes.translation_options(wishes.first_update(recording) or {}, recording.header.model)
        given |= wishes.heartbeat(recording)
        given["conn_options"] = APIConnectOptions(max_retry=wishes.retries(recording))
        self._translator = model(base_url=base_url, api_key=KEY, recorder=False, **given)

    def begin(self) -> None:
        """Open the stream."""
        self._stream = self._translator.stream()
        self._told.to_translation(self._stream)

    def act(self, event: Event) -> None:
        """Push the audio, change the language, or end the source."""
        if event["type"] == "session.input_audio_buffer.append":
            self._stream.push_frame(_frame(event, formats.PCM))
        elif event["type"] == "session.close":
            self.asked.append("end_input")
            self._stream.end_input()
        elif event["type"] == "session.update":
            self.asked.append("update_options")
            language = wishes.translation_options(event.get("session") or {}, "")["target_language"]
            self._stream.update_options(target_language=language)

    def renew(self) -> None:
        """A stream has no call for it; it does so by its age."""

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()
        await self._translator.aclose()
