"""The futures and channels handed to LiveKit. Effects are the only thing that settles them, each exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from livekit import rtc
from livekit.agents import io, llm, utils

from ..audio import to_frame
from ..core import effects as fx
from ..errors import Failure
from ..formats import PCM, AudioFormat
from ..framework import make
from . import mapping
from .reply import Reply, ReplyEnd

Modality = Literal["text", "audio"]

MAX_ROWS = 16
"""Joined replies remembered; what is cut is one of the last few."""


def refusal(failure: Failure) -> llm.RealtimeError:
    """A failure as the exception a request ends with."""
    return make(llm.RealtimeError, failure.sentence(), code=failure.code or None)


class Requests:
    """Futures of configuration and item requests, by key. A result of None means done, a `Failure` refused."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[Failure | None]] = {}

    def open(self, key: str) -> asyncio.Future[Failure | None]:
        """A future for the request `key`."""
        future: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()
        self._futures[key] = future
        return future

    def settle(self, key: str, failure: Failure | None) -> None:
        """The request is over. A key nobody waits for is fine."""
        future = self._futures.pop(key, None)
        if future is not None and not future.done():
            future.set_result(failure)


class _Message:
    """One message's channels."""

    __slots__ = ("audio", "kind", "text")

    def __init__(self, *, audible: bool, spoken: bool) -> None:
        self.text: utils.aio.Chan[str] = utils.aio.Chan()
        self.audio: utils.aio.Chan[rtc.AudioFrame] = utils.aio.Chan()
        self.kind: asyncio.Future[list[Modality]] = asyncio.get_running_loop().create_future()
        self.kind.set_result(["audio", "text"] if audible and spoken else ["text"])
        if not audible:
            self.audio.close()

    def close(self) -> None:
        for channel in (self.text, self.audio):
            if not channel.closed:
                channel.close()


@dataclass(slots=True, eq=False)
class _Asked:
    """Somebody waits for a reply. `play` says whether LiveKit plays it; None: it is LiveKit itself who waits."""

    future: asyncio.Future[Reply]
    cancel: Callable[[str], None]
    play: bool | None


@dataclass(slots=True, eq=False)
class _Story:
    """What becomes of a reply that was asked for. `texts` are its messages, each in pieces."""

    ended: asyncio.Future[ReplyEnd]
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: list[llm.FunctionCall] = field(default_factory=list)

    def end(self, effect: fx.ReplyEnded) -> None:
        text = "\n".join(map("".join, self.texts.values()))
        error = refusal(effect.failure) if effect.failure is not None else None
        self.ended.set_result(ReplyEnd(effect.status, effect.reason, text, tuple(self.calls), error))


class _Reply:
    """One reply's channels. `audible`: its speech is told as such, whatever the session's modality."""

    __slots__ = ("audible", "calls", "messages", "open", "row", "story")

    def __init__(self, story: _Story | None = None, *, audible: bool = False) -> None:
        self.messages: utils.aio.Chan[llm.MessageGeneration] = utils.aio.Chan()
        self.calls: utils.aio.Chan[llm.FunctionCall] = utils.aio.Chan()
        self.open: dict[str, _Message] = {}
        self.row: list[str] = []  # its messages, in order
        self.story = story
        self.audible = audible

    def close(self) -> None:
        for message in self.open.values():
            message.close()
        self.messages.close()
        self.calls.close()


class ReplyStreams:
    """Replies as LiveKit reads them, and the futures of `generate_reply`."""

    __slots__ = ("_announce", "_asked", "_form", "_joined", "_playing", "_replies", "_rows", "_spoken")

    def __init__(
        self,
        *,
        spoken: bool,
        announce: Callable[[llm.GenerationCreatedEvent], None],
        joined: bool = False,
        form: AudioFormat = PCM,
    ) -> None:
        """Start without replies.

        Args:
            spoken: whether this session replies in audio.
            announce: gets each reply LiveKit should know of.
            joined: give the messages of a reply as one, for a LiveKit that plays one only. It has the first one's id.
            form: what the speech comes in.
        """
        self._spoken = spoken
        self._joined = joined
        self._form = form
        self._rows: dict[str, list[str]] = {}
        self._announce = announce
        self._asked: dict[str, _Asked] = {}
        self._replies: dict[str, _Reply] = {}
        self._playing: dict[str, list[Callable[[], None]]] = {}  # what is to be done when a reply was played

    @property
    def active(self) -> bool:
        """Whether a reply is being made or waited for."""
        return bool(self._asked or self._replies)

    def ask(self, key: str, cancel: Callable[[str], None], *, play: bool | None = None) -> asyncio.Future[Reply]:
        """The future of the requested reply `key`.

        `cancel` gets its response id when it is not wanted any more. `play`: whether LiveKit plays it; None: LiveKit
        asked for it, and plays what the future gives.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[key] = _Asked(future, cancel, play)
        return future

    def waits(self, key: str) -> bool:
        """Whether somebody waits for `key`."""
        asked = self._asked.get(key)
        return asked is not None and not asked.future.done()

    def cancelled(self, key: str) -> bool:
        """Whether the future of `key` was cancelled, which it tells others of in the next step of the loop."""
        asked = self._asked.get(key)
        return asked is not None and asked.future.cancelled()

    def forget(self, key: str) -> None:
        """Nobody waits for `key` any more."""
        self._asked.pop(key, None)

    def fail(self, key: str, error: Exception) -> bool:
        """End the request `key` with an exception; returns whether somebody waited for it."""
        asked = self._asked.pop(key, None)
        if asked is None or asked.future.done():
            return False
        asked.future.set_exception(error)
        # The caller may have gone without looking; an exception nobody fetched must not be printed at exit.
        asked.future.exception()
        return True

    def started(self, effect: fx.ReplyStarted) -> None:
        """A reply began."""
        asked = self._asked.pop(effect.key, None) if effect.key is not None else None
        if asked is not None:
            self._answer(effect, asked)
        elif not effect.aside:  # an application's own out-of-band reply: LiveKit would speak it into the room
            self._announce(self._event(effect, self._open(effect, _Reply())))

    def _open(self, effect: fx.ReplyStarted, reply: _Reply) -> _Reply:
        self._replies[effect.response_id] = reply
        return reply

    def _event(self, effect: fx.ReplyStarted, reply: _Reply) -> llm.GenerationCreatedEvent:
        """A reply that LiveKit plays, because nobody else does."""
        return make(
            llm.GenerationCreatedEvent,
            message_stream=reply.messages,
            function_stream=reply.calls,
            user_initiated=False,
            response_id=effect.response_id,
        )

    def _answer(self, effect: fx.ReplyStarted, asked: _Asked) -> None:
        """The reply that somebody waits for."""
        story = _Story(asyncio.get_running_loop().create_future())
        reply = self._open(effect, _Reply(story, audible=asked.play is False))
        seen = reply
        if asked.play:  # LiveKit reads the streams, and what one reads the other does not get
            seen = _Reply()
            seen.close()
        event = Reply(
            message_stream=seen.messages,
            function_stream=seen.calls,
            user_initiated=True,
            response_id=effect.response_id,
            ended=story.ended,
            cancel=asked.cancel,
        )
        cancelled = asked.future.cancelled()
        if not asked.future.done():
            asked.future.set_result(event)
        if asked.play is None:
            self._announce(event)
        elif asked.play and not cancelled:
            self._announce(self._event(effect, reply))

    def message_started(self, effect: fx.MessageStarted) -> None:
        """A message opened."""
        reply = self._replies.get(effect.response_id)
        if reply is None or effect.item_id in reply.open:
            return
        reply.row.append(effect.item_id)
        if self._joined and len(reply.row) > 1:
            message = reply.open[effect.item_id] = reply.open[reply.row[0]]
            message.text.send_nowait(" ")
            self._remember(reply.row)
            return
        audible = self._spoken or reply.audible
        message = reply.open[effect.item_id] = _Message(audible=audible, spoken=effect.spoken)
        reply.messages.send_nowait(
            llm.MessageGeneration(
                message_id=effect.item_id,
                text_stream=message.text,
                audio_stream=message.audio,
                modalities=message.kind,
            )
        )

    def _remember(self, row: list[str]) -> None:
        self._rows[row[0]] = row
        while len(self._rows) > MAX_ROWS:
            del self._rows[next(iter(self._rows))]

    def row(self, message_id: str) -> list[str]:
        """The messages that LiveKit knows as this one, in order."""
        return self._rows.get(message_id, [message_id])

    def text(self, effect: fx.MessageText) -> None:
        """More text."""
        reply = self._replies.get(effect.response_id)
        if reply is None:
            return
        if reply.story is not None:
            reply.story.texts.setdefault(effect.item_id, []).append(effect.delta)
        message = reply.open.get(effect.item_id)
        if message is not None and not message.text.closed:
            start = effect.start_time
            message.text.send_nowait(effect.delta if start is None else io.TimedString(effect.delta, start_time=start))

    def audio(self, effect: fx.MessageAudio) -> None:
        """More speech."""
        reply = self._replies.get(effect.response_id)
        message = reply.open.get(effect.item_id) if reply is not None else None
        if message is not None:
            try:  # noqa: SIM105  # 0.3 us
                message.audio.send_nowait(to_frame(effect.audio, self._form))
            except utils.aio.ChanClosed:
                pass  # speech in a session that speaks none

    def played(self, effect: fx.Played) -> None:
        """The server plays a reply to a caller, faster made than heard: it ends when it was played, not before."""
        if effect.playing:
            self._playing.setdefault(effect.response_id, [])
            return
        for end in self._playing.pop(effect.response_id, []):
            end()

    def message_ended(self, effect: fx.MessageEnded) -> None:
        """A message is complete."""
        if effect.response_id in self._playing:
            self._playing[effect.response_id].append(lambda: self.message_ended(effect))
            return
        if self._joined:
            return  # there may be another; `ended` closes them
        reply = self._replies.get(effect.response_id)
        message = reply.open.pop(effect.item_id, None) if reply is not None else None
        if message is not None:
            message.close()

    def called(self, effect: fx.FunctionCalled) -> None:
        """The model calls a function."""
        if (reply := self._replies.get(effect.response_id)) is None:
            return
        call = mapping.function_call(effect.item)
        reply.calls.send_nowait(call)
        if reply.story is not None:
            reply.story.calls.append(call)

    def ended(self, effect: fx.ReplyEnded) -> None:
        """A reply is over."""
        if effect.response_id in self._playing:
            self._playing[effect.response_id].append(lambda: self.ended(effect))
            return
        reply = self._replies.pop(effect.response_id, None)
        if reply is None:
            return
        reply.close()
        if reply.story is not None:
            reply.story.end(effect)


PIECES: Mapping[type[fx.Effect], Callable[[ReplyStreams, Any], None]] = {
    fx.MessageAudio: ReplyStreams.audio,
    fx.MessageText: ReplyStreams.text,
}
"""What nearly all events end in. The reply goes on and nothing is sent, so nothing else has to be looked at."""
