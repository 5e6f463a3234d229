"""A caller in a LiveKit room: joins, publishes a microphone, hears the agent's track and reads its captions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.types import (
    ATTRIBUTE_AGENT_STATE,
    ATTRIBUTE_TRANSCRIPTION_FINAL,
    ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID,
    ATTRIBUTE_TRANSCRIPTION_TRACK_ID,
    TOPIC_TRANSCRIPTION,
)

from ..audio import BYTES_PER_SAMPLE, SAMPLE_RATE

_PIECE_SECONDS = 0.02
_PIECE_BYTES = round(_PIECE_SECONDS * SAMPLE_RATE) * BYTES_PER_SAMPLE
# -40 dB of full scale; Opus gives back faint noise where there was silence.
_AUDIBLE_RMS = 327.0
# Between words and sentences speech falls silent, too; a stretch goes on over pauses up to this long.
_PAUSE_SECONDS = 0.6

_EVENTS: tuple[rtc.room.EventTypes, ...] = (
    "participant_connected",
    "participant_disconnected",
    "participant_attributes_changed",
    "disconnected",
)
"""What changes an answer that somebody may wait for in `RoomCaller.until`."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A text stream on the topic `lk.transcription`, as far as it has come."""

    identity: str
    segment_id: str
    track_id: str
    final: bool
    text: str


class Ear:
    """What came in over one remote audio track: int16 mono at 24 kHz, on the event loop's clock.

    A track gives audio in step with the clock while it is published; where it does not, silence is put in.
    """

    def __init__(self) -> None:
        self.pcm = bytearray()
        self.began: float | None = None
        """The event loop's time of the first sample, in seconds."""
        self._judged = 0
        # First and last + 1 audible piece of each stretch.
        self._audible: list[tuple[int, int]] = []

    def add(self, pcm: bytes, ends: float) -> None:
        """`ends`: the event loop's time at which the last sample came."""
        if self.began is None:
            self.began = ends - len(pcm) / BYTES_PER_SAMPLE / SAMPLE_RATE
        missing = ends - self.began - (len(self.pcm) + len(pcm)) / BYTES_PER_SAMPLE / SAMPLE_RATE
        if missing > _PAUSE_SECONDS:
            self.pcm += bytes(round(missing * SAMPLE_RATE) * BYTES_PER_SAMPLE)
        self.pcm += pcm
        self._judge()

    def stretches(self) -> list[tuple[float, float]]:
        """From when to when somebody was audible, in seconds of the event loop's clock."""
        began = self.began or 0.0
        return [(began + first * _PIECE_SECONDS, began + end * _PIECE_SECONDS) for first, end in self._audible]

    @property
    def audible(self) -> bool:
        """Whether anything has been heard yet."""
        return bool(self._audible)

    def _judge(self) -> None:
        """Look at the pieces that are complete by now; those before are not looked at again."""
        pieces = len(self.pcm) // _PIECE_BYTES
        new = bytes(self.pcm[self._judged * _PIECE_BYTES : pieces * _PIECE_BYTES])
        samples = np.frombuffer(new, "<i2").astype(np.float64).reshape(-1, _PIECE_BYTES // BYTES_PER_SAMPLE)
        for offset in np.flatnonzero(np.sqrt(np.mean(samples**2, axis=1)) > _AUDIBLE_RMS):
            piece = self._judged + int(offset)
            if self._audible and (piece - self._audible[-1][1]) * _PIECE_SECONDS <= _PAUSE_SECONDS:
                self._audible[-1] = (self._audible[-1][0], piece + 1)
            else:
                self._audible.append((piece, piece + 1))
        self._judged = pieces


class RoomCaller:
    """One participant. Make it with `join`; every wait ends with `TimeoutError` when nothing happens."""

    def __init__(self, room: rtc.Room) -> None:
        self.room = room
        self.ears: dict[str, Ear] = {}
        """Sid of a remote audio track -> what was heard of it."""
        self.captions: dict[str, Caption] = {}
        """Id of a text stream -> the caption, in the order of their beginning."""
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # Sid of a track -> who listens to it.
        self._hearing: dict[str, asyncio.Task[None]] = {}
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", self._unsubscribed)
        for event in _EVENTS:
            room.on(event, lambda *_: self._changed.set())
        room.register_text_stream_handler(TOPIC_TRANSCRIPTION, self._captioned)

    @classmethod
    @contextlib.asynccontextmanager
    async def join(cls, url: str, token: str) -> AsyncIterator[RoomCaller]:
        """In the room for as long as the block lasts. Raises `rtc.ConnectError`."""
        room = rtc.Room()
        caller = cls(room)
        try:
            await room.connect(url, token)
            yield caller
        finally:
            await caller.leave()

    async def leave(self) -> None:
        """Hang up; a second time does nothing."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.room.disconnect()

    async def publish_microphone(
        self, frames: AsyncIterable[rtc.AudioFrame], *, rate: int = SAMPLE_RATE, channels: int = 1
    ) -> rtc.LocalTrackPublication:
        """Publish `frames` (int16 at `rate` Hz with `channels`), which come at the pace of speech."""
        source = rtc.AudioSource(rate, channels, queue_size_ms=200)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        publication = await self.room.local_participant.publish_track(track, options)

        async def pump() -> None:
            try:
                async for frame in frames:
                    await source.capture_frame(frame)
            finally:
                await source.aclose()

        self._go(pump())
        return publication

    @property
    def agent(self) -> rtc.RemoteParticipant | None:
        """The agent in the room, if there is one."""
        kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        return next((p for p in self.room.remote_participants.values() if p.kind == kind), None)

    @property
    def agent_state(self) -> str:
        """LiveKit's `lk.agent.state` of the agent: initializing, listening, thinking, speaking; "" without one."""
        return self.agent.attributes.get(ATTRIBUTE_AGENT_STATE, "") if self.agent else ""

    @property
    def agent_ear(self) -> Ear | None:
        """What was heard of the agent: its latest audio track."""
        tracks = [] if self.agent is None else list(self.agent.track_publications.values())
        ears = [self.ears[track.sid] for track in tracks if track.sid in self.ears]
        return ears[-1] if ears else None

    def texts(self, identity: str, *, final: bool = True) -> list[str]:
        """The captions of a speaker, one for each segment, in order; `final`: only those that will not change."""
        segments: dict[str, str] = {}
        for caption in self.captions.values():
            if caption.identity == identity and caption.text and (caption.final or not final):
                segments[caption.segment_id] = caption.text
        return list(segments.values())

    async def until(self, condition: Callable[[], object], *, timeout: float = 20.0) -> None:
        """Wait for something that the room's events or what is heard bring about. Raises `TimeoutError`."""
        deadline = asyncio.get_running_loop().time() + timeout
        while not condition():
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:
                raise TimeoutError(f"The caller waited {timeout:g} s in vain.") from None

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _captioned(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._go(self._read(reader, identity))

    def _subscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            ear = self.ears.setdefault(publication.sid, Ear())
            self._hearing[publication.sid] = self._go(self._hear(track, ear))
        self._changed.set()

    def _unsubscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        # The next track may come over the same line, and would be heard as this one, too.
        if hearing := self._hearing.pop(publication.sid, None):
            hearing.cancel()
        self._changed.set()

    async def _hear(self, track: rtc.Track, ear: Ear) -> None:
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1, frame_size_ms=20)
        loop = asyncio.get_running_loop()
        try:
            async for event in stream:
                ear.add(bytes(event.frame.data), loop.time())
                self._changed.set()
        finally:
            await stream.aclose()

    async def _read(self, reader: rtc.TextStreamReader, identity: str) -> None:
        info = reader.info

        def note(text: str, *, ended: bool) -> None:
            # What closes a stream may bring attributes, too: only then a speaker's words are final.
            attributes = info.attributes or {}
            self.captions[info.stream_id] = Caption(
                identity=identity,
                segment_id=attributes.get(ATTRIBUTE_TRANSCRIPTION_SEGMENT_ID, info.stream_id),
                track_id=attributes.get(ATTRIBUTE_TRANSCRIPTION_TRACK_ID, ""),
                final=ended and attributes.get(ATTRIBUTE_TRANSCRIPTION_FINAL) == "true",
                text=text,
            )
            self._changed.set()

        text = ""
        note(text, ended=False)
        try:
            async for piece in reader:
                text += piece
                note(text, ended=False)
        except ConnectionError:  # whoever wrote it has gone; what came is kept, and is not final
            return
        note(text, ended=True)
