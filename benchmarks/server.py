"""A server that counts and answers, for measuring clients. It shares nothing with the plugin or its emulator.

    python -m benchmarks.server        prints its port; ends when its standard input does

It speaks as much of GA's protocol as a content client needs: events are answered in GA's shapes, nothing is checked.
Replies are noise of a given length and pace. Each audio delta begins with the time at which it was sent, as a
little-endian double of `time.monotonic()`, so a client can tell how old a frame is without asking.

A client of `/control` sends JSON objects, `{"do": "behave" | "opened" | "send" | "stats" | "reset", ...}`.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import random
import struct
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

BYTES_PER_MS = 48
STAMP_BYTES = 12
"""A double and padding: a whole number of base64 groups."""
WORD = " word"
NOISE = random.Random(1).randbytes(1000 * BYTES_PER_MS)
FLOOD = 8
"""Frames that are sent together when a client is flooded. A system call for each takes about as long
as a fast client takes for it, which then waits for the server and is woken for each."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Behaviour:
    """How the server behaves.

    Attributes:
        delay_ms: How long each frame takes, one way. Times of arrival include it.
        handshake_trips: Round trips until a socket is open: TCP's and the upgrade's; 3 with TLS.
        reply_s: Seconds of speech in a reply.
        delta_ms: Of speech in one audio delta, at most 1000.
        words_every: A transcript delta of one word comes before every so many audio deltas.
        pace: Seconds of speech per second; 0: as fast as the socket takes it.
    """

    delay_ms: float = 0.0
    handshake_trips: float = 2.0
    reply_s: float = 2.0
    delta_ms: int = 100
    words_every: int = 3
    pace: float = 1.0


@dataclass
class Seen:
    """What came on one connection: how many events of each type, and when; appends as [time, bytes of audio]."""

    opened: float
    counts: dict[str, int] = field(default_factory=dict)
    events: list[tuple[float, str]] = field(default_factory=list)
    appends: list[tuple[float, int]] = field(default_factory=list)


def merged(base: Event, change: Event) -> Event:
    """`change` on top of `base`, deeply."""
    both = {name: merged(base.get(name) or {}, new) if isinstance(new, dict) else new for name, new in change.items()}
    return {**base, **both}


def appended(frame: bytes) -> int:
    """Bytes of audio in an append event, without reading it as JSON."""
    start = frame.index(b'"', frame.index(b'"audio"') + 8) + 1
    end = frame.index(b'"', start)
    return (end - start) // 4 * 3 - frame.count(b"=", end - 2, end)


class Connection:
    """One session."""

    def __init__(self, server: Counting, socket: ServerConnection, seen: Seen) -> None:
        self.server, self.socket, self.seen = server, socket, seen
        self.ids = itertools.count(1)
        self.items: dict[str, None] = {}  # in order, as long as they are added at the end
        self.session: Event = {}
        self.transcribing = False
        self.replies: dict[str, asyncio.Task[None]] = {}
        self.later: asyncio.Queue[tuple[float, str]] = asyncio.Queue()

    def new_id(self, kind: str) -> str:
        return f"{kind}_{id(self):x}{next(self.ids)}"

    async def run(self, query: dict[str, list[str]]) -> None:
        """Serve it until it ends."""
        self.transcribing = "transcription" in query.get("intent", [])
        self.session = {
            "type": "transcription" if self.transcribing else "realtime",
            "object": "realtime.session",
            "id": self.new_id("sess"),
            "model": query.get("model", [""])[0],
            "expires_at": int(time.time()) + 3600,
        }
        helpers = [asyncio.create_task(self._send_later())]
        try:
            # It comes right behind the answer to the upgrade, whose way is in `handshake_trips`.
            created = {"type": "session.created", "event_id": self.new_id("event"), "session": self.session}
            await self.socket.send(json.dumps(created))
            if self.server.behaviour.delay_ms:
                await self._receive_later()
            else:
                while True:
                    frame = await self.socket.recv(decode=False)
                    await self.received(time.monotonic(), frame)
        except ConnectionClosed:
            pass
        finally:
            for task in [*helpers, *self.replies.values()]:
                task.cancel()

    # -- a slow line ---------------------------------------------------------------------------------------------

    async def _receive_later(self) -> None:
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def take() -> None:
            while True:
                at, frame = await due.get()
                await asyncio.sleep(at - time.monotonic())
                await self.received(time.monotonic(), frame)

        taking = asyncio.create_task(take())
        try:
            while True:
                frame = await self.socket.recv(decode=False)
                due.put_nowait((time.monotonic() + self.server.behaviour.delay_ms / 1000, frame))
        finally:
            taking.cancel()

    async def _send_later(self) -> None:
        while True:
            at, text = await self.later.get()
            await asyncio.sleep(at - time.monotonic())
            await self.socket.send(text)

    async def write(self, text: str) -> None:
        """Send a frame, at once or after the line's delay."""
        if delay := self.server.behaviour.delay_ms:
            self.later.put_nowait((time.monotonic() + delay / 1000, text))
        else:
            await self.socket.send(text)

    async def flood(self, texts: list[str]) -> None:
        """Send frames in one go, past the line's delay. The library writes each by itself."""
        async with self.socket.send_context():  # which raises and waits as `send` does
            frames = [Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts]
            self.socket.transport.write(b"".join(frames))

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        await self.write(json.dumps({"type": kind, "event_id": self.new_id("event"), **fields}))

    # -- answers -------------------------------------------------------------------------------------------------

    async def received(self, now: float, frame: bytes) -> None:
        """Count a frame, and answer it."""
        if b'"input_audio_buffer.append"' in frame:
            self.seen.appends.append((now, appended(frame)))
            return
        event = json.loads(frame)
        kind = event["type"]
        self.seen.counts[kind] = self.seen.counts.get(kind, 0) + 1
        self.seen.events.append((now, kind))
        answer = ANSWERS.get(kind)
        if answer is not None:
            await answer(self, event)

    async def update(self, event: Event) -> None:
        self.session = merged(self.session, event["session"])
        await self.send("session.updated", session=self.session)
        async with self.server.configured:
            self.server.configured.notify_all()

    async def add(self, item: Event, previous: str | None) -> None:
        """An item is in the conversation; `previous` as a client says it."""
        if previous is None:
            previous = next(reversed(self.items), None)
        elif previous == "root":
            previous = None
        self.items[item["id"]] = None
        for kind in ("conversation.item.added", "conversation.item.done"):
            await self.send(kind, item=item, previous_item_id=previous)

    async def create(self, event: Event) -> None:
        item = {"object": "realtime.item", "status": "completed", "id": self.new_id("item"), **event["item"]}
        await self.add(item, event.get("previous_item_id"))

    async def delete(self, event: Event) -> None:
        self.items.pop(event["item_id"], None)
        await self.send("conversation.item.deleted", item_id=event["item_id"])

    async def truncate(self, event: Event) -> None:
        cut = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        await self.send("conversation.item.truncated", **cut)

    async def commit(self, event: Event) -> None:
        item = self.new_id("item")
        await self.send("input_audio_buffer.committed", item_id=item, previous_item_id=next(reversed(self.items), None))
        content = [{"type": "input_audio", "transcript": None}]
        await self.add({"id": item, "type": "message", "role": "user", "status": "completed", "content": content}, None)
        if self.session.get("audio", {}).get("input", {}).get("transcription"):
            kind = "conversation.item.input_audio_transcription"
            usage = {"type": "duration", "seconds": 1}
            await self.send(f"{kind}.delta", item_id=item, content_index=0, delta=WORD)
            await self.send(f"{kind}.completed", item_id=item, content_index=0, transcript=WORD, usage=usage)

    async def clear(self, event: Event) -> None:
        await self.send("input_audio_buffer.cleared")

    # -- replies -------------------------------------------------------------------------------------------------

    async def respond(self, event: Event) -> None:
        name = self.new_id("resp")
        task = asyncio.create_task(Reply(self, name, event.get("response") or {}).run())
        self.replies[name] = task
        task.add_done_callback(lambda _: self.replies.pop(name, None))

    async def cancel(self, event: Event) -> None:
        task = self.replies.get(event.get("response_id") or next(reversed(self.replies), ""))
        if task is not None:
            task.cancel()


class Reply:
    """One reply: a spoken message."""

    def __init__(self, connection: Connection, name: str, asked: Event) -> None:
        self.to, self.name, self.asked = connection, name, asked
        self.item = connection.new_id("item")
        self.behaviour = connection.server.behaviour
        self.ids = {"response_id": name, "item_id": self.item, "output_index": 0, "content_index": 0}
        self.said = ""

    def payload(self, status: str) -> Event:
        """The response, as it stands in its first and last event."""
        tokens = {"text_tokens": 10, "audio_tokens": 40}
        cached = {"cached_tokens": 0, "image_tokens": 0}
        usage = {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50, "output_token_details": tokens}
        usage["input_token_details"] = {**tokens, **cached, "cached_tokens_details": {**tokens, "image_tokens": 0}}
        return {
            "object": "realtime.response",
            "id": self.name,
            "status": status,
            "status_details": None,
            "output": [],
            "conversation_id": "conv_1",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "metadata": self.asked.get("metadata"),
            "usage": None if status == "in_progress" else usage,
        }

    def message(self, status: str) -> Event:
        """Its item."""
        content = [] if status == "in_progress" else [{"type": "output_audio", "transcript": self.said}]
        own = {"id": self.item, "object": "realtime.item", "type": "message", "role": "assistant"}
        return {**own, "status": status, "content": content}

    async def run(self) -> None:
        """From `response.created` to `response.done`, which is said of a cancelled one, too."""
        status = "cancelled"
        await self.open()
        try:
            await self.speak()
            status = "completed"
        finally:
            # The socket may be gone, or this task cancelled: what is left to say is said by another.
            ending = asyncio.ensure_future(self.close(status))
            ending.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def open(self) -> None:
        send, item = self.to.send, self.message("in_progress")
        await send("response.created", response=self.payload("in_progress"))
        await send("response.output_item.added", response_id=self.name, output_index=0, item=item)
        previous = next(reversed(self.to.items), None)
        self.to.items[self.item] = None
        await send("conversation.item.added", item=item, previous_item_id=previous)
        await send("response.content_part.added", **self.ids, part={"type": "audio", "transcript": ""})

    async def speak(self) -> None:
        """The audio and its words, at the pace that is asked for."""
        size = self.behaviour.delta_ms * BYTES_PER_MS
        sound = base64.b64encode(NOISE[STAMP_BYTES:size]).decode()
        ids = json.dumps(self.ids)[1:-1]
        word = f'{{"type":"response.output_audio_transcript.delta",{ids},"delta":"{WORD}","obfuscation":"xxxxxxxx",'
        step, pace = self.behaviour.delta_ms / 1000, self.behaviour.pace
        began, texts = time.monotonic(), list[str]()
        for number in range(round(self.behaviour.reply_s / step)):
            if pace:
                await asyncio.sleep(began + number * step / pace - time.monotonic())
            if number % self.behaviour.words_every == 0:
                self.said += WORD
                texts.append(f'{word}"event_id":"{self.to.new_id("event")}"}}')
            stamp = base64.b64encode(struct.pack("<d4x", time.monotonic())).decode()
            event_id = self.to.new_id("event")
            texts.append(
                f'{{"type":"response.output_audio.delta","event_id":"{event_id}",{ids},"delta":"{stamp}{sound}"}}'
            )
            if pace:
                for text in texts:
                    await self.to.write(text)
                texts.clear()
            elif len(texts) >= FLOOD:
                await self.to.flood(texts)
                texts.clear()
                await asyncio.sleep(0)
        if texts:
            await self.to.flood(texts)

    async def close(self, status: str) -> None:
        send, item = self.to.send, self.message("completed" if status == "completed" else "incomplete")
        await send("response.output_audio.done", **self.ids)
        await send("response.output_audio_transcript.done", **self.ids, transcript=self.said)
        await send("response.content_part.done", **self.ids, part={"type": "audio", "transcript": self.said})
        await send("conversation.item.done", item=item, previous_item_id=None)
        await send("response.output_item.done", response_id=self.name, output_index=0, item=item)
        await send("response.done", response=self.payload(status))


ANSWERS = {
    "session.update": Connection.update,
    "conversation.item.create": Connection.create,
    "conversation.item.delete": Connection.delete,
    "conversation.item.truncate": Connection.truncate,
    "input_audio_buffer.commit": Connection.commit,
    "input_audio_buffer.clear": Connection.clear,
    "response.create": Connection.respond,
    "response.cancel": Connection.cancel,
}


class Counting:
    """The server."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.connections: list[Connection] = []
        self.configured = asyncio.Condition()

    async def upgrade(self, socket: ServerConnection, request: Request) -> Response | None:
        """A distant server's handshake takes its round trips."""
        if not request.path.startswith("/control"):
            await asyncio.sleep(self.behaviour.handshake_trips * 2 * self.behaviour.delay_ms / 1000)
        return None

    async def handle(self, socket: ServerConnection) -> None:
        """One socket, of either kind."""
        assert socket.request is not None
        url = urlsplit(socket.request.path)
        if url.path == "/control":
            await self.control(socket)
            return
        connection = Connection(self, socket, Seen(time.monotonic()))
        self.connections.append(connection)
        await connection.run(parse_qs(url.query))

    async def control(self, socket: ServerConnection) -> None:
        """Do what a figure asks for."""
        async for message in socket:
            asked = json.loads(message)
            do = getattr(self, asked.pop("do"))
            try:
                result = {"result": await do(**asked)}
            except (TypeError, IndexError) as problem:
                result = {"error": f"{do.__name__}: {problem}"}
            await socket.send(json.dumps(result))

    async def behave(self, **changes: Any) -> None:
        """Change how it behaves."""
        self.behaviour = replace(self.behaviour, **changes)

    async def opened(self, count: int) -> None:
        """Wait for so many connections that were told their configuration."""
        async with self.configured:
            await self.configured.wait_for(
                lambda: sum("session.update" in each.seen.counts for each in self.connections) >= count
            )

    async def send(self, event: Event, connection: int | None, times: int) -> float:
        """Send an event as it is, as often as asked. What takes longer than a moment goes on by itself."""
        to = self.connections if connection is None else [self.connections[connection]]
        text = json.dumps(event)
        began = time.monotonic()
        for each in to:
            await each.write(text)
        if times > 1:
            flood = asyncio.ensure_future(self.flood(to, text, times - 1))
            flood.add_done_callback(lambda done: done.cancelled() or done.exception())
        return began

    async def flood(self, to: list[Connection], text: str, times: int) -> None:
        """The same frame again and again."""
        for left in range(times, 0, -FLOOD):
            for each in to:
                await each.flood([text] * min(left, FLOOD))
            await asyncio.sleep(0)

    async def stats(self) -> list[Event]:
        """What came on each connection."""
        return [vars(each.seen) for each in self.connections]

    async def reset(self) -> None:
        """As in the beginning, but for connections that are still open."""
        self.behaviour = Behaviour()
        self.connections = [each for each in self.connections if each.socket.state.name == "OPEN"]
        for each in self.connections:
            each.seen = Seen(each.seen.opened)


async def main() -> None:
    """Serve until standard input ends."""
    counting = Counting()
    options: dict[str, Any] = {"compression": None, "max_size": None, "ping_interval": None}
    async with serve(counting.handle, "127.0.0.1", 0, process_request=counting.upgrade, **options) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
