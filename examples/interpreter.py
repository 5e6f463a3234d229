"""A room with interpreters: everybody is heard in the language of whoever listens.

Participants say in their attribute `language` (`en`, `de`, ...) what they speak and want to hear; it may change. Who
has none is heard, and hears, without interpreters. The track of an interpreter is named `interpreter:de:alice`, by
language and speaker; those who want it get it, and nobody else, with captions on the topic `lk.transcription`. Start it
with: python examples/interpreter.py start
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from livekit import rtc
from livekit.agents import AgentServer, APIError, AutoSubscribe, JobContext, cli, types, utils
from livekit.plugins import openai_ga

GRACE = 15.0  # seconds that an interpreter waits for a listener to come back, or a speaker to unmute
TRY_AGAIN = 60.0  # seconds after one whose connection could not be kept
PAUSE = 1.5  # seconds without a word end a caption
SENTENCE_END = re.compile(r"[.!?…।]\s|[。！？]\S")
RATE = 24000
PEOPLE = ("participant_connected", "participant_disconnected", "participant_attributes_changed")
TRACKS = ("track_subscribed", "track_unsubscribed", "track_muted", "track_unmuted", "local_track_republished")

logger = logging.getLogger("interpreter")
server = AgentServer()


@dataclass(frozen=True)
class Person:
    language: str = ""
    microphone: str = ""  # sid of the track, "" without one
    muted: bool = False


class Pair(NamedTuple):
    """What one interpreter does: a speaker, the sid of their microphone, and the language that it is heard in."""

    speaker: str
    microphone: str
    language: str


class Desk:
    """Knows who speaks and who listens, and so which interpreters are needed. No network; `now` is in seconds."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._people: Mapping[str, Person] = {}
        self._working: set[Pair] = set()
        self._idle: dict[Pair, float] = {}  # of those working: since when nobody needs it
        self._failed: dict[Pair, float] = {}  # when it may be tried again

    def update(self, people: Mapping[str, Person], now: float) -> tuple[set[Pair], set[Pair]]:
        """The room as it is now, by identity -> the interpreters to start, and those to stop."""
        self._people = people
        wanted = {
            Pair(identity, speaker.microphone, listener.language)
            for identity, speaker in people.items()
            for listener in people.values()
            if speaker.microphone and speaker.language and listener.language not in ("", speaker.language)
        }
        self._failed = {pair: at for pair, at in self._failed.items() if pair in wanted and at > now}
        needed = {pair for pair in wanted if pair not in self._failed and not people[pair.speaker].muted}
        self._idle = {pair: self._idle.get(pair, now) for pair in self._working - needed}
        microphones = {person.microphone for person in people.values()}
        stop = {
            pair for pair, at in self._idle.items() if now >= at + self._grace or pair.microphone not in microphones
        }
        start = needed - self._working
        self._working = (self._working | start) - stop
        return start, stop

    def failed(self, pair: Pair, again: float = math.inf) -> None:
        """It has ended by itself. Before `again` it is not started again while it is wanted."""
        self._working.discard(pair)
        self._failed[pair] = again

    def next_look(self) -> float:
        """When `update` will find something to do, if nobody comes or goes."""
        ends = [at + self._grace for pair, at in self._idle.items() if pair in self._working]
        return min([*ends, *self._failed.values()], default=math.inf)

    def listeners(self, pair: Pair) -> list[str]:
        """Who hears this interpreter. Whoever speaks that language by now needs none; one who has left is heard out."""
        if self._people.get(pair.speaker, Person()).language == pair.language:
            return []
        return [identity for identity, person in self._people.items() if person.language == pair.language]


async def paced(texts: AsyncIterator[openai_ga.TranslatedText]) -> AsyncIterator[str]:
    """Pieces of text as they come; "" when nothing came for a while, and at the end."""
    coming = asyncio.ensure_future(anext(texts, None))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=PAUSE)
            piece = coming.result() if done else None
            yield piece.text if piece else ""
            if piece:
                coming = asyncio.ensure_future(anext(texts, None))
            elif done:
                return
    finally:
        coming.cancel()


class Interpreter:
    """One session at OpenAI; what it says is a track and captions in the room. `task` ends with it, or raises why."""

    def __init__(self, room: InterpretedRoom, pair: Pair, before: list[asyncio.Task[None]]) -> None:
        """`before`: others of this speaker into this language, who finish what was said."""
        self.pair = pair
        self.left = False
        self.track: rtc.LocalTrackPublication | None = None
        self._room = room
        self._before = before
        self._microphone = room.room.remote_participants[pair.speaker].track_publications[pair.microphone].track
        self._hearing: asyncio.Task[None] | None = None
        self.task = asyncio.create_task(self._work())

    def leave(self) -> None:
        """Listen no more. What was heard is still translated, and played to its end."""
        self.left = True
        (self._hearing or self.task).cancel()

    async def _work(self) -> None:
        room = self._room.room
        async with contextlib.AsyncExitStack() as stack:
            translator = openai_ga.Translator(target_language=self.pair.language, transcribe_source=True)
            stack.push_async_callback(translator.aclose)
            stream = translator.stream()
            stack.push_async_callback(stream.aclose)
            self._hearing = asyncio.create_task(self._hear(stream))
            self._hearing.add_done_callback(lambda _: stream.end_input())
            stack.callback(self._hearing.cancel)
            source = rtc.AudioSource(RATE, 1)
            stack.push_async_callback(source.aclose)
            name = f"interpreter:{self.pair.language}:{self.pair.speaker}"
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            track = rtc.LocalAudioTrack.create_audio_track(name, source)
            self.track = await room.local_participant.publish_track(track, options)
            stack.push_async_callback(room.local_participant.unpublish_track, self.track.sid)
            self._room.changed.set()
            parts = [
                asyncio.create_task(self._speak(stream, source)),
                asyncio.create_task(self._write(stream.transcript, self.track.sid, room.local_participant.identity)),
                asyncio.create_task(self._write(stream.source_transcript, self.pair.microphone, self.pair.speaker)),
            ]
            try:
                await asyncio.gather(*parts)
            finally:
                await utils.aio.cancel_and_wait(*parts)

    async def _hear(self, stream: openai_ga.TranslationStream) -> None:
        audio = rtc.AudioStream(self._microphone, sample_rate=RATE, num_channels=1)
        try:
            async for event in audio:
                stream.push_frame(event.frame)
        except RuntimeError:
            pass  # the session has failed; its iterators raise why
        finally:
            await audio.aclose()

    async def _speak(self, stream: openai_ga.TranslationStream, source: rtc.AudioSource) -> None:
        if self._before:
            await asyncio.wait(self._before)
        async for frame in stream.audio:
            await source.capture_frame(frame)
        await source.wait_for_playout()
        await asyncio.sleep(0.5)  # what the listeners' players have buffered

    async def _write(self, texts: AsyncIterator[openai_ga.TranslatedText], track_sid: str, publisher: str) -> None:
        """Captions of a track, in the name of its publisher: a text stream for each sentence, which grows."""
        writer, sentence = None, ""
        async for piece in paced(texts):
            if writer and (not piece or SENTENCE_END.search(sentence[-2:] + piece[:1])):
                await writer.aclose(attributes={types.ATTRIBUTE_TRANSCRIPTION_FINAL: "true"})
                writer, sentence = None, ""
            # An empty list of destinations would be everybody.
            if not writer and piece.strip() and (readers := self._room.desk.listeners(self.pair)):
                writer = await self._room.room.local_participant.stream_text(
                    topic=types.TOPIC_TRANSCRIPTION,
                    sender_identity=publisher,
                    destination_identities=readers,
                    attributes={
                        types.ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID: utils.shortuuid("caption_"),
                        types.ATTRIBUTE_TRANSCRIPTION_TRACK_ID: track_sid,
                        types.ATTRIBUTE_TRANSCRIPTION_FINAL: "false",
                    },
                )
            if writer and piece:
                piece = piece if sentence else piece.lstrip()
                sentence += piece
                await writer.write(piece)


class InterpretedRoom:
    """Does what the desk says: starts and stops interpreters, and says who may hear them."""

    def __init__(self, room: rtc.Room, desk: Desk) -> None:
        self.room, self.desk = room, desk
        self._interpreters: set[Interpreter] = set()  # those who finish what was said are here, too
        self.changed = asyncio.Event()
        self._allowed: dict[str, list[str]] = {}  # listener -> sids of interpreters' tracks
        for event in PEOPLE + TRACKS:
            room.on(event, lambda *_: self.changed.set())

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self.changed.clear()
                start, stop = self.desk.update(self._people(), time.monotonic())
                for interpreter in [each for each in self._interpreters if each.pair in stop]:
                    interpreter.leave()
                for pair in start:
                    self._start(pair)
                # Of two permissions close together the first was seen to win, so the last one is sent again.
                left = min(self.desk.next_look() - time.monotonic(), 1.0 if self._permit() else 3600.0)
                alarm = asyncio.get_running_loop().call_later(left, self.changed.set)
                await self.changed.wait()
                alarm.cancel()
        finally:
            await utils.aio.cancel_and_wait(*(interpreter.task for interpreter in self._interpreters))

    def _permit(self) -> bool:
        """Each interpreter's track is for its listeners alone. Returns whether that has changed something."""
        allowed: dict[str, list[str]] = defaultdict(list)
        for interpreter in self._interpreters:
            if interpreter.track is not None:
                for listener in self.desk.listeners(interpreter.pair):
                    allowed[listener].append(interpreter.track.sid)
        permissions = [
            rtc.ParticipantTrackPermission(participant_identity=identity, allowed_track_sids=sids)
            for identity, sids in allowed.items()
        ]
        self.room.local_participant.set_track_subscription_permissions(
            allow_all_participants=False, participant_permissions=permissions
        )
        before, self._allowed = self._allowed, allowed
        return before != allowed

    def _people(self) -> dict[str, Person]:
        people = {}
        for participant in self.room.remote_participants.values():
            if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
                continue
            language = participant.attributes.get("language", "").partition("-")[0].lower()  # "de-AT" is "de"
            people[participant.identity] = Person(language)
            for track in participant.track_publications.values():
                if track.source == rtc.TrackSource.SOURCE_MICROPHONE and track.track:
                    people[participant.identity] = Person(language, track.sid, track.muted)
        return people

    def _start(self, pair: Pair) -> None:
        before = [each.task for each in self._interpreters if each.pair[::2] == pair[::2]]  # speaker and language
        interpreter = Interpreter(self, pair, before)
        self._interpreters.add(interpreter)
        interpreter.task.add_done_callback(lambda _: self._ended(interpreter))

    def _ended(self, interpreter: Interpreter) -> None:
        self._interpreters.discard(interpreter)
        self.changed.set()
        if interpreter.task.cancelled():
            return
        error = interpreter.task.exception()
        if error is not None:
            logger.error("an interpreter into %s ended: %s", interpreter.pair.language, error)
        if not interpreter.left:
            again = error is None or (isinstance(error, APIError) and error.retryable)
            self.desk.failed(interpreter.pair, time.monotonic() + TRY_AGAIN if again else math.inf)


@server.rtc_session()
async def interpret(ctx: JobContext) -> None:
    room = InterpretedRoom(ctx.room, Desk())
    await ctx.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
    running = asyncio.create_task(room.run())

    async def close() -> None:
        await utils.aio.cancel_and_wait(running)

    ctx.add_shutdown_callback(close)


if __name__ == "__main__":
    cli.run_app(server)
